"""The outbox: an alert is delivered once, whoever delivers and whatever is down meanwhile."""

from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import pytest

from closebell.app.alerts import CLAIM_LASTS, alert_changes, deliver_waiting
from closebell.model.errors import OutcomeUnknown
from closebell.model.operations import Alert, Priority, UndeliveredAlert
from closebell.model.record import Key
from closebell.ports.journal import Change
from closebell.simulation.memory_journal import MemoryJournal
from tests.unit.app.small_desk import Inbox

NOW = datetime(2018, 10, 2, 13, 0, tzinfo=UTC)


def with_one_alert() -> tuple[MemoryJournal, Alert]:
    journal = MemoryJournal()
    alert = Alert(alert_id="a", priority=Priority.URGENT, subject="s", body="b", created_at=NOW)
    journal.commit(alert_changes(journal, alert))
    return journal, alert


def waiting(journal: MemoryJournal) -> list[UndeliveredAlert]:
    rows = journal.query("book", "DESK", "OUTBOX#")
    return [row.record for row in rows if isinstance(row.record, UndeliveredAlert)]


def test_a_second_delivery_in_the_middle_of_the_first_does_not_send_it_again() -> None:
    journal, alert = with_one_alert()

    class Overlapped(Inbox):
        def publish(self, alert: Alert) -> None:
            if not self.alerts:
                self.alerts.append(alert)
                assert deliver_waiting(journal, self, NOW + timedelta(seconds=5)) == 0

    inbox = Overlapped()
    assert deliver_waiting(journal, inbox, NOW) == 1
    assert inbox.alerts == [alert]
    assert waiting(journal) == []


def test_two_deliverers_that_read_the_same_row_send_it_once(monkeypatch: pytest.MonkeyPatch) -> None:
    journal, alert = with_one_alert()
    inbox, rows = Inbox(), journal.query("book", "DESK", "OUTBOX#")
    assert deliver_waiting(journal, inbox, NOW) == 1
    monkeypatch.setattr(journal, "query", lambda *_: rows)
    assert deliver_waiting(journal, inbox, NOW) == 0
    assert inbox.alerts == [alert]


def test_a_topic_that_is_down_keeps_the_alert_for_the_next_run() -> None:
    journal, alert = with_one_alert()
    inbox = Inbox()
    inbox.is_down = True
    assert deliver_waiting(journal, inbox, NOW) == 0
    assert [(row.attempts_count, row.claimed_until) for row in waiting(journal)] == [(1, None)]
    inbox.is_down = False
    assert deliver_waiting(journal, inbox, NOW) == 1
    assert deliver_waiting(journal, inbox, NOW) == 0
    assert inbox.alerts == [alert]


def test_the_claim_of_a_process_that_was_killed_runs_out() -> None:
    journal, alert = with_one_alert()

    class Killed(Inbox):
        def publish(self, alert: Alert) -> None:
            raise KeyboardInterrupt

    with suppress(KeyboardInterrupt):
        deliver_waiting(journal, Killed(), NOW)
    inbox = Inbox()
    assert deliver_waiting(journal, inbox, NOW + CLAIM_LASTS - timedelta(seconds=1)) == 0
    assert deliver_waiting(journal, inbox, NOW + CLAIM_LASTS) == 1
    assert inbox.alerts == [alert]


@pytest.mark.parametrize("was_written", [True, False])
@pytest.mark.parametrize("number", [1, 2])
def test_a_lost_answer_neither_stops_the_caller_nor_sends_twice(
    monkeypatch: pytest.MonkeyPatch, number: int, was_written: bool
) -> None:
    journal, alert = with_one_alert()
    commit, seen = journal.commit, []

    def lossy(changes: Sequence[Change]) -> None:
        seen.append(changes)
        if len(seen) != number or was_written:
            commit(changes)
        if len(seen) == number:
            raise OutcomeUnknown("lost")

    monkeypatch.setattr(journal, "commit", lossy)
    inbox = Inbox()
    deliver_waiting(journal, inbox, NOW)
    deliver_waiting(journal, inbox, NOW + CLAIM_LASTS)
    assert (inbox.alerts, waiting(journal)) == ([alert], [])


def test_an_alert_is_raised_once() -> None:
    journal, alert = with_one_alert()
    assert alert_changes(journal, alert) == []
    assert journal.read(Key("journal", "ALERT#2018-10", "a"), Alert) is not None
