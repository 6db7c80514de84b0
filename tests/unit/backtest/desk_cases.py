"""Small backtests, each with something in it that a desk seldom meets, and how one sees that it was met."""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import date
from decimal import Decimal
from typing import NamedTuple

import numpy as np

from closebell.backtest.desk.engine import BacktestDesk
from closebell.backtest.records import BacktestRecords, ClosedBy
from closebell.backtest.run import Costs
from closebell.model.instruments import Market
from closebell.model.panel import FIELDS, BarPanel, Matrix
from closebell.model.parameters import EntryTerms, ExitTerms, ParameterSet, RiskLimits
from closebell.simulation.bar_market import BarMarket, hours_of
from tests.unit.backtest.markets import CALENDAR, coin_market, coin_panel, parameters_of, seeded_panel
from tests.unit.backtest.panel_events import crashing, gapping, thinned, unadjusted, without

FIRST_ROW, ROWS_COUNT, CASH_USD = 255, 290, Decimal(100_000)

Sight = Callable[[BacktestDesk, BacktestRecords], bool]
"""Whether a backtest that has ended has met what its case is named after."""


class DeskCase(NamedTuple):
    """One backtest, from `FIRST_ROW` to the end of its market."""

    market: BarMarket
    parameters: ParameterSet
    costs: Costs
    shows: Sight


def shares(
    panel: BarPanel,
    shows: Sight,
    *strategies: str,
    costs: Costs | None = None,
    exits: ExitTerms | None = None,
    entries: EntryTerms | None = None,
    splits: Mapping[str, Mapping[date, float]] | None = None,
    **limits: object,
) -> DeskCase:
    """A case of shares; `limits` are those that differ from the usual ones."""
    charged = costs or Costs(slippage_bps=Decimal(5))
    market = BarMarket(panel, hours_of(CALENDAR, panel), spread_frac=charged.spread_frac, splits=splits)
    names = strategies or ("momentum", "rsi")
    parameters = parameters_of(panel, *names, limits=RiskLimits.model_validate(limits), exits=exits)
    return DeskCase(market, parameters.model_copy(update={"entries": entries or EntryTerms()}), charged, shows)


def coins(
    panel: BarPanel,
    shows: Sight,
    costs: Costs | None = None,
    exits: ExitTerms | None = None,
    entries: EntryTerms | None = None,
    strategies: tuple[str, ...] = ("momentum", "rsi"),
    **limits: object,
) -> DeskCase:
    """A case of coins; `limits` are those that differ from the usual ones."""
    charged = costs or Costs(slippage_bps=Decimal(5))
    market = coin_market(panel, str(charged.spread_frac))
    stated = RiskLimits.model_validate(limits)
    parameters = parameters_of(panel, *strategies, limits=stated, exits=exits, market=Market.CRYPTO)
    return DeskCase(market, parameters.model_copy(update={"entries": entries or EntryTerms()}), charged, shows)


def day_of(panel: BarPanel, row: int) -> date:
    day: date = panel.sessions[row].astype(object)
    return day


# --- what is seen


def closes_by(*rules: ClosedBy) -> Sight:
    return lambda desk, found: {trade.closed_by for trade in found.trades} >= set(rules)


def halts(count: int) -> Sight:
    return lambda desk, found: found.halts_count >= count


def buys_in_part(status: str) -> Sight:
    """A buy that ended with less than was ordered."""
    return lambda desk, found: any(
        order.side == "buy" and order.status == status and 0 < order.filled_shares < order.quantity_shares
        for order in found.orders
    )


def buys_in_parts(desk: BacktestDesk, found: BacktestRecords) -> bool:
    """A buy that traded more than once."""
    bought = [one.order_id for one in desk.exchange.floor.book.activities if one.code == "FILL" and one.side == "buy"]
    return max(Counter(bought).values()) > 1


def buys_on_after_all_was_sold(desk: BacktestDesk, found: BacktestRecords) -> bool:
    """An entry whose first part was stopped out before its next part traded."""
    parts: dict[str, list[int]] = {}
    flats: dict[str, list[int]] = {}
    held: Counter[str] = Counter()
    for place, one in enumerate(desk.exchange.floor.book.activities):
        if one.code == "FILL" and one.symbol and one.order_id:
            held[one.symbol] += int(one.quantity_shares) * (1 if one.side == "buy" else -1)
            if not held[one.symbol]:
                flats.setdefault(one.symbol, []).append(place)
            elif one.side == "buy":
                parts.setdefault(f"{one.symbol} {one.order_id}", []).append(place)
    spans = ((name.split()[0], places[0], places[-1]) for name, places in parts.items())
    return any(first < flat < last for symbol, first, last in spans for flat in flats.get(symbol, ()))


