"""One trading run at a time: who works, who gives way, and what an older copy can still do (nothing)."""

from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from closebell.app.control import read_halt
from closebell.app.lease import LEASE_LASTS, LeasedJournal, Turn
from closebell.model.broker import BrokerSnapshot, OrderRequest
from closebell.model.errors import JournalConflict, OutcomeUnknown, StoreUnavailable
from closebell.model.instruments import Market
from closebell.model.operations import LEASE_KEY, DeskOpening, Lease, RunState, Trigger
from closebell.ports.journal import Change, Create, Journal, Replace
from closebell.simulation.memory_journal import MemoryJournal
from tests.unit.app.small_desk import SmallDesk, entry, new_york

MONDAY, TUESDAY, WEDNESDAY = (date(2018, 10, day) for day in (1, 2, 3))
NOW = datetime(2018, 10, 2, 13, 0, tzinfo=UTC)


class Passing:
    """A port that does what the one behind it does, until a test replaces one of its calls."""

    def __init__(self, port: Any) -> None:
        self.port = port
        self.calls: list[str] = []
        self.instead: dict[str, Callable[..., Any]] = {}

    def __getattr__(self, name: str) -> Any:
        def call(*arguments: Any, **named: Any) -> Any:
            self.calls.append(name)
            return self.instead.get(name, getattr(self.port, name))(*arguments, **named)

        return call


def turn(journal: Journal, function: str = "reconcile", minute: int = 0) -> Turn:
    return Turn.of(journal, function, Trigger(market=Market.US_EQUITY, scheduled_at=NOW + timedelta(minutes=minute)))


def held_by(desk: SmallDesk, function: str, since: datetime) -> None:
    lease = Lease(owner=f"{function}|us_equity|another", taken_at=since, expires_at=since + LEASE_LASTS)
    desk.memory.commit([Create(lease)])


def lease_of(journal: Journal) -> Lease:
    stored = journal.read(LEASE_KEY, Lease)
    assert stored is not None
    return stored.record


def test_a_run_that_finds_another_at_work_asks_the_time_and_leaves() -> None:
    desk = SmallDesk({"AAA": ["100", "100"]}, Passing)
    held_by(desk, "place_orders", new_york(TUESDAY, "09:03"))
    run = desk.reconcile(TUESDAY, "09:05")
    assert (run.state, run.outcome) == (RunState.COMPLETED, "left to place_orders, which holds the desk until 13:07Z")
    assert (run.counts, desk.broker.calls) == ({"left_to_another": 1}, ["clock"])
    assert desk.inbox.alerts == []


def test_a_lease_that_ran_out_is_taken() -> None:
    desk = SmallDesk({"AAA": ["100", "100"]})
    held_by(desk, "place_orders", new_york(TUESDAY, "09:01"))
    assert desk.reconcile(TUESDAY, "09:05").counts.get("left_to_another") is None
    assert lease_of(desk.memory).owner == "reconcile|us_equity|2018-10-02T13:05:00Z"


def test_the_orders_of_the_morning_do_not_wait_for_a_reconciliation() -> None:
    desk = SmallDesk({"AAA": ["100", "100"]})
    desk.plan(TUESDAY, entry(TUESDAY, "AAA"))
    held_by(desk, "reconcile", new_york(TUESDAY, "09:00"))
    assert desk.place(TUESDAY).counts["orders"] == 1


def test_a_run_gives_the_desk_back_when_it_is_done_and_when_it_fails() -> None:
    desk = SmallDesk({"AAA": ["100", "100"]}, Passing)
    desk.reconcile(TUESDAY, "09:05")
    assert lease_of(desk.memory).is_free(desk.exchange.now)

    def fails() -> None:
        raise StoreUnavailable("no")

    desk.broker.instead["positions"] = fails
    with pytest.raises(StoreUnavailable):
        desk.reconcile(TUESDAY, "09:10")
    assert (lease_of(desk.memory).taken_at, lease_of(desk.memory).is_free(desk.exchange.now)) == (desk.exchange.now, True)


def test_a_second_delivery_takes_over_at_once_and_the_older_copy_writes_nothing_more() -> None:
    desk = SmallDesk({"AAA": ["100", "100"]}, Passing)
    desk.plan(TUESDAY, entry(TUESDAY, "AAA"))
    written: list[int] = []

    def delivered_again_before_it_arrives(request: OrderRequest) -> Any:
        del desk.broker.instead["submit"]
        assert desk.place(TUESDAY).state is RunState.COMPLETED
        written.append(len(desk.memory.query("journal", "ORDER#us_equity#2018-10-02")))
        return desk.broker.port.submit(request)

    desk.broker.instead["submit"] = delivered_again_before_it_arrives
    run = desk.place(TUESDAY)
    assert desk.sent() == ["buy 10 AAA accepted"]
    assert (run.state, run.attempts_count) == (RunState.COMPLETED, 2)
    assert len(desk.memory.query("journal", "ORDER#us_equity#2018-10-02")) == written[0]


