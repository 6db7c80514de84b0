"""A backtest leaves out reconciliations that can find nothing: it must do what a desk does that leaves out none."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import date, datetime
from decimal import Decimal

import pytest

from closebell.backtest.collected import collect
from closebell.backtest.engine import BacktestDesk
from closebell.backtest.known_evidence import KnownEvidence
from closebell.backtest.records import BacktestRecords
from closebell.backtest.run import Costs, span_of
from closebell.model.panel import FIELDS, BarPanel
from closebell.model.parameters import ExitTerms, ParameterSet, RiskLimits
from closebell.simulation.bar_market import BarMarket, hours_of
from tests.unit.backtest.markets import CALENDAR, coin_market, coin_panel, market_of, parameters_of, seeded_panel

SESSIONS_COUNT, FIRST_ROW = 290, 255


class PunctualDesk(BacktestDesk):
    """Reconciles at every instant of the schedule."""

    def _reconcile_instants(self, session: date) -> Iterator[datetime]:
        day = self.day
        at, closing = day.at(session, day.looks_from), day.at(session, day.last_look_before_review)
        while at <= day.at(session, day.looks_until):
            self._sell_out(at)
            self.exchange.advance(at)
            yield at
            if at == closing:
                self._run(self._review, day.at(session, day.reviews_at))
            at += day.looks_every


def played(desk_class: type[BacktestDesk], market: BarMarket, parameters: ParameterSet) -> tuple[BacktestRecords, int]:
    """The records of a backtest, and how often its desk halted."""
    evidence = KnownEvidence(market, parameters)
    desk = desk_class(market, parameters, evidence, Costs(slippage_bps=Decimal(5)).options(Decimal(100_000)))
    desk.play(*span_of(market, parameters, market.panel.sessions[FIRST_ROW].astype(object), None))
    return collect(desk, evidence, ()), desk.halts_count


def crashing(panel: BarPanel) -> BarPanel:
    """Twice everything falls by a fifth within the day and is back at the close."""
    low = panel.low.copy()
    low[[265, 277]] *= 0.8
    return replace(panel, low=low)


WIDE = ExitTerms(stop_loss_frac=Decimal("0.3"), take_profit_frac=Decimal(1))
NARROW = ExitTerms(stop_loss_frac=Decimal("0.03"), take_profit_frac=Decimal("0.05"))
TIGHT = RiskLimits(daily_loss_frac_max=Decimal("0.03"))
TIGHTER = RiskLimits(daily_loss_frac_max=Decimal("0.01"))


@pytest.mark.parametrize(
    ("market", "limits", "exits", "halts_count"),
    [
        (market_of(seeded_panel(11, SESSIONS_COUNT, 8), "0.001"), RiskLimits(), ExitTerms(), 0),
        (market_of(seeded_panel(12, SESSIONS_COUNT, 8, 0.04)), RiskLimits(), ExitTerms(take_profit_frac=Decimal("0.03")), 0),
        (market_of(crashing(seeded_panel(13, SESSIONS_COUNT, 8))), TIGHT, WIDE, 1),
        (coin_market(coin_panel(14, SESSIONS_COUNT), "0.001"), RiskLimits(), NARROW, 0),
        (coin_market(crashing(coin_panel(16, SESSIONS_COUNT))), TIGHTER, WIDE, 1),
    ],
    ids=["quiet", "restless", "falls within a day that closes well", "coins", "coins that fall within a day"],
)
def test_instants_that_are_left_out_change_nothing(
    market: BarMarket, limits: RiskLimits, exits: ExitTerms, halts_count: int
) -> None:
    parameters = parameters_of(market.panel, "momentum", "rsi", limits=limits, exits=exits, market=market.asset_class)
    found, halted = played(BacktestDesk, market, parameters)
    assert (found, halted) == played(PunctualDesk, market, parameters)
    assert len(found.trades) > 3
    assert halted >= halts_count


def test_a_target_that_only_the_desk_watches_is_seen_within_the_day() -> None:
    """Three shares for two leave fractions, which rest a stop alone: the desk acts on the high that touches the target."""
    panel = seeded_panel(17, SESSIONS_COUNT, 6)
    row, high = 268, panel.high.copy()
    high[row + 1 :, 1] *= 1.12
    raw = {field: getattr(replace(panel, high=high), field).copy() for field in FIELDS}
    for field in FIELDS[:4]:
        raw[field][:row] *= 1.5
    day = panel.sessions.astype(object).tolist()[row]
    splits = {symbol: {day: 1.5} for symbol in panel.symbols}
    market = BarMarket(replace(panel, **raw), hours_of(CALENDAR, panel), splits=splits)
    exits = ExitTerms(stop_loss_frac=Decimal("0.3"), take_profit_frac=Decimal("0.1"), time_stop_sessions=60)
    parameters = parameters_of(panel, "momentum", exits=exits)
    found = played(BacktestDesk, market, parameters)
    assert found == played(PunctualDesk, market, parameters)
    assert any(order.quantity_shares % 1 and order.order_type == "market" for order in found[0].orders)
