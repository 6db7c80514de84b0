"""The books rebuilt from the broker alone: what is owned, by whom, at what cost, and which orders of ours still rest.

Orders and fills of ours are known by the id that they carry. What only our tables knew (votes, reasons, the terms of a plan) is
lost with them: a rebuilt position gets the exit terms of the current configuration, and a plan id that says so. Where the
journal survived, its fills, orders and plans are used as they are.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal

from closebell.app.booking import ASSET_FEE_CODES, BUST_CODE, SPLIT_CODES, cash_transfer
from closebell.app.control import is_halted
from closebell.app.desk import load_desk
from closebell.app.execution import executed_shares
from closebell.app.order_intent import SUBMIT_WINDOW
from closebell.books.ledger import Booking, book_asset_fee, book_bust, book_fill, book_split, external_position, open_position
from closebell.books.reconciliation import asset_fees, compare_positions
from closebell.model.books import Break, Fill, LedgerCursor, Position, PositionState, Trade
from closebell.model.broker import CashActivity, OrderClass, OrderType, Side, TimeInForce, VenueFill, VenueOrder
from closebell.model.decision import EntryMethod, ExitRule, PlanAction, TradePlan
from closebell.model.errors import RunRefused
from closebell.model.instruments import Market
from closebell.model.operations import DeskOpening
from closebell.model.orders import (
    DayCounters,
    LiveOrder,
    OrderLeg,
    OrderRecord,
    OrderState,
    OrderTransition,
    is_our_order_id,
    order_key,
    session_of_order_id,
)
from closebell.model.parameters import ParameterSet
from closebell.model.record import Key, Record
from closebell.ports.broker import Broker
from closebell.ports.journal import Change, Create, Journal, Remove, Replace

CHANGES_A_COMMIT = 90
THROWN_AWAY = (Position, LiveOrder, LedgerCursor)
"""What the book table holds of the broker's account; everything else in it stays."""


@dataclass
class RebuiltBooks:
    """What the broker's account amounts to.

    `plans` are stand-ins for entries that still rest, `opening` is from when on runs can be missed. `breaks` is what fills do not
    explain: it is named and acted on by the rules of reconciliation, never guessed.
    """

    positions: dict[str, Position] = field(default_factory=dict)
    fills: list[Fill] = field(default_factory=list)
    trades: list[Trade] = field(default_factory=list)
    orders: list[OrderRecord] = field(default_factory=list)
    plans: list[TradePlan] = field(default_factory=list)
    breaks: list[Break] = field(default_factory=list)
    counters: list[DayCounters] = field(default_factory=list)
    opening: DeskOpening | None = None
    cursor: LedgerCursor | None = None


def rebuild_desk(broker: Broker, journal: Journal, replace: bool) -> RebuiltBooks:
    """Rebuild the books and store them. Killed at any point, it is run again with `replace`.

    Raises
    ------
    RunRefused
        The desk is not halted, or there are books already and `replace` was not asked for.
    ConfigurationError
        The configuration is lost too: it has to be stored first.
    BrokerUnavailable
        Nothing was changed.
    """
    if not is_halted(journal):
        raise RunRefused("the desk is not halted: run `closebell halt` first and rebuild while nobody trades")
    desk = load_desk(journal)
    if not replace and (desk.positions or desk.cursor or desk.orders):
        raise RunRefused(
            f"there are books already ({len(desk.positions)} positions, {len(desk.orders)} live orders): "
            "give --replace to throw them away and rebuild them from the broker"
        )
    books = Rebuilder(broker, journal, desk.parameters).rebuild()
    _store(journal, books)
    return books


