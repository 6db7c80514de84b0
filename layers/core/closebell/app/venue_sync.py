"""Our orders and ledger brought up to what the broker shows: the first half of every run that may trade."""

from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from decimal import Decimal

from closebell.app.alerts import alert_changes
from closebell.app.booking import Bookkeeper
from closebell.app.desk import Desk
from closebell.app.execution import Executor
from closebell.app.order_intent import is_same_order
from closebell.app.standing import Standing
from closebell.app.trading_room import TradingRoom
from closebell.app.venue_reading import VenueReading, lacks_positions, read_venue
from closebell.decision.placing import forbids_sending
from closebell.model.broker import MarketClock, Side, VenueOrder, VenuePosition
from closebell.model.decision import TradePlan
from closebell.model.errors import BrokerKeyRefused, BrokerUnavailable
from closebell.model.instruments import Market
from closebell.model.operations import Alert, Priority
from closebell.model.orders import LiveOrder, OrderRecord, OrderState, is_our_order_id, order_key
from closebell.model.record import Key
from closebell.ports.journal import Create, Stored

CALENDAR_REACH = timedelta(days=10)
"""No two sessions of an exchange lie further apart."""
RECENT_DAYS = 7
"""A table restored from the day before lacks the orders since: four calendar days over a weekend, more when the broker could not
be read in the session after it."""

ARRIVES_WITHIN = timedelta(minutes=8)
"""An order may reach the broker this long after it was sent."""


