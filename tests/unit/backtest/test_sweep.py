"""A sweep tries every point once, whatever ends it and however many processes trade it."""

import fcntl
import json
import re
import signal
from collections.abc import Generator, Mapping
from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import closebell
from closebell.backtest.process_pool import DIED
from closebell.backtest.sweeps.optuna_search import OptunaSearch
from closebell.backtest.sweeps.points import SweepPoint, desk_in, grid_points, point_of, read_axes, sweep_span, swept_fields
from closebell.backtest.sweeps.pool import SweepGround, SweepPool, Traded
from closebell.backtest.sweeps.search import GridSearch, Search, ground_sha256, ranked, require_objective, sweep
from closebell.backtest.sweeps.store import (
    POINTS,
    TABLE,
    PointResult,
    PointStore,
    code_sha256,
    key_of,
    market_sha256,
    write_table,
)
from closebell.cli import app
from closebell.model.errors import ConfigurationError, DataError
from closebell.model.instruments import Market
from closebell.model.parameters import ParameterSet
from closebell.simulation.bar_market import BarMarket, hours_of
from closebell.simulation.exchange.trading_floor import ExchangeOptions
from tests.unit.backtest.markets import CALENDAR, coin_panel, market_of, parameters_of, seeded_panel
from tests.unit.backtest.planted_faults import DIES, FAILS, PlantedFaults, scored, silent, sweep_until_killed

PANEL = seeded_panel(7, 60, 4)
BASE = parameters_of(PANEL, "mean_reversion", "sma_cross")
GRID = ("exits.stop_loss_frac=0.01,0.05", "strategies=mean_reversion,mean_reversion+sma_cross")
STOPS = ("exits.stop_loss_frac=0.01..0.06..0.01",)


def ground_of(market: BarMarket, options: ExchangeOptions | None = None, last: int = 59) -> SweepGround:
    days = market.panel.sessions.astype(object)
    return SweepGround(market, options or ExchangeOptions(), days[51], days[last])


def points_of(*texts: str) -> list[SweepPoint]:
    return grid_points(read_axes(texts, BASE), BASE)


class InThisProcess(SweepPool):
    """Trades in the caller's own process, and counts."""

    def __init__(self) -> None:
        super().__init__(scored, 1)
        self.traded_count = 0

    def run(self, desks: Mapping[str, ParameterSet]) -> Generator[Traded]:
        for key, parameters in desks.items():
            self.traded_count += 1
            yield Traded(key, scored(parameters))


def swept(folder: Path, search: Search, trade: SweepGround | PlantedFaults, workers_count: int = 2) -> list[PointResult]:
    with PointStore(folder) as store, SweepPool(trade, workers_count) as pool:
        return sweep(search, store, pool, "ground", silent)


def lines(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / POINTS).read_text().splitlines()]


def test_one_process_and_two_give_equal_results(tmp_path: Path) -> None:
    tables = []
    for workers_count in (1, 2):
        folder = tmp_path / f"{workers_count}"
        results = swept(folder, GridSearch(points_of(*GRID)), ground_of(market_of(PANEL)), workers_count)
        write_table(folder, ranked(results, "sharpe_annual_ratio"))
        tables.append((folder / TABLE).read_bytes())
    assert tables[0] == tables[1]
    sharpe = [result.summary["sharpe_annual_ratio"] for result in ranked(results, "sharpe_annual_ratio") if result.summary]
    assert len(sharpe) == 4
    assert sharpe == sorted(sharpe, reverse=True)
    assert len(set(sharpe)) > 1