def denies(check: str) -> Sight:
    """An entry that a check of the morning held back."""

    def sight(desk: BacktestDesk, found: BacktestRecords) -> bool:
        partitions = [f"DENIAL#{desk.day.market}#{session}" for session in desk.sessions]
        reasons = [stored.record.model_dump()["reason"] for name in partitions for stored in desk.journal.query("journal", name)]
        return any(reason.startswith(check) for reason in reasons)

    return sight


def sells_at_the_first_price_of_an_unplanned_day(desk: BacktestDesk, found: BacktestRecords) -> bool:
    """What sells is a stop: the desk has sent nothing on that day."""
    first_price_at = desk.market.print_instants(desk.sessions[0])[0].time()
    unplanned = {day for day in desk.sessions if not desk.journal.query("journal", f"PLAN#{desk.day.market}#{day}")}
    sales = [one for one in desk.exchange.floor.book.activities if one.code == "FILL" and one.side == "sell"]
    return any(sale.at.time() == first_price_at and sale.day in unplanned for sale in sales)


def ends_entries_as(*statuses: str) -> Sight:
    return lambda desk, found: {order.status for order in found.orders if order.side == "buy"} >= set(statuses)


def both(*sights: Sight) -> Sight:
    return lambda desk, found: all(sight(desk, found) for sight in sights)


# --- the cases

WIDE = ExitTerms(stop_loss_frac=Decimal("0.3"), take_profit_frac=Decimal(1))
NARROW = ExitTerms(stop_loss_frac=Decimal("0.02"), take_profit_frac=Decimal("0.03"))
COINS_NARROW = ExitTerms(stop_loss_frac=Decimal("0.03"), take_profit_frac=Decimal("0.05"))
LIMIT = EntryTerms(use_limit=True, limit_offset_frac=Decimal("0.002"))
COINS_LIMIT = EntryTerms(use_limit=True, limit_offset_frac=Decimal("0.004"))
COMMISSIONS = Costs(Decimal(7), commission_a_share_usd=Decimal("0.013"), commission_an_order_usd=Decimal("2.5"))


def quiet() -> DeskCase:
    return shares(seeded_panel(11, ROWS_COUNT, 8), closes_by(ClosedBy.STOP, ClosedBy.TIME_STOP))


def restless() -> DeskCase:
    return shares(
        seeded_panel(12, ROWS_COUNT, 8, 0.04), closes_by(ClosedBy.STOP, ClosedBy.TARGET), costs=Costs(),
        exits=ExitTerms(take_profit_frac=Decimal("0.03")),
    )  # fmt: skip


def narrow_stops_in_a_restless_market() -> DeskCase:
    """Most positions end on the day they begin."""

    def ends_at_once(desk: BacktestDesk, found: BacktestRecords) -> bool:
        return sum(not trade.held_sessions for trade in found.trades) > len(found.trades) / 2 > 30

    return shares(seeded_panel(21, ROWS_COUNT, 12, 0.03), ends_at_once, exits=NARROW)


def falls_within_a_day_that_closes_well() -> DeskCase:
    panel = crashing(seeded_panel(13, ROWS_COUNT, 8), 265, 277)
    return shares(panel, halts(1), exits=WIDE, daily_loss_frac_max=Decimal("0.03"))


def loses_too_much_on_many_days() -> DeskCase:
    exits = ExitTerms(stop_loss_frac=Decimal("0.05"), take_profit_frac=Decimal("0.05"))
    return shares(seeded_panel(43, ROWS_COUNT, 8, 0.03), halts(10), exits=exits, daily_loss_frac_max=Decimal("0.01"))


def halts_while_entries_rest() -> DeskCase:
    """The price is back before anything else happens: what withdraws the entries is the reconciliation after the halt."""
    sight = both(halts(5), ends_entries_as("filled", "expired", "canceled"))
    exits = ExitTerms(stop_loss_frac=Decimal("0.01"), take_profit_frac=Decimal("0.2"))
    panel = seeded_panel(45, ROWS_COUNT, 12, 0.03)
    return shares(panel, sight, exits=exits, entries=LIMIT, daily_loss_frac_max=Decimal("0.01"))


