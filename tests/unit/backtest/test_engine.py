"""What a backtest has to keep: no future, the same again, costs paid and counted, delistings, splits, limits of size."""

from dataclasses import replace
from datetime import date
from decimal import Decimal

import numpy as np
import pytest

from closebell import strategies
from closebell.backtest.records import BacktestRecords, ClosedBy
from closebell.backtest.run import Costs, default_parameters, run_backtest, span_of, voted_by
from closebell.backtest.summary import summary_of, trades_sha256
from closebell.model.decision import Decision
from closebell.model.errors import ConfigurationError, DataError
from closebell.model.panel import FIELDS, BarPanel
from closebell.model.parameters import ExitTerms, ParameterSet, RiskLimits
from closebell.simulation.bar_market import BarMarket, hours_of
from tests.unit.backtest.markets import CALENDAR, market_of, parameters_of, seeded_panel, with_another_future
from tests.unit.backtest.panel_events import without

CASH = Decimal(100_000)


def traded(
    panel: BarPanel, parameters: ParameterSet | None = None, costs: Costs | None = None, market: BarMarket | None = None,
    last: date | None = None,
) -> BacktestRecords:
    chosen = costs or Costs()
    return run_backtest(
        market or market_of(panel, f"{chosen.spread_frac}"), parameters or parameters_of(panel, "momentum", "rsi"),
        chosen.options(CASH), last=last,
    )  # fmt: skip


def dates(panel: BarPanel) -> list[date]:
    found: list[date] = panel.sessions.astype(object).tolist()
    return found


def test_the_same_bars_give_the_same_fingerprint_and_other_bars_another() -> None:
    panel = seeded_panel(1, 300, 8)
    first, again, other = traded(panel), traded(panel), traded(seeded_panel(2, 300, 8))
    assert first == again
    assert trades_sha256(first.trades) == summary_of(again)["trades_sha256"] != trades_sha256(other.trades)


@pytest.mark.parametrize("cut", [255, 280])
def test_nothing_that_comes_later_changes_what_was_done_before(cut: int) -> None:
    """Every bar after the cut is replaced; orders sent up to the cut's open, and the equity until then, stay as they were."""
    panel = seeded_panel(3, 310, 8)
    before, after = traded(panel), traded(with_another_future(panel, cut))
    day = dates(panel)[cut]
    assert [row for row in before.equity if row.session < day] == [row for row in after.equity if row.session < day]
    assert [order.order_id for order in before.orders if order.session < day] == [
        order.order_id for order in after.orders if order.session < day
    ]
    assert before.equity != after.equity


def test_costs_are_paid_by_the_account_and_shown_beside_it() -> None:
    panel = seeded_panel(4, 320, 8)
    free = traded(panel)
    dear = traded(panel, costs=Costs(slippage_bps=Decimal(20), commission_an_order_usd=Decimal("2.5")))
    assert {trade.spread_cost_usd for trade in free.trades} == {0}
    summary = summary_of(dear)
    assert summary["commission_usd"] == pytest.approx(2.5 * sum(order.filled_shares > 0 for order in dear.orders))
    assert summary["spread_cost_usd"] > 0
    assert summary["gross_final_equity_usd"] - summary["final_equity_usd"] == pytest.approx(summary["cost_usd"], abs=0.01)
    assert sum(trade.gross_pnl_usd - trade.pnl_usd for trade in dear.trades) == pytest.approx(Decimal(str(summary["cost_usd"])))
    assert sum(trade.pnl_usd for trade in dear.trades) == dear.equity[-1].equity_usd - CASH


def test_a_symbol_that_is_delisted_is_paid_out_at_its_last_close_and_marked() -> None:
    panel = seeded_panel(5, 320, 4)
    records = traded(panel)
    victim = next(trade for trade in records.trades if trade.held_sessions >= 2 and trade.closed_by is ClosedBy.TIME_STOP)
    last, column = dates(panel).index(victim.opened_session), panel.symbols.index(victim.symbol)
    shortened = {field: getattr(panel, field).copy() for field in FIELDS}
    for field in FIELDS:
        shortened[field][last + 1 :, column] = np.nan
    gone = replace(panel, **shortened)
    paid_out = next(trade for trade in traded(gone).trades if trade.trade_id.split("@")[0] == victim.trade_id.split("@")[0])
    assert paid_out.closed_by is ClosedBy.DELISTED
    assert paid_out.exit_price_usd == Decimal(repr(float(panel.close[last, column])))
    assert paid_out.closed_session == dates(panel)[last + 1]


