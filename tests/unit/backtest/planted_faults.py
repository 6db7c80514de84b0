"""What sweeps are tried on: points that fail, take their process with them, or end the sweep itself.

Every process of a pool imports this file, so it imports little.
"""

import fcntl
import os
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from closebell.backtest.sweeps.points import SweepPoint
from closebell.backtest.sweeps.pool import SweepPool
from closebell.backtest.sweeps.search import GridSearch, sweep
from closebell.backtest.sweeps.store import PointStore
from closebell.model.errors import DataError
from closebell.model.parameters import ParameterSet

FAILS, DIES = Decimal("0.03"), Decimal("0.04")
_held: list[object] = []


def silent(done_count: int, total_count: int, failed_count: int) -> None:
    return None


@dataclass(frozen=True)
class PlantedFaults:
    """Trades nothing; one stop fails, one takes the process with it. Its processes hold a lock on `alive` while they live."""

    alive: Path | None = None
    is_mended: bool = False

    def __call__(self, parameters: ParameterSet) -> Mapping[str, Any]:
        if self.alive is not None:
            _held.append(file := self.alive.open("a"))
            fcntl.flock(file.fileno(), fcntl.LOCK_SH)
        stop = parameters.exits.stop_loss_frac
        if stop == FAILS and not self.is_mended:
            raise DataError("a planted fault")
        if stop == DIES and not self.is_mended:
            os.kill(os.getpid(), signal.SIGKILL)
        return scored(parameters)


def scored(parameters: ParameterSet) -> Mapping[str, Any]:
    """A summary with one peak, at a stop of 0.05 and two votes."""
    distance = abs(parameters.exits.stop_loss_frac - Decimal("0.05")) + abs(parameters.votes_to_act_count_min - 2)
    return {"sharpe_annual_ratio": float(-distance)}


def sweep_until_killed(folder: Path, alive: Path, points: Sequence[SweepPoint]) -> None:
    """Kill the sweep's own process once two points are done."""
    def tell(done_count: int, total_count: int, failed_count: int) -> None:
        if done_count == 2:
            os.kill(os.getpid(), signal.SIGKILL)

    with PointStore(folder) as store, SweepPool(PlantedFaults(alive, is_mended=True), 2) as pool:
        sweep(GridSearch(points), store, pool, "ground", tell)