def limit_entries() -> DeskCase:
    return shares(seeded_panel(22, ROWS_COUNT, 12, 0.02), ends_entries_as("filled", "expired"), entries=LIMIT)


def a_thin_market() -> DeskCase:
    costs = Costs(Decimal(3), capacity_frac=Decimal("0.3"))
    panel = thinned(seeded_panel(23, ROWS_COUNT, 8, 0.02), 2000)
    return shares(panel, buys_in_part("canceled"), costs=costs, volume_share_frac_max=1)


def limit_entries_in_a_thin_market() -> DeskCase:
    costs = Costs(Decimal(3), capacity_frac=Decimal("0.2"))
    panel = thinned(seeded_panel(33, ROWS_COUNT, 8, 0.02), 2000)
    return shares(panel, both(buys_in_part("expired"), buys_in_parts), costs=costs, entries=LIMIT, volume_share_frac_max=1)


def entries_that_go_on_after_a_stop() -> DeskCase:
    """What was bought before belongs to one round trip with its costs, what is bought afterwards to the next."""
    costs = Costs(Decimal(3), Decimal("0.013"), Decimal("2.5"), Decimal("0.2"))
    panel = thinned(seeded_panel(1, ROWS_COUNT, 8, 0.05), 2000)
    exits = ExitTerms(stop_loss_frac=Decimal("0.005"), take_profit_frac=Decimal("0.005"))
    return shares(panel, buys_on_after_all_was_sold, costs=costs, exits=exits, entries=LIMIT, volume_share_frac_max=1)


def commissions() -> DeskCase:
    return shares(
        seeded_panel(24, ROWS_COUNT, 10, 0.02), lambda desk, found: all(trade.commission_usd > 5 for trade in found.trades),
        "momentum", "rsi", "mean_reversion", costs=COMMISSIONS,
    )  # fmt: skip


def splits() -> DeskCase:
    """Three shares for two leave fractions, which rest a stop alone; two for one leave an OCO that is too small."""
    panel = seeded_panel(17, ROWS_COUNT, 6)
    high = panel.high.copy()
    high[269:, 1] *= 1.12
    panel = unadjusted(unadjusted(replace(panel, high=high), 268, 1.5, slice(None)), 280, 2, slice(3))
    ratios = {symbol: {day_of(panel, 268): 1.5} for symbol in panel.symbols}
    for symbol in panel.symbols[:3]:
        ratios[symbol][day_of(panel, 280)] = 2

    def sight(desk: BacktestDesk, found: BacktestRecords) -> bool:
        split = {one.description for one in desk.exchange.floor.book.activities if one.code == "SPLIT"}
        watched = any(order.quantity_shares % 1 and order.order_type == "market" for order in found.orders)
        return watched and split == {"1.5 for 1 split", "2 for 1 split"}

    exits = ExitTerms(stop_loss_frac=Decimal("0.3"), take_profit_frac=Decimal("0.1"), time_stop_sessions=60)
    return shares(panel, sight, "momentum", "rsi", exits=exits, splits=ratios)


def delistings_and_holes() -> DeskCase:
    panel = seeded_panel(25, ROWS_COUNT, 10, 0.02)
    for column in range(0, 10, 2):
        panel = without(panel, FIELDS, slice(265 + 2 * column, None), column)
    panel = without(panel, ("close",), slice(270, 275), 1)
    panel = without(panel, ("open",), slice(268, 269), 3)
    panel = without(panel, ("open", "high", "low"), slice(275, 285), 5)
    return shares(panel, closes_by(ClosedBy.DELISTED), universe_coverage_frac_min=Decimal("0.001"))


def closes_only() -> DeskCase:
    panel = seeded_panel(26, ROWS_COUNT, 10, 0.02)
    unknown = np.full(panel.close.shape, np.nan)
    bars = replace(panel, open=unknown, high=unknown, low=unknown, volume=unknown)
    return shares(bars, closes_by(ClosedBy.STOP, ClosedBy.TIME_STOP))