def test_a_reconciliation_that_lost_the_desk_in_the_middle_ends_quietly() -> None:
    desk = SmallDesk({"AAA": ["100", "100"]}, Passing)

    def overtaken() -> Any:
        stored = desk.memory.read(LEASE_KEY, Lease)
        assert stored is not None
        morning = Lease(owner="place_orders|us_equity|x", taken_at=desk.exchange.now, expires_at=desk.exchange.now + LEASE_LASTS)
        desk.memory.commit([Replace(morning, stored.version)])
        del desk.broker.instead["positions"]
        return desk.broker.port.positions()

    desk.broker.instead["positions"] = overtaken
    run = desk.reconcile(TUESDAY, "09:05")
    assert (run.state, run.counts) == (RunState.COMPLETED, {"left_to_another": 1})
    assert lease_of(desk.memory).function == "place_orders"
    assert desk.memory.query("book", "DESK", "SNAPSHOT") == []


def test_a_run_that_was_taken_over_from_does_not_take_the_desk_back() -> None:
    journal = MemoryJournal()
    older, later = turn(journal), turn(journal)
    assert isinstance(older.take(NOW), LeasedJournal)
    assert isinstance(later.take(NOW), LeasedJournal)
    assert older.take(NOW) == lease_of(journal)
    later.release(NOW, 0)
    assert isinstance(older.take(NOW), LeasedJournal)


def test_a_lost_race_of_another_kind_lets_the_run_go_on_and_counts_its_requests_once() -> None:
    journal = MemoryJournal()
    only = turn(journal)
    only.take(NOW)
    only.release(NOW, 40)
    assert isinstance(only.take(NOW), LeasedJournal)
    assert only.inherited_count == 0
    only.release(NOW, 45)
    other = turn(journal, minute=1)
    other.take(NOW)
    assert other.inherited_count == 45


def test_a_token_never_comes_back_so_that_an_old_copy_stays_out() -> None:
    journal = MemoryJournal()
    zombie = turn(journal).take(NOW)
    later = NOW + LEASE_LASTS
    for minute in (5, 10):
        other = turn(journal, minute=minute)
        assert isinstance(other.take(later), LeasedJournal)
        other.release(later, 0)
    assert isinstance(zombie, LeasedJournal)
    with pytest.raises(JournalConflict):
        zombie.commit([Create(DeskOpening(opened_at=NOW))])
    assert journal.read(DeskOpening(opened_at=NOW).key, DeskOpening) is None


@pytest.mark.parametrize("was_written", [True, False])
def test_a_lost_answer_to_the_taking_is_read_again(was_written: bool) -> None:
    memory = MemoryJournal()
    journal = Passing(memory)

    def lost(changes: Sequence[Change]) -> None:
        del journal.instead["commit"]
        if was_written:
            memory.commit(changes)
        raise OutcomeUnknown("lost")

    journal.instead["commit"] = lost
    taken = turn(journal).take(NOW)
    assert isinstance(taken, LeasedJournal)
    taken.commit([Create(DeskOpening(opened_at=NOW))])


def test_a_halt_is_not_refused_by_a_lease_that_was_lost() -> None:
    desk = SmallDesk({"AAA": ["100", "100", "40"]}, wrap_journal=Passing)
    desk.plan(TUESDAY, entry(TUESDAY, "AAA", shares="200"))
    desk.day(TUESDAY)
    overtaken: list[bool] = []

    def loses_the_lease_after_the_snapshot(changes: Sequence[Change]) -> None:
        desk.memory.commit(changes)
        if any(isinstance(change, Replace) and isinstance(change.record, BrokerSnapshot) for change in changes) and not overtaken:
            stored = desk.memory.read(LEASE_KEY, Lease)
            assert stored is not None
            overtaken.append(True)
            desk.memory.commit([Replace(stored.record.model_copy(update={"owner": "place_orders|us_equity|x"}), stored.version)])

    desk.journal.instead["commit"] = loses_the_lease_after_the_snapshot
    desk.reconcile(WEDNESDAY, "16:00")
    halt = read_halt(desk.memory)
    assert overtaken == [True]
    assert halt is not None
    assert halt.record.is_halted
