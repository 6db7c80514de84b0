"""A point of a sweep in the archive is traded once, by the code that planned it."""

import json
from dataclasses import dataclass, field, replace
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest

from closebell.app.run_backtest import RunBacktest
from closebell.backtest.sweeps import archive as sweep_archive
from closebell.backtest.sweeps.archive import ArchivedSweeps, FannedOut, put_ground, put_points
from closebell.backtest.sweeps.points import SweepPoint, grid_points, read_axes
from closebell.backtest.sweeps.pool import SweepGround
from closebell.backtest.sweeps.search import GridSearch, ground_sha256, sweep
from closebell.backtest.sweeps.store import PointStore, key_of
from closebell.model.errors import ConfigurationError, DataError
from closebell.model.instruments import Market
from closebell.model.operations import SweepTask
from closebell.simulation.bar_market import BarMarket, hours_of
from closebell.simulation.exchange.trading_floor import ExchangeOptions
from closebell.simulation.memory_archive import MemoryArchive
from tests.unit.backtest.markets import CALENDAR, coin_market, coin_panel, parameters_of, seeded_panel

PANEL = seeded_panel(7, 60, 4)
BASE = parameters_of(PANEL, "mean_reversion", "sma_cross")
DAYS = PANEL.sessions.astype(object)
POINTS = grid_points(read_axes(["exits.stop_loss_frac=0.01,0.05"], BASE), BASE)


def ground() -> SweepGround:
    """Splits, a volatility index, costs, and a symbol whose bars have the close alone."""
    opens = PANEL.open.copy()
    opens[:, 1] = np.nan
    market = BarMarket(
        replace(PANEL, open=opens), hours_of(CALENDAR, PANEL), splits={PANEL.symbols[0]: {DAYS[55]: 2.0}},
        spread_frac=Decimal("0.001"), volatility_closes={DAYS[40]: Decimal("12.5")}, label="made up",
    )  # fmt: skip
    options = ExchangeOptions(cash_usd=Decimal(50_000), commission_an_order_usd=Decimal("2.5"))
    return SweepGround(market, options, DAYS[51], DAYS[59])


def coin_ground() -> SweepGround:
    """Coins, whose account is reckoned by NYSE's sessions."""
    panel = coin_panel(7, 60)
    days = panel.sessions.astype(object)
    return SweepGround(coin_market(panel, "0.001"), ExchangeOptions(cash_usd=Decimal(50_000)), days[51], days[59])


def archived(points: list[SweepPoint], traded: SweepGround | None = None) -> tuple[MemoryArchive, list[dict[str, object]]]:
    archive = MemoryArchive()
    sweep = put_ground(archive, traded or ground())
    desks = {key_of(point, sweep): point.parameters for point in points if point.parameters}
    content = archive.get(put_points(archive, sweep, desks))
    assert content is not None
    return archive, json.loads(content)


def test_a_point_gives_what_it_gives_without_the_archive() -> None:
    archive, tasks = archived(POINTS)
    run = RunBacktest(archive, ArchivedSweeps(archive, CALENDAR))
    for task, point in zip(tasks, POINTS, strict=True):
        found = archive.get(run(task)["result"])
        assert found is not None
        assert point.parameters is not None
        assert json.loads(found) == json.loads(json.dumps(ground()(point.parameters)))


def test_a_point_of_crypto_gives_what_it_gives_without_the_archive() -> None:
    base = parameters_of(coin_panel(7, 60), "mean_reversion", "sma_cross", market=Market.CRYPTO)
    (point,) = grid_points(read_axes(["exits.stop_loss_frac=0.01"], base), base)
    archive, (task,) = archived([point], coin_ground())
    found = archive.get(RunBacktest(archive, ArchivedSweeps(archive, CALENDAR))(task)["result"])
    assert found is not None
    assert point.parameters is not None
    summary = json.loads(found)
    assert summary == json.loads(json.dumps(coin_ground()(point.parameters)))
    assert summary["commission_usd"] > 0, "the fee of crypto"
    assert summary["sessions_count"] == 9


def test_a_second_delivery_trades_nothing() -> None:
    archive, tasks = archived(POINTS)
    traded: list[SweepTask] = []

    def trade(task: SweepTask) -> bytes:
        traded.append(task)
        return b"{}"

    run = RunBacktest(archive, trade)
    assert run(tasks[0]) == run(tasks[0])
    assert len(traded) == 1


def test_a_sweep_planned_by_other_code_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    archive, tasks = archived(POINTS)
    monkeypatch.setattr("closebell.backtest.sweeps.search.code_sha256", lambda: "other code")
    with pytest.raises(DataError, match="planned by other code"):
        RunBacktest(archive, ArchivedSweeps(archive, CALENDAR))(tasks[0])