def test_a_killed_sweep_goes_on_with_what_is_missing_and_leaves_no_process(tmp_path: Path) -> None:
    folder, alive = tmp_path / "out", tmp_path / "alive"
    killed = get_context("spawn").Process(target=sweep_until_killed, args=(folder, alive, points_of(*STOPS)))
    killed.start()
    killed.join()
    assert killed.exitcode == -signal.SIGKILL
    before = (folder / POINTS).read_bytes()
    assert len(before.splitlines()) == 2
    with (folder / POINTS).open("ab") as file:
        file.write(before[:40])  # as a write that was cut short leaves it
    results = swept(folder, GridSearch(points_of(*STOPS)), PlantedFaults(is_mended=True))
    assert [result.error for result in results] == [None] * 6
    assert (folder / POINTS).read_bytes().startswith(before)
    assert len(lines(folder)) == len({line["key"] for line in lines(folder)}) == 6
    with alive.open("a") as file:
        fcntl.flock(file.fileno(), fcntl.LOCK_EX)  # waits until no process of the killed sweep lives


def test_a_failing_point_and_a_dying_process_do_not_lose_the_others(tmp_path: Path) -> None:
    results = swept(tmp_path, GridSearch(points_of(*STOPS)), PlantedFaults())
    errors = {Decimal(result.values["exits.stop_loss_frac"]): result.error for result in results}
    assert errors.pop(FAILS) == "DataError: a planted fault"
    assert errors.pop(DIES) == DIED
    assert list(errors.values()) == [None] * 4
    assert len(lines(tmp_path)) == 6
    again = swept(tmp_path, GridSearch(points_of(*STOPS)), PlantedFaults(is_mended=True))
    assert [result.error for result in again] == [None] * 6
    assert {Decimal(line["values"]["exits.stop_loss_frac"]) for line in lines(tmp_path)[6:]} == {FAILS, DIES}


def test_what_failed_comes_last_and_less_drawdown_comes_first() -> None:
    results = [
        PointResult("a", {}, None, "failed"), PointResult("b", {}, {"drawdown_frac_max": None}, None),
        PointResult("c", {}, {"drawdown_frac_max": 0.2}, None), PointResult("d", {}, {"drawdown_frac_max": 0.1}, None),
    ]  # fmt: skip
    assert [result.key for result in ranked(results, "drawdown_frac_max")] == ["d", "c", "b", "a"]


def test_other_bars_costs_sessions_or_parameters_are_other_points() -> None:
    ground = ground_of(market_of(PANEL))
    close = PANEL.close.copy()
    close[0, 0] += 0.01
    day = PANEL.sessions[55].astype(object)
    split = BarMarket(PANEL, hours_of(CALENDAR, PANEL), splits={PANEL.symbols[0]: {day: 2.0}})
    others = [
        ground_of(market_of(replace(PANEL, close=close))), ground_of(split), ground_of(market_of(PANEL, "0.001")),
        ground_of(market_of(PANEL), ExchangeOptions(cash_usd=Decimal(1))), ground_of(market_of(PANEL), last=58),
    ]  # fmt: skip
    assert len({ground_sha256(each) for each in (ground, *others)}) == 6
    assert ground_sha256(ground_of(market_of(PANEL))) == ground_sha256(ground)
    coins = coin_panel(7, 60)
    later = [hours.model_copy(update={"closes_at": hours.closes_at + timedelta(hours=1)}) for hours in hours_of(CALENDAR, coins)]
    days = hours_of(CALENDAR, coins, Market.CRYPTO)
    worlds = [
        BarMarket(coins, days, asset_class=Market.CRYPTO, account_hours=hours_of(CALENDAR, coins)),
        BarMarket(coins, days, asset_class=Market.CRYPTO, account_hours=later), BarMarket(coins, days),
    ]  # fmt: skip
    assert len({market_sha256(market) for market in worlds}) == 3
    keys = {key_of(point, "ground") for point in points_of(*GRID)}
    assert len(keys) == 4
    assert not keys & {key_of(point, "other bars") for point in points_of(*GRID)}


