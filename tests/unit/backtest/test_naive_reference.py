"""The engine against a loop that knows nothing of it: a few lines of floats for what happens to a position inside daily bars."""

import math
from datetime import date
from decimal import Decimal
from typing import NamedTuple

import numpy as np
import pytest

from closebell.backtest.desk.collected import collect
from closebell.backtest.desk.engine import BacktestDesk
from closebell.backtest.desk.known_evidence import KnownEvidence
from closebell.backtest.records import BacktestRecords, ClosedBy
from closebell.model.decision import PlanAction, TradePlan
from closebell.model.panel import BarPanel
from closebell.model.parameters import ExitTerms
from closebell.simulation.exchange.trading_floor import ExchangeOptions
from tests.unit.backtest.markets import market_of, parameters_of, seeded_panel

EXITS = ExitTerms(time_stop_sessions=5, minimum_hold_sessions=5)
STOP_FRAC, TARGET_FRAC, HELD_SESSIONS = 0.03, 0.08, 5


class Exit(NamedTuple):
    """How the loop says a position ended: the panel's row, the price, the rule."""

    row: int
    price_usd: float
    rule: str


def naive_exit(panel: BarPanel, column: int, entry_row: int, entry_usd: float, half_spread_frac: float) -> Exit:
    """Walk the bars from the entry's own: open, then low, then high; sold at the open after the fifth session."""
    stop, target = cents(entry_usd * (1 - STOP_FRAC)), cents(entry_usd * (1 + TARGET_FRAC))
    for row in range(entry_row, len(panel.sessions)):
        opened, high, low = (float(field[row, column]) for field in (panel.open, panel.high, panel.low))
        is_entry_bar = row == entry_row
        if not is_entry_bar and row - entry_row == HELD_SESSIONS + 1:
            return Exit(row, opened - tick(opened * half_spread_frac), "time_stop")
        if not is_entry_bar and opened <= stop:
            return Exit(row, opened - tick(opened * half_spread_frac), "stop")
        if not is_entry_bar and opened >= target:
            return Exit(row, max(target, opened - tick(opened * half_spread_frac)), "target")
        if low <= stop:
            met = min(stop, opened)
            return Exit(row, met - tick(met * half_spread_frac), "stop")
        if high >= target:
            return Exit(row, target, "target")
    last = float(panel.close[-1, column])
    return Exit(len(panel.sessions) - 1, last - tick(last * half_spread_frac), "end")


def cents(price_usd: float) -> float:
    """Down to the cent, as the desk rounds the prices of its stops and targets."""
    return math.floor(price_usd * 100 + 1e-6) / 100


def tick(price_usd: float) -> float:
    return round(price_usd, 4)


def played(panel: BarPanel, spread_frac: str, options: ExchangeOptions) -> tuple[BacktestRecords, list[TradePlan]]:
    """A backtest over a panel from its 230th session on, and the entries it planned."""
    market, parameters = market_of(panel, spread_frac), parameters_of(panel, "momentum", exits=EXITS)
    evidence = KnownEvidence(market, parameters)
    desk = BacktestDesk(market, parameters, evidence, options)
    days: list[date] = panel.sessions.astype(object).tolist()
    desk.play(days[230], days[-1])
    plans = [
        stored.record
        for day in desk.sessions
        for stored in desk.journal.query("journal", f"PLAN#us_equity#{day}")
        if isinstance(stored.record, TradePlan) and stored.record.action is PlanAction.ENTER
    ]
    return collect(desk, evidence), plans


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("spread_frac", ["0", "0.002"])
def test_every_round_trip_is_the_naive_loops(seed: int, spread_frac: str) -> None:
    panel = seeded_panel(seed, 330, 12)
    records, plans = played(panel, spread_frac, ExchangeOptions())
    half = float(spread_frac) / 2
    rows = {day: row for row, day in enumerate(panel.sessions.astype(object).tolist())}
    reason_of = {(plan.symbol, plan.session): plan for plan in plans}
    assert len(records.trades) > 25
    assert {trade.closed_by for trade in records.trades} >= {ClosedBy.STOP, ClosedBy.TARGET, ClosedBy.TIME_STOP, ClosedBy.END}
    for trade in records.trades:
        column, row = panel.symbols.index(trade.symbol), rows[trade.opened_session]
        assert (trade.symbol, trade.opened_session) in reason_of
        opened = float(panel.open[row, column])
        entry = opened + tick(opened * half)
        assert float(trade.entry_price_usd) == pytest.approx(entry, abs=2e-4)
        expected = naive_exit(panel, column, row, float(trade.entry_price_usd), half)
        shown = (rows[trade.closed_session], trade.closed_by)
        assert shown == (expected.row, expected.rule), trade
        assert float(trade.exit_price_usd) == pytest.approx(expected.price_usd, abs=2e-4), trade


@pytest.mark.parametrize("seed", [4, 5])
def test_equity_is_cash_and_shares_at_the_close(seed: int) -> None:
    """Rebuilt from the trades alone, by a loop over sessions in floats."""
    panel = seeded_panel(seed, 300, 8)
    commissions = ExchangeOptions(commission_an_order_usd=Decimal("1.50"), commission_a_share_usd=Decimal("0.01"))
    records, _ = played(panel, "0.001", commissions)
    rows = {day: row for row, day in enumerate(panel.sessions.astype(object).tolist())}
    for place, point in enumerate(records.equity):
        equity, is_last = float(records.cash_usd), place == len(records.equity) - 1
        for trade in records.trades:
            shares, column = float(trade.quantity_shares), panel.symbols.index(trade.symbol)
            if trade.opened_session > point.session:
                continue
            equity -= shares * float(trade.entry_price_usd) + 1.5 + 0.01 * shares
            is_closed = trade.closed_session <= point.session and (is_last or trade.closed_by is not ClosedBy.END)
            if is_closed:
                equity += shares * float(trade.exit_price_usd) - 1.5 - 0.01 * shares
            else:
                equity += shares * float(panel.close[rows[point.session], column])
        assert float(point.equity_usd) == pytest.approx(equity, abs=0.05), point.session
    assert records.trades
    assert np.isclose(
        float(records.equity[-1].equity_usd - records.cash_usd), sum(float(trade.pnl_usd) for trade in records.trades), atol=0.01
    )
