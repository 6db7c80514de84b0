"""The journal's contract, over the journal in memory and the one on DynamoDB (moto in one thread, ministack with many)."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal

import pytest

from closebell.model.books import LedgerCursor
from closebell.model.errors import JournalConflict, RunRefused, StoreUnavailable
from closebell.model.operations import Alert, Halt
from closebell.model.orders import DayCounters
from closebell.model.record import Key, Record
from closebell.ports.journal import CHANGES_MAX, Create, Journal, Remove, Replace, Require, Stored
from closebell.simulation.memory_journal import MemoryJournal
from tests.contract.aws_resources import dynamo_journal
from tests.contract.records import alert, counters, cursor, halt

pytest_plugins = ["tests.contract.aws_stack"]

PARTITION = "ALERT#2018-10"
THREADS = 16
ALL_FOUR = ["A00001", "A00002", "A00003", "A00004"]


@pytest.fixture(params=["memory", "moto", "ministack"])
def journal(request: pytest.FixtureRequest) -> Journal:
    if request.param == "memory":
        return MemoryJournal()
    return dynamo_journal(request.getfixturevalue("aws" if request.param == "ministack" else "moto_aws"))


def ids(found: list[Stored[Record]]) -> list[str]:
    return [stored.record.key.sort for stored in found]


def in_threads(work: Callable[[int], object]) -> list[object]:
    with ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(work, range(THREADS)))


# --- one record --------------------------------------------------------------------------------------------------------------

def test_an_absent_record_reads_as_none(journal: Journal) -> None:
    assert journal.read(halt("x").key, Halt) is None


def test_a_created_record_reads_back_at_version_one(journal: Journal) -> None:
    journal.commit([Create(halt("drill"))])
    assert journal.read(halt("x").key, Halt) == Stored(halt("drill"), 1)


def test_creating_a_taken_key_is_a_conflict_and_changes_nothing(journal: Journal) -> None:
    journal.commit([Create(halt("first"))])
    with pytest.raises(JournalConflict):
        journal.commit([Create(halt("second"))])
    assert journal.read(halt("x").key, Halt) == Stored(halt("first"), 1)


def test_each_replacement_counts_the_version_up(journal: Journal) -> None:
    journal.commit([Create(halt("one"))])
    journal.commit([Replace(halt("two"), 1)])
    journal.commit([Replace(halt("three"), 2)])
    assert journal.read(halt("x").key, Halt) == Stored(halt("three"), 3)


@pytest.mark.parametrize("expected_version", [0, 1, 3])
def test_replacing_at_another_version_is_a_conflict(journal: Journal, expected_version: int) -> None:
    journal.commit([Create(halt("one"))])
    journal.commit([Replace(halt("two"), 1)])
    with pytest.raises(JournalConflict):
        journal.commit([Replace(halt("late"), expected_version)])
    assert journal.read(halt("x").key, Halt) == Stored(halt("two"), 2)


@pytest.mark.parametrize("expected_version", [0, 1])
def test_replacing_or_removing_what_is_absent_is_a_conflict(journal: Journal, expected_version: int) -> None:
    with pytest.raises(JournalConflict):
        journal.commit([Replace(halt("ghost"), expected_version)])
    with pytest.raises(JournalConflict):
        journal.commit([Remove(halt("ghost").key, expected_version)])
    assert journal.read(halt("x").key, Halt) is None


def test_a_removed_record_is_gone_and_its_key_free_again(journal: Journal) -> None:
    journal.commit([Create(halt("one"))])
    with pytest.raises(JournalConflict):
        journal.commit([Remove(halt("one").key, 2)])
    journal.commit([Remove(halt("one").key, 1)])
    assert journal.read(halt("x").key, Halt) is None
    journal.commit([Create(halt("again"))])
    assert journal.read(halt("x").key, Halt) == Stored(halt("again"), 1)


def test_a_decimal_keeps_its_last_zeros(journal: Journal) -> None:
    written = counters(1).model_copy(update={"entries_notional_usd": Decimal("1234567890123456789012345678.1500")})
    journal.commit([Create(written)])
    stored = journal.read(written.key, DayCounters)
    assert stored is not None
    assert str(stored.record.entries_notional_usd) == "1234567890123456789012345678.1500"


def test_reading_a_record_as_another_kind_is_refused(journal: Journal) -> None:
    journal.commit([Create(halt("drill"))])
    with pytest.raises(RunRefused, match="halt"):
        journal.read(halt("drill").key, Alert)


# --- many records ------------------------------------------------------------------------------------------------------------

def test_many_records_come_in_the_order_of_the_keys_without_the_absent(journal: Journal) -> None:
    journal.commit([Create(alert(1)), Create(alert(2)), Create(alert(3))])
    keys = [alert(3).key, alert(9).key, alert(1).key]
    assert [stored.record.alert_id for stored in journal.read_many(keys, Alert)] == ["A00003", "A00001"]
    assert journal.read_many([], Alert) == []


def test_a_query_is_sorted_and_keeps_to_its_partition_and_prefix(journal: Journal) -> None:
    journal.commit([Create(alert(number)) for number in (12, 3, 101, 2)] + [Create(alert(1, month=11))])
    assert ids(journal.query("journal", PARTITION)) == ["A00002", "A00003", "A00012", "A00101"]
    assert ids(journal.query("journal", PARTITION, "A0000")) == ["A00002", "A00003"]
    assert journal.query("journal", PARTITION, "B") == []
    assert journal.query("journal", "ALERT#1999-01") == []
    assert journal.query("book", PARTITION) == []


@pytest.mark.parametrize(("newest", "expected"), [(0, []), (2, ["A00003", "A00004"]), (9, ALL_FOUR)])
def test_the_newest_records_come_in_ascending_order(journal: Journal, newest: int, expected: list[str]) -> None:
    journal.commit([Create(alert(number)) for number in (1, 2, 3, 4)])
    assert ids(journal.query("journal", PARTITION, newest=newest)) == expected


def test_a_query_returns_every_page(journal: Journal) -> None:
    """DynamoDB ends a page at 1 MB; this partition has 3."""
    numbers = range(60)
    for number in numbers:
        journal.commit([Create(alert(number, body="x" * 50_000))])
    assert ids(journal.query("journal", PARTITION)) == [f"A{number:05d}" for number in numbers]
    assert ids(journal.query("journal", PARTITION, newest=45)) == [f"A{number:05d}" for number in numbers][-45:]
    assert len(journal.read_many([alert(number).key for number in numbers], Alert)) == len(numbers)


# --- transactions ------------------------------------------------------------------------------------------------------------

def test_a_commit_over_three_tables_is_all_or_nothing(journal: Journal) -> None:
    journal.commit([Create(counters(1))])
    with pytest.raises(JournalConflict):
        journal.commit([Create(alert(1)), Create(halt("x")), Replace(counters(2), 7)])
    assert journal.query("journal", PARTITION) == []
    assert journal.read(halt("x").key, Halt) is None
    journal.commit([Create(alert(1)), Create(halt("x")), Replace(counters(2), 1)])
    assert ids(journal.query("journal", PARTITION)) == ["A00001"]
    assert journal.read(counters(0).key, DayCounters) == Stored(counters(2), 2)


def test_a_requirement_holds_the_commit_back_and_changes_nothing(journal: Journal) -> None:
    journal.commit([Create(halt("calm", is_halted=False))])
    journal.commit([Require(halt("x").key, 1), Require(cursor("x").key, 0), Create(alert(1))])
    journal.commit([Replace(halt("stop"), 1)])
    for requirement in (Require(halt("x").key, 1), Require(halt("x").key, 0), Require(cursor("x").key, 1)):
        with pytest.raises(JournalConflict):
            journal.commit([requirement, Create(alert(2))])
    assert ids(journal.query("journal", PARTITION)) == ["A00001"]
    assert journal.read(halt("x").key, Halt) == Stored(halt("stop"), 2)


def test_a_requirement_may_stand_alone(journal: Journal) -> None:
    journal.commit([Require(halt("x").key, 0)])
    with pytest.raises(JournalConflict):
        journal.commit([Require(halt("x").key, 1)])


def test_the_same_commit_after_a_removal_writes_again(journal: Journal) -> None:
    """A request token made from the content would take the third commit for a repeat of the first."""
    twice = [Create(halt("x")), Create(cursor("x"))]
    journal.commit(twice)
    journal.commit([Remove(halt("x").key, 1), Remove(cursor("x").key, 1)])
    journal.commit(twice)
    assert journal.read(halt("x").key, Halt) == Stored(halt("x"), 1)


def test_an_empty_commit_does_nothing(journal: Journal) -> None:
    journal.commit([Create(halt("x"))])
    journal.commit([])
    assert journal.read(halt("x").key, Halt) == Stored(halt("x"), 1)


def test_a_commit_takes_a_hundred_changes_and_no_more(journal: Journal) -> None:
    journal.commit([Create(alert(number)) for number in range(CHANGES_MAX)])
    assert len(journal.query("journal", PARTITION)) == CHANGES_MAX
    with pytest.raises(ValueError, match="101 changes"):
        journal.commit([Create(alert(number, month=11)) for number in range(CHANGES_MAX + 1)])
    assert journal.query("journal", "ALERT#2018-11") == []


def test_a_commit_names_each_key_once(journal: Journal) -> None:
    with pytest.raises(ValueError, match="more than once"):
        journal.commit([Create(halt("x")), Replace(halt("y"), 1)])
    assert journal.read(halt("x").key, Halt) is None


# --- sixteen at once ---------------------------------------------------------------------------------------------------------

def test_of_sixteen_creators_one_wins(shared_journal: Journal) -> None:
    def create(number: int) -> bool:
        try:
            shared_journal.commit([Create(halt(f"by {number}"))])
        except JournalConflict:
            return False
        return True

    outcomes = in_threads(create)
    assert outcomes.count(True) == 1
    stored = shared_journal.read(halt("x").key, Halt)
    assert stored is not None
    assert (stored.record.reason, stored.version) == (f"by {outcomes.index(True)}", 1)


def test_of_sixteen_transactions_over_one_key_one_wins_whole(shared_journal: Journal) -> None:
    def create(number: int) -> bool:
        try:
            shared_journal.commit([Create(alert(number)), Create(halt(f"by {number}"))])
        except JournalConflict:
            return False
        return True

    outcomes = in_threads(create)
    assert outcomes.count(True) == 1
    assert ids(shared_journal.query("journal", PARTITION)) == [f"A{outcomes.index(True):05d}"]


def test_sixteen_counters_lose_nothing(shared_journal: Journal) -> None:
    """Each adds one, five times, together with a record of its own: the count, the version and the records must agree."""
    shared_journal.commit([Create(counters(0))])

    def count_up(number: int) -> None:
        for step in range(5):
            while True:
                stored = shared_journal.read(counters(0).key, DayCounters)
                assert stored is not None
                try:
                    shared_journal.commit([
                        Replace(counters(stored.record.orders_count + 1), stored.version), Create(alert(number * 100 + step)),
                    ])
                    break
                except (JournalConflict, StoreUnavailable):
                    continue

    in_threads(count_up)
    assert shared_journal.read(counters(0).key, DayCounters) == Stored(counters(5 * THREADS), 5 * THREADS + 1)
    assert len(shared_journal.query("journal", PARTITION)) == 5 * THREADS


def test_the_keys_of_the_three_tables_are_apart(journal: Journal) -> None:
    """The same partition and sort key in two tables are two records."""
    in_book, in_control = cursor("x"), halt("x")
    assert in_book.key.partition == in_control.key.partition
    journal.commit([Create(in_book), Create(in_control)])
    assert journal.read(Key("control", "DESK", "CURSOR"), LedgerCursor) is None
    assert ids(journal.query("book", "DESK")) == ["CURSOR"]
