"""The broker's activities become our ledger: each one once, in one transaction with everything it changes."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal

from closebell.app.alerts import alert_changes
from closebell.app.desk import Desk
from closebell.app.order_intent import is_same_order
from closebell.books.ledger import Booking, book_asset_fee, book_bust, book_fill, book_split, external_position, open_position
from closebell.model.books import CashTransfer, Fill, LedgerCursor, Position, Trade
from closebell.model.broker import CashActivity, OrderClass, VenueFill
from closebell.model.decision import ExitRule, TradePlan
from closebell.model.errors import BooksDisagree, BrokerUnavailable
from closebell.model.operations import Alert, Priority
from closebell.model.orders import OrderLeg, OrderRecord, OrderState, is_our_order_id, order_key
from closebell.model.record import Key
from closebell.ports.broker import Broker
from closebell.ports.journal import Change, Create, Journal, Remove, Replace, Stored

ASSET_FEE_CODES = frozenset({"CFEE", "FEE"})
"""Listed at the day's end for shares that left with the trade: reconciliation has charged them by then."""

SHOWN_WITHIN = timedelta(minutes=12)
"""An order that reached the broker is found by our id this long after its deadline: it may come 8 min late, or hide for 10."""

SPLIT_CODES = frozenset({"SPLIT", "SSP"})
"""New shares for old: the only activities besides fills and fees that change what we own."""

BUST_CODE = "TRADE_BUST"
"""A fill that the exchange took back."""

ROUTINE_PREFIXES = ("DIV", "INT", "FEE", "PTC", "PTR")
"""Income and costs of the account: cash of its own, explained by the broker's history, no shares."""

TRANSFER_CODES = frozenset({"CSD", "CSW", "JNLC", "ACATC"})
"""Cash that came or went without a trade: no profit and no loss."""


