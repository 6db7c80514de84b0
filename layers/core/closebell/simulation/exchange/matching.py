"""What a print does to an order: pure rules, one print and one order at a time.

- A market order fills at the print, plus (buying) or minus (selling) half the spread; of crypto within two percent, or not yet.
- A stop triggers at a print through it and fills as a market order at that print, however far through it is; where the
  price came there without a gap (inside a daily bar) it fills at the stop, or where the price came from if that is worse. One
  that the price had passed before it came triggers at once, where the price then was. What is left of it gets no better price
  in the rest of a daily bar, and its group's target none: the high may have come before the low.
- A limit fills when a print crosses it: at the print (or where the price came from without a gap) when that is the first one
  the order meets in a session (a gap, or an order that was marketable when it came), else at its limit, since the price went
  through it on the way. What is left of one that the last print was within takes the next at its price, as a market order.
- `opg` sees only the first print of a session, `cls` only the last.
"""

from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import NamedTuple

from closebell.model.broker import VenueStatus
from closebell.model.instruments import Market
from closebell.simulation.exchange.tape import SeenPrint
from closebell.simulation.exchange.venue_orders import STOP_TYPES, ExchangeOrder
from closebell.simulation.market import PriceBand

CRYPTO_COLLAR_FRAC = Decimal("0.02")
_RESTING = frozenset({VenueStatus.NEW, VenueStatus.HELD})
_PRICED = frozenset({"limit", "stop", "stop_limit"})


class Execution(NamedTuple):
    """The price a print gives an order (USD), whether the order was resting there (maker), and what of the price is spread."""

    price_usd: Decimal
    is_maker: bool
    half_spread_usd: Decimal = Decimal(0)


def meets(order: ExchangeOrder, seen: SeenPrint) -> bool:
    """Whether the order can trade at this print at all."""
    if not order.is_open or order.works_after_at is None or order.works_after_at >= seen.print.at:
        return False
    if order.is_exit and any(_sells_at_market(other, seen) for other in order.siblings()):
        return False  # what is left is being sold at the market
    if order.time_in_force == "opg":
        return seen.is_first
    return seen.is_last if order.time_in_force == "cls" else True


def execution(order: ExchangeOrder, seen: SeenPrint, half_spread_at: Callable[[Decimal], Decimal]) -> Execution | None:
    """The price at which the order trades at this print, or None. Arms triggers and trails the stop.

    `half_spread_at` says half the spread (USD) at a price.
    """
    price = seen.print.price_usd
    is_first_look, was_resting = order.seen_session != seen.session, order.seen_session is not None
    came_too_late = _came_too_late(order, seen)
    order.seen_session = seen.session
    if order.order_type in STOP_TYPES and not order.triggered:
        _trail_start(order, price)
        if not (came_too_late or _is_through_stop(order, price)):
            _trail(order, price)
            return None
        is_first_look, was_resting = True, False
        price = first = order.met_usd = _met_on_the_way(order, seen)
    elif order.order_type == "market" or seen.came_from_usd is None:
        first = price  # a market order was not there yet when the price began to move
    else:
        first = seen.came_from_usd
    if order.limit_price_usd is not None:
        return _limited(order, order.limit_price_usd, price, first if is_first_look else None, was_resting, half_spread_at)
    if order.met_usd is not None and not is_first_look and seen.came_from_usd is not None:
        price = max(price, order.met_usd) if order.is_buy else min(price, order.met_usd)
    half_spread_usd = half_spread_at(price)
    return Execution(_taken_at(order, price, half_spread_usd), is_maker=False, half_spread_usd=half_spread_usd)


def _limited(
    order: ExchangeOrder, limit_usd: Decimal, price_usd: Decimal, first_usd: Decimal | None, was_resting: bool,
    half_spread_at: Callable[[Decimal], Decimal],
) -> Execution | None:
    """What an order with a limit gets; `first_usd` is the price that it meets first in a session, None later."""

    def is_within(price: Decimal) -> bool:
        return price <= limit_usd if order.is_buy else price >= limit_usd

    was_taking, order.is_taking = order.is_taking, is_within(price_usd)
    if not (order.is_taking or (first_usd is not None and is_within(first_usd))):
        return None
    is_maker = was_resting and order.order_type != "market" and not was_taking
    if first_usd is None and not was_taking:
        return Execution(limit_usd, is_maker)
    met = price_usd if first_usd is None else first_usd
    taken = _taken_at(order, met, half_spread_at(met))
    paid = min(limit_usd, taken) if order.is_buy else max(limit_usd, taken)
    return Execution(paid, is_maker, max(paid - met if order.is_buy else met - paid, Decimal(0)))


def resting_between_usd(orders: Sequence[ExchangeOrder]) -> PriceBand | None:
    """The prices at which some orders neither trade nor change, now and in sessions to come; None when there are no such."""
    lows: list[Decimal] = []
    highs: list[Decimal] = []
    for order in orders:
        rests = order.status in _RESTING and order.time_in_force == "gtc" and order.seen_session is not None
        price = order.limit_price_usd if order.order_type == "limit" else order.stop_price_usd
        if not rests or order.order_type not in _PRICED or price is None or order.works_after_at is None:
            return None
        if order.triggered or order.is_taking:
            return None
        (lows if order.is_buy == (order.order_type == "limit") else highs).append(price)
    return PriceBand(max(lows, default=None), min(highs, default=None))


def _taken_at(order: ExchangeOrder, price_usd: Decimal, half_spread_usd: Decimal) -> Decimal:
    """What one pays, or gets, who does not wait."""
    return price_usd + half_spread_usd if order.is_buy else price_usd - half_spread_usd


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


def _came_too_late(order: ExchangeOrder, seen: SeenPrint) -> bool:
    """Whether the price had passed a stop before it came."""
    return order.seen_session is None and seen.came_from_usd is not None and _is_through_stop(order, seen.came_from_usd)


def _sells_at_market(order: ExchangeOrder, seen: SeenPrint) -> bool:
    """Whether a stop takes what is left of its group with it, so that no target is met at this print."""
    return order.limit_price_usd is None and (order.triggered or _came_too_late(order, seen))


def _met_on_the_way(order: ExchangeOrder, seen: SeenPrint) -> Decimal:
    """The price at which a stop that was just triggered meets the market."""
    stop, came_from = order.stop_price_usd, seen.came_from_usd
    if stop is None or came_from is None:
        return seen.print.price_usd
    return max(stop, came_from) if order.is_buy else min(stop, came_from)


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
