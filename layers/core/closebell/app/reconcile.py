"""Every few minutes: make our books equal to the broker's, protect what was filled, close what must be closed.

1. Read the broker completely, or stop: a failed read changes nothing.
2. Resolve orders in flight, follow the others.
3. Book the activities, each once.
4. Compare positions and orders; every difference is a named break with one consequence.
5. Halted: cancel entries that still rest. Rest a stop under every position of ours; take a closing position one step further.
6. Keep the reading as the snapshot that exposure is computed from; halt on the day's loss limit; deliver alerts.
"""

from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal

from closebell.app.alerts import alert_changes
from closebell.app.breaks import settle_differences
from closebell.app.control import halt_desk, is_halted
from closebell.app.desk import load_desk
from closebell.app.exits import EXIT_ATTEMPTS_COUNT_MAX, ExitDesk
from closebell.app.protection import protective_order, sellable_shares, stop_price_usd, target_price_usd
from closebell.app.runs import RunOutcome, fingerprint
from closebell.app.standing import Standing
from closebell.app.trading_room import TradingRoom
from closebell.app.venue_reading import lacks_positions
from closebell.app.venue_sync import VenueSync
from closebell.model.books import Position, PositionState
from closebell.model.broker import OrderClass, VenueStatus
from closebell.model.decision import ExitRule
from closebell.model.errors import BooksDisagree, BrokerKeyRefused
from closebell.model.instruments import Market
from closebell.model.operations import Alert, Priority, RunRecord, Trigger
from closebell.model.orders import OrderLeg, OrderRecord, OrderState
from closebell.ports.journal import Create, Replace, Stored

CRYPTO_ORDER_USD_MIN = Decimal(10)
UNCERTAIN = frozenset({OrderState.UNKNOWN, OrderState.QUARANTINED})
CANCEL_PATIENCE = timedelta(minutes=15)
BARE_PATIENCE = timedelta(minutes=10)
"""Two cycles: a position that was bought this long ago and never had a stop is told of."""
REARMS_COUNT_MAX = 1
"""A stop that somebody else cancelled is rested again once; after that the owner is asked."""


@dataclass(frozen=True)
class Reconcile:
    """The use case. One run looks at the whole account, whichever market's schedule asked for it."""

    room: TradingRoom

    def __call__(self, trigger: Trigger) -> RunRecord:
        """Reconcile once. Raises BrokerUnavailable, StoreUnavailable, BooksDisagree (after halting)."""
        try:
            return self.room.run_alone(trigger, lambda room, _: Reconcile(room)._reconcile(trigger))
        except (BooksDisagree, BrokerKeyRefused) as error:
            halt_desk(self.room.journal, str(error), "reconcile", trigger.scheduled_at)
            raise

    def _reconcile(self, trigger: Trigger) -> RunOutcome:
        desk = load_desk(self.room.journal)
        sync = VenueSync.read(self.room, desk)
        cycle = Cycle(sync, trigger)
        sync.counts["breaks"] = settle_differences(sync, trigger.market.date_of(sync.now))
        cycle.care()
        cycle.keep_snapshot()
        cycle.guard_daily_loss()
        if desk.outbox or sync.counts["alerts"]:
            sync.counts["delivered"] = self.room.runs.deliver_alerts()
        done = ", ".join(f"{count} {name}" for name, count in sorted(sync.counts.items()) if count)
        return RunOutcome(done or "books agree, nothing to do", dict(sync.counts), fingerprint(sync.reading.records))