@dataclass
class Bookkeeper:
    """Books activities in the broker's order and knows the positions and orders as they then stand."""

    journal: Journal
    broker: Broker
    sectors: Mapping[str, str]
    positions: dict[str, Stored[Position]]
    orders: dict[str, Stored[OrderRecord]]
    cursor: Stored[LedgerCursor] | None
    external_symbols: set[str] = field(default_factory=set)
    orphans: dict[str, str] = field(default_factory=dict)
    booked_ids: set[str] = field(default_factory=set)
    booked_count: int = 0
    alerts_count: int = 0

    @classmethod
    def of(cls, desk: Desk, journal: Journal, broker: Broker) -> "Bookkeeper":
        booked_ids = set(desk.cursor.record.recent_ids) if desk.cursor else set()
        return cls(journal, broker, desk.sectors, dict(desk.positions), dict(desk.orders), desk.cursor, booked_ids=booked_ids)

    @property
    def after_activity_id(self) -> str:
        """Where the next reading of the broker's activities begins."""
        return self.cursor.record.read_after_id if self.cursor else ""

    def book(self, activity: VenueFill | CashActivity, recorded_at: datetime) -> None:
        """Book one activity, in one transaction; one that is booked already changes nothing.

        The cursor alone does not know that: its window moves on while the rest of a disordered reading is still to come.
        Raises JournalConflict when another run booked it first.
        """
        if activity.activity_id in self.booked_ids:
            return
        before = self.cursor.record if self.cursor else LedgerCursor(recent_ids=(), recorded_at=recorded_at)
        changes = self.changes_of(activity, recorded_at)
        cursor = before.with_booked(activity.activity_id, recorded_at, cash_transfer(activity))
        changes.append(Replace(cursor, self.cursor.version) if self.cursor else Create(cursor))
        self.journal.commit(changes)
        self.cursor = Stored(cursor, self.cursor.version + 1 if self.cursor else 1)
        self.booked_ids.add(activity.activity_id)
        self._advance_versions(changes)

    def changes_of(self, activity: VenueFill | CashActivity, recorded_at: datetime) -> list[Change]:
        """What an activity changes in positions and orders, and what it adds to the journal."""
        if isinstance(activity, VenueFill):
            return self._book_fill(activity, recorded_at)
        if activity.symbol is not None and activity.code in SPLIT_CODES:
            return self._split(activity.symbol, activity.quantity_shares)
        if is_routine(activity):
            return []
        self.alerts_count += 1
        return [*self._take_back(activity), *alert_changes(self.journal, _unusual(activity, recorded_at))]

    def charge_asset_fee(self, symbol: str, fee_shares: Decimal, charged_at: datetime) -> None:
        """Take out of our books what the broker took as its fee."""
        booking = book_asset_fee(self.positions[symbol].record, fee_shares, charged_at)
        self.hold(symbol, booking.position, self._ended(booking))

    def _take_back(self, activity: CashActivity) -> list[Change]:
        """A bust takes shares back: the newest first, because what is busted was traded a moment ago."""
        held = self.positions.get(activity.symbol or "")
        if held is None or activity.code != BUST_CODE or activity.quantity_shares >= 0:
            return []
        booking = book_bust(held.record, -activity.quantity_shares, activity.occurred_at)
        return [*self._hold(held.record.symbol, booking), *self._ended(booking)]

    def _ended(self, booking: Booking) -> list[Change]:
        """The trade that no sale ended; a journal newer than the book table has it already."""
        is_new = booking.trade is not None and self.journal.read(booking.trade.key, Trade) is None
        return [Create(booking.trade)] if booking.trade is not None and is_new else []

    def _split(self, symbol: str, change_shares: Decimal) -> list[Change]:
        held = self.positions.get(symbol)
        return self._hold(symbol, book_split(held.record, change_shares)) if held and change_shares else []

    def hold(self, symbol: str, position: Position | None, also: list[Change]) -> None:
        """Change what our books hold of a symbol without a fill, together with `also` (the break that explains it)."""
        held = self.positions.get(symbol)
        same = (held.record if held else None) == position
        changes = [*([] if same else self._hold(symbol, Booking(position))), *also]
        if changes:
            self.journal.commit(changes)
        self._advance_versions(changes)

    def _book_fill(self, activity: VenueFill, now: datetime) -> list[Change]:
        written = self._written(activity)
        owner = self._order_of(written) if written else self._owner(activity.venue_order_id, activity.symbol, now)
        order = owner.record if owner else None
        plan = self._plan(order) if order is not None and order.leg is OrderLeg.ENTRY else None
        if order is not None and order.leg is OrderLeg.ENTRY and plan is None:
            self.orphans[activity.symbol] = order.client_order_id
            order = None
        fill = _fill_of(activity, order)
        if order is None and fill.symbol not in self.orphans:
            self.external_symbols.add(fill.symbol)
        position = self._position_before(fill, order, plan)
        booking = book_fill(position, fill, _exit_rule(order, fill, position))
        changes = self._hold(fill.symbol, booking)
        self.booked_count += 1
        if written is not None:
            return changes
        changes.append(Create(fill))
        if booking.trade is not None:
            changes.append(Create(booking.trade))
        if owner is not None:
            executed = owner.record.model_copy(
                update={"filled_quantity_shares": owner.record.filled_quantity_shares + fill.quantity_shares}
            )
            changes.append(Replace(executed, owner.version))
        return changes

    def _written(self, activity: VenueFill) -> Fill | None:
        """The fill as it is written down already: the book table is older than the journal, so only the position lacks it."""
        stored = self.journal.read(_fill_of(activity, None).key, Fill)
        if stored is None:
            return None
        said = {name: getattr(stored.record, name) for name, _ in activity}
        if said != dict(activity):
            raise BooksDisagree(f"fill {activity.activity_id} of {activity.symbol} is in the journal as something else: {said}")
        return stored.record

    def _order_of(self, written: Fill) -> Stored[OrderRecord] | None:
        """The order that a written fill names; None for the owner's."""
        order_id = written.client_order_id
        if order_id is None or order_id in self.orders:
            return self.orders[order_id] if order_id else None
        return self.journal.read(order_key(order_id), OrderRecord)

    def _position_before(self, fill: Fill, order: OrderRecord | None, plan: TradePlan | None) -> Position:
        """The position a fill is booked on: an entry opens one, also where only the owner's shares or dust lie."""
        held = self.positions.get(fill.symbol)
        if plan is None or order is None:
            return held.record if held else external_position(fill, self.sectors.get(fill.symbol, "unknown"))
        if held is None:
            return open_position(fill, plan)
        if held.record.lots and held.record.plan_id == order.plan_id:
            return held.record
        flows = ("bought_shares", "bought_notional_usd", "sold_shares", "sold_notional_usd", "realised_usd")
        kept = {name: getattr(held.record, name) for name in ("lots", "external_shares", *flows)}
        return open_position(fill, plan).model_copy(
            update=kept if held.record.lots else {"external_shares": held.record.external_shares}
        )

    def _owner(self, venue_order_id: str, symbol: str, now: datetime) -> Stored[OrderRecord] | None:
        """The order of ours behind a fill: a live one by the broker's ids, else by our id on the broker's order."""
        for stored in self.orders.values():
            if stored.record.is_known_as(venue_order_id):
                return stored
        shown = self.broker.order(venue_order_id)
        if shown is None or not is_our_order_id(shown.client_order_id):
            if any(shown is None or _may_have_unknown_legs(order, symbol, now) for order in self._without_venue_id()):
                raise BrokerUnavailable(f"whose order {venue_order_id} is cannot be told: one of ours is in doubt")
            return None
        stored_order = self.journal.read(order_key(shown.client_order_id), OrderRecord)
        if stored_order is None:
            self.orphans[symbol] = shown.client_order_id
            return None
        if not is_same_order(stored_order.record, shown):
            return None  # somebody else's order under our id: what it trades is not ours
        self.orders[shown.client_order_id] = stored_order
        return stored_order

    def _without_venue_id(self) -> list[OrderRecord]:
        return [stored.record for stored in self.orders.values() if stored.record.venue_order_id is None]

    def _plan(self, order: OrderRecord) -> TradePlan | None:
        stored = self.journal.read(Key("journal", f"PLAN#{order.market}#{order.session}", order.plan_id), TradePlan)
        return stored.record if stored else None

    def _hold(self, symbol: str, booking: Booking) -> list[Change]:
        held = self.positions.get(symbol)
        if booking.position is None:
            return [Remove(held.record.key, held.version)] if held else []
        return [Replace(booking.position, held.version) if held else Create(booking.position)]

    def _advance_versions(self, changes: list[Change]) -> None:
        """After a commit: what it wrote is what we hold."""
        for change in changes:
            if isinstance(change, Remove):
                self.positions.pop(change.key.sort.removeprefix("POSITION#"), None)
                continue
            if isinstance(change, Create | Replace):
                version = change.expected_version + 1 if isinstance(change, Replace) else 1
                if isinstance(change.record, Position):
                    self.positions[change.record.symbol] = Stored(change.record, version)
                elif isinstance(change.record, OrderRecord):
                    self.orders[change.record.client_order_id] = Stored(change.record, version)


