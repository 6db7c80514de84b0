"""What a print does to an order: pure rules, one print and one order at a time.

- A market order fills at the print, plus (buying) or minus (selling) half the spread.
- A stop triggers at a print through it and fills as a market order at that print, however far through it is.
- A limit fills when a print crosses it: at the print when that is the first one the order meets in a session (a gap, or an
  order that was marketable when it came), else at its limit, since the price went through it on the way.
- `opg` sees only the first print of a session, `cls` only the last.
"""

from decimal import Decimal
from typing import NamedTuple

from closebell.model.instruments import Market
from closebell.simulation.exchange_tape import SeenPrint
from closebell.simulation.venue_orders import STOP_TYPES, ExchangeOrder

CRYPTO_COLLAR_FRAC = Decimal("0.02")


class Execution(NamedTuple):
    """The price a print gives an order (USD), and whether the order was resting there (maker)."""

    price_usd: Decimal
    is_maker: bool


def meets(order: ExchangeOrder, seen: SeenPrint) -> bool:
    """Whether the order can trade at this print at all."""
    if not order.is_open or order.works_after_at is None or order.works_after_at >= seen.print.at:
        return False
    if order.time_in_force == "opg":
        return seen.is_first
    return seen.is_last if order.time_in_force == "cls" else True


def execution(order: ExchangeOrder, seen: SeenPrint, half_spread_usd: Decimal) -> Execution | None:
    """The price at which the order trades at this print, or None. Arms triggers and trails the stop."""
    price = seen.print.price_usd
    is_first_look, was_resting = order.seen_session != seen.session, order.seen_session is not None
    order.seen_session = seen.session
    if order.order_type in STOP_TYPES and not order.triggered:
        _trail_start(order, price)
        if not _is_through_stop(order, price):
            _trail(order, price)
            return None
        order.triggered = is_first_look = True
        was_resting = False
    limit = order.limit_price_usd
    market_price = price + half_spread_usd if order.is_buy else price - half_spread_usd
    if limit is None:
        return Execution(market_price, is_maker=False)
    if (price > limit) if order.is_buy else (price < limit):
        return None
    is_maker = was_resting and order.order_type != "market"
    if not is_first_look:
        return Execution(limit, is_maker)
    return Execution(min(limit, market_price) if order.is_buy else max(limit, market_price), is_maker)


def market_limit_usd(market: Market, order_type: str, is_buy: bool, price_usd: Decimal) -> Decimal | None:
    """A crypto market order is a limit two percent away; None for every other order."""
    if market is not Market.CRYPTO or order_type != "market":
        return None
    return price_usd * (1 + CRYPTO_COLLAR_FRAC if is_buy else 1 - CRYPTO_COLLAR_FRAC)


def would_trade_with(resting: ExchangeOrder, is_buy: bool, order_type: str, limit_usd: Decimal | None) -> bool:
    """Whether a new order could trade with one of the same account's on the other side (a wash trade).

    Market and stop orders always could; two limits only when they cross.
    """
    if resting.is_buy == is_buy or resting.is_complex or not resting.is_open:
        return False
    if order_type != "limit" or resting.order_type != "limit" or limit_usd is None or resting.limit_price_usd is None:
        return True
    return limit_usd >= resting.limit_price_usd if is_buy else limit_usd <= resting.limit_price_usd


def _is_through_stop(order: ExchangeOrder, price_usd: Decimal) -> bool:
    stop = order.stop_price_usd
    return stop is not None and (price_usd >= stop if order.is_buy else price_usd <= stop)


def _trail_start(order: ExchangeOrder, price_usd: Decimal) -> None:
    if order.order_type == "trailing_stop" and order.water_mark_usd is None:
        _trail(order, price_usd)


def _trail(order: ExchangeOrder, price_usd: Decimal) -> None:
    """Move a trailing stop with a new high (selling) or low (buying)."""
    if order.order_type != "trailing_stop":
        return
    mark = order.water_mark_usd
    if mark is None or (price_usd < mark if order.is_buy else price_usd > mark):
        order.water_mark_usd = price_usd
        distance = order.trail_usd if order.trail_usd is not None else price_usd * (order.trail_frac or Decimal(0))
        order.stop_price_usd = price_usd + distance if order.is_buy else price_usd - distance
