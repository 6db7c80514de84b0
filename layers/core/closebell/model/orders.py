"""Our orders: the intent that is written first, its states, and which state may follow which."""

import base64
import hashlib
import re
from datetime import date
from decimal import Decimal
from enum import StrEnum
from functools import lru_cache
from typing import ClassVar

from closebell.model.broker import OrderClass, OrderRequest, OrderType, Side, TimeInForce
from closebell.model.instruments import Market
from closebell.model.record import Instant, Key, Record


class OrderState(StrEnum):
    """Where an order is. UNKNOWN: sent, no trustworthy answer. QUARANTINED: unknown past its deadline, read only."""

    INTENT = "intent"
    SUBMITTING = "submitting"
    UNKNOWN = "unknown"
    QUARANTINED = "quarantined"
    ACCEPTED = "accepted"
    PARTIAL = "partial"
    CANCEL_PENDING = "cancel_pending"
    FILLED = "filled"
    CANCELED = "canceled"
    EXPIRED = "expired"
    REJECTED = "rejected"
    REPLACED = "replaced"
    NEVER_ACCEPTED = "never_accepted"
    VOID = "void"

    @property
    def is_terminal(self) -> bool:
        """Nothing but a late fill can follow."""
        return not NEXT_STATES[self]

    @property
    def is_in_flight(self) -> bool:
        """The broker may or may not have it: its exposure stays reserved and its symbol blocked."""
        return self in _IN_FLIGHT


_S = OrderState
_IN_FLIGHT = frozenset({_S.INTENT, _S.SUBMITTING, _S.UNKNOWN, _S.QUARANTINED})
_WORKING = frozenset({_S.ACCEPTED, _S.PARTIAL, _S.CANCEL_PENDING, _S.FILLED, _S.CANCELED, _S.EXPIRED, _S.REJECTED, _S.REPLACED})

NEXT_STATES: dict[OrderState, frozenset[OrderState]] = {
    _S.INTENT: frozenset({_S.SUBMITTING, _S.VOID}),
    _S.SUBMITTING: _WORKING | {_S.UNKNOWN},
    _S.UNKNOWN: _WORKING | {_S.QUARANTINED},
    _S.QUARANTINED: _WORKING | {_S.NEVER_ACCEPTED},
    _S.ACCEPTED: _WORKING - {_S.ACCEPTED},
    _S.PARTIAL: _WORKING - {_S.ACCEPTED, _S.PARTIAL},
    _S.CANCEL_PENDING: _WORKING - {_S.CANCEL_PENDING},
    _S.FILLED: frozenset(),
    _S.CANCELED: frozenset(),
    _S.EXPIRED: frozenset(),
    _S.REJECTED: frozenset(),
    _S.REPLACED: frozenset(),
    _S.NEVER_ACCEPTED: frozenset(),
    _S.VOID: frozenset(),
}


ID_PREFIX = "cb"
_MARKET_OF_LETTER = {"e": Market.US_EQUITY, "c": Market.CRYPTO}
_ID_PATTERN = re.compile(r"cb([ec])(\d{4})(\d{2})(\d{2})-[a-z2-7]{20}")


def derive_client_order_id(desk: str, plan_id: str, leg: "OrderLeg", attempt_count: int, market: Market, session: date) -> str:
    """Our id for an order: the same for the same plan, leg and attempt, on whatever machine and however often it is asked.

    `desk` is environment and account number, so that two desks never share an id. Market and session stand in clear text,
    so that the record of an id can be found without an index. 32 characters.
    """
    digest = hashlib.sha256(f"{desk}|{plan_id}|{leg}|{attempt_count}".encode()).digest()
    letter = "c" if market is Market.CRYPTO else "e"
    return f"{ID_PREFIX}{letter}{session:%Y%m%d}-{base64.b32encode(digest[:15]).decode().lower()[:20]}"


@lru_cache(maxsize=4096)
def order_key(client_order_id: str) -> Key:
    """Where the order with this id lies; ValueError when the id is not one of ours."""
    match = _ID_PATTERN.fullmatch(client_order_id)
    if not match:
        raise ValueError(f"{client_order_id!r} is not a closebell order id")
    letter, year, month, day = match.groups()
    return Key("journal", f"ORDER#{_MARKET_OF_LETTER[letter]}#{year}-{month}-{day}", client_order_id)


