"""What goes to the broker before the open, and what does not."""

from datetime import date
from decimal import Decimal

import pytest

from closebell.app.control import halt_desk, store_parameters
from closebell.model.books import Break, Consequence
from closebell.model.broker import Side
from closebell.model.decision import Denial
from closebell.model.errors import RunRefused
from closebell.model.operations import RunState
from closebell.model.orders import OrderRecord, OrderState
from tests.unit.app.small_desk import SmallDesk, entry, leave, new_york

D = Decimal
MONDAY, TUESDAY, WEDNESDAY, THURSDAY = (date(2018, 10, day) for day in (1, 2, 3, 4))


def test_placing_twice_sends_once() -> None:
    desk = SmallDesk({"AAA": ["100", "102"]})
    desk.plan(TUESDAY, entry(TUESDAY, "AAA"))
    first = desk.place(TUESDAY)
    again = desk.place(TUESDAY)
    later = desk.place(TUESDAY, "09:01")
    assert desk.sent() == ["buy 10 AAA accepted"]
    assert (first.counts, again.attempts_count, later.counts["orders"]) == (again.counts, 1, 1)


def test_a_halted_desk_enters_nothing_and_still_exits() -> None:
    desk = SmallDesk({"AAA": ["100", "100", "100"], "BBB": ["50", "50", "50"]})
    desk.plan(TUESDAY, entry(TUESDAY, "AAA"))
    desk.day(TUESDAY)
    halt_desk(desk.memory, "by hand", "the owner", new_york(TUESDAY, "18:00"))
    desk.plan(WEDNESDAY, entry(WEDNESDAY, "BBB", reference="50"), leave(WEDNESDAY, "AAA"))
    desk.day(WEDNESDAY)
    assert (desk.shares("AAA"), desk.shares("BBB")) == (D(0), D(0))
    denials = [item.record for item in desk.memory.query("journal", f"DENIAL#us_equity#{WEDNESDAY}")]
    assert [denial.symbol for denial in denials if isinstance(denial, Denial)] == ["BBB"]


def test_a_refused_order_is_recorded_and_not_tried_again() -> None:
    desk = SmallDesk({"AAA": ["100", "102"]})
    desk.exchange.set_tradable("AAA", False)
    desk.plan(TUESDAY, entry(TUESDAY, "AAA"))
    run = desk.place(TUESDAY)
    desk.day(TUESDAY)
    assert (run.counts["rejected"], desk.sent()) == (1, [])
    (order,) = [
        item.record for item in desk.memory.query("journal", f"ORDER#us_equity#{TUESDAY}") if isinstance(item.record, OrderRecord)
    ]
    assert (order.state, order.note) == (OrderState.REJECTED, "asset AAA is not tradable")


def test_each_session_may_have_as_many_orders_as_the_one_before() -> None:
    desk = SmallDesk({"AAA": ["100", "100", "100"], "BBB": ["50", "50", "50"]})
    limits = desk.parameters.limits.model_copy(update={"orders_per_session_count_max": 1})
    store_parameters(desk.memory, desk.parameters.model_copy(update={"limits": limits}))
    for session, symbol, price in ((TUESDAY, "AAA", "100"), (WEDNESDAY, "BBB", "50")):
        desk.plan(session, entry(session, symbol, reference=price))
        desk.day(session)
    assert (desk.shares("AAA"), desk.shares("BBB")) == (D(10), D(10))


def test_what_the_owner_traded_before_the_morning_is_named_by_the_run_that_books_it_and_once() -> None:
    """Booked by `place_orders`, it is no difference any more to the reconciliation that follows: nobody would ever tell."""
    desk = SmallDesk({"AAA": ["100", "102", "102"], "BBB": ["50", "50", "50"]})
    desk.plan(TUESDAY, entry(TUESDAY, "AAA"))
    desk.day(TUESDAY)
    desk.exchange.advance(new_york(TUESDAY, "18:00"))
    desk.exchange.trade_manually("BBB", Side.BUY, D(7))
    desk.plan(WEDNESDAY)
    run = desk.place(WEDNESDAY)
    later = desk.reconcile(WEDNESDAY, "09:10")
    found = [item.record for item in desk.memory.query("journal", f"BREAK#{WEDNESDAY}")]
    named = [(one.symbol, one.theirs_shares, one.consequence) for one in found if isinstance(one, Break)]
    assert named == [("BBB", D(7), Consequence.EXTERNAL)]
    assert (run.counts["breaks"], later.counts["breaks"]) == (1, 0)
    assert [alert.subject for alert in desk.inbox.alerts] == ["Books differ from the broker: 1 unknown_position"]


def test_plans_of_another_version_are_refused() -> None:
    desk = SmallDesk({"AAA": ["100", "102"]})
    desk.plan(TUESDAY, entry(TUESDAY, "AAA"), version="older")
    with pytest.raises(RunRefused, match="were made by version older"):
        desk.place(TUESDAY)
    assert desk.sent() == []
    assert desk.inbox.alerts[0].subject == "place_orders refused to run"


def test_a_run_delivered_five_hours_late_sends_nothing() -> None:
    desk = SmallDesk({"AAA": ["100", "102"]})
    desk.plan(TUESDAY, entry(TUESDAY, "AAA"))
    desk.exchange.advance(new_york(TUESDAY, "14:00"))
    with pytest.raises(RunRefused, match="must not act"):
        desk.place(TUESDAY, "09:00")
    assert desk.sent() == []


def test_without_plans_the_run_is_refused_and_told() -> None:
    desk = SmallDesk({"AAA": ["100", "102"]})
    with pytest.raises(RunRefused, match="no plans for 2018-10-02"):
        desk.place(TUESDAY)
    run = desk.memory.query("journal", "RUN#place_orders#us_equity#2018-10")[0].record
    assert getattr(run, "state", None) is RunState.REFUSED


def test_on_a_holiday_the_run_completes_and_does_nothing() -> None:
    desk = SmallDesk({"AAA": ["100"]})
    run = desk.place(date(2018, 11, 22))
    assert (run.outcome, run.state) == ("no session today", RunState.COMPLETED)