def _may_have_unknown_legs(order: OrderRecord, symbol: str, now: datetime) -> bool:
    """Whether a group was sent and not seen yet: the ids of its legs, which carry no id of ours, are not known."""
    is_sent = order.state in {OrderState.SUBMITTING, OrderState.UNKNOWN}
    is_late = order.state is OrderState.QUARANTINED and now <= order.submit_deadline_at + SHOWN_WITHIN
    return order.symbol == symbol and order.order_class is not OrderClass.SIMPLE and (is_sent or is_late)


def _exit_rule(order: OrderRecord | None, fill: Fill, position: Position) -> ExitRule:
    """What a sale was for: an OCO's parent is its target and the leg its stop; a simple protection is a stop."""
    if order is None:
        return ExitRule.MANUAL
    if order.leg is OrderLeg.PROTECT:
        is_target = (
            order.limit_price_usd is not None and bool(order.venue_leg_order_ids) and fill.venue_order_id == order.venue_order_id
        )
        return ExitRule.TARGET if is_target else ExitRule.STOP
    return position.exit_rule or ExitRule.SIGNAL


def _fill_of(activity: VenueFill, order: OrderRecord | None) -> Fill:
    """The broker's execution as our ledger keeps it; without an order of ours it is the owner's."""
    return Fill(
        **dict(activity),
        session=activity.market.date_of(activity.occurred_at),
        client_order_id=order.client_order_id if order else None,
        plan_id=order.plan_id if order else None,
    )


def is_routine(activity: CashActivity) -> bool:
    """Whether an activity needs nobody's attention. One that moves shares in a way not known here (a bust, a merger) does: its
    shares show as a difference between the books, which is named and frozen, not guessed at."""
    known = activity.code in TRANSFER_CODES | SPLIT_CODES | ASSET_FEE_CODES or activity.code.startswith(ROUTINE_PREFIXES)
    return known and (not activity.quantity_shares or activity.code in SPLIT_CODES | ASSET_FEE_CODES)


def _unusual(activity: CashActivity, at: datetime) -> Alert:
    return Alert(
        alert_id=f"activity-{activity.activity_id}",
        priority=Priority.URGENT if activity.quantity_shares else Priority.WARNING,
        subject=f"The broker booked {activity.code} in {activity.symbol or 'the account'}",
        body=f"{activity.code} of {activity.occurred_at:%Y-%m-%d %H:%M}Z: {activity.quantity_shares:f} shares, "
        f"{activity.amount_usd:f} USD. Where our books differ from the broker's after it, the symbol is frozen.",
        created_at=at,
        runbook="breaks",
    )


def cash_transfer(activity: VenueFill | CashActivity) -> CashTransfer | None:
    """Money that an activity brought or took without a trade; None for any other activity."""
    if isinstance(activity, CashActivity) and activity.code in TRANSFER_CODES:
        return CashTransfer(amount_usd=activity.amount_usd, occurred_at=activity.occurred_at)
    return None