def more_entries_than_requests_in_a_minute() -> DeskCase:
    """All rise, few come back to their limit: every morning asks for a hundred entries, beside exits and what was paid out."""
    rows_count = 259
    plain = seeded_panel(50, rows_count, 106, 0.0005)
    closes: Matrix = np.round(plain.close * np.exp(0.004 * np.arange(rows_count))[:, None], 2)
    before = np.vstack([closes[:1], closes[:-1]])
    comes_back = np.add(*np.indices(closes.shape)) % 9 == 0
    opens, lows = np.round(before * 1.003, 2), np.round(before * np.where(comes_back, 0.998, 1.002), 2)
    highs: Matrix = np.round(np.maximum(opens, closes) * 1.001, 2)
    lows = np.minimum(lows, np.minimum(opens, closes))
    panel = replace(plain, open=opens, high=highs, low=lows, close=closes)
    for column in np.flatnonzero(comes_back[256])[:3].tolist():
        panel = without(panel, FIELDS, slice(257, None), column)
    return shares(
        panel, both(denies("rate budget"), closes_by(ClosedBy.DELISTED)), "momentum",
        entries=EntryTerms(use_limit=True, limit_offset_frac=Decimal("0.0005")),
        exits=ExitTerms(time_stop_sessions=1, minimum_hold_sessions=0),
        orders_per_session_count_max=500, positions_count_max=100, positions_per_sector_count_max=100,
        position_weight_frac_max=Decimal("0.009"),
    )  # fmt: skip


def some_coins() -> DeskCase:
    return coins(coin_panel(14, ROWS_COUNT), closes_by(ClosedBy.STOP, ClosedBy.TARGET), exits=COINS_NARROW)


def coins_that_fall_within_a_day() -> DeskCase:
    panel = crashing(coin_panel(16, ROWS_COUNT), 265, 277)
    return coins(panel, halts(1), Costs(), WIDE, daily_loss_frac_max=Decimal("0.01"))


def coins_that_lose_too_much_on_many_days() -> DeskCase:
    """New York's midnight lies within their day: from then on the loss is reckoned from another close."""

    def halts_in_new_yorks_night(desk: BacktestDesk, found: BacktestRecords) -> bool:
        return any(alert.alert_id.startswith("halt-") and 4 <= alert.created_at.hour < 8 for alert in desk.alerts.alerts)

    exits = ExitTerms(stop_loss_frac=Decimal("0.1"), take_profit_frac=Decimal("0.2"), time_stop_sessions=30)
    sight = both(halts(10), halts_in_new_yorks_night)
    return coins(coin_panel(32, ROWS_COUNT), sight, exits=exits, daily_loss_frac_max=Decimal("0.01"))


def coins_that_open_elsewhere() -> DeskCase:
    """The first price of a day is too far away to buy at, or through a stop while nothing is planned."""
    panel = gapping(coin_panel(22, ROWS_COUNT, ("BTC/USD", "ETH/USD")), 0.02)
    sight = both(denies("price_collar"), sells_at_the_first_price_of_an_unplanned_day)
    return coins(panel, sight, exits=COINS_NARROW, price_collar_frac=Decimal("0.01"))


def coins_in_a_thin_market() -> DeskCase:
    costs, panel = Costs(Decimal(2), capacity_frac=Decimal("0.5")), thinned(coin_panel(18, ROWS_COUNT), 20_000)
    return coins(panel, buys_in_parts, costs, volume_share_frac_max=1)


def limit_entries_of_coins_in_a_thin_market() -> DeskCase:
    costs, panel = Costs(Decimal(2), capacity_frac=Decimal("0.5")), thinned(coin_panel(19, ROWS_COUNT), 20_000)
    return coins(panel, both(buys_in_part("canceled"), buys_in_parts), costs, entries=COINS_LIMIT, volume_share_frac_max=1)


def delisted_coins() -> DeskCase:
    panel = without(coin_panel(20, ROWS_COUNT), FIELDS, slice(272, None), 1)
    return coins(panel, closes_by(ClosedBy.DELISTED), exits=WIDE, universe_coverage_frac_min=Decimal("0.001"))


CASES: tuple[Callable[[], DeskCase], ...] = (
    quiet, restless, narrow_stops_in_a_restless_market, falls_within_a_day_that_closes_well, loses_too_much_on_many_days,
    halts_while_entries_rest, limit_entries, a_thin_market, limit_entries_in_a_thin_market, commissions,
    entries_that_go_on_after_a_stop,
    splits, delistings_and_holes, closes_only, more_entries_than_requests_in_a_minute, some_coins, coins_that_fall_within_a_day,
    coins_that_lose_too_much_on_many_days, coins_that_open_elsewhere, coins_in_a_thin_market,
    limit_entries_of_coins_in_a_thin_market, delisted_coins,
)  # fmt: skip
