"""Orders as the simulated exchange keeps them: what a client asked for, and what became of it."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal

from closebell.model.broker import Side, VenueStatus
from closebell.model.instruments import Market

STOP_TYPES = frozenset({"stop", "stop_limit", "trailing_stop"})
COMPLEX_CLASSES = frozenset({"bracket", "oco", "oto"})

FORBIDDEN = 40310000
"""Alpaca's catch-all for orders it refuses on funds, shares or rules (HTTP 403)."""
INVALID = 42210000
"""A request that cannot be valid (HTTP 422)."""
MALFORMED = 40010001
"""A request whose form is wrong; also a `client_order_id` that is taken (HTTP 422)."""
NOT_FOUND = 40410000
"""No such order or position (HTTP 404)."""


class RefusalError(Exception):
    """The exchange says no: HTTP status, numeric code, message, and the fields Alpaca adds to the body."""

    def __init__(self, http_status: int, code: int, message: str, **details: str) -> None:
        super().__init__(message)
        self.http_status = http_status
        self.code = code
        self.details = details

    def body(self) -> dict[str, str | int]:
        """The reply's JSON."""
        return {"code": self.code, "message": str(self), **self.details}


@dataclass(frozen=True)
class OrderTicket:
    """An order as a client sends it; nothing in it has been checked. `trail_frac` 0.01 trails by one percent."""

    symbol: str
    side: str
    order_type: str
    time_in_force: str
    order_class: str = "simple"
    quantity_shares: Decimal | None = None
    notional_usd: Decimal | None = None
    limit_price_usd: Decimal | None = None
    stop_price_usd: Decimal | None = None
    trail_usd: Decimal | None = None
    trail_frac: Decimal | None = None
    take_profit_usd: Decimal | None = None
    stop_loss_usd: Decimal | None = None
    stop_loss_limit_usd: Decimal | None = None
    extended_hours: bool = False
    client_order_id: str | None = None


@dataclass(slots=True, eq=False)
class ExchangeOrder:
    """An order on the exchange.

    It may fill at prints strictly after `works_after_at`, None while it must not (`held`). `seen_session` is the last
    session in which it met a print: the first print it meets in a session is a gap and fills at the print, later ones
    cross its limit. `is_taking`: the last print that it met was within its limit. `met_usd` is the price at which its stop was
    triggered. Symbols are spelled as in the order book (`BTC/USD`). `reference_price_usd` is the market's price when it was sent.
    """

    venue_order_id: str
    client_order_id: str
    market: Market
    symbol: str
    side: Side
    order_type: str
    time_in_force: str
    order_class: str
    quantity_shares: Decimal | None
    notional_usd: Decimal | None
    limit_price_usd: Decimal | None
    stop_price_usd: Decimal | None
    status: VenueStatus
    submitted_at: datetime
    updated_at: datetime
    works_after_at: datetime | None
    reference_price_usd: Decimal
    trail_usd: Decimal | None = None
    trail_frac: Decimal | None = None
    extended_hours: bool = False
    water_mark_usd: Decimal | None = None
    met_usd: Decimal | None = None
    is_taking: bool = False
    seen_session: date | None = None
    filled_shares: Decimal = Decimal(0)
    filled_value_usd: Decimal = Decimal(0)
    spread_paid_usd: Decimal = Decimal(0)
    commission_usd: Decimal = Decimal(0)
    filled_at: datetime | None = None
    canceled_at: datetime | None = None
    expired_at: datetime | None = None
    failed_at: datetime | None = None
    replaced_at: datetime | None = None
    replaces: "ExchangeOrder | None" = None
    replaced_by: "ExchangeOrder | None" = None
    parent: "ExchangeOrder | None" = None
    legs: list["ExchangeOrder"] = field(default_factory=list)

    @property
    def is_open(self) -> bool:
        return not self.status.is_terminal

    @property
    def triggered(self) -> bool:
        return self.met_usd is not None

    @property
    def is_buy(self) -> bool:
        return self.side is Side.BUY

    @property
    def is_complex(self) -> bool:
        return self.order_class in COMPLEX_CLASSES

    @property
    def remaining_shares(self) -> Decimal:
        """What is left to fill; for a notional order, at the reference price."""
        if self.quantity_shares is not None:
            return self.quantity_shares - self.filled_shares
        return ((self.notional_usd or Decimal(0)) - self.filled_value_usd) / self.reference_price_usd

    @property
    def filled_average_price_usd(self) -> Decimal | None:
        return self.filled_value_usd / self.filled_shares if self.filled_shares else None

    @property
    def shown_limit_usd(self) -> Decimal | None:
        """The limit as the broker shows it: not the collar that it gives a market order of its own."""
        return None if self.order_type == "market" else self.limit_price_usd

    @property
    def price_bound_usd(self) -> Decimal:
        """The price its reservation is computed at: its own limit, else its stop, else the market when it was sent."""
        return self.limit_price_usd or self.stop_price_usd or self.reference_price_usd

    def family(self) -> Iterator["ExchangeOrder"]:
        """The whole group: the first order, then its legs. A simple order is its own family."""
        head = self.parent or self
        yield head
        yield from head.legs

    def siblings(self) -> list["ExchangeOrder"]:
        """The other open exits of the same group: of them one cancels the other."""
        return [order for order in self.family() if order is not self and order.is_exit and order.is_open]

    @property
    def is_exit(self) -> bool:
        """Whether it closes what the group holds: every leg, and the first order of an OCO."""
        return self.parent is not None or self.order_class == "oco"
