"""Sending alone: every answer of the broker to an order that is placed or left in flight, with the evidence that is kept."""

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from closebell.app.control import confirm_resume, halt_desk, request_resume
from closebell.app.order_intent import SUBMIT_WINDOW
from closebell.model.broker import Side, VenueStatus
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
from closebell.model.instruments import Market
from closebell.model.orders import DayCounters, LiveOrder, OrderLeg, OrderState, OrderTransition
from closebell.ports.journal import Create
from tests.unit.app.executor_bench import NOW, SESSION, Bench, D, ScriptedBroker, intent, shown

SENT = ["intent: decided", "submitting: about to be sent"]


@pytest.mark.parametrize(
    ("answer", "state", "evidence", "sent_count"),
    [
        (OrderRejected("insufficient buying power"), OrderState.REJECTED, "insufficient buying power", 1),
        (OutcomeUnknown("no answer"), OrderState.UNKNOWN, "no answer", 1),
        (BrokerUnavailable("500"), OrderState.UNKNOWN, "500", 1),
        (RateLimited("429", NOW), OrderState.UNKNOWN, "429", 0),
        (DuplicateOrderId("must be unique"), OrderState.UNKNOWN, "the id is taken, yet not found", 1),
    ],
)
def test_each_answer_moves_a_new_order_on_and_is_kept_as_evidence(
    answer: Exception, state: OrderState, evidence: str, sent_count: int
) -> None:
    bench, order = Bench(ScriptedBroker(on_submit=answer)), intent()
    placed = bench.executor.place(order)
    assert placed == bench.stored(order)
    assert (placed.record.state, placed.record.note, placed.record.sent_count) == (state, evidence, sent_count)
    assert bench.life(order) == [*SENT, f"{state}: {evidence}"]
    assert bench.broker.submitted == [order.client_order_id]


@pytest.mark.parametrize(
    ("status", "filled", "state"),
    [
        (VenueStatus.ACCEPTED, "0", OrderState.ACCEPTED),
        (VenueStatus.NEW, "0", OrderState.ACCEPTED),
        (VenueStatus.NEW, "3", OrderState.PARTIAL),
        (VenueStatus.PARTIALLY_FILLED, "3", OrderState.PARTIAL),
        (VenueStatus.PENDING_CANCEL, "0", OrderState.CANCEL_PENDING),
        (VenueStatus.FILLED, "10", OrderState.FILLED),
        (VenueStatus.CANCELED, "0", OrderState.CANCELED),
        (VenueStatus.EXPIRED, "0", OrderState.EXPIRED),
        (VenueStatus.REJECTED, "0", OrderState.REJECTED),
        (VenueStatus.REPLACED, "0", OrderState.REPLACED),
        (VenueStatus.UNRECOGNISED, "0", OrderState.ACCEPTED),
    ],
)
def test_a_new_order_takes_the_state_that_the_broker_shows(status: VenueStatus, filled: str, state: OrderState) -> None:
    order = intent()
    bench = Bench(ScriptedBroker(on_submit=shown(order, status, filled, filled_average_price_usd=D("99.5"))))
    placed = bench.executor.place(order).record
    assert (placed.state, placed.venue_order_id, placed.filled_average_price_usd) == (state, "v1", D("99.5"))
    assert placed.filled_quantity_shares == 0  # only booked fills count
    assert bench.life(order) == [*SENT, f"{state}: the broker shows {status}"]


def test_a_refused_key_leaves_the_order_unknown_and_is_raised() -> None:
    bench, order = Bench(ScriptedBroker(on_submit=BrokerKeyRefused("401"))), intent()
    with pytest.raises(BrokerKeyRefused):
        bench.executor.place(order)
    assert bench.life(order) == [*SENT, "unknown: 401"]


def test_a_long_note_is_cut() -> None:
    bench, order = Bench(ScriptedBroker(on_submit=OutcomeUnknown("x" * 400))), intent()
    placed = bench.executor.place(order).record
    assert placed.note == "x" * 300
    assert bench.life(order)[-1] == "unknown: " + "x" * 300


def test_a_taken_id_is_adopted_when_the_order_behind_it_is_the_one_meant() -> None:
    order = intent()
    bench = Bench(ScriptedBroker(on_submit=DuplicateOrderId("taken"), by_client_id={order.client_order_id: shown(order)}))
    assert bench.executor.place(order).record.state is OrderState.ACCEPTED


@pytest.mark.parametrize("changes", [{"symbol": "BBB"}, {"side": Side.SELL}, {"quantity_shares": D(9)}])
def test_another_order_under_our_id_is_books_disagree(changes: dict[str, object]) -> None:
    order = intent()
    other = shown(order, **changes)  # type: ignore[arg-type]  # a table of fields
    bench = Bench(ScriptedBroker(on_submit=DuplicateOrderId("taken"), by_client_id={order.client_order_id: other}))
    with pytest.raises(BooksDisagree) as raised:
        bench.executor.place(order)
    assert bench.life(order) == [
        *SENT, "unknown: another order lies under its id", "quarantined: another order lies under its id: never sent again",
    ]  # fmt: skip
    assert str(raised.value) == (
        f"order {order.client_order_id} was meant as buy 10 AAA, the broker shows "
        f"{other.side} {other.quantity_shares} {other.symbol} under that id"
    )


