"""Following, cancelling and settling alone: what the executor takes over of what the broker shows."""

from collections.abc import Callable
from datetime import timedelta

import pytest

from closebell.app.execution import executed_shares
from closebell.app.order_intent import Purpose
from closebell.model.broker import OrderClass, Side, VenueStatus
from closebell.model.errors import (
    BooksDisagree,
    BrokerKeyRefused,
    BrokerUnavailable,
    JournalConflict,
    OrderRejected,
    OutcomeUnknown,
)
from closebell.model.instruments import Market
from closebell.model.orders import OrderLeg, OrderRecord, OrderState
from tests.unit.app.executor_bench import DESK, NOW, SESSION, Bench, D, ScriptedBroker, intent, shown


def test_a_state_that_the_table_does_not_know_is_books_disagree() -> None:
    bench = Bench()
    stored = bench.with_order(OrderState.INTENT)
    with pytest.raises(BooksDisagree) as raised:
        bench.executor.move(stored, OrderState.FILLED, "so it seems")
    assert str(raised.value) == f"order {stored.record.client_order_id} went from intent to filled: so it seems"


def test_an_order_that_another_run_has_moved_on_is_a_lost_race_and_halts_nothing() -> None:
    """Nested runs: this one read the intent, another one sent the order meanwhile, the broker shows it taken."""
    bench = Bench()
    stored = bench.with_order(OrderState.INTENT)
    bench.executor.move(bench.executor.move(stored, OrderState.SUBMITTING, "about to be sent"), OrderState.ACCEPTED, "taken")
    with pytest.raises(JournalConflict, match="was moved on by another run"):
        bench.executor.follow(stored, shown(stored.record))


def test_what_has_not_changed_is_not_written_and_what_has_is_written_once() -> None:
    bench = Bench(now=NOW + timedelta(minutes=5))
    stored = bench.with_order(OrderState.ACCEPTED, venue_order_id="v1")
    assert bench.executor.follow(stored, shown(stored.record)) is stored
    after = bench.executor.follow(stored, shown(stored.record, VenueStatus.PARTIALLY_FILLED, "3"))
    assert (after.version, after.record.updated_at) == (2, bench.now)
    assert after == bench.stored(stored.record)
    assert bench.executor.follow(after, shown(stored.record)).record.state is OrderState.PARTIAL  # an older answer
    with pytest.raises(JournalConflict):
        bench.executor.follow(stored, shown(stored.record, VenueStatus.FILLED, "10"))


@pytest.mark.parametrize("state", [OrderState.PARTIAL, OrderState.CANCEL_PENDING, OrderState.FILLED, OrderState.CANCELED])
def test_no_answer_takes_an_order_back_to_an_earlier_state(state: OrderState) -> None:
    bench = Bench()
    stored = bench.with_order(state, venue_order_id="v1")
    for status in (VenueStatus.ACCEPTED, VenueStatus.UNRECOGNISED):
        assert bench.executor.follow(stored, shown(stored.record, status)).record.state is state


def test_legs_are_remembered_once_each() -> None:
    bench = Bench()
    stored = bench.with_order(OrderState.ACCEPTED, intent(Side.SELL, OrderLeg.PROTECT))
    leg = shown(stored.record, venue_order_id="leg1")
    once = bench.executor.follow(stored, shown(stored.record, legs=(leg,)))
    twice = bench.executor.follow(once, shown(stored.record, legs=(leg, leg.model_copy(update={"venue_order_id": "leg2"}))))
    assert twice.record.venue_leg_order_ids == ("leg1", "leg2")
    assert bench.executor.follow(twice, shown(stored.record)).record.venue_leg_order_ids == ("leg1", "leg2")


def test_executed_is_what_the_order_and_its_legs_traded() -> None:
    order = intent(Side.SELL, OrderLeg.PROTECT)
    leg = shown(order, VenueStatus.PARTIALLY_FILLED, "4", venue_order_id="leg1")
    assert executed_shares(shown(order, VenueStatus.PARTIALLY_FILLED, "3", legs=(leg,))) == 7
    assert executed_shares(shown(order)) == 0


def test_an_oco_may_have_shrunk_by_what_its_other_leg_sold_and_never_grown() -> None:
    bench = Bench()
    oco = intent(Side.SELL, OrderLeg.PROTECT).model_copy(update={"order_class": OrderClass.OCO})
    stored = bench.with_order(OrderState.ACCEPTED, oco)
    bench.executor.follow(stored, shown(oco, quantity_shares=D(6)))
    with pytest.raises(BooksDisagree):
        bench.executor.follow(stored, shown(oco, quantity_shares=D(11)))


def test_an_order_replaced_twice_goes_on_in_its_newest_form() -> None:
    bench = Bench()
    stored = bench.with_order(OrderState.ACCEPTED, venue_order_id="v1", limit_price_usd=D(100), stop_price_usd=D(90))
    first = shown(stored.record, VenueStatus.REPLACED, "2", replaced_by_venue_order_id="v2")
    second = shown(
        stored.record, VenueStatus.REPLACED, "3", venue_order_id="v2", quantity_shares=D(8), replaced_by_venue_order_id="v3"
    )
    third = shown(stored.record, venue_order_id="v3", quantity_shares=D(4), limit_price_usd=D(101))
    bench.broker.by_venue_id = {"v2": second, "v3": third}
    after = bench.executor.follow(stored, first).record
    assert (after.venue_order_id, after.former_venue_order_ids) == ("v3", ("v1", "v2"))
    assert (after.former_executed_shares, after.quantity_shares) == (D(5), D(9))
    assert (after.limit_price_usd, after.stop_price_usd, after.state) == (D(101), None, OrderState.ACCEPTED)


