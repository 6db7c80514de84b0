"""Where the desk stands with the broker: our orders and positions, in step with what the broker shows.

Everything that is decided about them (`place_orders`, `reconcile`, `exits`, `breaks`) works on a `Standing` and cannot tell how
it came about. A deployed run reads the broker and takes over what it finds (`venue_sync`), because it can know nothing else. A
backtest, whose broker is in doubt about nothing, follows the simulated exchange as things happen.
"""

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Sequence
from datetime import date, datetime
from decimal import Context, Decimal

from closebell.app.booking import Bookkeeper
from closebell.app.desk import Desk
from closebell.app.execution import Executor, executed_shares
from closebell.app.trading_room import TradingRoom
from closebell.app.venue_reading import VenueReading
from closebell.decision.desk_view import DeskView
from closebell.model.broker import BrokerSnapshot, MarketClock, VenuePosition
from closebell.model.instruments import Market
from closebell.model.orders import DayCounters, OrderLeg, OrderRecord
from closebell.ports.journal import Change, Stored

_NINE_DIGITS = Context(prec=9)


class Standing(ABC):
    """The desk's orders and positions at one instant, and what can be done about them.

    Parameters
    ----------
    room
        The journal, the broker and the owner's inbox.
    desk
        The desk as the run found it.
    keeper
        Our positions and live orders as they are now.
    executor
        Places and cancels; it knows what the broker shows of each order.
    desk_name
        What our order ids are derived from.
    counts
        What the run did, in numbers.
    """

    room: TradingRoom
    desk: Desk
    keeper: Bookkeeper
    executor: Executor
    desk_name: str
    counts: Counter[str]

    @property
    @abstractmethod
    def clock(self) -> MarketClock:
        """The broker's clock as last read."""

    @property
    @abstractmethod
    def reading(self) -> VenueReading:
        """All that the broker shows, as last read."""

    @abstractmethod
    def read_again(self) -> None:
        """See what the broker shows by now, for what was in doubt before."""

    @abstractmethod
    def held_now(self, symbol: str) -> VenuePosition | None:
        """The broker's position after everything that was asked of it in this run."""

    @abstractmethod
    def transfers_usd(self) -> Decimal:
        """What the owner paid in, less what was taken out, since the close that the broker's `last_equity` is of."""

    @property
    def now(self) -> datetime:
        """The broker's time."""
        return self.clock.now_at

    def attended_symbols(self) -> Sequence[str]:
        """The positions that may need something done."""
        return list(self.keeper.positions)

    def attended_orders(self) -> Sequence[Stored[OrderRecord]]:
        """The orders of ours that may need something done."""
        return list(self.keeper.orders.values())

    def view(self, market: Market, session: date, besides: str = "") -> DeskView:
        """What the risk checks may know: our projections for terms, the broker's reading for exposure.

        `besides` is the id of an order of the session that is left out, as if it were still to be decided.
        """
        snapshot, empty = self.snapshot(market), DayCounters(market=market, session=session)
        counted = self.room.journal.read(empty.key, DayCounters)
        counters = counted.record if counted is not None and counted.record.session == session else empty
        orders_count = max(counters.orders_count - bool(besides), 0)
        orders = [stored.record for stored in self.keeper.orders.values() if not stored.record.state.is_terminal]
        return DeskView(
            as_of=snapshot.as_of,
            snapshot=snapshot,
            positions=tuple(stored.record for stored in self.keeper.positions.values()),
            live_orders=tuple(order for order in orders if order.client_order_id != besides),
            counters=counters.model_copy(update={"orders_count": orders_count}),
            sessions_held={},
            sectors=self.desk.sectors,
            is_halted=self.desk.is_halted,
        )

    def snapshot(self, market: Market) -> BrokerSnapshot:
        """What the broker shows as the record from which exposure is computed."""
        return BrokerSnapshot(
            as_of=self.now,
            session=market.date_of(self.now),
            account=self.reading.account,
            positions=self.reading.positions,
            open_orders=self.reading.open_orders,
            transfers_usd=self.transfers_usd(),
        )

    def unbooked_shares(self, order: OrderRecord) -> Decimal:
        """What the broker executed of an order, as last shown, and our ledger does not have yet."""
        shown = self.executor.shown.get(order.client_order_id)
        return order.former_executed_shares + executed_shares(shown) - order.filled_quantity_shares if shown else Decimal(0)

    def settling(self, symbol: str) -> list[OrderRecord]:
        """What of ours in the symbol is between two states: sent and unknown, or executed and not booked."""
        orders = (stored.record for stored in self.keeper.orders.values() if stored.record.symbol == symbol)
        return [order for order in orders if order.state.is_in_flight or self.unbooked_shares(order) > 0]

    def is_settling(self, symbol: str) -> bool:
        """Whether anything of ours in the symbol is between two states."""
        return bool(self.settling(symbol))

    def working(self, symbol: str, leg: OrderLeg) -> list[Stored[OrderRecord]]:
        """Our orders in a symbol that have not ended."""
        return [
            stored
            for stored in self.keeper.orders.values()
            if stored.record.symbol == symbol and stored.record.leg is leg and not stored.record.state.is_terminal
        ]

    def venue_position(self, symbol: str) -> VenuePosition | None:
        """The broker's position in a symbol, as last read."""
        return self.reading.position_of.get(symbol)

    def price_usd(self, symbol: str) -> Decimal | None:
        """What the broker values a share at, as exactly as a rounded value tells it; None when it holds none."""
        held = self.venue_position(symbol)
        return _NINE_DIGITS.divide(held.market_value_usd, held.quantity_shares) if held and held.quantity_shares else None

    def place(self, order: OrderRecord, also: Sequence[Change] = ()) -> OrderRecord:
        """Place an order, and keep what it then is. Raises as `Executor.place` does."""
        placed = self.executor.place(order, also)
        self.keeper.orders[order.client_order_id] = placed
        return placed.record

    def cancel(self, stored: Stored[OrderRecord]) -> Stored[OrderRecord]:
        """Ask for a cancel and keep what the order then is."""
        after = self.executor.cancel(stored)
        self.keeper.orders[after.record.client_order_id] = after
        return after