class Rebuilder:
    """One rebuild: reads the whole account, plays its history through the ledger, compares the end with the broker's."""

    def __init__(self, broker: Broker, journal: Journal, parameters: ParameterSet) -> None:
        self._broker, self._journal, self._parameters = broker, journal, parameters
        self._sectors = {instrument.symbol: instrument.sector for instrument in parameters.universe}
        self._heads: dict[str, VenueOrder] = {}
        self._records: dict[str, OrderRecord] = {}
        self.books = RebuiltBooks()

    def rebuild(self) -> RebuiltBooks:
        """Read and replay. Raises BrokerUnavailable."""
        now = self._broker.clock().now_at
        orders = self._broker.every_order()
        positions = self._broker.positions()
        activities = self._broker.activities("")
        self._learn_owners(orders)
        for activity in activities:
            self._book(activity, now)
        for symbol, fee in asset_fees(self.books.positions, positions).items():
            self._hold(symbol, book_asset_fee(self.books.positions[symbol], fee, now))
        session = Market.US_EQUITY.date_of(now)
        for difference in compare_positions(self.books.positions, positions, self._sectors, session, now):
            self.books.breaks.append(difference.found)
            self._hold(difference.found.symbol, Booking(difference.position))
        self._take_over_orders(orders, now)
        self._count_entries(orders, now)
        self.books.opening = DeskOpening(opened_at=now)
        return self.books

    def _learn_owners(self, orders: Sequence[VenueOrder]) -> None:
        """Which order of ours a broker's id belongs to: its own, its legs' and those of whatever replaced it."""
        by_id = {order.venue_order_id: order for order in orders}
        for order in orders:
            following: VenueOrder | None = order if is_our_order_id(order.client_order_id) else None
            while following is not None:
                for member in (following, *following.legs):
                    self._heads[member.venue_order_id] = order
                following = by_id.get(following.replaced_by_venue_order_id or "")

    def _book(self, activity: VenueFill | CashActivity, now: datetime) -> None:
        before = self.books.cursor or LedgerCursor(recent_ids=(), recorded_at=now)
        if activity.activity_id in before.recent_ids:
            return
        if isinstance(activity, VenueFill):
            self._book_fill(activity)
        elif activity.symbol is not None and activity.quantity_shares:
            self._book_shares(activity.symbol, activity)
        self.books.cursor = before.with_booked(activity.activity_id, now, cash_transfer(activity))

    def _book_shares(self, symbol: str, activity: CashActivity) -> None:
        held = self.books.positions.get(symbol)
        if held is None:
            return
        if activity.code in ASSET_FEE_CODES:
            self._hold(symbol, book_asset_fee(held, -activity.quantity_shares, activity.occurred_at))
        elif activity.code == BUST_CODE and activity.quantity_shares < 0:
            self._hold(symbol, book_bust(held, -activity.quantity_shares, activity.occurred_at))
        elif activity.code in SPLIT_CODES:
            self._hold(symbol, book_split(held, activity.quantity_shares))

    def _book_fill(self, activity: VenueFill) -> None:
        head = self._heads.get(activity.venue_order_id)
        fill = self._fill_of(activity, head)
        held = self.books.positions.get(fill.symbol)
        if fill.client_order_id is not None and fill.side is Side.BUY and not (held and held.lots):
            opened = open_position(fill, self._plan_of(fill))
            before = opened.model_copy(update={"external_shares": held.external_shares if held else Decimal(0)})
        else:
            before = held or external_position(fill, self._sectors.get(fill.symbol, "unknown"))
        booking = book_fill(before, fill, _exit_rule(activity, head))
        self.books.fills.append(fill)
        self._hold(fill.symbol, booking)

    def _fill_of(self, activity: VenueFill, head: VenueOrder | None) -> Fill:
        session = activity.market.date_of(activity.occurred_at)
        order = self._record_of(head) if head else None
        plan_id = order.plan_id if order else f"rebuilt-{activity.market}-{session}-{activity.symbol}" if head else None
        return Fill(**dict(activity), session=session, client_order_id=head.client_order_id if head else None, plan_id=plan_id)

    def _record_of(self, head: VenueOrder) -> OrderRecord | None:
        """Our record of an order, where the journal still has it."""
        if head.client_order_id not in self._records:
            stored = self._journal.read(order_key(head.client_order_id), OrderRecord)
            if stored is None:
                return None
            self._records[head.client_order_id] = stored.record
        return self._records[head.client_order_id]

    def _plan_of(self, fill: Fill) -> TradePlan:
        """The plan behind an entry: the journal's, or one with the terms of today's configuration."""
        plan_id, exits = fill.plan_id or "", self._parameters.exits
        stored = self._journal.read(Key("journal", f"PLAN#{fill.market}#{fill.session}", plan_id), TradePlan)
        return stored.record if stored else TradePlan(
            plan_id=plan_id,
            market=fill.market,
            session=fill.session,
            decided_session=fill.session,
            symbol=fill.symbol,
            sector=self._sectors.get(fill.symbol, "unknown"),
            action=PlanAction.ENTER,
            method=EntryMethod.MARKET,
            quantity_shares=fill.quantity_shares,
            reference_price_usd=fill.price_usd,
            stop_loss_frac=exits.stop_loss_frac,
            take_profit_frac=exits.take_profit_frac,
            time_stop_sessions=exits.time_stop_sessions,
            minimum_hold_sessions=exits.minimum_hold_sessions,
            reason="rebuilt from the broker's account: why it was bought is lost",
        )  # fmt: skip

    def _take_over_orders(self, orders: Sequence[VenueOrder], now: datetime) -> None:
        """What of ours still rests, as records that the next reconcile follows; an entry gets a plan to stand on."""
        executed: dict[str, Decimal] = {}
        for fill in self.books.fills:
            if fill.client_order_id is not None:
                executed[fill.client_order_id] = executed.get(fill.client_order_id, Decimal(0)) + fill.quantity_shares
        for order in orders:
            head = self._heads.get(order.venue_order_id)
            if head is None or not (order.is_open or any(leg.is_open for leg in order.legs)):
                continue
            record = self._record_of(head) or self._order_of(head, order, now)
            self.books.orders.append(record.model_copy(
                update={"filled_quantity_shares": executed.get(head.client_order_id, Decimal(0))}
            ))
            held = self.books.positions.get(record.symbol)
            if record.leg is OrderLeg.EXIT and held is not None and held.lots:
                self._hold(record.symbol, Booking(held.model_copy(update=_being_sold(record))))
            if record.leg is OrderLeg.ENTRY and self._record_of(head) is None:
                self.books.plans.append(self._plan_of(_as_fill(record)))

    def _count_entries(self, orders: Sequence[VenueOrder], now: datetime) -> None:
        """What was ordered in today's sessions already counts against their limits."""
        for market in Market:
            today = market.date_of(now)
            entries = [
                one for one in orders
                if one.market is market and one.side is Side.BUY and is_our_order_id(one.client_order_id)
                and session_of_order_id(one.client_order_id) == today
            ]  # fmt: skip
            if entries:
                self.books.counters.append(DayCounters(market=market, session=today, orders_count=len(entries)))

    def _order_of(self, head: VenueOrder, newest: VenueOrder, now: datetime) -> OrderRecord:
        """The record of an order whose own is lost, from what the broker shows; its note says so."""
        held = self.books.positions.get(head.symbol)
        session = session_of_order_id(head.client_order_id)
        former = head.filled_quantity_shares if newest is not head else Decimal(0)
        leg = _leg_of(newest)
        plan_id = held.plan_id if held and held.lots and leg is not OrderLeg.ENTRY else ""
        return OrderRecord(
            client_order_id=head.client_order_id,
            plan_id=plan_id or f"rebuilt-{head.market}-{session}-{head.symbol}",
            leg=leg,
            attempt_count=1,
            market=head.market,
            session=session,
            symbol=head.symbol,
            sector=self._sectors.get(head.symbol, "unknown"),
            side=head.side,
            order_type=OrderType(newest.order_type),
            time_in_force=TimeInForce(newest.time_in_force),
            order_class=OrderClass(newest.order_class),
            quantity_shares=former + newest.quantity_shares,
            limit_price_usd=newest.limit_price_usd,
            stop_price_usd=newest.stop_price_usd or next((one.stop_price_usd for one in newest.legs), None),
            reserved_usd=self._reserved_usd(newest) if head.side is Side.BUY else Decimal(0),
            state=OrderState.PARTIAL if executed_shares(newest) else OrderState.ACCEPTED,
            created_at=head.submitted_at,
            updated_at=now,
            submit_deadline_at=head.submitted_at + SUBMIT_WINDOW,
            sent_count=1,
            venue_order_id=newest.venue_order_id,
            venue_leg_order_ids=tuple(one.venue_order_id for one in newest.legs),
            former_venue_order_ids=(head.venue_order_id,) if newest is not head else (),
            former_executed_shares=former,
            note="rebuilt from the broker's account",
        )  # fmt: skip

    def _reserved_usd(self, order: VenueOrder) -> Decimal:
        """What a resting buy may still cost: at its limit, else at the ask. Without either nothing is known to be too much."""
        price = order.limit_price_usd
        if price is None:
            quote = self._broker.quotes([order.symbol], order.market).get(order.symbol)
            price = quote.ask_usd if quote else Decimal(0)
        return (order.quantity_shares - order.filled_quantity_shares) * price

    def _hold(self, symbol: str, booking: Booking) -> None:
        if booking.trade is not None:
            self.books.trades.append(booking.trade)
        if booking.position is None:
            self.books.positions.pop(symbol, None)
        else:
            self.books.positions[symbol] = booking.position