@pytest.mark.parametrize("left", [OrderState.UNKNOWN, OrderState.SUBMITTING, OrderState.QUARANTINED])
def test_another_order_that_is_found_later_ends_all_sending(left: OrderState) -> None:
    bench = Bench()
    stored = bench.with_order(left)
    bench.broker.by_client_id[stored.record.client_order_id] = shown(stored.record, symbol="BBB")
    if left is not OrderState.QUARANTINED:
        with pytest.raises(BooksDisagree, match="was meant as buy 10 AAA, the broker shows buy 10 BBB"):
            bench.executor.resolve(stored)
    after = bench.stored(stored.record)
    assert after.record.state is OrderState.QUARANTINED
    assert bench.executor.resolve(after) == after
    assert bench.broker.submitted == []


def test_another_order_is_never_followed() -> None:
    bench = Bench()
    stored = bench.with_order(OrderState.ACCEPTED, venue_order_id="v1")
    with pytest.raises(BooksDisagree, match="was meant as buy 10 AAA, the broker shows buy 9 AAA under that id"):
        bench.executor.follow(stored, shown(stored.record, quantity_shares=D(9)))


def test_a_former_form_of_a_replaced_order_is_still_the_same_order() -> None:
    bench = Bench()
    former: dict[str, object] = {"former_venue_order_ids": ("v0",), "former_executed_shares": D(4)}
    stored = bench.with_order(OrderState.ACCEPTED, None, venue_order_id="v1", **former)
    assert bench.executor.follow(stored, shown(stored.record, quantity_shares=D(6))).record.state is OrderState.ACCEPTED
    bench.executor.follow(stored, shown(stored.record, VenueStatus.CANCELED, venue_order_id="v0", quantity_shares=D(9)))


def test_each_step_is_numbered_and_says_where_it_came_from() -> None:
    order = intent()
    bench = Bench(ScriptedBroker(on_submit=shown(order, VenueStatus.NEW, "1")))
    bench.executor.place(order)
    steps = [one.record for one in bench.journal.query("journal", f"TRANSITION#{order.client_order_id}")]
    assert [(one.step_count, one.from_state, one.to_state) for one in steps if isinstance(one, OrderTransition)] == [
        (1, None, OrderState.INTENT),
        (2, OrderState.INTENT, OrderState.SUBMITTING),
        (3, OrderState.SUBMITTING, OrderState.PARTIAL),
    ]


def test_an_order_in_flight_that_is_placed_again_is_resolved() -> None:
    bench = Bench()
    stored = bench.with_order(OrderState.UNKNOWN)
    bench.broker.by_client_id[stored.record.client_order_id] = shown(stored.record)
    assert bench.executor.place(intent()).record.state is OrderState.ACCEPTED


def test_a_halt_that_was_lifted_does_not_keep_a_buy_back() -> None:
    bench = Bench(ScriptedBroker(on_submit=OutcomeUnknown("lost")))
    halt_desk(bench.journal, "stop", "owner", NOW)
    request_resume(bench.journal, "code", NOW)
    confirm_resume(bench.journal, "code", "owner", NOW)
    assert bench.executor.place(intent()).record.sent_count == 1


def test_entries_are_counted_with_their_notional_and_a_new_session_starts_from_zero() -> None:
    bench = Bench(ScriptedBroker(on_submit=OutcomeUnknown("")))
    key = DayCounters(market=Market.US_EQUITY, session=SESSION).key
    old = DayCounters(market=Market.US_EQUITY, session=SESSION - timedelta(days=1), orders_count=7, entries_notional_usd=D(1))
    bench.journal.commit([Create(old)])
    for attempt_count in (1, 2):
        bench.executor.place(intent(attempt_count=attempt_count))
    bench.executor.place(intent(Side.SELL, OrderLeg.EXIT))
    counters = bench.journal.read(key, DayCounters)
    assert counters is not None
    assert counters.record == DayCounters(
        market=Market.US_EQUITY, session=SESSION, orders_count=2, entries_notional_usd=D(2100)
    )


def test_an_order_that_is_there_is_resolved_or_left_but_never_placed_with_more() -> None:
    bench, order = Bench(), intent()
    bench.with_order(OrderState.ACCEPTED)
    assert bench.executor.place(order).record.state is OrderState.ACCEPTED
    with pytest.raises(JournalConflict, match=f"order {order.client_order_id} is there already"):
        bench.executor.place(order, [Create(LiveOrder(client_order_id="another"))])
    assert bench.broker.submitted == []


# --- what an earlier run left in flight

DEADLINE = NOW + SUBMIT_WINDOW


