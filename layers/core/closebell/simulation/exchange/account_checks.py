"""What an order needs from the account: power to buy, shares to sell, no wash trade. Refusals are Alpaca's."""

from datetime import datetime
from decimal import Decimal

from closebell.model.broker import Side
from closebell.model.instruments import Market
from closebell.simulation.exchange.matching import would_trade_with
from closebell.simulation.exchange.trading_floor import TradingFloor
from closebell.simulation.exchange.venue_orders import FORBIDDEN, INVALID, ExchangeOrder, RefusalError

SHOWN_DECIMALS_COUNT = 9
MINIMUM_COST_USD = {Market.US_EQUITY: Decimal(1), Market.CRYPTO: Decimal(10)}


def equity_usd(floor: TradingFloor, at: datetime) -> Decimal:
    """Cash and positions at the last prices."""
    return floor.book.cash_usd + sum((value_usd(floor, symbol, at) for symbol in floor.book.holdings), Decimal(0))


def value_usd(floor: TradingFloor, symbol: str, at: datetime) -> Decimal:
    """A position at the last price; at its average cost before any price is known."""
    holding = floor.book.holdings[symbol]
    price = floor.tape.last_price_usd(symbol, at)
    return holding.shares * (holding.average_price_usd if price is None else price)


def buying_power_usd(floor: TradingFloor, at: datetime, market: Market = Market.US_EQUITY) -> Decimal:
    """What may still be bought: cash less what open buys reserve; on margin, twice the equity less positions and reserves.

    Crypto is never bought on margin.
    """
    reserved = floor.orders.reserved_usd()
    cash = floor.book.cash_usd - reserved
    if floor.options.margin_multiplier_ratio == 1 or market is Market.CRYPTO:
        return max(cash, Decimal(0))
    values = {symbol: value_usd(floor, symbol, at) for symbol in floor.book.holdings}
    equity = floor.book.cash_usd + sum(values.values(), Decimal(0))
    exposure = sum((abs(value) for value in values.values()), Decimal(0))
    return max(equity * floor.options.margin_multiplier_ratio - exposure - reserved, Decimal(0))


def available_shares(floor: TradingFloor, symbol: str) -> Decimal:
    """Of a position (unsigned), what no working order holds."""
    shares = floor.book.shares(symbol)
    closing = Side.SELL if shares > 0 else Side.BUY
    return max(abs(shares) - floor.orders.held_shares(symbol, closing), Decimal(0))


def check_wash(floor: TradingFloor, order: ExchangeOrder) -> None:
    """Refuse an order that could trade with another of the same account; groups are exempt. Raises RefusalError."""
    if order.is_complex:
        return
    for resting in floor.orders.live(order.symbol):
        if would_trade_with(resting, order.is_buy, order.order_type, order.limit_price_usd):
            kind = "limit" if resting.order_type == "limit" else "market/stop"
            raise RefusalError(
                403,
                FORBIDDEN,
                "potential wash trade detected. use complex orders",
                existing_order_id=resting.venue_order_id,
                reject_reason=f"opposite side {kind} order exists",
            )


def check_cost(order: ExchangeOrder) -> Decimal:
    """The order's cost basis in USD. Raises RefusalError below the venue's minimum."""
    cost = order.remaining_shares * order.price_bound_usd
    minimum = MINIMUM_COST_USD[order.market]
    if cost < minimum:
        raise RefusalError(403, FORBIDDEN, f"cost basis must be >= minimal amount of order {minimum}")
    return cost


def check_means(floor: TradingFloor, order: ExchangeOrder, cost_usd: Decimal, at: datetime) -> None:
    """Refuse a buy beyond the buying power and a sell beyond the shares available. Raises RefusalError."""
    owned = floor.book.shares(order.symbol)
    closes = owned != 0 and (owned < 0) == order.is_buy
    if order.is_buy and not closes:
        power = buying_power_usd(floor, at, order.market)
        if cost_usd > power:
            _refuse_funds(power, cost_usd)
        return
    if not closes and floor.may_short and order.market is Market.US_EQUITY and not order.is_complex:
        _check_short(floor, order, cost_usd, at)
        return
    available = available_shares(floor, order.symbol) if closes else Decimal(0)
    if order.remaining_shares > available:
        _refuse_shares(order, abs(owned) if closes else Decimal(0), available)


def check_growth(floor: TradingFloor, old: ExchangeOrder, new: ExchangeOrder, at: datetime) -> None:
    """Refuse a replace that needs more than the order it replaces and the account can give. Raises RefusalError."""
    new_cost = check_cost(new)
    power = buying_power_usd(floor, at, new.market)
    if new.is_buy and not new.is_exit and new_cost - old.remaining_shares * old.price_bound_usd > power:
        _refuse_funds(power, new_cost)
    available = available_shares(floor, new.symbol)
    owned = abs(floor.book.shares(new.symbol))
    if not new.is_buy and owned and new.remaining_shares - old.remaining_shares > available:
        _refuse_shares(new, owned, available)


def _check_short(floor: TradingFloor, order: ExchangeOrder, cost_usd: Decimal, at: datetime) -> None:
    if order.quantity_shares is None or order.quantity_shares % 1:
        raise RefusalError(422, INVALID, "fractional orders cannot be sold short")
    if not floor.tape.assets[order.symbol].shortable:
        raise RefusalError(422, INVALID, f'asset "{order.symbol}" cannot be sold short')
    power = buying_power_usd(floor, at)
    if cost_usd > power:
        _refuse_funds(power, cost_usd)


def _refuse_funds(power_usd: Decimal, cost_usd: Decimal) -> None:
    raise RefusalError(403, FORBIDDEN, "insufficient buying power", buying_power=f"{power_usd:.2f}", cost_basis=f"{cost_usd:.2f}")


def _refuse_shares(order: ExchangeOrder, owned: Decimal, available: Decimal) -> None:
    requested = f"(requested: {plain(order.remaining_shares)}, available: {plain(available)})"
    if order.market is Market.CRYPTO:
        coin = order.symbol.split("/")[0]
        message = f"insufficient balance for {coin} {requested}"
    else:
        message = f"insufficient qty available for order {requested}"
    raise RefusalError(
        403,
        FORBIDDEN,
        message,
        available=plain(available),
        existing_qty=plain(owned),
        held_for_orders=plain(owned - available),
        symbol=order.symbol.replace("/", ""),
    )


def plain(number: Decimal) -> str:
    """A number as Alpaca writes it: to nine decimals, no exponent, no trailing zeros."""
    text = f"{round(number, SHOWN_DECIMALS_COUNT):f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