def _being_sold(order: OrderRecord) -> dict[str, object]:
    """A position of which a sale of ours rests is closing."""
    reason = f"rebuilt: {order.client_order_id} rests at the broker"
    return {
        "state": PositionState.CLOSING, "exit_plan_id": order.plan_id, "exit_rule": ExitRule.SIGNAL, "exit_reason": reason,
    }  # fmt: skip


def _as_fill(order: OrderRecord) -> Fill:
    """A resting entry as the fill that its plan is made for."""
    return Fill(
        activity_id="", market=order.market, session=order.session, symbol=order.symbol, side=order.side,
        quantity_shares=order.quantity_shares, price_usd=order.limit_price_usd or order.reserved_usd / order.quantity_shares,
        occurred_at=order.created_at, venue_order_id=order.venue_order_id or "", client_order_id=order.client_order_id,
        plan_id=order.plan_id,
    )  # fmt: skip


def _leg_of(order: VenueOrder) -> OrderLeg:
    if order.side is Side.BUY:
        return OrderLeg.ENTRY
    rests = order.order_class == OrderClass.OCO or order.order_type in {OrderType.STOP, OrderType.STOP_LIMIT}
    return OrderLeg.PROTECT if rests else OrderLeg.EXIT


def _exit_rule(activity: VenueFill, head: VenueOrder | None) -> ExitRule:
    """What a sale was for, as far as the order alone tells."""
    if head is None:
        return ExitRule.MANUAL
    if _leg_of(head) is OrderLeg.EXIT:
        return ExitRule.SIGNAL
    is_target = head.order_class == OrderClass.OCO and activity.venue_order_id not in {leg.venue_order_id for leg in head.legs}
    return ExitRule.TARGET if is_target else ExitRule.STOP