@pytest.mark.parametrize(("text", "said"), [
    ("exits.stop_los_frac=0.1", "did you mean exits.stop_loss_frac? Allowed: entries.limit_offset_frac"),
    ("exits.stop_loss_frac=0.02,2", "exits.stop_loss_frac is '2'; it takes a number above 0, below 1"),
    ("exits.stop_loss_frac=", "exits.stop_loss_frac is ''; it takes"),
    ("exits.stop_loss_frac=nan", "exits.stop_loss_frac is 'nan'; it takes"),
    ("exits.time_stop_sessions=2.5", "exits.time_stop_sessions is '2.5'; it takes a whole number at least 1"),
    ("entries.use_limit=perhaps", "entries.use_limit is 'perhaps'; it takes true or false"),
    ("exits.stop_loss_frac=0.1..0.2", "needs a step"),
    ("exits.stop_loss_frac=0.2..0.1..0.01", "is no range"),
    ("exits.stop_loss_frac=0.1..0.2..0", "is no range"),
    ("exits.stop_loss_frac=0.1..0.2..0.0000001", "has 1,000,001 values"),
    ("exits.time_stop_sessions=1..1e5000", "'1..1e5000' has a number of more than 12 digits"),
    ("exits.time_stop_sessions=1e5000..1e5000", "'1e5000..1e5000' has a number of more than 12 digits"),
    ("exits.time_stop_sessions=0..1e4000..1", "'0..1e4000..1' has a number of more than 12 digits"),
    ("exits.time_stop_sessions=1..9e999999..1e-999999", "'1..9e999999..1e-999999' has a number of more than 12 digits"),
    ("votes_to_act_count_min=1,1", "1 stands twice"),
    ("exits.stop_loss_frac=0.02,0.020", "0.020 stands twice, once as 0.02"),
    ("entries.use_limit=true,yes", "yes stands twice, once as true"),
    ("strategies=rsi+rsii", "there is no strategy 'rsii'. Allowed: sma_cross, rsi"),
    ("strategies=rsi+rsi", "a strategy votes once"),
    ("universe_count=0", "it takes a whole number from 1 to 4"),
    ("universe_count=5", "it takes a whole number from 1 to 4"),
    (f"universe={PANEL.symbols[0]}+{PANEL.symbols[0]}", "a symbol is traded once"),
    ("universe=AAPL", "there is no symbol 'AAPL' in the configuration's universe"),
    ("schema_version=1", "there is no parameter 'schema_version'"),
    ("stop 0.1", "is no parameter with values"),
    ("=1", "is no parameter with values"),
])  # fmt: skip
def test_a_wrong_parameter_or_value_is_refused(text: str, said: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        read_axes([text, "history_sessions=250"], BASE)
    assert said in f"{refused.value}"


def test_everything_that_is_wrong_is_said_at_once() -> None:
    with pytest.raises(ConfigurationError, match=r"(?s)'foo'.*it takes a number.*stands twice"):
        read_axes(["foo=1", "exits.stop_loss_frac=7", "exits.stop_loss_frac=0.1"], BASE)


def test_a_sweep_of_nothing_or_of_too_much_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="nothing is swept"):
        read_axes([], BASE)
    with pytest.raises(ConfigurationError, match="it takes a whole number from 1 to 4"):
        read_axes(["universe_count=" + "5" * 5_000], BASE)
    with pytest.raises(ConfigurationError, match=r"22,010 points.*optuna"):
        points_of("history_sessions=220..2420", "limits.positions_count_max=1..10")
    with pytest.raises(ConfigurationError, match="votes_to_act_count_min is 3, more than strategies vote: 2"):
        points_of("votes_to_act_count_min=3..5")


def test_an_objective_that_is_no_number_of_a_summary_is_refused() -> None:
    assert require_objective("calmar_ratio") == "calmar_ratio"
    for name in ("sharpe", "trades_sha256"):
        with pytest.raises(ConfigurationError, match="Allowed: annual_return_frac"):
            require_objective(name)


def test_a_point_is_the_configuration_with_its_values() -> None:
    values = {"exits.stop_loss_frac": "0.02", "entries.use_limit": "true", "universe_count": "2", "strategies": "rsi"}
    desk = point_of(BASE.model_copy(update={"votes_to_act_count_min": 2}), values).parameters
    assert desk is not None
    assert (desk.exits.stop_loss_frac, desk.entries.use_limit, desk.strategies) == (Decimal("0.02"), True, ("rsi",))
    assert [instrument.symbol for instrument in desk.universe] == list(PANEL.symbols[:2])
    assert desk.votes_to_act_count_min == 1  # a single voter cannot give two votes
    assert desk.exits.take_profit_frac == BASE.exits.take_profit_frac