class Cycle:
    """What a reconcile does once the books are in step: protect, close, settle, remember."""

    def __init__(self, sync: Standing, trigger: Trigger) -> None:
        self.sync, self.keeper, self.journal = sync, sync.keeper, sync.room.journal
        self.exits = ExitDesk(sync)
        self.market = trigger.market
        self.session = trigger.market.date_of(sync.now)
        self._vanished_counted: set[str] = set()

    def care(self) -> None:
        """What is done about orders and positions, in this order."""
        self.withdraw_entries()
        self.protect()
        self.close()
        self.settle_orders()

    def withdraw_entries(self) -> None:
        """While the desk is halted no entry of ours may go on buying: what still rests is cancelled."""
        if not is_halted(self.journal):
            return
        for stored in list(self.keeper.orders.values()):
            if stored.record.leg is OrderLeg.ENTRY and not stored.record.state.is_terminal:
                self.sync.cancel(stored)

    def protect(self) -> None:
        """Rest a stop (and target) under every position of ours that has none of the right size, and under nothing else."""
        for stored in self.sync.attended_orders():
            held = self.keeper.positions.get(stored.record.symbol)
            if stored.record.leg is OrderLeg.PROTECT and not stored.record.state.is_terminal and not (held and held.record.lots):
                self.sync.cancel(stored)
        for symbol in self.sync.attended_symbols():
            position = self.keeper.positions[symbol].record
            if position.lots and position.state in {PositionState.OPEN, PositionState.PROTECTED, PositionState.DUST}:
                if self._is_dust(position):
                    self._mark(symbol, PositionState.DUST)
                elif self.sync.working(symbol, OrderLeg.EXIT):
                    body = f"A sale of {symbol} is out that our books do not explain; until it ends no stop can rest."
                    self._alert(f"unprotected-{self.session}-{symbol}", f"{symbol} has no stop", body, "unprotected")
                else:
                    self._protect(symbol)
                    self._tell_bare(symbol)

    def _is_dust(self, position: Position) -> bool:
        """Less than the broker lets anybody sell, with nothing more on its way."""
        price = self.sync.price_usd(position.symbol)
        small = price is not None and position.quantity_shares * price < CRYPTO_ORDER_USD_MIN
        return position.market is Market.CRYPTO and small and not self.sync.working(position.symbol, OrderLeg.ENTRY)

    def _protect(self, symbol: str) -> None:
        position = self.keeper.positions[symbol].record
        for stored in self.sync.working(symbol, OrderLeg.PROTECT):
            self._note_lost_stop(symbol, stored.record)
            is_right = _remaining(stored.record) == sellable_shares(position.quantity_shares)
            if stored.record.state.is_in_flight or (is_right and not self._has_lost_its_stop(stored.record)):
                self._mark_protected(symbol, stored.record)
                return
            if not self.sync.cancel(stored).record.state.is_terminal:
                self._mark(symbol, PositionState.OPEN)
                return
        if not self.sync.is_settling(symbol):  # what was executed and is not booked may be this very stop
            self._arm(symbol)

    def _has_lost_its_stop(self, order: OrderRecord) -> bool:
        """An OCO of which only the target is left protects nothing."""
        shown = self.sync.executor.shown.get(order.client_order_id)
        is_oco = order.order_class is OrderClass.OCO and shown is not None and bool(shown.legs)
        return is_oco and shown is not None and not any(leg.is_open for leg in shown.legs)

    def _note_lost_stop(self, symbol: str, order: OrderRecord) -> None:
        """Count a stop that ended although its target still rests, once: from then on its cancel is asked for."""
        if self._has_lost_its_stop(order) and not order.is_cancel_asked and not self.sync.is_settling(symbol):
            position = self.keeper.positions[symbol].record
            self.keeper.hold(symbol, position.model_copy(update={"vanished_stops_count": position.vanished_stops_count + 1}), [])
            body = f"The stop of {symbol} ended at the broker while its target rests. Both are replaced once that is cancelled."
            self._alert(f"stop-lost-{self.session}-{symbol}", f"{symbol} lost its stop", body, "unprotected")

    def _arm(self, symbol: str) -> None:
        stored = self.keeper.positions[symbol]
        vanished = stored.record.vanished_stops_count + self._vanished_count(symbol)
        self._vanished_counted.add(symbol)
        if vanished > REARMS_COUNT_MAX:
            self._ask_about_stop(symbol, vanished)
            return
        if self.exits.sellable_shares(stored.record) < sellable_shares(stored.record.quantity_shares):
            body = f"{symbol} has no stop that we see, and the broker keeps its shares for an order not shown, or not ours."
            self._alert(f"held-{self.session}-{symbol}", f"{symbol} may be unprotected", body, "unprotected")
            self._count_vanished(symbol, vanished)
            return
        order = self.sync.executor.next_attempt(
            lambda attempt: protective_order(stored.record, attempt, self.sync.desk_name, self.sync.now),
            stored.record.protections_count + 1,
        )
        armed = stored.record.model_copy(
            update={"protections_count": stored.record.protections_count + 1, "vanished_stops_count": vanished}
        )
        placed = self.sync.place(order, [Replace(armed, stored.version)])
        self.keeper.positions[symbol] = Stored(armed, stored.version + 1)
        self.sync.counts["protections"] += 1
        if placed.state is OrderState.REJECTED:
            self._stop_could_not_rest(symbol, order, placed.note)
        else:
            self._mark_protected(symbol, placed)

    def _mark_protected(self, symbol: str, order: OrderRecord) -> None:
        """A stop counts as resting when the broker shows it in a state that we know."""
        shown = self.sync.executor.shown.get(order.client_order_id)
        is_known = shown is not None and shown.status is not VenueStatus.UNRECOGNISED
        self._mark(symbol, PositionState.PROTECTED if is_known and not order.state.is_in_flight else PositionState.OPEN)
        if shown is not None and not is_known:
            body = f"The stop of {symbol} is in a state that this version does not know. Look at it at the broker."
            self._alert(f"unprotected-{self.session}-{symbol}", f"{symbol} may be unprotected", body, "unprotected")

    def _tell_bare(self, symbol: str) -> None:
        """Tell of shares without a stop that is known to rest: since the run began, since two cycles, or since one was lost."""
        position, before = self.keeper.positions[symbol].record, self.sync.desk.positions.get(symbol)
        if position.state is not PositionState.OPEN:
            return
        was_bare = before is not None and bool(before.record.lots) and before.record.state is PositionState.OPEN
        is_late = position.protections_count <= 1 and self.sync.now - min(lot.opened_at for lot in position.lots) >= BARE_PATIENCE
        if was_bare or is_late or self._vanished_count(symbol):
            notes = [stored.record.note for stored in self.sync.working(symbol, OrderLeg.PROTECT) if stored.record.note]
            why = f": {'; '.join(notes)}" if notes else "; it is tried again in the next cycle"
            body = f"No stop of {symbol} is known to rest at the broker since the last cycle{why}"
            self._alert(f"unprotected-{self.session}-{symbol}", f"{symbol} may be unprotected", body, "unprotected")

    def _vanished_count(self, symbol: str) -> int:
        """Stops of ours that ended in this cycle although nobody here asked for it."""
        return sum(stored.record.symbol == symbol and _has_vanished(stored.record) for stored in self.keeper.orders.values())

    def _ask_about_stop(self, symbol: str, vanished: int) -> None:
        self._count_vanished(symbol, vanished)
        body = f"The stop of {symbol} ended {vanished} times without our doing. It is not rested again: {symbol} has no stop."
        self._alert(f"unprotected-{self.session}-{symbol}", f"{symbol} is unprotected", body, "unprotected")

    def _count_vanished(self, symbol: str, vanished: int) -> None:
        """Remember how often the position lost its stop: the orders that tell it are forgotten with this cycle."""
        bare = {"vanished_stops_count": vanished, "state": PositionState.OPEN}
        self.keeper.hold(symbol, self.keeper.positions[symbol].record.model_copy(update=bare), [])

    def _stop_could_not_rest(self, symbol: str, order: OrderRecord, note: str) -> None:
        """A stop the broker refuses because the price is already through it is an exit; any other refusal is an alert."""
        price = self.sync.price_usd(symbol)
        if price is not None and order.stop_price_usd is not None and price <= order.stop_price_usd:
            self._begin(symbol, ExitRule.STOP, f"price {price:.2f} is already through the stop {order.stop_price_usd}")
            return
        body = f"{symbol} has no stop at the broker: {note}. It is tried again in the next cycle."
        self._alert(f"unprotected-{self.session}-{symbol}", f"{symbol} is unprotected", body, "unprotected")

    def close(self) -> None:
        """Watch the prices that no order at the broker watches; take every closing position one step further."""
        for symbol in self.sync.attended_symbols():
            self._watch_price(symbol)
            position = self.keeper.positions[symbol].record
            if position.state is not PositionState.CLOSING:
                continue
            if self._is_dust(position):
                self._mark(symbol, PositionState.DUST)
            elif (order := self.exits.advance(symbol)) is not None:
                self.sync.counts["exits"] += 1
                self._tell_repeated(order, position)
            else:
                self._explain_wait(symbol, position)

    def _watch_price(self, symbol: str) -> None:
        """An OCO watches both prices at the broker. A stop-limit can be jumped over, and a lone stop knows no target."""
        position, price = self.keeper.positions[symbol].record, self.sync.price_usd(symbol)
        rests_oco = any(stored.record.venue_leg_order_ids for stored in self.sync.working(symbol, OrderLeg.PROTECT))
        if price is None or rests_oco or position.state is not PositionState.PROTECTED:
            return
        if price <= stop_price_usd(position):
            reason = f"price {price} is through the stop {stop_price_usd(position)}, which did not fill"
            # told first: once it is closing, no later run comes here
            body = f"{symbol}: {reason}. It is cancelled, and what is held is sold at the market."
            self._alert(f"stop-passed-{self.session}-{symbol}", f"The stop of {symbol} did not fill", body, "unprotected")
            self._begin(symbol, ExitRule.STOP, reason)
        elif price >= target_price_usd(position):
            self._begin(symbol, ExitRule.TARGET, f"price {price} reached the target {target_price_usd(position)}")

    def _begin(self, symbol: str, rule: ExitRule, reason: str) -> None:
        position = self.keeper.positions[symbol].record
        self.exits.begin(symbol, f"{position.plan_id}-{rule}", rule, reason)

    def _tell_repeated(self, order: OrderRecord, position: Position) -> None:
        """An exit that several orders could not bring to its end goes on, and the owner knows."""
        if order.attempt_count > EXIT_ATTEMPTS_COUNT_MAX and not order.state.is_terminal:
            body = (
                f"{order.symbol} is to be sold ({position.exit_reason}), but {order.attempt_count - 1} orders found too little "
                f"trading. Another one rests now, for {order.quantity_shares} shares."
            )
            self._alert(f"exit-waits-{self.session}-{order.symbol}", f"The exit of {order.symbol} waits", body, "exit-refused")

    def _explain_wait(self, symbol: str, position: Position) -> None:
        """An exit that cannot go on is no secret: refused too often it is disputed, held up by somebody else it is told."""
        if self.sync.working(symbol, OrderLeg.EXIT):
            return
        if self.exits.is_given_up(position):
            note = f"its exit was tried {position.exit_attempts_count} times and did not go through"
            # told first: a run that ends in between disputes it again, and nothing is ever disputed in silence
            self._alert(f"exit-{self.session}-{symbol}", f"{symbol} cannot be sold", f"{symbol}: {note}", "exit-refused")
            self.keeper.hold(symbol, position.model_copy(update={"state": PositionState.DISPUTED, "note": note}), [])
            return
        slow = [stored.record for stored in self.sync.working(symbol, OrderLeg.PROTECT) if stored.record.is_cancel_asked]
        if any(self.sync.now - order.updated_at > CANCEL_PATIENCE for order in slow):
            body = f"{symbol} is to be sold ({position.exit_reason}), but the broker does not carry out the cancel of its stop."
            self._alert(f"exit-waits-{self.session}-{symbol}", f"The exit of {symbol} waits", body, "exit-refused")
        late = [order for order in self.sync.settling(symbol) if self.sync.now - order.updated_at > CANCEL_PATIENCE]
        if late:
            body = f"{symbol} is to be sold ({position.exit_reason}), but what became of {late[0].client_order_id} is not known."
            self._alert(f"exit-waits-{self.session}-{symbol}", f"The exit of {symbol} waits", body, "exit-refused")
        venue = self.sync.venue_position(symbol)
        if (
            venue is not None
            and venue.available_shares < position.quantity_shares
            and not self.sync.working(symbol, OrderLeg.PROTECT)
        ):
            body = f"{symbol} is to be sold ({position.exit_reason}), but an order that is not ours holds its shares."
            self._alert(f"exit-waits-{self.session}-{symbol}", f"The exit of {symbol} waits", body, "exit-refused")

    def settle_orders(self) -> None:
        """Forget the live orders that ended and whose every fill is booked; count those whose outcome is unknown."""
        self.sync.counts["unknown"] = sum(stored.record.state in UNCERTAIN for stored in self.keeper.orders.values())
        for stored in self.sync.attended_orders():
            order_id = stored.record.client_order_id
            ended = stored.record.state.is_terminal and self.sync.unbooked_shares(stored.record) <= 0
            held = self.keeper.positions.get(stored.record.symbol)
            counts = _has_vanished(stored.record) and held is not None and bool(held.record.lots)
            if counts and stored.record.symbol not in self._vanished_counted:
                continue  # it is counted in the cycle that could rest another stop
            if order_id in self.sync.desk.orders and ended:
                self.sync.executor.settle(stored)

    def keep_snapshot(self) -> None:
        """Keep the reading for whoever computes exposure; one whose positions are not whole is not kept, the former stays."""
        if lacks_positions(self.sync.reading):
            return
        stored = self.sync.desk.snapshot
        snapshot = self.sync.snapshot(self.market)
        self.journal.commit([Replace(snapshot, stored.version) if stored else Create(snapshot)])

    def guard_daily_loss(self) -> None:
        """Halt when the day's loss reaches its limit; what the owner took out is no loss."""
        loss, limit = self.sync.snapshot(self.market).day_loss_frac, self.sync.desk.parameters.limits.daily_loss_frac_max
        if loss >= limit:
            reason = f"equity is {loss:.2%} below the day's start, the limit is {limit:.2%}"
            self.sync.counts["alerts"] += halt_desk(self.sync.room.runs.journal, reason, "reconcile", self.sync.now)

    def _mark(self, symbol: str, state: PositionState) -> None:
        position = self.keeper.positions[symbol].record
        if position.state is not state:
            self.keeper.hold(symbol, position.model_copy(update={"state": state}), [])

    def _alert(self, alert_id: str, subject: str, body: str, runbook: str) -> None:
        alert = Alert(
            alert_id=alert_id, priority=Priority.URGENT, subject=subject, body=body, created_at=self.sync.now, runbook=runbook
        )
        changes = alert_changes(self.journal, alert)
        if changes:
            self.journal.commit(changes)
            self.sync.counts["alerts"] += 1


def _has_vanished(order: OrderRecord) -> bool:
    """Whether a stop of ours ended although nobody here asked for it, before it had sold all that it was for."""
    ended = order.leg is OrderLeg.PROTECT and order.state in {OrderState.CANCELED, OrderState.REJECTED}
    return ended and order.venue_order_id is not None and not order.is_cancel_asked and _remaining(order) > 0


def _remaining(order: OrderRecord) -> Decimal:
    """What a resting order can still sell."""
    return order.quantity_shares - order.filled_quantity_shares
