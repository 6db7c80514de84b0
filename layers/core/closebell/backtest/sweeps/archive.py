"""A sweep in the archive: the bars and the desk that all its points have in common, written once and traded from anywhere."""

import hashlib
import json
from collections.abc import Generator, Iterator, Mapping
from dataclasses import asdict
from datetime import date
from decimal import Decimal

from pydantic import TypeAdapter

from closebell.backtest.sweeps.points import SweepPoint
from closebell.backtest.sweeps.pool import SweepGround, Traded
from closebell.backtest.sweeps.search import ground_sha256
from closebell.backtest.sweeps.store import key_of
from closebell.model.errors import DataError
from closebell.model.instruments import Market
from closebell.model.operations import SweepTask
from closebell.model.panel import BarPanel
from closebell.model.parameters import ParameterSet
from closebell.ports.market_data import Calendar
from closebell.ports.operations import Archive, SweepMachine
from closebell.simulation.bar_market import BarMarket, hours_of
from closebell.simulation.exchange.trading_floor import ExchangeOptions

ABSENT_COUNT_MAX = 50
"""After so many points in a row without a result the others are not asked for yet: every question is paid for."""

JSON, NPZ = "application/json", "application/octet-stream"


def put_ground(archive: Archive, ground: SweepGround) -> str:
    """Write what all points have in common; its fingerprint. The same again changes nothing. Raises StoreUnavailable."""
    sweep_sha256 = ground_sha256(ground)
    market = ground.market
    document = {
        "label": market.label,
        "market": market.asset_class,
        "options": {name: f"{value}" for name, value in asdict(ground.options).items()},
        "span": [f"{ground.first}", f"{ground.last}"],
        "spread_frac": f"{market.spread_frac}",
        "splits": {symbol: {f"{day}": ratio for day, ratio in found.items()} for symbol, found in market.split_ratios.items()},
        "volatility_closes": {f"{day}": f"{close}" for day, close in market.volatility_index().items()},
    }  # fmt: skip
    for name, content in ((_bars(sweep_sha256), market.as_traded.to_npz), (_ground(sweep_sha256), json.dumps(document).encode)):
        if archive.get(name) is None:  # equal bars are not compressed to equal bytes everywhere
            archive.put(name, content(), JSON if name.endswith("json") else NPZ)
    return sweep_sha256


def put_points(archive: Archive, sweep_sha256: str, desks: Mapping[str, ParameterSet]) -> str:
    """Write a list of points as the state machine reads it; its name. Raises StoreUnavailable."""
    tasks = [SweepTask(sweep_sha256=sweep_sha256, point_sha256=key, parameters=desk) for key, desk in desks.items()]
    content = json.dumps([task.model_dump(mode="json") for task in tasks]).encode()
    name = f"sweeps/{sweep_sha256}/lists/{hashlib.sha256(content).hexdigest()}.json"
    archive.put(name, content, JSON)
    return name


class FannedOut:
    """Implements `Crew` in AWS: a state machine gives each point to a run of `run_backtest`, the archive brings results back.

    Whoever stops asking for results (an interrupt, an error) stops the machine too: nobody would wait for what it costs.
    Raises StoreUnavailable; RunRefused while another sweep runs.
    """

    def __init__(self, ground: SweepGround, archive: Archive, machine: SweepMachine) -> None:
        self._ground, self._archive, self._machine = ground, archive, machine

    def run(self, desks: Mapping[str, ParameterSet]) -> Generator[Traded]:
        if not desks:
            return
        sweep_sha256 = put_ground(self._archive, self._ground)
        missing = {key: SweepTask(sweep_sha256=sweep_sha256, point_sha256=key, parameters=desk) for key, desk in desks.items()}
        run = self._machine.start(put_points(self._archive, sweep_sha256, desks))
        ended: str | None = None
        try:
            while missing and ended is None:
                ended = self._machine.outcome(run)  # before the results are read: what was written by its end is found
                for key, content in self._written(missing, looks_at_all=ended is not None):
                    del missing[key]
                    yield Traded(key, json.loads(content))
        finally:
            if missing and ended is None:
                self._machine.stop(run)
        if missing:
            why = f"the first failure: {self._machine.first_failure(run)}; more in {run}"
            yield from (Traded(key, f"it failed in AWS, or was not tried any more ({ended}); {why}") for key in missing)

    def _written(self, missing: Mapping[str, SweepTask], *, looks_at_all: bool) -> Iterator[tuple[str, bytes]]:
        """The results that are there by now. The machine goes down its list: far beyond the last result there is none yet."""
        absent_count = 0
        for key, task in tuple(missing.items()):
            content = self._archive.get(task.result_name)
            if content is not None:
                absent_count = 0
                yield key, content
                continue
            absent_count += 1
            if absent_count > ABSENT_COUNT_MAX and not looks_at_all:
                return


class ArchivedSweeps:
    """Trades points of sweeps in the archive; the sweep that was read last is kept, since a function trades many of its points.

    Parameters
    ----------
    archive
        Where the sweeps lie.
    calendar
        The markets' sessions.
    """

    def __init__(self, archive: Archive, calendar: Calendar) -> None:
        self._archive, self._calendar = archive, calendar
        self._sweep_sha256 = ""
        self._found: SweepGround | None = None

    def __call__(self, task: SweepTask) -> bytes:
        """A point's summary as JSON.

        Raises
        ------
        ConfigurationError
            No session can be traded.
        DataError
            The sweep is not in the archive, or what is there, traded by this code, is another sweep or point.
        StoreUnavailable
            The archive cannot be reached.
        """
        if self._found is None or self._sweep_sha256 != task.sweep_sha256:
            self._found, self._sweep_sha256 = self._read(task.sweep_sha256), task.sweep_sha256
        key = key_of(SweepPoint({}, task.parameters), task.sweep_sha256)
        if key != task.point_sha256:
            raise DataError(f"the point {task.point_sha256} is not the one that its configuration makes, which is {key}")
        return json.dumps(self._found(task.parameters)).encode()

    def _read(self, sweep_sha256: str) -> SweepGround:
        bars = self._archive.get(_bars(sweep_sha256))
        written = self._archive.get(_ground(sweep_sha256))
        if bars is None or written is None:
            raise DataError(f"the archive has no sweep {sweep_sha256}")
        document = json.loads(written)
        panel, asset_class = BarPanel.from_npz(bars), Market(document["market"])
        market = BarMarket(
            panel, hours_of(self._calendar, panel, asset_class), asset_class=asset_class,
            account_hours=hours_of(self._calendar, panel), label=document["label"], spread_frac=Decimal(document["spread_frac"]),
            splits=TypeAdapter(dict[str, dict[date, float]]).validate_python(document["splits"]),
            volatility_closes=TypeAdapter(dict[date, Decimal]).validate_python(document["volatility_closes"]),
        )  # fmt: skip
        options = TypeAdapter(ExchangeOptions).validate_python(document["options"])
        ground = SweepGround(market, options, *map(date.fromisoformat, document["span"]))
        if ground_sha256(ground) != sweep_sha256:
            raise DataError(f"the sweep {sweep_sha256} was planned by other code than this: deploy the same, and plan it anew")
        return ground


def _bars(sweep_sha256: str) -> str:
    return f"sweeps/{sweep_sha256}/bars.npz"


def _ground(sweep_sha256: str) -> str:
    return f"sweeps/{sweep_sha256}/ground.json"
