"""How an order is placed exactly once (facts: the id is derived, the intent is written first, a doubt never makes a new id).

1. Intent, live pointer, counters and whatever else belongs to it: one transaction, conditional on the id being new.
2. SUBMITTING is written, then the order is sent once.
3. The answer moves the state; no trustworthy answer means UNKNOWN: exposure stays reserved, the symbol blocked.
4. `resolve` looks an unknown order up by its id. Not found proves nothing: the *same* id is sent again until the deadline,
   after which the order is only read, and given up when the next session's list does not have it.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import NoReturn

from closebell.app.control import read_halt
from closebell.app.order_intent import is_same_order
from closebell.model.broker import Side, VenueOrder, VenueStatus
from closebell.model.errors import (
    BooksDisagree,
    BrokerKeyRefused,
    BrokerUnavailable,
    DuplicateOrderId,
    JournalConflict,
    OrderRejected,
    OutcomeUnknown,
    RateLimited,
)
from closebell.model.operations import HALT_KEY
from closebell.model.orders import NEXT_STATES, DayCounters, LiveOrder, OrderLeg, OrderRecord, OrderState, OrderTransition
from closebell.ports.broker import Broker
from closebell.ports.journal import Change, Create, Journal, Remove, Replace, Require, Stored

_STATE_OF_STATUS = {
    VenueStatus.PARTIALLY_FILLED: OrderState.PARTIAL,
    VenueStatus.PENDING_CANCEL: OrderState.CANCEL_PENDING,
    VenueStatus.FILLED: OrderState.FILLED,
    VenueStatus.CANCELED: OrderState.CANCELED,
    VenueStatus.EXPIRED: OrderState.EXPIRED,
    VenueStatus.REJECTED: OrderState.REJECTED,
    VenueStatus.REPLACED: OrderState.REPLACED,
}


@dataclass(frozen=True)
class Executor:
    """Places, resolves and cancels orders. `now` is the broker's time at the start of the run.

    An entry in doubt is sent again only while `may_repeat` says so: it is to pass what it passed the first time.
    """

    journal: Journal
    broker: Broker
    now: datetime
    shown: dict[str, VenueOrder] = field(default_factory=dict)
    may_repeat: Callable[[OrderRecord], bool] = lambda _: True

    def place(self, order: OrderRecord, also: Sequence[Change] = ()) -> Stored[OrderRecord]:
        """Place an order that may have been placed before: the id decides.

        `also` is committed with the intent. Raises JournalConflict when something the intent relied on has moved on, or when
        `also` comes with an order that is there already.
        """
        known = self.journal.read(order.key, OrderRecord)
        if known is not None and also:
            raise JournalConflict(f"order {order.client_order_id} is there already")
        if known is not None:
            return self.resolve(known) if known.record.state.is_in_flight else known
        counters = self.journal.read(DayCounters(market=order.market, session=order.session).key, DayCounters)
        self.journal.commit(
            [
                Create(order),
                Create(LiveOrder(client_order_id=order.client_order_id)),
                _transition(order, None, order.state, 1, "decided"),
                *counted(order, counters),
                *also,
            ]
        )
        return self._send(Stored(order, 1))

    def resolve(self, stored: Stored[OrderRecord]) -> Stored[OrderRecord]:
        """Bring an order in flight one step nearer to certainty."""
        order = stored.record
        if order.state is OrderState.INTENT:
            late = self.now > order.submit_deadline_at
            return self.move(stored, OrderState.VOID, "never sent, and its deadline has passed") if late else self._resend(stored)
        found = self.broker.order_by_client_id(order.client_order_id)
        if found is not None and is_same_order(order, found):
            return self.follow(stored, found)
        if found is not None and order.state is not OrderState.QUARANTINED:
            self._give_way(stored, found)
        if order.state is OrderState.QUARANTINED:
            if order.market.date_of(self.now) <= order.session:
                return stored
            return self.move(stored, OrderState.NEVER_ACCEPTED, "the next session has begun and the broker does not know it")
        if order.state is OrderState.SUBMITTING:
            stored = self.move(stored, OrderState.UNKNOWN, "the run that sent it ended without an answer")
        if self.now > stored.record.submit_deadline_at:
            return self.move(stored, OrderState.QUARANTINED, "unknown past its deadline: read only from now on")
        return self._resend(stored)

    def _give_way(self, stored: Stored[OrderRecord], other: VenueOrder) -> NoReturn:
        """Another order lies under our id: ours was never taken and never will be. Halt, and from now on only read."""
        if stored.record.state is OrderState.SUBMITTING:
            stored = self.move(stored, OrderState.UNKNOWN, "another order lies under its id")
        self.move(stored, OrderState.QUARANTINED, "another order lies under its id: never sent again")
        raise BooksDisagree(_difference(stored.record, other))

    def _resend(self, stored: Stored[OrderRecord]) -> Stored[OrderRecord]:
        """Send again what an earlier run meant: a sale only while the shares are there, a buy only while it fits the limits."""
        order = stored.record
        if order.side is Side.SELL:
            held = next((one.quantity_shares for one in self.broker.positions() if one.symbol == order.symbol), Decimal(0))
            return stored if held < order.quantity_shares else self._send(stored)
        return self._send(stored) if self.may_repeat(order) else stored

    def follow(self, stored: Stored[OrderRecord], venue: VenueOrder) -> Stored[OrderRecord]:
        """Take over what the broker shows of an order of ours; one that the owner replaced goes on in its newest form.

        Raises BooksDisagree when the order under our id is not the order we meant, BrokerUnavailable when the order that replaces
        it is not shown yet.
        """
        order, evidence = stored.record, f"the broker shows {venue.status}"
        if not is_same_order(order, venue):
            raise BooksDisagree(_difference(order, venue))
        while venue.status is VenueStatus.REPLACED and venue.replaced_by_venue_order_id:
            order, venue = self._newest_form(order, venue)
            evidence = f"replaced at the broker by {venue.venue_order_id}, which is {venue.status}"
        self.shown[order.client_order_id] = venue
        legs = tuple(leg.venue_order_id for leg in venue.legs if leg.venue_order_id not in order.venue_leg_order_ids)
        shown = {
            "venue_order_id": venue.venue_order_id,
            "venue_leg_order_ids": (*order.venue_leg_order_ids, *legs),
            "filled_average_price_usd": venue.filled_average_price_usd or order.filled_average_price_usd,
        }
        state, changed = _state_of(order, venue), _differing(order, shown)
        if order is not stored.record:
            changed = _differing(stored.record, {**dict(order), **shown})
        elif state is order.state and not changed:
            return stored  # as almost always: a resting order is looked at in every cycle of its life
        return self.move(stored, state, evidence, changed)

    def _newest_form(self, order: OrderRecord, replaced: VenueOrder) -> tuple[OrderRecord, VenueOrder]:
        """The order that took the place of one of ours, and our record in its terms: what was executed stays executed."""
        child = self.broker.order(replaced.replaced_by_venue_order_id or "")
        if child is None:
            raise BrokerUnavailable(f"order {order.client_order_id} was replaced, and what replaces it is not shown yet")
        executed = order.former_executed_shares + replaced.filled_quantity_shares  # its legs moved on with it
        update = {
            "venue_order_id": child.venue_order_id,
            "former_venue_order_ids": (*order.former_venue_order_ids, replaced.venue_order_id),
            "former_executed_shares": executed,
            "quantity_shares": executed + child.quantity_shares,
            "limit_price_usd": child.limit_price_usd,
            "stop_price_usd": child.stop_price_usd or (order.stop_price_usd if child.legs else None),
        }
        return order.model_copy(update=update), child

    def cancel(self, stored: Stored[OrderRecord]) -> Stored[OrderRecord]:
        """Ask for a cancel. It is done when the broker shows the order as ended, in this run or a later one."""
        if stored.record.state.is_terminal or stored.record.venue_order_id is None:
            return stored
        stored = self.move(stored, stored.record.state, "a cancel is asked for", {"is_cancel_asked": True})
        venue_order_id = stored.record.venue_order_id or ""
        try:
            self.broker.cancel(venue_order_id)
            shown = self.broker.order(venue_order_id)
        except BrokerKeyRefused:
            raise
        except (OutcomeUnknown, OrderRejected, BrokerUnavailable):
            return stored  # still resting as far as anybody knows: the next cycle asks again
        return self.follow(stored, shown) if shown is not None else stored

    def settle(self, stored: Stored[OrderRecord]) -> None:
        """Forget the live pointer of an order whose end and every fill are booked."""
        pointer = self.journal.read(LiveOrder(client_order_id=stored.record.client_order_id).key, LiveOrder)
        if pointer is not None:
            self.journal.commit([Remove(pointer.record.key, pointer.version)])

    def move(
        self,
        stored: Stored[OrderRecord],
        state: OrderState,
        evidence: str,
        update: Mapping[str, object] | None = None,
        conditions: Sequence[Change] = (),
    ) -> Stored[OrderRecord]:
        """Write a step of an order's life with its evidence.

        Raises BooksDisagree for a step that the table does not know, JournalConflict when another run has moved the order on.
        """
        order = stored.record
        changed = order.model_copy(update={**(update or {}), "state": state})
        if changed == order:
            return stored
        changed = changed.model_copy(update={"updated_at": self.now})
        changes: list[Change] = [Replace(changed, stored.version), *conditions]
        if state is not order.state:
            if state not in NEXT_STATES[order.state]:
                self._require_unmoved(stored)
                raise BooksDisagree(f"order {order.client_order_id} went from {order.state} to {state}: {evidence}")
            changes.append(_transition(order, order.state, state, stored.version + 1, evidence))
        self.journal.commit(changes)
        return Stored(changed, stored.version + 1)

    def _require_unmoved(self, stored: Stored[OrderRecord]) -> None:
        """A step that is impossible from what this run has read may be plain from what another has written since: a lost race."""
        now = self.journal.read(stored.record.key, OrderRecord)
        if now is None or now.version != stored.version:
            raise JournalConflict(f"order {stored.record.client_order_id} was moved on by another run")

    def next_attempt(self, draft: Callable[[int], OrderRecord], attempt_count: int) -> OrderRecord:
        """The first attempt from `attempt_count` on whose id was never used: a position that opens again has used some."""
        order = draft(attempt_count)
        while self.journal.read(order.key, OrderRecord) is not None:
            order = draft(order.attempt_count + 1)
        return order

    def _send(self, stored: Stored[OrderRecord]) -> Stored[OrderRecord]:
        halt = read_halt(self.journal) if stored.record.side is Side.BUY else None
        if halt is not None and halt.record.is_halted:
            return stored  # halted since it was decided: it is only read from now on
        sending = {"sent_count": stored.record.sent_count + 1}
        state = OrderState.SUBMITTING if stored.record.state is OrderState.INTENT else stored.record.state
        # a halt that is committed from here on finds only the call in flight
        still = [Require(HALT_KEY, halt.version if halt else 0)] if stored.record.side is Side.BUY else []
        stored = self.move(stored, state, "about to be sent", sending, still)
        try:
            return self.follow(stored, self.broker.submit(stored.record.request))
        except DuplicateOrderId:
            found = self.broker.order_by_client_id(stored.record.client_order_id)
            if found is None:
                return self._unknown(stored, "the id is taken, yet not found")
            return self.follow(stored, found) if is_same_order(stored.record, found) else self._give_way(stored, found)
        except OrderRejected as refusal:
            # an earlier try of this id may rest at the broker: then this refusal says nothing about it
            if stored.record.sent_count > 1:
                return self._unknown(stored, f"a repeat was refused: {refusal}")
            return self.move(stored, OrderState.REJECTED, str(refusal), {"note": str(refusal)})
        except RateLimited as refusal:
            # never taken, so a later refusal of the same id is final: this try does not count
            return self._unknown(stored, str(refusal), {"sent_count": stored.record.sent_count - 1})
        except BrokerKeyRefused as refusal:
            self._unknown(stored, str(refusal))
            raise
        except (OutcomeUnknown, BrokerUnavailable) as doubt:
            return self._unknown(stored, str(doubt))

    def _unknown(
        self, stored: Stored[OrderRecord], evidence: str, update: Mapping[str, object] | None = None
    ) -> Stored[OrderRecord]:
        return self.move(stored, OrderState.UNKNOWN, evidence, {"note": evidence[:300], **(update or {})})


def _transition(order: OrderRecord, before: OrderState | None, after: OrderState, step: int, evidence: str) -> Create:
    return Create(
        OrderTransition(
            client_order_id=order.client_order_id,
            step_count=step,
            from_state=before,
            to_state=after,
            occurred_at=order.updated_at,
            evidence=evidence[:300],
        )
    )


def counted(order: OrderRecord, counters: Stored[DayCounters] | None) -> list[Change]:
    """The day's counters with this entry in them; a new session starts from zero. Exits and stops are never rationed."""
    if order.leg is not OrderLeg.ENTRY:
        return []
    same_day = counters is not None and counters.record.session == order.session
    before = counters.record if counters is not None and same_day else DayCounters(market=order.market, session=order.session)
    after = before.model_copy(
        update={"orders_count": before.orders_count + 1, "entries_notional_usd": before.entries_notional_usd + order.reserved_usd}
    )
    return [Replace(after, counters.version) if counters is not None else Create(after)]