def session_of_order_id(client_order_id: str) -> date:
    """The session that an order with this id of ours was meant for."""
    return date.fromisoformat(order_key(client_order_id).partition.rpartition("#")[2])


def is_our_order_id(client_order_id: str) -> bool:
    """Whether an id at the broker was derived by closebell."""
    return _ID_PATTERN.fullmatch(client_order_id) is not None


class OrderLeg(StrEnum):
    """What an order is for."""

    ENTRY = "entry"
    EXIT = "exit"
    PROTECT = "protect"


class OrderRecord(Record):
    """One order of ours from intent to end. Written as INTENT before anything is sent.

    `client_order_id` is derived from environment, account, plan, leg and attempt, so a second run derives the same one.
    `venue_leg_order_ids` are the broker's ids of an OCO's stop leg: fills carrying them are ours.

    An order that the owner replaces at the broker stays this one order: `venue_order_id`, quantity and prices become those of
    its newest form, `former_venue_order_ids` are the ids before, `former_executed_shares` what they traded.
    """

    kind: ClassVar[str] = "order"

    client_order_id: str
    plan_id: str
    leg: OrderLeg
    attempt_count: int
    market: Market
    session: date
    symbol: str
    sector: str
    side: Side
    order_type: OrderType
    time_in_force: TimeInForce
    order_class: OrderClass
    quantity_shares: Decimal
    limit_price_usd: Decimal | None = None
    stop_price_usd: Decimal | None = None
    reserved_usd: Decimal
    state: OrderState
    created_at: Instant
    updated_at: Instant
    submit_deadline_at: Instant
    sent_count: int = 0
    is_cancel_asked: bool = False
    venue_order_id: str | None = None
    venue_leg_order_ids: tuple[str, ...] = ()
    former_venue_order_ids: tuple[str, ...] = ()
    former_executed_shares: Decimal = Decimal(0)
    filled_quantity_shares: Decimal = Decimal(0)
    filled_average_price_usd: Decimal | None = None
    note: str = ""

    @property
    def key(self) -> Key:
        return order_key(self.client_order_id)

    def is_known_as(self, venue_order_id: str) -> bool:
        """Whether the broker has or had this order, or a leg of it, under an id of its own."""
        return venue_order_id in {self.venue_order_id, *self.venue_leg_order_ids, *self.former_venue_order_ids}

    @property
    def request(self) -> OrderRequest:
        """The order as it goes to the broker: always the same for the same record."""
        return OrderRequest(
            client_order_id=self.client_order_id,
            market=self.market,
            symbol=self.symbol,
            side=self.side,
            order_type=self.order_type,
            time_in_force=self.time_in_force,
            order_class=self.order_class,
            quantity_shares=self.quantity_shares,
            limit_price_usd=self.limit_price_usd,
            stop_price_usd=self.stop_price_usd,
        )


class OrderTransition(Record):
    """One step of an order's life, kept for good; written in the transaction that makes the step."""

    kind: ClassVar[str] = "order_transition"

    client_order_id: str
    step_count: int
    from_state: OrderState | None
    to_state: OrderState
    occurred_at: Instant
    evidence: str

    @property
    def key(self) -> Key:
        return Key("journal", f"TRANSITION#{self.client_order_id}", f"{self.step_count:04d}")


class LiveOrder(Record):
    """A pointer to an order that is not terminal, so that live orders are found without a scan."""

    kind: ClassVar[str] = "live_order"

    client_order_id: str

    @property
    def key(self) -> Key:
        return Key("book", "DESK", f"LIVE_ORDER#{self.client_order_id}")


class DayCounters(Record):
    """What was committed in a market's latest session so far; changed in the transaction that writes an intent."""

    kind: ClassVar[str] = "day_counters"

    market: Market
    session: date
    orders_count: int = 0
    entries_notional_usd: Decimal = Decimal(0)

    @property
    def key(self) -> Key:
        return Key("book", "DESK", f"COUNTERS#{self.market}")