def test_a_configuration_that_is_not_the_points_is_refused() -> None:
    archive, tasks = archived(POINTS)
    with pytest.raises(DataError, match="not the one that its configuration makes"):
        RunBacktest(archive, ArchivedSweeps(archive, CALENDAR))({**tasks[0], "parameters": tasks[1]["parameters"]})


@dataclass
class MachineHere:
    """Implements `SweepMachine`: the runs one after the other, the first of them failing."""

    archive: MemoryArchive
    ending: str | None = "SUCCEEDED"
    stopped: list[str] = field(default_factory=list)

    def start(self, points: str) -> str:
        content = self.archive.get(points)
        assert content is not None
        run = RunBacktest(self.archive, ArchivedSweeps(self.archive, CALENDAR))
        for task in json.loads(content)[1:]:
            run(task)
        return "the run"

    def outcome(self, run: str) -> str | None:
        return self.ending

    def stop(self, run: str) -> None:
        self.stopped.append(run)

    def first_failure(self, run: str) -> str:
        return "ConfigurationError: no session can be traded"


def test_what_was_fanned_out_comes_back_and_what_failed_is_said() -> None:
    archive = MemoryArchive()
    desks = {key_of(point, ground_sha256(ground())): point.parameters for point in POINTS if point.parameters}
    machine = MachineHere(archive)
    results = {traded.key: traded.outcome for traded in FannedOut(ground(), archive, machine).run(desks)}
    failed, done = desks
    why = "the first failure: ConfigurationError: no session can be traded; more in the run"
    assert results[failed] == f"it failed in AWS, or was not tried any more (SUCCEEDED); {why}"
    assert results[done] == json.loads(json.dumps(ground()(desks[done])))
    assert machine.stopped == [], "it has ended by itself"


def test_a_sweep_that_is_interrupted_does_not_go_on_in_aws(tmp_path: Path) -> None:
    archive = MemoryArchive()
    machine = MachineHere(archive, ending=None)

    def interrupted(done_count: int, total_count: int, failed_count: int) -> None:
        if done_count:
            raise KeyboardInterrupt

    with PointStore(tmp_path) as store, pytest.raises(KeyboardInterrupt) as held:
        sweep(GridSearch(POINTS), store, FannedOut(ground(), archive, machine), ground_sha256(ground()), interrupted)
    assert held.traceback, "which keeps the sweep's frames alive"
    assert machine.stopped == ["the run"]


def test_a_sweep_whose_results_are_all_there_is_not_stopped() -> None:
    archive = MemoryArchive()
    machine = MachineHere(archive, ending=None)
    desks = {key_of(point, ground_sha256(ground())): point.parameters for point in POINTS if point.parameters}
    _, done = desks
    assert len(list(FannedOut(ground(), archive, MachineHere(archive)).run(desks))) == 2
    assert [traded.key for traded in FannedOut(ground(), archive, machine).run({done: desks[done]})] == [done]
    assert machine.stopped == []


def test_results_far_down_the_list_are_found_in_their_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweep_archive, "ABSENT_COUNT_MAX", 0)
    archive = MemoryArchive()
    desks = {key_of(point, ground_sha256(ground())): point.parameters for point in POINTS if point.parameters}
    results = [traded.outcome for traded in FannedOut(ground(), archive, MachineHere(archive)).run(desks)]
    assert sum(isinstance(outcome, dict) for outcome in results) == 1, "at the end all are asked for"


def test_an_event_of_something_else_and_a_sweep_that_is_not_there_are_refused() -> None:
    run = RunBacktest(MemoryArchive(), ArchivedSweeps(MemoryArchive(), CALENDAR))
    with pytest.raises(ConfigurationError, match="no point of a sweep"):
        run({"market": "us_equity"})
    with pytest.raises(DataError, match="the archive has no sweep"):
        run({"sweep_sha256": "0" * 64, "point_sha256": "1" * 64, "parameters": BASE})


def test_points_of_two_sweeps_are_each_traded_on_their_own_bars() -> None:
    """One function trades whatever it is sent; it keeps the sweep that it has read last."""
    other = replace(ground(), options=replace(ground().options, cash_usd=Decimal(70_000)))
    archive, (task, *_) = archived(POINTS)
    second, (other_task, *_) = archived(POINTS, other)
    for name in (f"sweeps/{other_task['sweep_sha256']}/{part}" for part in ("bars.npz", "ground.json")):
        content = second.get(name)
        assert content is not None
        archive.put(name, content, "")
    run, cash = RunBacktest(archive, ArchivedSweeps(archive, CALENDAR)), []
    for asked in (task, other_task):
        found = archive.get(run(asked)["result"])
        assert found is not None
        cash.append(json.loads(found)["cash_usd"])
    assert cash == [50_000, 70_000]
