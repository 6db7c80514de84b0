"""An order as it is first written: its derived id, its state INTENT, its deadline."""

from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import NamedTuple

from closebell.model.broker import OrderClass, OrderRequest, VenueOrder
from closebell.model.instruments import Market
from closebell.model.orders import OrderLeg, OrderRecord, OrderState, derive_client_order_id

SUBMIT_WINDOW = timedelta(minutes=8)
"""An order whose outcome is unknown may be sent again, under its own id, for this long after its intent."""


class Purpose(NamedTuple):
    """What an order is for: together with the desk's name this is its identity."""

    plan_id: str
    leg: OrderLeg
    attempt_count: int
    session: date

    def order_id(self, desk_name: str, market: Market) -> str:
        """The derived client order id: equal purposes give equal ids."""
        return derive_client_order_id(desk_name, self.plan_id, self.leg, self.attempt_count, market, self.session)


def is_same_order(order: OrderRecord, venue: VenueOrder) -> bool:
    """Whether the order that the broker shows under our id is the one that we meant."""
    same = (venue.symbol, venue.side, venue.order_type) == (order.symbol, order.side, order.order_type)
    meant = order.quantity_shares - order.former_executed_shares
    shrunk = order.order_class is OrderClass.OCO and venue.quantity_shares < meant  # its other leg sold some
    former = venue.venue_order_id in order.former_venue_order_ids
    return same and (venue.quantity_shares == meant or shrunk or former)


def order_intent(request: OrderRequest, purpose: Purpose, sector: str, now: datetime, reserved_usd: Decimal) -> OrderRecord:
    """The record to be committed before `request` is sent."""
    return OrderRecord(
        **dict(request),
        **purpose._asdict(),
        sector=sector,
        reserved_usd=reserved_usd,
        state=OrderState.INTENT,
        created_at=now,
        updated_at=now,
        submit_deadline_at=now + SUBMIT_WINDOW,
    )