def test_what_is_held_at_the_end_is_sold_at_the_last_close_and_marked() -> None:
    panel = seeded_panel(1, 300, 8)
    records = traded(panel, costs=Costs(slippage_bps=Decimal(10)))
    ended = [trade for trade in records.trades if trade.closed_by is ClosedBy.END]
    assert ended
    assert records.equity[-1].positions_count == 0
    for trade in ended:
        close = float(panel.close[-1, panel.symbols.index(trade.symbol)])
        assert float(trade.exit_price_usd) == pytest.approx(close * (1 - 0.001), abs=2e-4)


def test_an_unadjusted_split_with_its_ratio_trades_as_the_adjusted_bars_do() -> None:
    """Two for one in the middle: the same decisions, the same money; the shares before it are half as many."""
    panel = seeded_panel(6, 320, 4)
    row = 290
    raw = {field: getattr(panel, field).copy() for field in FIELDS}
    for field in FIELDS[:4]:
        raw[field][:row, 1] *= 2
    raw["volume"][:row, 1] /= 2
    unadjusted = replace(panel, **raw)
    split = {panel.symbols[1]: {dates(panel)[row]: 2.0}}
    market = BarMarket(unadjusted, hours_of(CALENDAR, panel), splits=split)
    parameters = parameters_of(panel, "momentum", exits=ExitTerms(time_stop_sessions=9, minimum_hold_sessions=9))
    adjusted, divided = traded(panel, parameters), traded(unadjusted, parameters, market=market)
    shown = [(trade.symbol, trade.opened_session, trade.closed_session, trade.closed_by) for trade in adjusted.trades]
    assert shown == [(trade.symbol, trade.opened_session, trade.closed_session, trade.closed_by) for trade in divided.trades]
    assert float(divided.equity[-1].equity_usd) == pytest.approx(float(adjusted.equity[-1].equity_usd), rel=2e-3)


def test_more_than_a_print_offers_is_filled_in_part() -> None:
    panel = seeded_panel(7, 320, 6)
    thin = replace(panel, volume=np.full(panel.volume.shape, 40_000.0))
    limits = RiskLimits(volume_share_frac_max=Decimal("0.05"))
    records = traded(thin, parameters_of(thin, "momentum", limits=limits), Costs(capacity_frac=Decimal("0.002")))
    entries = [order for order in records.orders if order.side == "buy" and order.quantity_shares > 80]
    assert entries
    assert all(order.filled_shares == 80 for order in entries)


def test_the_capacity_is_the_account_whose_large_orders_are_a_hundredth_of_the_volume() -> None:
    panel = seeded_panel(7, 320, 6)
    thin = replace(panel, volume=np.full(panel.volume.shape, 40_000.0))
    records = traded(thin, parameters_of(thin, "momentum", "rsi"), Costs(commission_a_share_usd=Decimal("0.01")))
    summary, equity = summary_of(records), [CASH, *(row.equity_usd for row in records.equity)]
    large = np.quantile([float(order.filled_shares) / 40_000 for order in records.orders if order.filled_shares], 0.95)
    assert summary["volume_share_frac_p95"] == pytest.approx(large)
    assert summary["capacity_usd"] == pytest.approx(float(np.mean([float(usd) for usd in equity])) * 0.01 / large)
    unknown = summary_of(traded(replace(panel, volume=np.full(panel.volume.shape, np.nan))))
    assert unknown["capacity_usd"] is unknown["volume_share_frac_p95"] is None


def test_the_fingerprint_tells_prices_of_a_millionth_apart() -> None:
    trade = traded(seeded_panel(1, 300, 8)).trades[0]
    cheap, dearer = (trade._replace(entry_price_usd=Decimal(price)) for price in ("1.21E-5", "1.24E-5"))
    assert trades_sha256([cheap]) != trades_sha256([dearer])


def test_a_close_only_source_fills_at_the_next_close() -> None:
    panel = seeded_panel(8, 300, 6)
    blank = np.full(panel.close.shape, np.nan)
    closes = replace(panel, open=blank, high=blank, low=blank, volume=blank)
    records = traded(closes)
    assert records.trades
    for trade in records.trades:
        row, column = dates(panel).index(trade.opened_session), panel.symbols.index(trade.symbol)
        assert trade.entry_price_usd == Decimal(repr(float(panel.close[row, column])))


