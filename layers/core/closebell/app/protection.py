"""A filled position has a stop resting at the broker by the end of the reconcile that books the fill.

Equities in whole shares rest a target and a stop of which one cancels the other (OCO, good till cancelled). The broker takes
only simple orders for crypto (a stop-limit) and for fractions of a share (a stop that dies each evening and is re-armed);
their target is watched by `reconcile`.
"""

from datetime import datetime
from decimal import ROUND_DOWN, Decimal

from closebell.app.execution import SUBMIT_WINDOW
from closebell.model.books import Position
from closebell.model.broker import OrderClass, OrderType, Side, TimeInForce
from closebell.model.instruments import Market
from closebell.model.orders import OrderLeg, OrderRecord, OrderState, derive_client_order_id

CRYPTO_STOP_SLIP_FRAC = Decimal("0.02")
"""How far below its stop a crypto stop-limit still sells: Alpaca's own band for market orders."""


def price_step(price_usd: Decimal) -> Decimal:
    """The smallest price step Alpaca takes: a cent from one dollar on, a hundredth of a cent below."""
    return Decimal("0.01") if price_usd >= 1 else Decimal("0.0001")


def round_price(price_usd: Decimal) -> Decimal:
    """Down to the price step, so that a stop is never tighter and a sale's limit never dearer than asked for."""
    return price_usd.quantize(price_step(price_usd), rounding=ROUND_DOWN)


def is_whole(quantity_shares: Decimal) -> bool:
    """Whether a quantity has no fraction of a share."""
    return quantity_shares == quantity_shares.to_integral_value()


def protective_order(position: Position, desk_name: str, now: datetime) -> OrderRecord:
    """The order that protects all we own of a position; its id comes from the plan that opened it and the attempt."""
    market = position.market
    session = market.date_of(now)
    attempt = position.protections_count + 1
    entry = position.average_entry_price_usd
    stop = round_price(entry * (1 - (position.stop_loss_frac or Decimal("0.03"))))
    target = round_price(entry * (1 + (position.take_profit_frac or Decimal("0.08"))))
    oco = market is Market.US_EQUITY and is_whole(position.quantity_shares)
    crypto = market is Market.CRYPTO
    order_type = OrderType.LIMIT if oco else OrderType.STOP_LIMIT if crypto else OrderType.STOP
    limit = target if oco else round_price(stop * (1 - CRYPTO_STOP_SLIP_FRAC)) if crypto else None
    return OrderRecord(
        client_order_id=derive_client_order_id(desk_name, position.plan_id, OrderLeg.PROTECT, attempt, market, session),
        plan_id=position.plan_id,
        leg=OrderLeg.PROTECT,
        attempt_count=attempt,
        market=market,
        session=session,
        symbol=position.symbol,
        sector=position.sector,
        side=Side.SELL,
        order_type=order_type,
        time_in_force=TimeInForce.GTC if oco or crypto else TimeInForce.DAY,
        order_class=OrderClass.OCO if oco else OrderClass.SIMPLE,
        quantity_shares=position.quantity_shares,
        limit_price_usd=limit,
        stop_price_usd=stop,
        reserved_usd=Decimal(0),
        state=OrderState.INTENT,
        created_at=now,
        updated_at=now,
        submit_deadline_at=now + SUBMIT_WINDOW,
    )