def _state_of(order: OrderRecord, venue: VenueOrder) -> OrderState:
    if venue.status is VenueStatus.UNRECOGNISED and not order.state.is_in_flight:
        return order.state
    state = _STATE_OF_STATUS.get(venue.status, OrderState.ACCEPTED)
    if state is OrderState.ACCEPTED and venue.filled_quantity_shares > 0:
        return OrderState.PARTIAL
    behind = state is OrderState.ACCEPTED and order.state in {OrderState.PARTIAL, OrderState.CANCEL_PENDING}
    return order.state if behind or order.state.is_terminal else state


def _differing(before: OrderRecord, after: Mapping[str, object]) -> dict[str, object]:
    return {name: value for name, value in after.items() if value != getattr(before, name)}


def _difference(order: OrderRecord, venue: VenueOrder) -> str:
    return (
        f"order {order.client_order_id} was meant as {order.side} {order.quantity_shares} {order.symbol}, the broker shows "
        f"{venue.side} {venue.quantity_shares} {venue.symbol} under that id"
    )


def executed_shares(venue: VenueOrder) -> Decimal:
    """What an order and its legs traded so far, by the broker's own count."""
    return venue.filled_quantity_shares + sum((leg.filled_quantity_shares for leg in venue.legs), Decimal(0))
