"""What every measured process has in common: seeded bars from a file, a clock, and one line of JSON at the end.

It runs in the peers' environment too, so it imports numpy and nothing of closebell.
"""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

SEED = 3
FIELDS = ("open", "high", "low", "close", "volume")


class Bars(NamedTuple):
    """Sessions x symbols: prices in USD and cents, volume in shares; `days` is datetime64[D]."""

    days: NDArray[np.datetime64]
    open: NDArray[np.float64]
    high: NDArray[np.float64]
    low: NDArray[np.float64]
    close: NDArray[np.float64]
    volume: NDArray[np.float64]

    @property
    def symbols(self) -> tuple[str, ...]:
        """A name for every column."""
        return tuple(f"S{column:04d}" for column in range(self.close.shape[1]))


class Ending(NamedTuple):
    """What a backtest ended with, to be shown beside its time."""

    trades_count: int
    equity_usd: float


def seeded_bars(days: NDArray[np.datetime64], symbols_count: int) -> Bars:
    """Geometric Brownian motion with volatility clusters (a GARCH of persistence 0.98), every symbol on its own."""
    draw = np.random.default_rng(SEED)
    shape = (len(days), symbols_count)
    shocks, returns = draw.standard_normal(shape), np.empty(shape)
    variance = np.full(symbols_count, 0.015**2)
    for row in range(len(days)):
        returns[row] = np.sqrt(variance) * shocks[row]
        variance = 0.02 * 0.015**2 + 0.90 * variance + 0.08 * returns[row] ** 2
    close = np.maximum(np.round(50.0 * np.exp(np.cumsum(returns + 0.0003, axis=0)), 2), 1.0)
    opened = np.maximum(np.round(np.vstack([close[:1], close[:-1]]) * np.exp(0.003 * draw.standard_normal(shape)), 2), 1.0)
    high, low = np.round(np.maximum(opened, close) * 1.006, 2), np.round(np.minimum(opened, close) * 0.994, 2)
    return Bars(days, opened, high, low, close, np.full(shape, 1e6))


def keep(bars: Bars, path: Path) -> None:
    """Write bars to a file."""
    np.savez(path, **bars._asdict())


def kept(path: Path) -> Bars:
    """Read bars from a file."""
    with np.load(path) as found:
        return Bars(*(found[name] for name in Bars._fields))


def report(imported_s: float, bars: Path, run: Callable[[Bars], Ending], repeats: int) -> None:
    """Read, run several times, and print what it took: CPU seconds of this process, its peak memory and the last outcome.

    `whole_s` is everything from the interpreter's start to the first result.
    """
    read = kept(bars)
    runs = []
    whole_s = 0.0
    outcome = Ending(0, 0.0)
    for _ in range(repeats):
        began_s = time.process_time()
        outcome = run(read)
        runs.append(time.process_time() - began_s)
        whole_s = whole_s or time.process_time()
    print(
        json.dumps({
            "import_s": imported_s, "runs_s": runs, "whole_s": whole_s, "rss_mib_max": peak_mib(), **outcome._asdict(),
        })
    )


def peak_mib() -> float:
    """The most memory that this process has had. Linux tells it as VmHWM; ru_maxrss would include the parent's."""
    try:
        status = Path("/proc/self/status").read_text(encoding="ascii")
    except FileNotFoundError:
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    return next(int(line.split()[1]) / 1024 for line in status.splitlines() if line.startswith("VmHWM:"))
