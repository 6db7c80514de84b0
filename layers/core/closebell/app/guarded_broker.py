"""The broker as one trading run may use it: within its share of the requests, and with the key as it now is."""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import TypeVar

from closebell.model.broker import (
    Account,
    Asset,
    CashActivity,
    MarketClock,
    OrderRequest,
    Quote,
    Side,
    VenueFill,
    VenueOrder,
    VenuePosition,
)
from closebell.model.errors import BrokerKeyRefused, ClosebellError, RateLimited
from closebell.model.instruments import Market, SessionHours
from closebell.ports.broker import Broker

T = TypeVar("T")

Reopen = Callable[[], Broker | None]
"""Reads the key anew: the account opened with it, None when it is the same key as before."""

RATE_WINDOW = timedelta(seconds=60)
REQUESTS_COUNT_MAX = 150
"""Alpaca takes 200 a minute. The rest is for pages, and for a run that was killed before it could say what it had used."""

KEPT_COUNT = 50
"""The last requests of a minute are for exits, stops and cancels: no entry may use them."""


def same_key() -> None:
    """A `Reopen` for a broker that is opened without a key."""


@dataclass
class RequestBudget:
    """What may still be asked in the minute. Instants are of one clock, of which only the differences count."""

    _asked_at: deque[datetime] = field(default_factory=deque)

    def asked_count(self, now: datetime) -> int:
        """The requests of the minute before `now`."""
        while self._asked_at and now - self._asked_at[0] >= RATE_WINDOW:
            self._asked_at.popleft()
        return len(self._asked_at)

    def allows_entry(self, now: datetime) -> bool:
        """Whether an entry may be sent: what is kept for exits is left afterwards."""
        return self.asked_count(now) < REQUESTS_COUNT_MAX - KEPT_COUNT

    def inherit(self, count: int, now: datetime) -> None:
        """Count what an earlier run asked, as if it were asked at `now`: rather too much than too little."""
        self._asked_at.extend([now] * count)

    def spend(self, now: datetime, is_entry: bool = False) -> None:
        """Count one request that is about to be made. Raises RateLimited instead when it may not be."""
        is_allowed = self.allows_entry(now) if is_entry else self.asked_count(now) < REQUESTS_COUNT_MAX
        if not is_allowed:
            asked = f"{len(self._asked_at)} requests were made in the last {RATE_WINDOW.seconds} s"
            why = "the rest is kept for exits" if is_entry else "no more may be"
            raise RateLimited(f"not sent: {asked}, {why}", self._asked_at[0] + RATE_WINDOW)
        self._asked_at.append(now)


class GuardedBroker:
    """Implements `ports.broker.Broker`: every request of one run passes here.

    A request above the budget raises RateLimited and is not made. When the broker refuses the key, it is read again, once a run;
    if it was changed the call is repeated with the new one (a refused order was not taken), else the refusal stands.
    """

    def __init__(self, broker: Broker, budget: RequestBudget, now: Callable[[], datetime], reopen: Reopen = same_key) -> None:
        self._broker, self._budget, self._now, self._reopen = broker, budget, now, reopen
        self._has_reopened = False

    def clock(self) -> MarketClock:
        return self._ask(lambda broker: broker.clock())

    def calendar(self, first: date, last: date) -> list[SessionHours]:
        return self._ask(lambda broker: broker.calendar(first, last))

    def account(self) -> Account:
        return self._ask(lambda broker: broker.account())

    def asset(self, symbol: str) -> Asset | None:
        return self._ask(lambda broker: broker.asset(symbol))

    def positions(self) -> list[VenuePosition]:
        return self._ask(lambda broker: broker.positions())

    def open_orders(self) -> list[VenueOrder]:
        return self._ask(lambda broker: broker.open_orders())

    def every_order(self) -> list[VenueOrder]:
        return self._ask(lambda broker: broker.every_order())

    def order(self, venue_order_id: str) -> VenueOrder | None:
        return self._ask(lambda broker: broker.order(venue_order_id))

    def order_by_client_id(self, client_order_id: str) -> VenueOrder | None:
        return self._ask(lambda broker: broker.order_by_client_id(client_order_id))

    def activities(self, after_activity_id: str) -> list[VenueFill | CashActivity]:
        return self._ask(lambda broker: broker.activities(after_activity_id))

    def quotes(self, symbols: Sequence[str], market: Market) -> dict[str, Quote]:
        return self._ask(lambda broker: broker.quotes(symbols, market))

    def submit(self, request: OrderRequest) -> VenueOrder:
        return self._ask(lambda broker: broker.submit(request), is_entry=request.side is Side.BUY)

    def cancel(self, venue_order_id: str) -> None:
        self._ask(lambda broker: broker.cancel(venue_order_id))

    def _ask(self, call: Callable[[Broker], T], is_entry: bool = False) -> T:
        self._budget.spend(self._now(), is_entry)
        try:
            return call(self._broker)
        except BrokerKeyRefused:
            renewed = self._renewed()
            if renewed is None:
                raise
            self._broker = renewed
        self._budget.spend(self._now(), is_entry)
        return call(self._broker)

    def _renewed(self) -> Broker | None:
        """The account under another key; None when there is none, or it was asked for before, or cannot be read."""
        if self._has_reopened:
            return None
        self._has_reopened = True
        try:
            return self._reopen()
        except ClosebellError:
            return None
