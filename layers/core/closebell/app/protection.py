"""A filled position has a stop resting at the broker by the end of the reconcile that books the fill.

Equities in whole shares rest a target and a stop of which one cancels the other (OCO, good till cancelled). The broker takes
only simple orders for crypto (a stop-limit) and for fractions of a share (a stop that dies each evening and is re-armed);
their target is watched by `reconcile`.
"""

from datetime import datetime
from decimal import ROUND_DOWN, Decimal

from closebell.app.order_intent import Purpose, order_intent
from closebell.model.books import Position
from closebell.model.broker import OrderClass, OrderRequest, OrderType, Side, TimeInForce
from closebell.model.instruments import Market
from closebell.model.orders import OrderLeg, OrderRecord
from closebell.model.parameters import ExitTerms

SHARE_STEP = Decimal("1e-9")
COIN_DIGITS = 5
CRYPTO_STOP_SLIP_FRAC = Decimal("0.02")
"""How far below its stop a crypto stop-limit still sells: Alpaca's own band for market orders."""


def price_step(price_usd: Decimal, market: Market) -> Decimal:
    """The price step of our orders (USD).

    Of shares it is the smallest that Alpaca takes: a cent from one dollar on, a hundredth of a cent below. A coin may cost a
    hundred-thousandth of a dollar: five digits, as far as the ninth decimal.
    """
    if market is Market.CRYPTO:
        return Decimal(1).scaleb(max(min(price_usd.adjusted() - COIN_DIGITS + 1, -2), -9))
    return Decimal("0.01") if price_usd >= 1 else Decimal("0.0001")


def round_price(price_usd: Decimal, market: Market) -> Decimal:
    """Down to the price step, so that a stop is never tighter and a sale's limit never dearer than asked for."""
    return price_usd.quantize(price_step(price_usd, market), rounding=ROUND_DOWN)


def is_whole(quantity_shares: Decimal) -> bool:
    """Whether a quantity has no fraction of a share."""
    return quantity_shares == quantity_shares.to_integral_value()


def sellable_shares(quantity_shares: Decimal) -> Decimal:
    """Down to the ninth decimal, the finest step that any asset is sold in."""
    return quantity_shares if is_whole(quantity_shares) else quantity_shares.quantize(SHARE_STEP, rounding=ROUND_DOWN)


def stop_price_usd(position: Position) -> Decimal:
    """Where the position's stop lies, on the price step."""
    frac = position.stop_loss_frac or ExitTerms().stop_loss_frac
    return round_price(position.average_entry_price_usd * (1 - frac), position.market)


def target_price_usd(position: Position) -> Decimal:
    """Where the position's target lies, on the price step."""
    frac = position.take_profit_frac or ExitTerms().take_profit_frac
    return round_price(position.average_entry_price_usd * (1 + frac), position.market)


def protective_order(position: Position, attempt_count: int, desk_name: str, now: datetime) -> OrderRecord:
    """The order that protects all we own of a position; its id comes from the plan that opened it and the attempt."""
    purpose = Purpose(position.plan_id, OrderLeg.PROTECT, attempt_count, position.market.date_of(now))
    request = _request(position, purpose.order_id(desk_name, position.market))
    return order_intent(request, purpose, position.sector, now, Decimal(0))


def _request(position: Position, client_order_id: str) -> OrderRequest:
    stop = stop_price_usd(position)
    simple = OrderRequest(
        client_order_id=client_order_id,
        market=position.market,
        symbol=position.symbol,
        side=Side.SELL,
        order_type=OrderType.STOP,
        time_in_force=TimeInForce.DAY,
        quantity_shares=sellable_shares(position.quantity_shares),
        stop_price_usd=stop,
    )
    if position.market is Market.CRYPTO:
        limit = round_price(stop * (1 - CRYPTO_STOP_SLIP_FRAC), position.market)
        change = {"order_type": OrderType.STOP_LIMIT, "time_in_force": TimeInForce.GTC, "limit_price_usd": limit}
    elif is_whole(position.quantity_shares):
        change = {"order_type": OrderType.LIMIT, "time_in_force": TimeInForce.GTC, "limit_price_usd": target_price_usd(position)}
        change["order_class"] = OrderClass.OCO
    else:
        change = {}
    return simple.model_copy(update=change)