@pytest.mark.parametrize(
    ("left", "now", "life"),
    [
        (OrderState.INTENT, DEADLINE, ["submitting: about to be sent", "unknown: lost"]),
        (OrderState.INTENT, DEADLINE + timedelta(seconds=1), ["void: never sent, and its deadline has passed"]),
        (OrderState.SUBMITTING, DEADLINE, ["unknown: the run that sent it ended without an answer"]),
        (
            OrderState.SUBMITTING, DEADLINE + timedelta(seconds=1),
            [
                "unknown: the run that sent it ended without an answer",
                "quarantined: unknown past its deadline: read only from now on",
            ],
        ),
        (OrderState.UNKNOWN, DEADLINE, []),
        (OrderState.UNKNOWN, DEADLINE + timedelta(seconds=1), ["quarantined: unknown past its deadline: read only from now on"]),
        (OrderState.QUARANTINED, NOW + timedelta(hours=10), []),
        (
            OrderState.QUARANTINED, NOW + timedelta(hours=16),
            ["never_accepted: the next session has begun and the broker does not know it"],
        ),
    ],
)  # fmt: skip
def test_an_order_that_the_broker_does_not_find_is_sent_again_until_its_deadline_and_then_only_read(
    left: OrderState, now: datetime, life: list[str]
) -> None:
    bench = Bench(ScriptedBroker(on_submit=OutcomeUnknown("lost")), now=now)
    stored = bench.with_order(left, sent_count=0 if left is OrderState.INTENT else 1)
    after = bench.executor.resolve(stored)
    assert after == bench.stored(stored.record)
    assert bench.life(stored.record) == life
    in_time = now <= DEADLINE
    assert bench.broker.submitted == ([stored.record.client_order_id] if in_time else [])


@pytest.mark.parametrize("left", [OrderState.SUBMITTING, OrderState.UNKNOWN, OrderState.QUARANTINED])
def test_an_order_that_the_broker_finds_is_followed_whatever_the_time(left: OrderState) -> None:
    bench = Bench(now=DEADLINE + timedelta(days=1))
    stored = bench.with_order(left)
    bench.broker.by_client_id[stored.record.client_order_id] = shown(stored.record, VenueStatus.FILLED, "10")
    assert bench.executor.resolve(stored).record.state is OrderState.FILLED
    assert bench.life(stored.record) == ["filled: the broker shows filled"]


def test_a_repeat_that_is_refused_says_nothing_about_the_first_try() -> None:
    bench = Bench(ScriptedBroker(on_submit=OrderRejected("no money")))
    after = bench.executor.resolve(bench.with_order(OrderState.UNKNOWN, sent_count=1)).record
    assert (after.state, after.sent_count, after.note) == (OrderState.UNKNOWN, 2, "a repeat was refused: no money")


def test_a_repeat_after_a_429_that_is_refused_is_final() -> None:
    bench = Bench(ScriptedBroker(on_submit=OrderRejected("no money")))
    assert bench.executor.resolve(bench.with_order(OrderState.UNKNOWN, sent_count=0)).record.state is OrderState.REJECTED


@pytest.mark.parametrize(("held", "is_sent"), [("0", False), ("9", False), ("10", True), ("11", True)])
def test_a_sale_is_sent_again_only_while_its_shares_are_there(held: str, is_sent: bool) -> None:
    bench = Bench(ScriptedBroker(on_submit=OutcomeUnknown("lost"), held_shares=D(held)))
    stored = bench.with_order(OrderState.UNKNOWN, intent(Side.SELL, OrderLeg.EXIT), sent_count=1)
    assert bench.executor.resolve(stored).record.sent_count == 1 + is_sent
    assert bool(bench.broker.submitted) is is_sent


def test_a_sale_of_a_single_share_is_not_sent_again_when_there_is_none() -> None:
    bench = Bench(ScriptedBroker(on_submit=OutcomeUnknown("lost")))
    single = intent(Side.SELL, OrderLeg.EXIT).model_copy(update={"quantity_shares": D(1)})
    bench.executor.resolve(bench.with_order(OrderState.UNKNOWN, single, sent_count=1))
    assert bench.broker.submitted == []


@pytest.mark.parametrize("side", [Side.BUY, Side.SELL])
def test_what_keeps_an_entry_from_being_sent_again_keeps_back_no_sale(side: Side) -> None:
    bench = Bench(ScriptedBroker(on_submit=OutcomeUnknown("lost"), held_shares=D(10)))
    leg = OrderLeg.ENTRY if side is Side.BUY else OrderLeg.EXIT
    stored = bench.with_order(OrderState.UNKNOWN, intent(side, leg), sent_count=1)
    assert replace(bench.executor, may_repeat=lambda _: False).resolve(stored).record.sent_count == 1 + (side is Side.SELL)


@pytest.mark.parametrize("side", [Side.BUY, Side.SELL])
def test_a_halt_keeps_a_buy_back_and_never_a_sale(side: Side) -> None:
    bench = Bench(ScriptedBroker(on_submit=OutcomeUnknown("lost"), held_shares=D(10)))
    halt_desk(bench.journal, "stop", "owner", NOW)
    leg = OrderLeg.ENTRY if side is Side.BUY else OrderLeg.EXIT
    bench.executor.resolve(bench.with_order(OrderState.UNKNOWN, intent(side, leg), sent_count=1))
    assert bool(bench.broker.submitted) is (side is Side.SELL)