def test_universes_are_swept_by_their_symbols_or_by_how_many() -> None:
    one, other, third, _ = PANEL.symbols
    points = points_of(f"universe={one}+{third},{other}")
    assert [[it.symbol for it in point.parameters.universe] for point in points if point.parameters] == [[one, third], [other]]
    with pytest.raises(ConfigurationError, match="both say what is traded"):
        read_axes([f"universe={one}", "universe_count=1,2"], BASE)


def test_a_configuration_of_two_markets_is_swept_in_one() -> None:
    coins = parameters_of(coin_panel(7, 2), "rsi", market=Market.CRYPTO)
    both = coins.model_copy(update={"universe": (*BASE.universe, *coins.universe)})
    traded = desk_in(both, Market.CRYPTO)
    (point,) = grid_points(read_axes(["universe_count=2"], traded), traded)
    assert point.parameters is not None
    assert [instrument.symbol for instrument in point.parameters.universe] == ["BTC/USD", "ETH/USD"]
    assert desk_in(both, Market.US_EQUITY).universe == BASE.universe
    with pytest.raises(ConfigurationError, match="universe_count is '4'; it takes a whole number from 1 to 3, the crypto instr"):
        read_axes(["universe_count=4"], traded)
    with pytest.raises(ConfigurationError, match="no symbol 'S00' in the configuration's universe of crypto instruments"):
        read_axes(["universe=BTC/USD+S00"], traded)
    with pytest.raises(ConfigurationError, match="the configuration names no crypto instruments"):
        desk_in(BASE, Market.CRYPTO)


@pytest.mark.parametrize(("text", "is_ordered"), [
    ("exits.stop_loss_frac=0.01,0.05,0.06", True), ("exits.stop_loss_frac=0.01,0.06,0.05", False),
    ("strategies=mean_reversion,sma_cross", False), ("entries.use_limit=true,false", False),
])  # fmt: skip
def test_only_ascending_numbers_are_values_in_an_order(text: str, is_ordered: bool) -> None:
    (axis,) = read_axes([text], BASE)
    assert axis.is_ordered is is_ordered


def test_every_parameter_can_be_swept_by_its_name_in_the_configuration() -> None:
    for name in set(swept_fields()) - {"strategies", "votes_to_act_count_min"}:
        table, _, key = name.rpartition(".")
        value = getattr(getattr(BASE, table) if table else BASE, key)
        (point,) = points_of(f"{name}={value}")
        assert point.parameters == BASE


def test_a_combination_that_cannot_be_is_a_failed_point_and_is_not_traded(tmp_path: Path) -> None:
    points = points_of("exits.minimum_hold_sessions=1,4", "exits.time_stop_sessions=3")
    pool = InThisProcess()
    for _ in range(2):
        with PointStore(tmp_path) as store:
            results = sweep(GridSearch(points), store, pool, "ground", silent)
    assert [result.error is None for result in results] == [True, False]
    assert "minimum_hold_sessions is above time_stop_sessions" in f"{results[1].error}"
    assert pool.traded_count == 1
    assert len(lines(tmp_path)) == 2


def test_all_points_trade_the_sessions_after_the_longest_look_back() -> None:
    market = market_of(PANEL)
    axes = read_axes(["strategies=mean_reversion,sma_cross"], BASE)
    days: list[date] = PANEL.sessions.astype(object).tolist()
    assert sweep_span(market, BASE, axes, None, None) == (days[50], days[-1])


