"""What the broker says, read without closebell's adapters and tables: the oracle for the demo's numbers.

Speaks Alpaca's trading API, so it works with the simulated exchange and with any other that has the same API.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from datetime import date, datetime
from decimal import Decimal
from typing import Any, NamedTuple
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

import urllib3

NEW_YORK = ZoneInfo("America/New_York")
PAGE_COUNT = 500
OUR_PREFIX = "cb"
_DEAD = {"rejected", "canceled", "expired", "replaced"}


class BrokerUnreadable(Exception):
    """The broker did not answer as Alpaca's API does; the message has the request and what came back."""


class BrokerKeys(NamedTuple):
    """Alpaca's two key headers."""

    key_id: str
    secret_key: str


class BrokerView:
    """Reads one account over HTTP. Every method raises BrokerUnreadable."""

    def __init__(self, trading_url: str, keys: BrokerKeys) -> None:
        self._url = trading_url.rstrip("/")
        self._headers = {"APCA-API-KEY-ID": keys.key_id, "APCA-API-SECRET-KEY": keys.secret_key}
        self._pool = urllib3.PoolManager(retries=False, timeout=urllib3.Timeout(connect=3, read=30))

    def get(self, path: str, **query: str) -> Any:
        """The JSON answer to one request."""
        return self.send("GET", f"{path}?{urlencode(query)}" if query else path)

    def send(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        """Send one request and give its JSON answer; None when it has no content."""
        try:
            reply = self._pool.request(method, self._url + path, json=body, headers=self._headers)
        except urllib3.exceptions.HTTPError as error:
            raise BrokerUnreadable(f"{method} {self._url}{path}: {error}") from error
        if reply.status >= 300:
            raise BrokerUnreadable(f"{method} {self._url}{path}: {reply.status} {reply.data[:200]!r}")
        return reply.json() if reply.data else None

    def equity_usd(self) -> Decimal:
        """The account's equity now."""
        return Decimal(self.get("/v2/account")["equity"])

    def positions(self) -> list[Mapping[str, Any]]:
        """Open positions."""
        found: list[Mapping[str, Any]] = self.get("/v2/positions")
        return found

    def sessions(self, first: date, last: date) -> list[date]:
        """The exchange's equity sessions in a range of dates, both ends included."""
        return [date.fromisoformat(entry["date"]) for entry in self.get("/v2/calendar", start=f"{first}", end=f"{last}")]

    def orders(self) -> Iterator[Mapping[str, Any]]:
        """Every order of the account, oldest first, legs within their parent."""
        query = {"status": "all", "direction": "asc", "limit": str(PAGE_COUNT), "nested": "true"}
        seen: set[str] = set()
        after = ""
        while True:
            page = self.get("/v2/orders", **query, **({"after": after} if after else {}))
            fresh = [order for order in page if order["id"] not in seen]
            yield from fresh
            seen |= {order["id"] for order in fresh}
            if len(page) < PAGE_COUNT or not fresh:
                return
            after = page[-1]["submitted_at"]

    def fills(self) -> list[Mapping[str, Any]]:
        """Every execution, oldest first."""
        found: list[Mapping[str, Any]] = []
        token = ""
        while True:
            query = {"direction": "asc", "page_size": "100", **({"page_token": token} if token else {})}
            page = self.get("/v2/account/activities/FILL", **query)
            found += page
            if len(page) < 100:
                return found
            token = page[-1]["id"]


def ours(orders: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Those that closebell sent, by the prefix of their ids."""
    return [order for order in orders if str(order["client_order_id"]).startswith(OUR_PREFIX)]


def duplicates_count(orders: list[Mapping[str, Any]]) -> int:
    """Entries beyond the first in one symbol and session that are live or filled.

    A plan enters a symbol once a session, so two such orders mean that one plan was sent twice, under whatever ids.
    """
    entries = Counter(
        (order["symbol"], submitted_session(order))
        for order in orders
        if order["side"] == "buy" and (order["status"] not in _DEAD or Decimal(order["filled_qty"] or 0) > 0)
    )
    return sum(count - 1 for count in entries.values())


def submitted_session(order: Mapping[str, Any]) -> date:
    """The New York date on which an order was sent; for crypto the UTC date."""
    at = datetime.fromisoformat(order["submitted_at"].replace("Z", "+00:00"))
    return at.date() if "/" in order["symbol"] else at.astimezone(NEW_YORK).date()