def test_what_became_of_a_replaced_order_is_kept_as_evidence() -> None:
    bench = Bench()
    stored = bench.with_order(OrderState.ACCEPTED, venue_order_id="v1")
    bench.broker.by_venue_id["v2"] = shown(stored.record, VenueStatus.FILLED, "10", venue_order_id="v2")
    bench.executor.follow(stored, shown(stored.record, VenueStatus.REPLACED, replaced_by_venue_order_id="v2"))
    assert bench.life(stored.record) == ["filled: replaced at the broker by v2, which is filled"]


def test_a_replaced_bracket_keeps_the_stop_of_its_leg() -> None:
    bench = Bench()
    stored = bench.with_order(OrderState.ACCEPTED, venue_order_id="v1", stop_price_usd=D(90))
    leg = shown(stored.record, venue_order_id="leg")
    for stop, legs, kept in ((None, (leg,), D(90)), (D(80), (leg,), D(80)), (None, (), None)):
        bench.broker.by_venue_id["v2"] = shown(stored.record, venue_order_id="v2", stop_price_usd=stop, legs=legs)
        replaced = shown(stored.record, VenueStatus.REPLACED, replaced_by_venue_order_id="v2")
        record, _ = bench.executor._newest_form(stored.record, replaced)
        assert record.stop_price_usd == kept


def test_a_replacement_that_is_not_shown_yet_is_waited_for() -> None:
    bench = Bench()
    stored = bench.with_order(OrderState.ACCEPTED, venue_order_id="v1")
    with pytest.raises(BrokerUnavailable, match="was replaced, and what replaces it is not shown yet"):
        bench.executor.follow(stored, shown(stored.record, VenueStatus.REPLACED, replaced_by_venue_order_id="v2"))


# --- cancelling and what follows


def test_a_cancel_is_written_down_before_it_is_asked_for_and_its_outcome_read() -> None:
    bench = Bench()
    stored = bench.with_order(OrderState.ACCEPTED, venue_order_id="v1")
    bench.broker.by_venue_id["v1"] = shown(stored.record, VenueStatus.CANCELED)
    after = bench.executor.cancel(stored).record
    assert (after.state, after.is_cancel_asked, bench.broker.cancelled) == (OrderState.CANCELED, True, ["v1"])


@pytest.mark.parametrize("failure", [OutcomeUnknown("?"), OrderRejected("too late"), BrokerUnavailable("500"), None])
def test_a_cancel_whose_outcome_is_not_known_leaves_the_order_resting(failure: Exception | None) -> None:
    bench = Bench(ScriptedBroker(on_cancel=failure))
    stored = bench.with_order(OrderState.PARTIAL, venue_order_id="v1")
    after = bench.executor.cancel(stored)
    assert (after.record.state, after.record.is_cancel_asked) == (OrderState.PARTIAL, True)
    assert after == bench.stored(stored.record)


def test_a_cancel_with_a_refused_key_is_raised() -> None:
    bench = Bench(ScriptedBroker(on_cancel=BrokerKeyRefused("401")))
    with pytest.raises(BrokerKeyRefused):
        bench.executor.cancel(bench.with_order(OrderState.ACCEPTED, venue_order_id="v1"))


@pytest.mark.parametrize(("state", "venue_order_id"), [(OrderState.FILLED, "v1"), (OrderState.UNKNOWN, None)])
def test_nothing_is_cancelled_that_has_ended_or_never_arrived(state: OrderState, venue_order_id: str | None) -> None:
    bench = Bench()
    stored = bench.with_order(state, venue_order_id=venue_order_id)
    assert bench.executor.cancel(stored) is stored
    assert bench.broker.cancelled == []


def test_settling_forgets_the_pointer_and_not_the_order() -> None:
    bench = Bench()
    stored = bench.with_order(OrderState.FILLED)
    bench.executor.settle(stored)
    bench.executor.settle(stored)
    assert bench.journal.query("book", "DESK", "LIVE_ORDER#") == []
    assert bench.stored(stored.record) == stored


def test_the_next_attempt_is_the_first_whose_id_was_never_used() -> None:
    bench = Bench()
    for attempt_count in (2, 3, 5):
        bench.with_order(OrderState.CANCELED, intent(attempt_count=attempt_count))
    draft: Callable[[int], OrderRecord] = lambda attempt: intent(attempt_count=attempt)  # noqa: E731 - what callers pass
    assert [bench.executor.next_attempt(draft, first).attempt_count for first in (1, 2, 3, 4, 5)] == [1, 4, 4, 4, 6]


def test_an_intent_has_eight_minutes() -> None:
    order = intent()
    assert (order.state, order.sent_count, order.reserved_usd) == (OrderState.INTENT, 0, D(1050))
    assert (order.created_at, order.updated_at, order.submit_deadline_at) == (NOW, NOW, NOW + timedelta(minutes=8))
    assert (order.plan_id, order.leg, order.attempt_count, order.session, order.sector) == (
        "plan", OrderLeg.ENTRY, 1, SESSION, "tech",
    )  # fmt: skip


def test_equal_purposes_have_equal_ids_and_different_ones_different() -> None:
    purpose = Purpose("plan", OrderLeg.ENTRY, 1, SESSION)
    others = [
        purpose._replace(plan_id="other"), purpose._replace(leg=OrderLeg.EXIT), purpose._replace(attempt_count=2),
    ]  # fmt: skip
    ids = [one.order_id(DESK, Market.US_EQUITY) for one in (purpose, *others)]
    ids += [purpose.order_id("live|PA1", Market.US_EQUITY), purpose.order_id(DESK, Market.CRYPTO)]
    assert len(set(ids)) == len(ids)
    assert purpose.order_id(DESK, Market.US_EQUITY) == ids[0]
