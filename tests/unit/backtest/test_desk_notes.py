"""What a backtest tells of how its desk fared: each note where there is reason for it, and none where there is not."""

from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal

import pytest

from closebell.backtest.notes.desk import desk_notes
from closebell.backtest.records import BacktestRecords, ClosedBy, DecisionRow
from closebell.backtest.run import Costs, run_backtest
from closebell.model.decision import Decision
from closebell.model.operations import Alert, Priority
from closebell.model.panel import FIELDS, BarPanel
from closebell.model.parameters import RiskLimits
from tests.unit.backtest.desk_cases import FIRST_ROW, coins_that_open_elsewhere, day_of
from tests.unit.backtest.markets import market_of, parameters_of, seeded_panel
from tests.unit.backtest.sample_records import equity_of, records_of

CASH_USD = Decimal(100_000)


def traded(panel: BarPanel, costs: Costs | None = None) -> BacktestRecords:
    charged = costs or Costs()
    parameters = parameters_of(panel, "momentum", "rsi", limits=RiskLimits(universe_coverage_frac_min=Decimal("0.001")))
    return run_backtest(market_of(panel, f"{charged.spread_frac}"), parameters, charged.options(CASH_USD))


def scaled(panel: BarPanel, factor: float) -> BarPanel:
    return replace(panel, **{name: getattr(panel, name) * factor for name in FIELDS[:4]})


def test_a_desk_that_did_what_it_decided_has_no_notes() -> None:
    assert traded(seeded_panel(8, 320, 6), Costs(slippage_bps=Decimal(5))).warnings == ()


def test_a_desk_that_decides_to_buy_and_never_does_says_what_holds_it_back() -> None:
    """The ask lies above the collar by which the orders were sized."""
    records = traded(seeded_panel(8, 320, 6), Costs(slippage_bps=Decimal(600)))
    (told,) = records.warnings
    count = sum(bool(row.held_back) for row in records.decisions)
    assert (records.orders, count) == ([], len(records.decisions))
    assert told.startswith(f"{count} of {count} planned entries were held back in the morning: position_weight ")


def test_what_held_an_entry_back_is_told_also_where_every_decision_is_kept() -> None:
    panel, costs = seeded_panel(8, 230, 4), Costs(slippage_bps=Decimal(600))
    market, parameters = market_of(panel, f"{costs.spread_frac}"), parameters_of(panel, "momentum", "rsi")
    found: list[dict[tuple[date, str], str]] = []
    for decisions in (None, list[Decision]()):
        records = run_backtest(market, parameters, costs.options(CASH_USD), decisions=decisions)
        found.append({(row.session, row.symbol): row.held_back for row in records.decisions if row.outcome == "enter"})
    assert found[0] == found[1]
    assert any(why.startswith("position_weight") for why in found[0].values())


def test_positions_that_the_exchange_takes_no_stop_of_are_named() -> None:
    """Target and stop of what costs some cents are less than a cent apart, as prices of long ago are when they are adjusted."""
    records = traded(scaled(seeded_panel(8, 320, 6), 0.0005))
    assert records.trades
    (told,) = (warning for warning in records.warnings if "held without a stop" in warning)
    assert told.startswith("S00, S01")
    assert "base_price" in told


def test_what_costs_less_than_a_dollar_has_its_spread_too() -> None:
    """A half spread in ticks of a hundredth of a cent would be nothing."""
    records = traded(scaled(seeded_panel(8, 320, 6), 0.0005), Costs(slippage_bps=Decimal(5)))
    assert records.trades
    for trade in records.trades:
        expected = trade.quantity_shares * (trade.entry_price_usd + trade.exit_price_usd) * Decimal("0.0005")
        assert abs(trade.spread_cost_usd - expected) < expected / 100


def test_cash_below_zero_is_told() -> None:
    records = traded(seeded_panel(8, 320, 6), Costs(commission_an_order_usd=Decimal(9_000)))
    (told,) = records.warnings
    lowest_usd = min(row.cash_usd for row in records.equity)
    assert told.startswith("cash was below zero after ")
    assert f"by ${-lowest_usd:,.2f} at most" in told


def test_a_coins_stop_that_is_jumped_over_was_a_stop_all_the_same() -> None:
    """A stop-limit below a gap does not fill, and the desk sells at the market: that is no position without a stop."""
    case = coins_that_open_elsewhere()
    found = run_backtest(case.market, case.parameters, case.costs.options(CASH_USD), first=day_of(case.market.panel, FIRST_ROW))
    assert any(trade.closed_by is ClosedBy.STOP for trade in found.trades)
    assert not [note for note in found.warnings if "without a stop" in note]


def entry_row(held_back: str) -> DecisionRow:
    return DecisionRow(date(2020, 1, 2), "AAA", "enter", "two votes", "", 0.5, Decimal(10), Decimal(1), held_back)


@pytest.mark.parametrize(("count", "is_told"), [(10, True), (11, False)])
def test_one_entry_in_ten_that_is_held_back_is_told(count: int, is_told: bool) -> None:
    rows = [entry_row("price_collar: too far"), *[entry_row("")] * (count - 1)]
    assert desk_notes(replace(records_of([], []), decisions=rows), []) == (
        (f"1 of {count} planned entries were held back in the morning: price_collar 1",) if is_told else ()
    )


def unprotected(symbol: str, day: int) -> Alert:
    at = datetime(2020, 3, day, tzinfo=UTC)
    body = f"{symbol} has no stop since the {day}th"
    return Alert(
        alert_id=f"unprotected-{at:%Y-%m-%d}-{symbol}", priority=Priority.URGENT, subject="no stop", body=body, created_at=at
    )


def test_symbols_without_a_stop_are_named_once_five_of_them_with_how_many_more_and_the_first_alert() -> None:
    alerts = [unprotected(symbol, day) for day in (16, 17) for symbol in ("G", "BRK-B", "A", "C", "D", "E", "F")]
    (told,) = desk_notes(records_of([], []), alerts)
    assert told.startswith("A, BRK-B, C, D, E and 2 more: held without a stop at times")
    assert told.endswith("the first alert: G has no stop since the 16th")
    (told,) = desk_notes(records_of([], []), alerts[:5])
    assert told.startswith("A, BRK-B, C, D, G: held without a stop")


def test_the_sessions_with_cash_below_zero_are_counted_and_those_without_are_not() -> None:
    (told,) = desk_notes(records_of([], equity_of(date(2020, 1, 2), [5, 0, -3, -7, 4])), [])
    assert told.startswith("cash was below zero after 2 sessions, by $7.00 at most")