def _store(journal: Journal, books: RebuiltBooks) -> None:
    """History first, then the projections; the cursor comes last, so that a rebuild that was killed is seen as unfinished."""
    _write_in_parts(journal, _history(journal, books))
    _write_in_parts(journal, _projections(journal, books))
    if books.cursor is not None:
        journal.commit([Create(books.cursor)])


def _history(journal: Journal, books: RebuiltBooks) -> Iterator[Change]:
    """What the journal does not have yet; what it has stays as it is."""
    records: list[Record] = [*books.plans, *books.fills, *books.trades, *books.breaks]
    for record in records:
        if journal.read(record.key, type(record)) is None:
            yield Create(record)
    for order in books.orders:
        stored = journal.read(order.key, OrderRecord)
        if stored is None:
            yield Create(order)
            yield Create(OrderTransition(
                client_order_id=order.client_order_id, step_count=1, from_state=None, to_state=order.state,
                occurred_at=order.updated_at, evidence="rebuilt from the broker's account",
            ))  # fmt: skip
        elif stored.record != order:
            yield Replace(order, stored.version)


def _projections(journal: Journal, books: RebuiltBooks) -> Iterator[Change]:
    wanted: dict[Key, Record] = {position.key: position for position in books.positions.values()}
    for order in books.orders:
        pointer = LiveOrder(client_order_id=order.client_order_id)
        wanted[pointer.key] = pointer
    for counters in books.counters:
        if journal.read(counters.key, DayCounters) is None:
            wanted[counters.key] = counters
    if books.opening is not None and load_desk(journal).opening is None:
        wanted[books.opening.key] = books.opening
    for stored in journal.query("book", "DESK"):
        record = wanted.pop(stored.record.key, None)
        if record is not None:
            yield Replace(record, stored.version)
        elif isinstance(stored.record, THROWN_AWAY):
            yield Remove(stored.record.key, stored.version)
    yield from (Create(record) for record in wanted.values())


def _write_in_parts(journal: Journal, changes: Iterator[Change]) -> None:
    part: list[Change] = []
    for change in changes:
        part.append(change)
        if len(part) == CHANGES_A_COMMIT:
            journal.commit(part)
            part = []
    if part:
        journal.commit(part)