def test_a_point_asked_for_by_other_names_is_not_traded_again(tmp_path: Path) -> None:
    pool = InThisProcess()
    for texts in (("exits.stop_loss_frac=0.02,0.03",), ("exits.stop_loss_frac=0.02,0.03", "votes_to_act_count_min=1")):
        with PointStore(tmp_path) as store:
            results = sweep(GridSearch(points_of(*texts)), store, pool, "ground", silent)
    assert pool.traded_count == 2
    assert results[0].values == {"exits.stop_loss_frac": "0.02", "votes_to_act_count_min": "1"}


def test_a_repeated_search_draws_the_same_points_and_trades_none_of_them_again(tmp_path: Path) -> None:
    axes = read_axes(["exits.stop_loss_frac=0.01..0.20..0.01", "strategies=rsi,rsi+macd", "votes_to_act_count_min=1,2"], BASE)
    tried = []
    pools = [InThisProcess(), InThisProcess()]
    for pool in pools:
        with PointStore(tmp_path) as store:
            search = OptunaSearch(axes, BASE, 30, "sharpe_annual_ratio", seed=7)
            tried.append(sweep(search, store, pool, "ground", silent))
    assert tried[0] == tried[1]
    assert 8 <= pools[0].traded_count <= 30
    assert pools[1].traded_count == 0
    best = ranked(tried[0], "sharpe_annual_ratio")[0]
    assert Decimal(best.values["exits.stop_loss_frac"]) in {Decimal("0.04"), Decimal("0.05"), Decimal("0.06")}
    other = OptunaSearch(axes, BASE, 30, "sharpe_annual_ratio", seed=8)
    assert [point.values for point in other.next_batch()] != [dict(result.values) for result in tried[0][:4]]


def test_a_folder_of_something_else_and_a_second_sweep_are_refused(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "diary.txt").write_text("dear diary")
    with pytest.raises(ConfigurationError, match="holds other files"), PointStore(tmp_path / "mine"):
        pass
    with PointStore(tmp_path / "out"), pytest.raises(ConfigurationError, match="another sweep"), PointStore(tmp_path / "out"):
        pass
    with pytest.raises(DataError, match="cannot be used"), PointStore(tmp_path / "mine" / "diary.txt" / "out"):
        pass


@pytest.mark.parametrize(("line", "why"), [
    ("a result", "it is not JSON"),
    ("[" * 5_000, "it is not JSON"),
    ("[]", "it is []"),
    ('{"key": "k", "values": {}, "summary": {}}', "it has no error"),
    ('{"key": "k", "values": {}, "summary": {}, "error": null, "note": ""}', "it has a note, which no result has"),
    ('{"key": "k", "values": {"seed": 1}, "summary": {}, "error": null}', "values is 1"),
    ('{"key": "k", "values": {}, "summary": null, "error": null}', "one of summary and error is null, and only one"),
], ids=range(7))  # fmt: skip
def test_a_line_that_is_no_result_is_named_and_what_is_wrong_with_it(line: str, why: str, tmp_path: Path) -> None:
    good = PointResult("k", {"seed": "1"}, {"sharpe_annual_ratio": 0.1 + 0.2, "calmar_ratio": None, "beta": float("inf")}, None)
    with PointStore(tmp_path) as store:
        store.add(good)
    with (tmp_path / POINTS).open("a") as file:
        file.write(line + "\n")
    told = f"line 2 is no result of a sweep: {why}; take the line out, and its point is traded again"
    with pytest.raises(DataError, match=re.escape(told)), PointStore(tmp_path):
        pass
    (tmp_path / POINTS).write_text("".join((tmp_path / POINTS).read_text().splitlines(keepends=True)[:1]))
    with PointStore(tmp_path) as store:
        assert store.results == {"k": good}


def write_bars(folder: Path) -> None:
    folder.mkdir()
    for column, symbol in enumerate(PANEL.symbols):
        rows = [f"{day},{close}" for day, close in zip(PANEL.sessions, PANEL.close[:, column], strict=True)]
        (folder / f"{symbol}.csv").write_text("\n".join(["date,close", *rows]) + "\n")