class VenueSync(Standing):
    """One reading of the broker, taken over: orders followed, activities booked. What follows decides on its result."""

    def __init__(self, room: TradingRoom, desk: Desk, reading: VenueReading) -> None:
        room.require_account(reading.account)
        self.room, self.desk, self._reading = room, desk, reading
        self.keeper = Bookkeeper.of(desk, room.journal, room.broker)
        self.executor = Executor(room.journal, room.broker, reading.clock.now_at, may_repeat=self._may_repeat)
        self.desk_name = room.desk_name(reading.account)
        self.counts: Counter[str] = Counter()
        self._last_close_at: datetime | None = None
        self._adopt()
        self._take_over()

    @classmethod
    def read(cls, room: TradingRoom, desk: Desk) -> "VenueSync":
        """Read the broker completely and take it over. Raises BrokerUnavailable, RunRefused; then nothing has changed."""
        cursor = desk.cursor.record.read_after_id if desk.cursor else ""
        return cls(room, desk, read_venue(room.broker, cursor))

    @property
    def clock(self) -> MarketClock:
        return self._reading.clock

    @property
    def reading(self) -> VenueReading:
        return self._reading

    def _may_repeat(self, order: OrderRecord) -> bool:
        """Whether an entry in doubt passes every check of its first sending, on this reading and with a quote of now.

        Without a whole reading, its plan or a quote it waits: nothing is lost but the chance to send it.
        """
        planned = self.room.journal.read(Key("journal", f"PLAN#{order.market}#{order.session}", order.plan_id), TradePlan)
        if planned is None or lacks_positions(self.reading):
            return False
        try:
            quotes = self.room.broker.quotes([order.symbol], order.market)
        except BrokerKeyRefused:
            raise
        except BrokerUnavailable:
            return False
        view = self.view(order.market, order.session, order.client_order_id)
        return forbids_sending(planned.record, view, self.desk.parameters, quotes.get(order.symbol)) is None

    def transfers_usd(self) -> Decimal:
        cursor = self.keeper.cursor
        if cursor is None or not cursor.record.transfers:
            return Decimal(0)
        if self._last_close_at is None:
            today = Market.US_EQUITY.date_of(self.now)
            hours = self.room.broker.calendar(today - CALENDAR_REACH, today)
            closes = [day.closes_at for day in hours if day.session < today]
            if not closes:
                raise BrokerUnavailable(f"the broker's calendar knows no session in the ten days before {today}")
            self._last_close_at = max(closes)
        return cursor.record.transferred_usd(self._last_close_at)

    def held_now(self, symbol: str) -> VenuePosition | None:
        return next((held for held in self.room.broker.positions() if held.symbol == symbol), None)

    def read_again(self) -> None:
        self._reading = read_venue(self.room.broker, self.keeper.after_activity_id)
        self._take_over()

    def _take_over(self) -> None:
        listed = {order.client_order_id: order for order in self.reading.open_orders}
        for order_id, stored in list(self.keeper.orders.items()):
            if stored.record.state.is_in_flight:
                stored = self.executor.resolve(stored)
                self.counts["resolved"] += 1
            shown = self._look_at(stored.record, listed)
            followed = self.executor.follow(stored, shown) if shown is not None else stored
            if followed.record.former_venue_order_ids != stored.record.former_venue_order_ids:
                self._tell_replaced(followed.record)
            self.keeper.orders[order_id] = followed
        for activity in self.reading.activities:
            self.keeper.book(activity, self.now)
        self.counts["fills"] = self.keeper.booked_count
        self.counts["alerts"] += self.keeper.alerts_count
        self._give_up_lost_sales(listed)

    def _tell_replaced(self, order: OrderRecord) -> None:
        alert = Alert(
            alert_id=f"replaced-{order.venue_order_id}",
            priority=Priority.WARNING,
            subject=f"An order of ours for {order.symbol} was replaced",
            body=f"Somebody replaced {order.client_order_id} at the broker: now {order.side} {order.quantity_shares} "
            f"{order.symbol}, limit {order.limit_price_usd}, stop {order.stop_price_usd}. It is followed as it now is.",
            created_at=self.now,
            runbook="breaks",
        )
        changes = alert_changes(self.room.journal, alert)
        if changes:
            self.room.journal.commit(changes)
            self.counts["alerts"] += 1

    def _adopt(self) -> None:
        """Orders of ours that have not ended and whose pointer is lost, because the book table is older than the journal."""
        recent = {stored.record.client_order_id: stored for stored in self._recent_orders()}
        for order_id in dict.fromkeys([*recent, *(order.client_order_id for order in self.reading.open_orders)]):
            if order_id in self.keeper.orders or not is_our_order_id(order_id):
                continue
            stored = recent.get(order_id) or self.room.journal.read(order_key(order_id), OrderRecord)
            pointer = LiveOrder(client_order_id=order_id)
            goes_on = stored is not None and not stored.record.state.is_terminal
            if stored is not None and goes_on and self.room.journal.read(pointer.key, LiveOrder) is None:
                self.room.journal.commit([Create(pointer)])
                self.keeper.orders[order_id] = stored

    def _recent_orders(self) -> Iterator[Stored[OrderRecord]]:
        """The orders of the last days that have not ended, whether or not the broker shows them."""
        for market in self.desk.parameters.markets:
            for days in range(RECENT_DAYS):
                session = market.date_of(self.now) - timedelta(days=days)
                for found in self.room.journal.query("journal", f"ORDER#{market}#{session}"):
                    if isinstance(found.record, OrderRecord) and not found.record.state.is_terminal:
                        yield Stored(found.record, found.version)

    def _give_up_lost_sales(self, listed: Mapping[str, VenueOrder]) -> None:
        """A sale that is quarantined, unknown by id and not listed, while the broker holds all our shares free, never arrived.

        Waiting for the next session, as for a buy, would leave the position without a stop until then.
        """
        for order_id, stored in list(self.keeper.orders.items()):
            order = stored.record
            venue = self.venue_position(order.symbol)
            is_lost = order.state is OrderState.QUARANTINED and order.side is Side.SELL and order_id not in listed
            is_lost &= self.now > order.submit_deadline_at + ARRIVES_WITHIN
            if is_lost and venue is not None and venue.available_shares == venue.quantity_shares > 0:
                evidence = "past its deadline, not listed, and no order holds the shares"
                self.keeper.orders[order_id] = self.executor.move(stored, OrderState.NEVER_ACCEPTED, evidence)

    def _look_at(self, order: OrderRecord, listed: dict[str, VenueOrder]) -> VenueOrder | None:
        found = listed.get(order.client_order_id)
        if found is not None and order.state is OrderState.QUARANTINED and not is_same_order(order, found):
            return None  # a stranger's, told when it was found: everything else goes on
        if found is not None:
            return found
        return self.room.broker.order(order.venue_order_id) if order.venue_order_id else None
