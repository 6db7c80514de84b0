"""Bugs as somebody might make them, each planted into the production code at run time."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from decimal import Decimal
from typing import Any, NamedTuple

import pytest

from closebell.app import alerts, booking, breaks, execution, place_orders, venue_reading
from closebell.app.booking import Bookkeeper
from closebell.app.control import read_halt
from closebell.app.execution import Executor
from closebell.app.exits import ExitDesk
from closebell.app.reconcile import Cycle
from closebell.app.venue_reading import Gone
from closebell.app.watch_schedule import WatchSchedule
from closebell.books.ledger import Booking, book_fill
from closebell.decision import exposure, risk
from closebell.model.broker import CashActivity, VenueFill, VenuePosition
from closebell.model.errors import BrokerUnavailable, OrderRejected, OutcomeUnknown
from closebell.model.operations import Halt, UndeliveredAlert
from closebell.model.orders import OrderRecord, OrderState, derive_client_order_id
from closebell.ports.journal import Change, Create, Journal, Stored

Plant = Callable[[pytest.MonkeyPatch], None]


class PlantedBug(NamedTuple):
    """A bug, the faults under which it shows, and the invariants any of which gives it away."""

    plant: Plant
    faults: frozenset[str]
    invariants: frozenset[int]

    @property
    def name(self) -> str:
        return self.plant.__name__


BUGS: list[PlantedBug] = []


def bug(faults: str, *invariants: int) -> Callable[[Plant], Plant]:
    """Enter a planted bug into the list; `faults` are names with blanks between."""

    def enter(plant: Plant) -> Plant:
        BUGS.append(PlantedBug(plant, frozenset(faults.split()), frozenset(invariants)))
        return plant

    return enter


def another_attempt(order: OrderRecord) -> OrderRecord:
    """The same order under a new id."""
    attempt = order.attempt_count + 1
    new_id = derive_client_order_id("desk", order.plan_id, order.leg, attempt, order.market, order.session)
    return order.model_copy(
        update={"client_order_id": new_id, "attempt_count": attempt, "state": OrderState.INTENT, "sent_count": 0, "note": ""}
    )


@bug("arrives_late lookup_404_lag", 3, 14)
def a_new_id_after_a_404(patch: pytest.MonkeyPatch) -> None:
    resolve = Executor.resolve

    def wrong(self: Executor, stored: Stored[OrderRecord]) -> Stored[OrderRecord]:
        after = resolve(self, stored) if stored.record.state is OrderState.INTENT else stored
        if not after.record.state.is_in_flight or self.broker.order_by_client_id(after.record.client_order_id):
            return resolve(self, after)
        self.move(after, OrderState.UNKNOWN, "not found")
        return self.place(another_attempt(after.record))

    patch.setattr(Executor, "resolve", wrong)


@bug("timeout_after_acceptance timeout_before_arrival", 3, 14)
def sent_again_under_a_new_id_after_a_timeout(patch: pytest.MonkeyPatch) -> None:
    send = Executor._send

    def wrong(self: Executor, stored: Stored[OrderRecord]) -> Stored[OrderRecord]:
        after = send(self, stored)
        return self.place(another_attempt(after.record)) if after.record.state is OrderState.UNKNOWN else after

    patch.setattr(Executor, "_send", wrong)


@bug("killed_at_any_line", 4)
def sent_before_the_intent_is_committed(patch: pytest.MonkeyPatch) -> None:
    place = Executor.place

    def wrong(self: Executor, order: OrderRecord, also: Sequence[Change] = ()) -> Stored[OrderRecord]:
        with suppress(BrokerUnavailable, OrderRejected, OutcomeUnknown):
            self.broker.submit(order.request)
        return place(self, order, also)

    patch.setattr(Executor, "place", wrong)


@bug("timeout_before_arrival broker_unavailable rate_limited", 5)
def the_deadline_does_not_matter(patch: pytest.MonkeyPatch) -> None:
    resolve = Executor.resolve
    patch.setattr(
        Executor, "resolve", lambda self, stored: resolve(replace(self, now=stored.record.submit_deadline_at), stored)
    )


@bug("owner_halts", 17)
def the_halt_does_not_matter(patch: pytest.MonkeyPatch) -> None:
    def wrong(journal: Journal) -> Stored[Halt] | None:
        halt = read_halt(journal)
        return Stored(halt.record.model_copy(update={"is_halted": False}), halt.version) if halt else None

    patch.setattr(execution, "read_halt", wrong)
    patch.setattr(place_orders, "read_halt", wrong)


@bug("price_times_100", 10)
def the_collar_does_not_matter(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(risk, "PLACING_CHECKS", risk.PLACING_CHECKS[:-1])


@bug("owner_buys withdrawal", 7, 8)
def orders_that_are_out_do_not_count(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(exposure, "_our_orders", lambda desk, snapshot: iter(()))


@bug("owner_buys withdrawal", 7, 8)
def nothing_is_reserved(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(place_orders, "reservation_usd", lambda plan, parameters: Decimal(0))


@bug("owner_buys withdrawal", 7, 8)
def the_checks_are_not_made_again(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(place_orders, "recheck", lambda *given: ())


@bug("", 11)
def nothing_is_protected(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Cycle, "protect", lambda self: None)


@bug("owner_buys", 9, 11, 15)
def the_owners_shares_are_taken_for_ours(patch: pytest.MonkeyPatch) -> None:
    def wrong(self: ExitDesk, position: Any) -> Decimal:
        held: list[VenuePosition] = self.sync.room.broker.positions()
        return sum((one.available_shares for one in held if one.symbol == position.symbol), Decimal(0))

    patch.setattr(ExitDesk, "_sellable_shares", wrong)


@bug("slow_cancel", 9, 14)
def an_exit_does_not_wait_for_the_cancel(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(ExitDesk, "_orders_are_over", lambda self, symbol: True)
    patch.setattr(ExitDesk, "_sellable_shares", lambda self, position: position.quantity_shares)


@bug("account_restricted", 11)
def the_refusal_of_an_exit_is_swallowed(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Cycle, "_explain_wait", lambda self, symbol, position: None)


@bug("positions_empty", 1, 15)
def an_empty_list_is_a_flat_account(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(breaks, "are_gone", lambda *given: Gone.SURELY)


@bug("positions_error", 1, 15)
def a_failed_read_is_an_empty_list(patch: pytest.MonkeyPatch) -> None:
    read = venue_reading.read_venue

    def wrong(broker: Any, after_activity_id: str) -> Any:
        try:
            return read(broker, after_activity_id)
        except BrokerUnavailable:
            return replace(read(broker, after_activity_id), positions=())

    patch.setattr("closebell.app.venue_sync.read_venue", wrong)
    patch.setattr(breaks, "are_gone", lambda *given: Gone.SURELY)


@bug("", 1, 15)
def a_fill_counts_twice(patch: pytest.MonkeyPatch) -> None:
    def wrong(position: Any, fill: Any, exit_rule: Any) -> Booking:
        once = book_fill(position, fill, exit_rule)
        return book_fill(once.position, fill, exit_rule) if once.position and fill.side == "buy" else once

    patch.setattr(booking, "book_fill", wrong)


@bug("", 1, 19, 21)
def every_tenth_activity_is_lost(patch: pytest.MonkeyPatch) -> None:
    book = Bookkeeper.book

    def wrong(self: Bookkeeper, activity: VenueFill | CashActivity, recorded_at: Any) -> None:
        if int(activity.activity_id.partition("::")[2][:8], 16) % 10 != 9:
            book(self, activity, recorded_at)

    patch.setattr(Bookkeeper, "book", wrong)


@bug("", 20)
def a_loss_is_booked_as_a_gain(patch: pytest.MonkeyPatch) -> None:
    def wrong(position: Any, fill: Any, exit_rule: Any) -> Booking:
        right = book_fill(position, fill, exit_rule)
        trade = right.trade and right.trade.model_copy(update={"pnl_usd": abs(right.trade.pnl_usd)})
        return replace(right, trade=trade)

    patch.setattr(booking, "book_fill", wrong)


@bug("notifier_down", 24)
def an_alert_has_no_outbox_row(patch: pytest.MonkeyPatch) -> None:
    right = alerts.alert_changes

    def wrong(*given: Any) -> list[Change]:
        return [one for one in right(*given) if not (isinstance(one, Create) and isinstance(one.record, UndeliveredAlert))]

    for module in ("alerts", "breaks", "control", "reconcile", "watch_schedule"):
        patch.setattr(f"closebell.app.{module}.alert_changes", wrong)


@bug("missed_schedule journal_throttled", 25)
def the_watchdog_sleeps(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(WatchSchedule, "_missing", lambda *given: [])


@bug("killed_at_any_line", 16)
def a_step_is_not_written_down(patch: pytest.MonkeyPatch) -> None:
    move = Executor.move

    def wrong(self: Executor, stored: Any, state: OrderState, *rest: Any) -> Any:
        skipped = OrderState.ACCEPTED if state is OrderState.SUBMITTING else state
        return move(self, stored, skipped, *rest)

    patch.setattr(execution, "NEXT_STATES", {state: frozenset(OrderState) for state in OrderState})
    patch.setattr(Executor, "move", wrong)


@bug("", 12)
def an_exit_keeps_no_reason(patch: pytest.MonkeyPatch) -> None:
    begin = ExitDesk.begin
    patch.setattr(ExitDesk, "begin", lambda self, symbol, plan_id, rule, reason: begin(self, symbol, plan_id, rule, ""))
