"""Every few minutes: make our books equal to the broker's, protect what was filled, close what must be closed.

1. Read the broker completely, or stop: a failed read changes nothing.
2. Resolve orders in flight, follow the others.
3. Book the activities, each once.
4. Compare positions and orders; every difference is a named break with one consequence.
5. Rest a stop under every position of ours; take a closing position one step further.
6. Keep the reading as the snapshot that exposure is computed from; halt on the day's loss limit; deliver alerts.
"""

import hashlib
from collections import Counter
from dataclasses import dataclass
from decimal import Decimal

from closebell.app.alerts import alert_changes, deliver_waiting
from closebell.app.booking import Bookkeeper
from closebell.app.control import halt_desk
from closebell.app.desk import Desk, load_desk
from closebell.app.execution import Executor, executed_shares
from closebell.app.exits import EXIT_ATTEMPTS_COUNT_MAX, ExitDesk
from closebell.app.protection import protective_order
from closebell.app.runs import RunOutcome
from closebell.app.trading_room import TradingRoom
from closebell.app.venue_reading import VenueReading, read_venue, require_whole_positions
from closebell.books.reconciliation import Difference, asset_fees, compare_positions, unknown_orders
from closebell.model.books import Break, BreakKind, Consequence, Position, PositionState
from closebell.model.broker import VenueOrder, VenuePosition
from closebell.model.decision import ExitRule
from closebell.model.errors import BooksDisagree, BrokerKeyRefused
from closebell.model.instruments import Market
from closebell.model.operations import Alert, Priority, RunRecord, Trigger
from closebell.model.orders import OrderLeg, OrderRecord, OrderState
from closebell.ports.journal import Change, Create, Replace, Stored

CRYPTO_ORDER_USD_MIN = Decimal(10)
UNCERTAIN = frozenset({OrderState.UNKNOWN, OrderState.QUARANTINED})


@dataclass(frozen=True)
class Reconcile:
    """The use case. One run looks at the whole account, whichever market's schedule asked for it."""

    room: TradingRoom

    def __call__(self, trigger: Trigger) -> RunRecord:
        """Reconcile once. Raises BrokerUnavailable, StoreUnavailable, BooksDisagree (after halting)."""
        try:
            return self.room.runs.run_once(trigger, lambda: self._reconcile(trigger))
        except (BooksDisagree, BrokerKeyRefused) as error:
            halt_desk(self.room.journal, str(error), "reconcile", trigger.scheduled_at)
            raise

    def _reconcile(self, trigger: Trigger) -> RunOutcome:
        desk = load_desk(self.room.journal)
        keeper = Bookkeeper.of(desk, self.room.journal, self.room.broker)
        reading = read_venue(self.room.broker, keeper.after_activity_id)
        cycle = Cycle(self.room, trigger, desk, keeper, reading)
        cycle.follow_orders()
        cycle.book()
        cycle.compare()
        cycle.protect()
        cycle.close()
        cycle.settle_orders()
        cycle.keep_snapshot()
        cycle.guard_daily_loss()
        if desk.outbox or cycle.counts["alerts"]:
            cycle.counts["delivered"] = deliver_waiting(self.room.journal, self.room.notifier)
        return RunOutcome(cycle.summary(), dict(cycle.counts))


