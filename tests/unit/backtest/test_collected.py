"""What the rows of a backtest say, worked out again from their own prices."""

from decimal import Decimal

from closebell.backtest.run import Costs
from closebell.model.decision import Volatility
from closebell.model.parameters import ExitTerms
from closebell.simulation.bar_market import BarMarket, hours_of
from tests.unit.backtest.markets import CALENDAR, seeded_panel
from tests.unit.backtest.test_engine import CASH, traded


def test_a_round_trip_and_a_session_are_told_in_fractions_that_can_be_worked_out() -> None:
    panel = seeded_panel(4, 260, 8)
    records = traded(panel, costs=Costs(slippage_bps=Decimal(20), commission_an_order_usd=Decimal("2.5")))
    stop_frac, peak_usd = ExitTerms().stop_loss_frac, CASH
    assert len(records.trades) > 10
    for trade in records.trades:
        paid_usd = trade.entry_price_usd * trade.quantity_shares
        assert trade.return_frac == trade.pnl_usd / paid_usd
        assert trade.r_multiple_ratio == trade.pnl_usd / (paid_usd * stop_frac)
        assert trade.held_sessions == panel.days.index(trade.closed_session) - panel.days.index(trade.opened_session)
    assert max(row.drawdown_frac for row in records.equity) > Decimal("0.01")
    for row in records.equity:
        peak_usd = max(peak_usd, row.equity_usd)
        assert row.drawdown_frac == (peak_usd - row.equity_usd) / peak_usd
        assert row.exposure_frac == row.positions_usd / row.equity_usd
        assert row.cash_usd == row.equity_usd - row.positions_usd


def test_the_regime_of_a_trade_is_that_of_the_evening_on_which_it_was_decided() -> None:
    panel = seeded_panel(4, 260, 6)
    closes = {day: Decimal(10 if place % 2 else 30) for place, day in enumerate(panel.days)}
    market = BarMarket(panel, hours_of(CALENDAR, panel), volatility_closes=closes)
    records = traded(panel, market=market)
    found = {trade.volatility for trade in records.trades}
    assert found == {Volatility.LOW, Volatility.HIGH}
    for trade in records.trades:
        evening = panel.days.index(trade.opened_session) - 1
        assert trade.volatility is (Volatility.LOW if evening % 2 else Volatility.HIGH)
