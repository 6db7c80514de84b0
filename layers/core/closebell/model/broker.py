"""The broker's truth, in our words: what a broker adapter returns and takes."""

from datetime import date
from decimal import Decimal
from enum import StrEnum
from typing import ClassVar

from closebell.model.instruments import Market
from closebell.model.record import Instant, Key, Record, Value


class Side(StrEnum):
    """Which way an order trades."""

    BUY = "buy"
    SELL = "sell"


class OrderType(StrEnum):
    """The order types closebell uses."""

    MARKET = "market"
    LIMIT = "limit"
    STOP = "stop"
    STOP_LIMIT = "stop_limit"


class TimeInForce(StrEnum):
    """How long an order works; `opg` is the opening auction."""

    DAY = "day"
    GTC = "gtc"
    OPG = "opg"
    IOC = "ioc"


class OrderClass(StrEnum):
    """A simple order, or a target and a stop of which one cancels the other."""

    SIMPLE = "simple"
    OCO = "oco"


class MarketClock(Value):
    """The broker's clock (`/v2/clock`)."""

    now_at: Instant
    is_open: bool
    next_open_at: Instant
    next_close_at: Instant


class Account(Value):
    """The account as the broker sees it; `last_equity_usd` is the previous close's."""

    account_number: str
    status: str
    equity_usd: Decimal
    last_equity_usd: Decimal
    cash_usd: Decimal
    buying_power_usd: Decimal
    trading_blocked: bool


class Asset(Value):
    """An asset at the broker. `quantity_increment_shares` is the smallest step of a quantity."""

    symbol: str
    market: Market
    tradable: bool
    fractionable: bool
    quantity_increment_shares: Decimal


class Quote(Value):
    """Best bid and ask (USD) and when they were made."""

    symbol: str
    bid_usd: Decimal
    ask_usd: Decimal
    quoted_at: Instant

    @property
    def mid_usd(self) -> Decimal:
        return (self.bid_usd + self.ask_usd) / 2


class OrderRequest(Value):
    """An order as it goes to the broker. Quantities and prices are already quantised to the asset's steps.

    For `oco`, `limit_price_usd` is the target and `stop_price_usd` the stop; both sell the same shares.
    """

    client_order_id: str
    market: Market
    symbol: str
    side: Side
    order_type: OrderType
    time_in_force: TimeInForce
    order_class: OrderClass = OrderClass.SIMPLE
    quantity_shares: Decimal
    limit_price_usd: Decimal | None = None
    stop_price_usd: Decimal | None = None


class VenueStatus(StrEnum):
    """The broker's order statuses; `UNRECOGNISED` stands for one that this version does not know."""

    NEW = "new"
    PARTIALLY_FILLED = "partially_filled"
    FILLED = "filled"
    DONE_FOR_DAY = "done_for_day"
    CANCELED = "canceled"
    EXPIRED = "expired"
    REPLACED = "replaced"
    PENDING_CANCEL = "pending_cancel"
    PENDING_REPLACE = "pending_replace"
    PENDING_REVIEW = "pending_review"
    ACCEPTED = "accepted"
    PENDING_NEW = "pending_new"
    ACCEPTED_FOR_BIDDING = "accepted_for_bidding"
    STOPPED = "stopped"
    REJECTED = "rejected"
    SUSPENDED = "suspended"
    CALCULATED = "calculated"
    HELD = "held"
    UNRECOGNISED = "unrecognised"

    @property
    def is_terminal(self) -> bool:
        """Nothing but a late fill can follow."""
        return self in _TERMINAL


_TERMINAL = frozenset(
    {VenueStatus.FILLED, VenueStatus.CANCELED, VenueStatus.EXPIRED, VenueStatus.REJECTED, VenueStatus.REPLACED}
)


class VenueOrder(Value):
    """An order as the broker shows it, with its legs (an OCO's stop leg carries an id the broker made)."""

    venue_order_id: str
    client_order_id: str
    market: Market
    symbol: str
    side: Side
    order_type: str
    time_in_force: str
    order_class: str
    status: VenueStatus
    quantity_shares: Decimal
    filled_quantity_shares: Decimal
    filled_average_price_usd: Decimal | None
    limit_price_usd: Decimal | None
    stop_price_usd: Decimal | None
    submitted_at: Instant
    updated_at: Instant
    replaced_by_venue_order_id: str | None = None
    legs: tuple["VenueOrder", ...] = ()

    @property
    def is_open(self) -> bool:
        return not self.status.is_terminal


class VenuePosition(Value):
    """A position as the broker shows it; `quantity_shares` is signed, symbols are in our spelling (`BTC/USD`)."""

    symbol: str
    market: Market
    quantity_shares: Decimal
    available_shares: Decimal
    average_entry_price_usd: Decimal
    market_value_usd: Decimal


class VenueFill(Value):
    """One execution from the account's activities. `activity_id` is unique and ordered."""

    activity_id: str
    venue_order_id: str
    symbol: str
    market: Market
    side: Side
    quantity_shares: Decimal
    price_usd: Decimal
    occurred_at: Instant


class CashActivity(Value):
    """An account activity that is not a fill: `code` is the broker's (DIV, CSD, CSW, CFEE, SPLIT, ...).

    `quantity_shares` is the change of a position (a crypto fee taken in the asset, a split), `amount_usd` that of cash.
    """

    activity_id: str
    code: str
    symbol: str | None
    quantity_shares: Decimal
    amount_usd: Decimal
    occurred_at: Instant


class BrokerSnapshot(Record):
    """One complete reading of the broker: exposure is computed from this and from nothing else.

    `transfers_usd` is what the owner paid in (or took out, negative) since the session began.
    """

    kind: ClassVar[str] = "broker_snapshot"

    as_of: Instant
    session: date
    account: Account
    positions: tuple[VenuePosition, ...]
    open_orders: tuple[VenueOrder, ...]
    transfers_usd: Decimal = Decimal(0)

    @property
    def day_loss_frac(self) -> Decimal:
        """What was lost since the last close, as a fraction of equity then; transfers are neither loss nor gain."""
        before = self.account.last_equity_usd
        loss = before - (self.account.equity_usd - self.transfers_usd)
        return loss / before if loss > 0 < before else Decimal(0)

    @property
    def key(self) -> Key:
        return Key("book", "DESK", "SNAPSHOT")
