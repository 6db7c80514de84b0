"""Every order the exchange ever took, found by id, by client id, by symbol, and as `GET /v2/orders` lists them."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from heapq import heappop, heappush

from closebell.model.broker import Side
from closebell.simulation.exchange.venue_orders import ExchangeOrder


@dataclass(frozen=True)
class OrderFilter:
    """A listing: `after` and `until` exclude their own instant; `status` is open, closed or all."""

    status: str = "open"
    limit: int = 50
    after: datetime | None = None
    until: datetime | None = None
    ascending: bool = False
    side: str | None = None
    symbols: frozenset[str] = frozenset()

    def admits(self, order: ExchangeOrder) -> bool:
        """Whether an order belongs in the listing."""
        return (
            (self.status == "all" or order.is_open == (self.status == "open"))
            and (self.after is None or order.submitted_at > self.after)
            and (self.until is None or order.submitted_at < self.until)
            and (self.side is None or order.side == self.side)
            and (not self.symbols or order.symbol in self.symbols)
        )


class OrderBook:
    """Orders in the order they came; the open ones also by symbol.

    A symbol is asleep while it is known that none of its orders can trade or change by itself; whatever happens to one of them
    wakes it and counts in `changes_counts`.
    """

    def __init__(self) -> None:
        self.orders: dict[str, ExchangeOrder] = {}
        self._by_client_id: dict[str, ExchangeOrder] = {}
        self._live: dict[str, list[ExchangeOrder]] = {}
        self._opening: dict[str, ExchangeOrder] = {}
        self.changes_counts: Counter[str] = Counter()
        self._awake: set[str] = set()
        self._wakes: list[tuple[date, str]] = []

    def add(self, order: ExchangeOrder) -> None:
        """Keep an order for good; its client id stays taken."""
        self.orders[order.venue_order_id] = order
        self._by_client_id[order.client_order_id] = order
        self._live.setdefault(order.symbol, []).append(order)
        self.wake(order.symbol)
        if order.is_buy and not order.is_exit:
            self._opening[order.venue_order_id] = order

    def wake(self, symbol: str) -> None:
        """Look at a symbol again: something has happened to it."""
        self.changes_counts[symbol] += 1
        self._awake.add(symbol)

    def sleep(self, symbol: str, until: date) -> None:
        """Leave a symbol's orders alone until a session."""
        self._awake.discard(symbol)
        heappush(self._wakes, (until, symbol))

    def awake_symbols(self, session: date) -> list[str]:
        """Symbols whose orders may trade or change up to the end of a session, sorted."""
        while self._wakes and self._wakes[0][0] <= session:
            self._awake.add(heappop(self._wakes)[1])
        self._awake &= self._live.keys()
        return sorted(self._awake)

    def by_client_id(self, client_order_id: str) -> ExchangeOrder | None:
        """The order that carries a client id, whatever its state."""
        return self._by_client_id.get(client_order_id)

    def live_symbols(self) -> list[str]:
        """Symbols that may have open orders, sorted."""
        return sorted(self._live)

    def live(self, symbol: str) -> list[ExchangeOrder]:
        """The symbol's open orders, oldest first."""
        orders = [order for order in self._live.get(symbol, ()) if order.is_open]
        if orders:
            self._live[symbol] = orders
        else:
            self._live.pop(symbol, None)
        return list(orders)

    def all_live(self) -> Iterator[ExchangeOrder]:
        """Every open order, by symbol."""
        for symbol in self.live_symbols():
            yield from self.live(symbol)

    def matching(self, wanted: OrderFilter) -> list[ExchangeOrder]:
        """The listing: newest first unless ascending, at most `limit`."""
        known = self.all_live() if wanted.status == "open" else self.orders.values()
        chosen = sorted((order for order in known if wanted.admits(order)), key=lambda order: order.submitted_at)
        if not wanted.ascending:
            chosen.reverse()
        return chosen[: wanted.limit]

    def held_shares(self, symbol: str, side: Side) -> Decimal:
        """What working orders of one side hold of the position: a group that trades the same shares counts once."""
        held: dict[str, Decimal] = {}
        for order in self._live.get(symbol, ()):
            if order.side is side and order.works_after_at is not None and order.is_open:
                head = (order.parent or order).venue_order_id
                held[head] = max(held.get(head, Decimal(0)), order.remaining_shares)
        return sum(held.values(), Decimal(0))

    def reserved_usd(self) -> Decimal:
        """What open buys reserve; exits of a group and orders that wait to replace another reserve nothing."""
        self._opening = {order_id: order for order_id, order in self._opening.items() if order.is_open}
        working = (order for order in self._opening.values() if order.works_after_at is not None)
        return sum((order.remaining_shares * order.price_bound_usd for order in working), Decimal(0))
