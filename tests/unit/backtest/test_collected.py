"""What the rows of a backtest say, worked out again from their own prices."""

from decimal import Decimal

import numpy as np
import pytest

from closebell.backtest.desk.collected import collect
from closebell.backtest.desk.engine import BacktestDesk
from closebell.backtest.desk.known_evidence import KnownEvidence
from closebell.backtest.records import ClosedBy
from closebell.backtest.run import Costs
from closebell.model.decision import Volatility
from closebell.model.errors import BooksDisagree
from closebell.model.parameters import ExitTerms
from closebell.simulation.bar_market import BarMarket, hours_of
from tests.unit.backtest.markets import CALENDAR, market_of, parameters_of, seeded_panel
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


def test_an_orders_share_of_the_volume_is_that_of_the_sessions_before_it_trades() -> None:
    """A stop may rest for days: what was usual when it was sent is not what it met."""
    panel = seeded_panel(4, 260, 6)
    records = traded(panel)
    rested = [trade for trade in records.trades if trade.closed_by is ClosedBy.STOP and trade.held_sessions]
    assert rested
    for trade in rested:
        row, column = panel.days.index(trade.closed_session), panel.symbols.index(trade.symbol)
        mean_shares = float(np.mean(panel.volume[row - 20 : row, column]))
        (share_frac,) = (
            order.volume_share_frac for order in records.orders
            if (order.symbol, order.side, order.filled_price_usd) == (trade.symbol, "sell", trade.exit_price_usd)
            and trade.opened_session <= order.session <= trade.closed_session
        )  # fmt: skip
        assert share_frac == pytest.approx(float(trade.quantity_shares) / mean_shares)


@pytest.mark.parametrize("beside_usd", ["0.02", "-0.02", "0.01", "-0.01"])
def test_round_trips_that_do_not_explain_the_account_to_the_cent_are_no_results(beside_usd: str) -> None:
    panel = seeded_panel(4, 230, 6)
    market, parameters = market_of(panel), parameters_of(panel, "momentum", "rsi")
    evidence, options = KnownEvidence(market, parameters), Costs().options(CASH)
    desk = BacktestDesk(market, parameters, evidence, options)
    desk.play(panel.days[205], panel.days[-1])
    assert collect(desk, evidence).trades
    desk.exchange.transfer(Decimal(beside_usd))
    if abs(Decimal(beside_usd)) > Decimal("0.01"):
        with pytest.raises(BooksDisagree, match="the round trips earned"):
            collect(desk, evidence)
    else:
        assert collect(desk, evidence).trades