def test_the_command_sweeps_bars_here_unless_it_names_a_stack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLOSEBELL_STACK", "the one that other commands are about")
    write_bars(tmp_path / "bars")
    said = CliRunner().invoke(app, [
        "sweep", "--bars", f"{tmp_path / 'bars'}", "--out", f"{tmp_path / 'out'}", "--strategies", "mean_reversion",
        "--grid", "exits.minimum_hold_sessions=1,4", "--grid", "exits.time_stop_sessions=3", "--universe-sizes", "4",
        "--objective", "total_return_frac", "--workers", "1",
    ])  # fmt: skip
    assert said.exit_code == 0, said.output
    assert "1 points done, 1 failed" in said.output
    head, best, worst = (tmp_path / "out" / TABLE).read_text().splitlines()
    assert head.startswith("rank_count,exits.minimum_hold_sessions,exits.time_stop_sessions,universe_count,first_session")
    assert best.startswith("1,1,3,4,20")
    assert worst.startswith("2,4,3,4,,")


def test_a_sweep_whose_points_all_failed_ends_with_status_1(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(pool: SweepPool, desks: Mapping[str, ParameterSet]) -> Generator[Traded]:
        return (Traded(key, "nothing works today") for key in desks)

    monkeypatch.setattr(SweepPool, "run", failing)
    write_bars(tmp_path / "bars")
    said = CliRunner().invoke(app, [
        "sweep", "--bars", f"{tmp_path / 'bars'}", "--out", f"{tmp_path / 'out'}", "--strategies", "mean_reversion",
        "--grid", "exits.minimum_hold_sessions=1,2", "--workers", "1",
    ])  # fmt: skip
    assert (said.exit_code, "0 points done, 2 failed" in said.output) == (1, True), said.output
    assert (tmp_path / "out" / TABLE).read_text().count("nothing works today") == 2


def test_the_command_refuses_before_anything_runs(tmp_path: Path) -> None:
    write_bars(tmp_path / "bars")
    for option, value in (("--grid", "exits.stop=1"), ("--universe-sizes", "99"), ("--objective", "fame")):
        options = ["--grid", "votes_to_act_count_min=1", option, value, "--strategies", "mean_reversion"]
        said = CliRunner().invoke(app, ["sweep", "--bars", f"{tmp_path / 'bars'}", "--out", f"{tmp_path / 'out'}", *options])
        assert said.exit_code == 1, said.output
        assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", [
    "gross_drawdown_frac_max", "drawdown_sessions_max", "gross_volatility_annual_frac", "turnover_annual_ratio", "cost_usd",
    "spread_cost_usd", "commission_usd", "halts_count",
])  # fmt: skip
def test_of_what_is_bad_less_comes_first(name: str) -> None:
    results = [PointResult(key, {}, {name: value}, None) for key, value in (("much", 3), ("little", 1))]
    assert [result.key for result in ranked(results, name)] == ["little", "much"]


def test_a_changed_line_of_code_is_other_code_and_a_command_is_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(closebell, "__file__", f"{tmp_path / '__init__.py'}")
    for folder, name in (("backtest", "engine.py"), ("cli", "tables.py")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / name).write_text("ONE = 1\n")
    before = code_sha256()
    (tmp_path / "cli" / "tables.py").write_text("ONE = 2\n")
    assert code_sha256() == before
    (tmp_path / "backtest" / "engine.py").write_text("ONE = 2\n")
    assert code_sha256() != before


def test_another_volatility_index_is_another_market() -> None:
    panel = seeded_panel(7, 10, 2)
    days = hours_of(CALENDAR, panel)
    calm, wild = (BarMarket(panel, days, volatility_closes={panel.days[5]: Decimal(points)}) for points in (12, 40))
    assert market_sha256(calm) != market_sha256(wild)


def test_votes_that_are_not_swept_stay_as_configured() -> None:
    assert BASE.votes_to_act_count_min == 1
    desk = point_of(BASE, {"strategies": "rsi+macd+momentum"}).parameters
    assert desk is not None
    assert desk.votes_to_act_count_min == 1