@pytest.mark.parametrize("hole_sessions", [6, 45])
@pytest.mark.parametrize("ends_within", [False, True])
def test_what_finds_no_trading_for_days_is_sold_when_it_trades_again(hole_sessions: int, ends_within: bool) -> None:
    """Its sales expire one after another: no reason to keep it for ever, without a stop. Till then it is worth its last close."""
    panel = seeded_panel(8, 360, 6)
    first = next(trade for trade in traded(panel).trades if trade.closed_by is ClosedBy.TIME_STOP)
    row, column = dates(panel).index(first.closed_session), panel.symbols.index(first.symbol)
    holed = without(panel, FIELDS, slice(row, row + hole_sessions), column)
    after = traded(holed, last=dates(panel)[row + hole_sessions - 1] if ends_within else None)
    (sold,) = [one for one in after.trades if (one.symbol, one.opened_session) == (first.symbol, first.opened_session)]
    if ends_within:
        assert (sold.closed_session, sold.closed_by) == (dates(panel)[row + hole_sessions - 1], ClosedBy.END)
        assert sold.exit_price_usd == Decimal(repr(float(panel.close[row - 1, column])))
    else:
        assert (sold.closed_session, sold.closed_by) == (dates(panel)[row + hole_sessions], ClosedBy.TIME_STOP)


def test_a_time_stop_beyond_what_a_decision_reads_is_due_all_the_same() -> None:
    panel = seeded_panel(8, 620, 4)
    exits = ExitTerms(
        stop_loss_frac=Decimal("0.9"), take_profit_frac=Decimal(1), time_stop_sessions=310, minimum_hold_sessions=310
    )
    parameters = parameters_of(panel, "momentum", exits=exits)
    ended = [trade for trade in traded(panel, parameters).trades if trade.closed_by is ClosedBy.TIME_STOP]
    assert parameters.history_sessions < 310
    assert {trade.held_sessions for trade in ended} == {311}


def test_strategies_that_look_back_further_than_a_decision_reads_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """The whole matrix has the bars; the deployed desk, which reads fewer, would never buy."""
    panel = seeded_panel(1, 400, 3)
    far = strategies.STRATEGIES["momentum"]._replace(name="far", lookback_sessions=320)
    monkeypatch.setattr(strategies, "STRATEGIES", {**strategies.STRATEGIES, "far": far})
    words = r"rsi, far: the longest look back is 320 sessions, and a decision reads 300 .* set history_sessions to 320 or more"
    with pytest.raises(ConfigurationError, match=words):
        traded(panel, parameters_of(panel, "rsi", "far"))
    enough = parameters_of(panel, "rsi", "far").model_copy(update={"history_sessions": 320})
    assert traded(panel, enough).trades


@pytest.mark.parametrize("is_last_session", [False, True])
@pytest.mark.parametrize(("spare_usd", "halts_count"), [("0", 1), ("0.01", 0)])
def test_a_day_halts_the_desk_that_loses_its_limit_to_the_cent(
    spare_usd: str, halts_count: int, is_last_session: bool
) -> None:
    """Bought at 100, seen at 90: the loss of that moment is the limit exactly, or a cent less than it."""
    panel = seeded_panel(1, 303, 1)
    flat = np.append(np.round(np.linspace(60.0, 100.0, 301), 2), [100.0, 100.0])[:, None]
    low = flat.copy()
    low[301] = 90.0
    bars = replace(panel, open=flat.copy(), high=flat.copy(), low=low, close=flat)
    exits = ExitTerms(stop_loss_frac=Decimal("0.3"), take_profit_frac=Decimal(1))
    day = dates(panel)[301]
    last = day if is_last_session else None

    def found(limit_frac: Decimal) -> BacktestRecords:
        limits = RiskLimits(daily_loss_frac_max=limit_frac)
        parameters = parameters_of(bars, "momentum", exits=exits, limits=limits)
        return run_backtest(market_of(bars), parameters, Costs().options(CASH), first=day, last=last)

    (bought,) = [order for order in found(Decimal("0.5")).orders if order.side == "buy"]
    lost_usd = bought.filled_shares * 10
    assert found((lost_usd + Decimal(spare_usd)) / CASH).halts_count == halts_count


def test_a_missing_bar_neither_trades_nor_breaks_anything() -> None:
    panel = seeded_panel(9, 320, 6)
    holes = {field: getattr(panel, field).copy() for field in FIELDS}
    missing = np.random.default_rng(1).random(panel.close.shape) < 0.002
    for field in FIELDS:
        holes[field][missing] = np.nan
    records = traded(replace(panel, **holes))
    filled = [(dates(panel).index(trade.opened_session), panel.symbols.index(trade.symbol)) for trade in records.trades]
    assert filled
    assert not any(missing[place] for place in filled)


@pytest.mark.parametrize(
    ("first", "last", "words"),
    [
        (date(2030, 1, 1), None, "no session from 2030-01-01: the bars"),
        (date(2012, 12, 1), date(2012, 1, 5), "no session from 2012-12-01 to 2012-01-05: the bars"),
    ],
)
def test_a_span_without_sessions_is_an_error(first: date, last: date | None, words: str) -> None:
    panel = seeded_panel(1, 300, 3)
    with pytest.raises(ConfigurationError, match=words):
        span_of(market_of(panel), parameters_of(panel, "rsi"), first, last)