class Cycle:
    """One reconciliation in progress: what was read, what the books hold so far, what was done."""

    def __init__(self, room: TradingRoom, trigger: Trigger, desk: Desk, keeper: Bookkeeper, reading: VenueReading) -> None:
        self.journal, self.broker = room.journal, room.broker
        self.trigger, self.desk, self.keeper, self.reading = trigger, desk, keeper, reading
        self.now = reading.clock.now_at
        self.desk_name = room.desk_name(reading.account)
        self.executor = Executor(self.journal, self.broker, self.now)
        self.exits = ExitDesk(self.executor, keeper, reading.clock, self.desk_name)
        self.shown: dict[str, VenueOrder] = {}
        self.counts: Counter[str] = Counter()

    @property
    def session_label(self) -> str:
        return str(self.trigger.market.date_of(self.now))

    def follow_orders(self) -> None:
        """Resolve what is in flight; take over the broker's state of every other live order."""
        listed = {order.client_order_id: order for order in self.reading.open_orders}
        for order_id, stored in list(self.keeper.orders.items()):
            if stored.record.state.is_in_flight:
                stored = self.executor.resolve(stored)
                self.counts["resolved"] += 1
            shown = self._look_at(stored.record, listed)
            if shown is not None:
                self.shown[order_id] = shown
                stored = self.executor.follow(stored, shown)
            self.keeper.orders[order_id] = stored

    def _look_at(self, order: OrderRecord, listed: dict[str, VenueOrder]) -> VenueOrder | None:
        if order.client_order_id in listed:
            return listed[order.client_order_id]
        return self.broker.order(order.venue_order_id) if order.venue_order_id else None

    def book(self) -> None:
        for activity in self.reading.activities:
            self.keeper.book(activity, self.now)
        self.counts["fills"] = self.keeper.booked_count

    def compare(self) -> None:
        """Compare both sides; a difference counts only when a second reading shows it too."""
        self._charge_asset_fees()
        differences = self._differences(self.reading)
        if differences:
            again = read_venue(self.broker, self.keeper.after_activity_id)
            for activity in again.activities:
                self.keeper.book(activity, self.now)
            self.reading = again
            self._charge_asset_fees()
            differences = self._differences(again)
        missing = [
            difference.found for difference in differences if difference.found.theirs_shares < difference.found.ours_shares
        ]
        if missing:
            require_whole_positions(self.reading, sum((self._cost(found) for found in missing), Decimal(0)))
        found = [difference.found for difference in differences]
        new = [self._take(difference) for difference in differences]
        by_hand = self._trades_by_hand()
        new += [self._record_break(one, []) for one in by_hand]
        strangers = unknown_orders(self.reading.open_orders, self.keeper.orders, self.trigger.market.date_of(self.now), self.now)
        for stranger in strangers:
            new.append(self._record_break(stranger, []))
            halt_desk(self.journal, stranger.note, "reconcile", self.now)
        self.counts["breaks"] = sum(new)
        if any(new):
            self._alert_breaks(found + by_hand + strangers)

    def _cost(self, found: Break) -> Decimal:
        """What our books paid for the shares that the broker does not show."""
        stored = self.keeper.positions.get(found.symbol)
        price = stored.record.average_entry_price_usd if stored else Decimal(0)
        return (found.ours_shares - found.theirs_shares) * price

    def _trades_by_hand(self) -> list[Break]:
        """The owner's own trades, booked in this run: no difference is left, but nothing of it was our doing."""
        held = {position.symbol: position.quantity_shares for position in self.reading.positions}
        owned = {symbol: stored.record.quantity_shares for symbol, stored in self.keeper.positions.items()}
        return [
            Break(
                session=self.trigger.market.date_of(self.now),
                break_kind=BreakKind.QUANTITY_DIFFERS if owned.get(symbol) else BreakKind.UNKNOWN_POSITION,
                symbol=symbol,
                ours_shares=owned.get(symbol, Decimal(0)),
                theirs_shares=held.get(symbol, Decimal(0)),
                consequence=Consequence.EXTERNAL,
                detected_at=self.now,
                note="traded by hand at the broker: counted in exposure, never sold by us",
            )
            for symbol in sorted(self.keeper.external_symbols)
        ]

    def _charge_asset_fees(self) -> None:
        ours = {symbol: stored.record for symbol, stored in self.keeper.positions.items()}
        for symbol, fee_shares in asset_fees(ours, self.reading.positions).items():
            self.keeper.charge_asset_fee(symbol, fee_shares)

    def _differences(self, reading: VenueReading) -> list[Difference]:
        """Differences in symbols where nothing of ours is between two states (sent and unknown, filled and not booked)."""
        settling = {
            stored.record.symbol
            for order_id, stored in self.keeper.orders.items()
            if stored.record.state.is_in_flight or self._unbooked(order_id, stored.record) > 0
        }
        ours = {symbol: stored.record for symbol, stored in self.keeper.positions.items()}
        found = compare_positions(ours, reading.positions, self.desk.sectors, self.trigger.market.date_of(self.now), self.now)
        return [difference for difference in found if difference.found.symbol not in settling]

    def _unbooked(self, order_id: str, order: OrderRecord) -> Decimal:
        shown = self.shown.get(order_id)
        return executed_shares(shown) - order.filled_quantity_shares if shown else Decimal(0)

    def _take(self, difference: Difference) -> bool:
        """Record the break and let our books show its consequence; False if it was known already."""
        held = self.keeper.positions.get(difference.found.symbol)
        before = held.record if held else None
        if before == difference.position:
            return self._record_break(difference.found, [])
        change: list[Change] = [] if self.journal.read(difference.found.key, Break) else [Create(difference.found)]
        self.keeper.hold(difference.found.symbol, difference.position, change)
        return bool(change)

    def _record_break(self, found: Break, also: list[Change]) -> bool:
        if self.journal.read(found.key, Break) is not None:
            return False
        self.journal.commit([Create(found), *also])
        return True

    def _alert_breaks(self, breaks: list[Break]) -> None:
        """One alert for everything found in this run, however much it is."""
        names = sorted(f"{found.break_kind} {found.symbol}" for found in breaks)
        kinds = Counter(str(found.break_kind) for found in breaks)
        subject = "Books differ from the broker: " + ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items()))
        lines = [
            f"{found.symbol}: {found.break_kind}, ours {found.ours_shares}, theirs {found.theirs_shares} -> {found.consequence}: "
            f"{found.note}"
            for found in breaks
        ]
        digest = hashlib.sha256("|".join(names).encode()).hexdigest()[:12]
        priority = Priority.URGENT if any(found.consequence is not Consequence.EXTERNAL for found in breaks) else Priority.WARNING
        self._alert(f"breaks-{self.session_label}-{digest}", subject, "\n".join(lines), "breaks", priority)

    def protect(self) -> None:
        """Rest a stop (and target) under every position of ours that has none of the right size."""
        for symbol, stored in list(self.keeper.positions.items()):
            position = stored.record
            if position.lots and position.state in {PositionState.OPEN, PositionState.PROTECTED}:
                if self._is_dust(symbol, position):
                    self._mark(symbol, PositionState.DUST)
                else:
                    self._protect(symbol, position)

    def _is_dust(self, symbol: str, position: Position) -> bool:
        """Less than the broker lets anybody sell."""
        price = self._price(symbol)
        return position.market is Market.CRYPTO and price is not None and position.quantity_shares * price < CRYPTO_ORDER_USD_MIN

    def _protect(self, symbol: str, position: Position) -> None:
        resting = self._live(symbol, OrderLeg.PROTECT)
        for stored in resting:
            if stored.record.state.is_in_flight or _remaining(stored.record) == position.quantity_shares:
                self._mark(symbol, PositionState.OPEN if stored.record.state.is_in_flight else PositionState.PROTECTED)
                return
            after = self.executor.cancel(stored)
            self.keeper.orders[after.record.client_order_id] = after
            if not after.record.state.is_terminal:
                return
        self._arm(symbol)

    def _arm(self, symbol: str) -> None:
        stored = self.keeper.positions[symbol]
        order = protective_order(stored.record, self.desk_name, self.now)
        armed = stored.record.model_copy(update={"protections_count": order.attempt_count})
        placed = self.executor.place(order, [Replace(armed, stored.version)])
        self.keeper.positions[symbol] = Stored(armed, stored.version + 1)
        self.keeper.orders[order.client_order_id] = placed
        self.counts["protections"] += 1
        if placed.record.state is OrderState.REJECTED:
            self._stop_could_not_rest(symbol, order, placed.record.note)
        elif not placed.record.state.is_in_flight:
            self._mark(symbol, PositionState.PROTECTED)

    def _stop_could_not_rest(self, symbol: str, order: OrderRecord, note: str) -> None:
        """A stop the broker refuses because the price is already through it is an exit; any other refusal is an alert."""
        price = self._price(symbol)
        if price is not None and order.stop_price_usd is not None and price <= order.stop_price_usd:
            reason = f"price {price:.2f} is already through the stop {order.stop_price_usd}"
            self.exits.begin(symbol, f"{order.plan_id}-stop", ExitRule.STOP, reason)
            return
        body = f"{symbol} has no stop at the broker: {note}. It is tried again in the next cycle."
        self._alert(f"unprotected-{self.session_label}-{symbol}", f"{symbol} is unprotected", body, "unprotected")

    def close(self) -> None:
        """Watch the targets that cannot rest at the broker; take every closing position one step further."""
        for symbol, stored in list(self.keeper.positions.items()):
            position = stored.record
            self._watch_target(symbol, position)
            if self.keeper.positions[symbol].record.state is not PositionState.CLOSING:
                continue
            if self.exits.advance(symbol) is not None:
                self.counts["exits"] += 1
            elif position.exit_attempts_count >= EXIT_ATTEMPTS_COUNT_MAX and not self._live(symbol, OrderLeg.EXIT):
                self._dispute(symbol, position)

    def _watch_target(self, symbol: str, position: Position) -> None:
        rests = any(stored.record.venue_leg_order_ids for stored in self._live(symbol, OrderLeg.PROTECT))
        price = self._price(symbol)
        if rests or price is None or position.take_profit_frac is None or position.state is not PositionState.PROTECTED:
            return
        target = position.average_entry_price_usd * (1 + position.take_profit_frac)
        if price >= target:
            self.exits.begin(
                symbol, f"{position.plan_id}-target", ExitRule.TARGET, f"price {price} reached the target {target:.4f}"
            )

    def _dispute(self, symbol: str, position: Position) -> None:
        note = f"its exit was tried {position.exit_attempts_count} times and did not go through"
        self.keeper.hold(symbol, position.model_copy(update={"state": PositionState.DISPUTED, "note": note}), [])
        self._alert(f"exit-{self.session_label}-{symbol}", f"{symbol} cannot be sold", f"{symbol}: {note}", "exit-refused")

    def settle_orders(self) -> None:
        """Forget the live orders that ended and whose every fill is booked; count those whose outcome is unknown."""
        self.counts["unknown"] = sum(stored.record.state in UNCERTAIN for stored in self.keeper.orders.values())
        for order_id, stored in self.keeper.orders.items():
            if order_id in self.desk.orders and stored.record.state.is_terminal and self._unbooked(order_id, stored.record) <= 0:
                self.executor.settle(stored)

    def keep_snapshot(self) -> None:
        snapshot = self.reading.snapshot(self.trigger.market)
        stored = self.desk.snapshot
        self.journal.commit([Replace(snapshot, stored.version) if stored else Create(snapshot)])

    def guard_daily_loss(self) -> None:
        account = self.reading.account
        limit = self.desk.parameters.limits.daily_loss_frac_max
        if account.last_equity_usd <= 0:
            return
        loss = 1 - account.equity_usd / account.last_equity_usd
        if loss >= limit:
            halt_desk(
                self.journal, f"equity is {loss:.2%} below the day's start, the limit is {limit:.2%}", "reconcile", self.now
            )

    def summary(self) -> str:
        done = ", ".join(f"{count} {name}" for name, count in sorted(self.counts.items()) if count)
        return done or "books agree, nothing to do"

    def _live(self, symbol: str, leg: OrderLeg) -> list[Stored[OrderRecord]]:
        return [
            stored
            for stored in self.keeper.orders.values()
            if stored.record.symbol == symbol and stored.record.leg is leg and not stored.record.state.is_terminal
        ]

    def _mark(self, symbol: str, state: PositionState) -> None:
        position = self.keeper.positions[symbol].record
        if position.state is not state:
            self.keeper.hold(symbol, position.model_copy(update={"state": state}), [])

    def _price(self, symbol: str) -> Decimal | None:
        held: VenuePosition | None = next((held for held in self.reading.positions if held.symbol == symbol), None)
        return held.market_value_usd / held.quantity_shares if held and held.quantity_shares else None

    def _alert(self, alert_id: str, subject: str, body: str, runbook: str, priority: Priority = Priority.URGENT) -> None:
        alert = Alert(alert_id=alert_id, priority=priority, subject=subject, body=body, created_at=self.now, runbook=runbook)
        changes = alert_changes(self.journal, alert)
        if changes:
            self.journal.commit(changes)
            self.counts["alerts"] += 1


def _remaining(order: OrderRecord) -> Decimal:
    """What a resting order can still sell."""
    return order.quantity_shares - order.filled_quantity_shares
