"""Our orders and ledger brought up to what the broker shows: the first half of every run that may trade."""

from collections import Counter
from datetime import datetime
from decimal import Decimal

from closebell.app.booking import Bookkeeper
from closebell.app.desk import Desk
from closebell.app.execution import Executor, executed_shares
from closebell.app.trading_room import TradingRoom
from closebell.app.venue_reading import VenueReading, read_venue
from closebell.model.broker import VenueOrder, VenuePosition
from closebell.model.orders import OrderLeg, OrderRecord
from closebell.ports.journal import Stored


class VenueSync:
    """One reading of the broker, taken over: orders followed, activities booked. What follows decides on its result."""

    def __init__(self, room: TradingRoom, desk: Desk, reading: VenueReading) -> None:
        self.room, self.desk, self.reading = room, desk, reading
        self.keeper = Bookkeeper.of(desk, room.journal, room.broker)
        self.executor = Executor(room.journal, room.broker, reading.clock.now_at)
        self.desk_name = room.desk_name(reading.account)
        self.counts: Counter[str] = Counter()
        self._take_over()

    @classmethod
    def read(cls, room: TradingRoom, desk: Desk) -> "VenueSync":
        """Read the broker completely and take it over. Raises BrokerUnavailable; then nothing has changed."""
        cursor = desk.cursor.record.read_after_id if desk.cursor else ""
        return cls(room, desk, read_venue(room.broker, cursor))

    @property
    def now(self) -> datetime:
        """The broker's time of the reading."""
        return self.reading.clock.now_at

    def read_again(self) -> None:
        """A second reading in the same run, for what the first left in doubt."""
        self.reading = read_venue(self.room.broker, self.keeper.after_activity_id)
        self._take_over()

    def unbooked_shares(self, order: OrderRecord) -> Decimal:
        """What the broker executed of an order, as last shown, and our ledger does not have yet."""
        shown = self.executor.shown.get(order.client_order_id)
        return executed_shares(shown) - order.filled_quantity_shares if shown else Decimal(0)

    def is_settling(self, symbol: str) -> bool:
        """Whether anything of ours in the symbol is between two states: sent and unknown, or executed and not booked."""
        return any(order.state.is_in_flight or self.unbooked_shares(order) > 0 for order in self._orders(symbol))

    def working(self, symbol: str, leg: OrderLeg) -> list[Stored[OrderRecord]]:
        """Our orders in a symbol that have not ended."""
        return [
            stored
            for stored in self.keeper.orders.values()
            if stored.record.symbol == symbol and stored.record.leg is leg and not stored.record.state.is_terminal
        ]

    def venue_position(self, symbol: str) -> VenuePosition | None:
        """The broker's position in a symbol, as last read."""
        return next((held for held in self.reading.positions if held.symbol == symbol), None)

    def price_usd(self, symbol: str) -> Decimal | None:
        """What the broker values a share at; None when it holds none."""
        held = self.venue_position(symbol)
        return held.market_value_usd / held.quantity_shares if held and held.quantity_shares else None

    def cancel(self, stored: Stored[OrderRecord]) -> Stored[OrderRecord]:
        """Ask for a cancel and keep what the order then is."""
        after = self.executor.cancel(stored)
        self.keeper.orders[after.record.client_order_id] = after
        return after

    def _orders(self, symbol: str) -> list[OrderRecord]:
        return [stored.record for stored in self.keeper.orders.values() if stored.record.symbol == symbol]

    def _take_over(self) -> None:
        listed = {order.client_order_id: order for order in self.reading.open_orders}
        for order_id, stored in list(self.keeper.orders.items()):
            if stored.record.state.is_in_flight:
                stored = self.executor.resolve(stored)
                self.counts["resolved"] += 1
            shown = self._look_at(stored.record, listed)
            self.keeper.orders[order_id] = self.executor.follow(stored, shown) if shown is not None else stored
        for activity in self.reading.activities:
            self.keeper.book(activity, self.now)
        self.counts["fills"] = self.keeper.booked_count

    def _look_at(self, order: OrderRecord, listed: dict[str, VenueOrder]) -> VenueOrder | None:
        if order.client_order_id in listed:
            return listed[order.client_order_id]
        return self.room.broker.order(order.venue_order_id) if order.venue_order_id else None