def test_a_span_from_before_the_bars_begins_with_the_second_of_them() -> None:
    panel = seeded_panel(1, 300, 3)
    parameters, second = parameters_of(panel, "rsi"), dates(panel)[1]
    assert span_of(market_of(panel), parameters, date(1990, 1, 1), None) == (second, dates(panel)[-1])
    records = run_backtest(market_of(panel), parameters, Costs().options(CASH), first=date(1990, 1, 1))
    assert records.equity[0].session == second
    assert records.warnings[0] == f"the bars begin on {dates(panel)[0]}: traded from {second} on"


def test_too_little_history_says_how_much_is_needed() -> None:
    panel = seeded_panel(1, 30, 3)
    with pytest.raises(ConfigurationError, match="the bars cover 30 sessions; the strategies look back"):
        traded(panel)


def test_a_universe_without_bars_is_an_error_and_one_absent_symbol_a_note() -> None:
    panel = seeded_panel(1, 300, 4)
    parameters = parameters_of(panel, "momentum")
    with pytest.raises(DataError, match="the bars have none of the 4 symbols"):
        traded(panel, parameters, market=market_of(replace(panel, symbols=("A", "B", "C", "D"))))
    records = traded(panel, parameters, market=market_of(replace(panel, symbols=("A", *panel.symbols[1:]))))
    assert any("no bars of S00: skipped" in warning for warning in records.warnings)


def test_a_symbol_that_is_skipped_for_its_bars_is_told_with_the_reason() -> None:
    panel = seeded_panel(9, 300, 4)
    close = panel.close.copy()
    close[290, 2] *= 40
    faulty = replace(panel, close=close, high=np.maximum(panel.high, close))
    stopped, told = traded(faulty).warnings
    assert stopped.startswith("in 9 of 100 sessions the desk bought nothing, as it could judge less than 80% of the universe")
    assert told.startswith("S02 was skipped after 9 sessions: price jump in session")
    assert traded(panel).warnings == ()


def test_bars_alone_are_enough_of_a_configuration() -> None:
    panel = seeded_panel(1, 300, 4)
    parameters = default_parameters(panel, ("rsi",))
    assert (parameters.strategies, parameters.votes_to_act_count_min) == (("rsi",), 1)
    with pytest.raises(ConfigurationError, match="strategy 'rsy' does not exist"):
        voted_by(parameters, ("rsy",))


@pytest.mark.parametrize(
    ("costs", "words"),
    [
        ({"slippage_bps": Decimal(-1)}, "the slippage is -1: a cost is not negative"),
        ({"capacity_frac": Decimal(0)}, "the capacity is 0: a part above 0 and at most 1 of the mean volume"),
    ],
)
def test_costs_that_make_no_sense_are_refused(costs: dict[str, Decimal], words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        Costs(**costs)
    with pytest.raises(ConfigurationError, match="cash is 0 USD"):
        Costs().options(Decimal(0))


def test_bars_of_the_look_back_alone_leave_nothing_to_trade() -> None:
    panel = seeded_panel(1, 51, 2)
    parameters = parameters_of(panel, "sma_cross")
    assert span_of(market_of(panel), parameters, None, None) == (panel.days[50], panel.days[50])
    short = panel.rows(slice(None, 50))
    with pytest.raises(ConfigurationError, match="the bars cover 50 sessions; the strategies look back 50, and one more"):
        span_of(market_of(short), parameters, None, None)


def test_every_session_is_told_as_it_is_done() -> None:
    told: list[tuple[int, int]] = []
    panel = seeded_panel(1, 270, 3)
    found = run_backtest(
        market_of(panel), parameters_of(panel, "momentum"), Costs().options(CASH), progress=lambda *both: told.append(both)
    )
    assert told == [(done, len(found.equity)) for done in range(1, len(found.equity) + 1)]


def test_a_desk_that_is_full_has_a_decision_for_every_symbol_too() -> None:
    """It plans nothing, which a backtest that keeps plans alone finds without deciding."""
    panel = seeded_panel(1, 290, 6)
    parameters = parameters_of(panel, "momentum", limits=RiskLimits(positions_count_max=1))
    decisions: list[Decision] = []
    found = run_backtest(market_of(panel), parameters, Costs().options(CASH), decisions=decisions)
    decided_after = {decision.session for decision in decisions}
    assert len(decided_after) == len(found.equity), "one evening for every session that is traded"
    assert len(decisions) == len(decided_after) * len(panel.symbols)
