"""Every scheduled run leaves a record: started, finished, with which code and outcome. A run that was done is not redone."""

import hashlib
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field

from pydantic import BaseModel

from closebell.app.alerts import alert_changes, deliver_waiting
from closebell.model.errors import ClosebellError, JournalConflict, RunRefused, StoreUnavailable
from closebell.model.operations import Alert, Priority, RunRecord, RunState, Trigger
from closebell.ports.journal import Create, Journal, Replace, Stored
from closebell.ports.operations import Clock, Notifier


@dataclass(frozen=True)
class RunOutcome:
    """What a run did, in words and numbers."""

    outcome: str
    counts: Mapping[str, int] = field(default_factory=dict)
    input_sha256: str = ""


def fingerprint(records: Iterable[BaseModel]) -> str:
    """The SHA-256 of what a run read and decided on: each record's JSON, in the order in which it was read."""
    digest = hashlib.sha256()
    for record in records:
        digest.update(record.model_dump_json().encode() + b"\n")
    return digest.hexdigest()


def _with_one_repeat(work: Callable[[], RunOutcome]) -> RunOutcome:
    """A lost race is repeated once on what the winner wrote; losing twice is no race and fails."""
    try:
        return work()
    except JournalConflict:
        return work()


@dataclass(frozen=True)
class RunLog:
    """Keeps the run records of one function and tells the owner of a run that failed."""

    function: str
    code_version: str
    journal: Journal
    clock: Clock
    notifier: Notifier

    def run_once(self, trigger: Trigger, work: Callable[[], RunOutcome]) -> RunRecord:
        """Do `work` as the run that the schedule meant by `trigger`.

        A run that completed before returns its record and does nothing. One that failed, or was killed, is done again:
        `work` must change nothing twice. Errors are recorded, alerted once a day and raised.
        """
        stored = self._start(trigger)
        if stored.record.state is RunState.COMPLETED:
            return stored.record
        try:
            outcome = _with_one_repeat(work)
        except Exception as error:
            with suppress(ClosebellError):  # what went wrong first must reach the caller, also when it cannot be written down
                self._fail(stored, trigger, error)
            raise
        try:
            return self._finish(stored, RunState.COMPLETED, outcome)
        except JournalConflict:  # delivered again meanwhile: the record is the later copy's to finish
            return self._stored(stored.record).record

    def deliver_alerts(self) -> int:
        """Send what waits in the outbox; how many went out."""
        return deliver_waiting(self.journal, self.notifier, self.clock.now())

    def _start(self, trigger: Trigger) -> Stored[RunRecord]:
        """The run's record: a new one, or that of a run that ended already, or one more attempt at it."""
        record = RunRecord(
            function=self.function,
            market=trigger.market,
            scheduled_at=trigger.scheduled_at,
            state=RunState.STARTED,
            attempts_count=1,
            started_at=self.clock.now(),
            code_version=self.code_version,
        )
        try:
            self.journal.commit([Create(record)])
        except JournalConflict:
            return self._start_again(record)
        return Stored(record, 1)

    def _start_again(self, record: RunRecord) -> Stored[RunRecord]:
        stored = self._stored(record)
        if stored.record.state is RunState.COMPLETED:
            return stored
        again = stored.record.model_copy(
            update={
                "state": RunState.STARTED,
                "attempts_count": stored.record.attempts_count + 1,
                "started_at": self.clock.now(),
                "finished_at": None,
                "code_version": self.code_version,
            }
        )
        self.journal.commit([Replace(again, stored.version)])
        return Stored(again, stored.version + 1)

    def _stored(self, record: RunRecord) -> Stored[RunRecord]:
        """The run's record as it is there now."""
        stored = self.journal.read(record.key, RunRecord)
        if stored is None:
            raise StoreUnavailable(f"the run record {record.key.sort} of {self.function} is there and cannot be read")
        return stored

    def _finish(self, stored: Stored[RunRecord], state: RunState, outcome: RunOutcome) -> RunRecord:
        record = stored.record.model_copy(
            update={
                "state": state,
                "finished_at": self.clock.now(),
                "outcome": outcome.outcome,
                "counts": dict(outcome.counts),
                "input_sha256": outcome.input_sha256,
            }
        )
        self.journal.commit([Replace(record, stored.version)])
        return record

    def _fail(self, stored: Stored[RunRecord], trigger: Trigger, error: Exception) -> None:
        refused = isinstance(error, RunRefused)
        message = str(error) if isinstance(error, ClosebellError) else f"{type(error).__name__}: see the function's log"
        day = trigger.market.date_of(trigger.scheduled_at)
        verb = "refused to run" if refused else "failed"
        alert = Alert(
            alert_id=f"run-{self.function}-{trigger.market}-{day}-{type(error).__name__}",
            priority=Priority.URGENT,
            subject=f"{self.function} {verb}",
            body=message,
            created_at=trigger.scheduled_at,
            runbook=f"{self.function}-failed",
        )
        changes = alert_changes(self.journal, alert)
        if changes:
            self.journal.commit(changes)
            self.deliver_alerts()
        self._finish(stored, RunState.REFUSED if refused else RunState.FAILED, RunOutcome(message))
