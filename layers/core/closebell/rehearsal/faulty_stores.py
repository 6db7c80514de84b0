"""The journal, the archive, the owner's pager and mailbox as the desk sees them, with everything that can go wrong."""

from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import TypeVar, cast

from closebell.model.errors import OutcomeUnknown, StoreUnavailable
from closebell.model.operations import Alert, Mail
from closebell.model.record import Key, Record, Table
from closebell.ports.journal import Change, Require, Stored, key_of
from closebell.rehearsal.output_checks import OutputChecks
from closebell.rehearsal.stage import Stage
from closebell.rehearsal.watched_journal import WatchedJournal
from closebell.simulation.memory_archive import MemoryArchive

R = TypeVar("R", bound=Record)

STALE_FOR = timedelta(seconds=60)
"""How long after a write a stale read may answer without it."""


class FaultyJournal:
    """Implements `ports.Journal` over the raw one."""

    def __init__(self, stage: Stage, raw: WatchedJournal) -> None:
        self._stage, self._raw = stage, raw
        self._written_at: dict[Key, datetime] = {}

    def read(self, key: Key, record_type: type[R]) -> Stored[R] | None:
        self._throttle()
        return cast(Stored[R] | None, self._stage.around(lambda: self._read(key, record_type), "read"))

    def read_many(self, keys: Sequence[Key], record_type: type[R]) -> list[Stored[R]]:
        self._throttle()
        return cast(list[Stored[R]], self._stage.around(lambda: self._raw.read_many(keys, record_type), "read_many"))

    def query(self, table: Table, partition: str, prefix: str = "", newest: int | None = None) -> list[Stored[Record]]:
        self._throttle()
        found = self._stage.around(lambda: self._raw.query(table, partition, prefix, newest), "query")
        return cast(list[Stored[Record]], found)

    def commit(self, changes: Sequence[Change]) -> None:
        self._throttle()
        self._stage.around(lambda: self._commit(changes), "commit")
        self._written_at |= {key_of(change): self._stage.now for change in changes if not isinstance(change, Require)}

    def _read(self, key: Key, record_type: type[R]) -> Stored[R] | None:
        """A stale answer is drawn although production asks for consistent ones: conditional writes must hold without that."""
        written_at = self._written_at.get(key)
        if written_at is not None and self._stage.now - written_at < STALE_FOR and self._stage.strikes("stale_read"):
            return self._raw.former(key, record_type)
        return self._raw.read(key, record_type)

    def _commit(self, changes: Sequence[Change]) -> None:
        if self._stage.strikes("journal_write_outcome_unknown"):
            if self._stage.generator.random() < 0.5:
                self._raw.commit(changes)
            raise OutcomeUnknown("the transaction's answer was lost")
        self._raw.commit(changes)

    def _throttle(self) -> None:
        if self._stage.strikes("journal_throttled"):
            raise StoreUnavailable("ProvisionedThroughputExceeded")


class FaultyArchive(MemoryArchive):
    """A `MemoryArchive` whose every call is an occasion for a fault."""

    def __init__(self, stage: Stage) -> None:
        super().__init__()
        self._stage, self._outputs = stage, OutputChecks(stage)

    def peek(self, name: str) -> bytes | None:
        """What is archived under a name, past every fault."""
        return super().get(name)

    def put(self, name: str, content: bytes, content_type: str) -> None:
        self._outputs.on_document(name, content)
        self._stage.around(lambda: super(FaultyArchive, self).put(name, content, content_type), "put")

    def get(self, name: str) -> bytes | None:
        return cast(bytes | None, self._stage.around(lambda: super(FaultyArchive, self).get(name), "get"))


class OwnersPager:
    """Implements Notifier: counts what was published, by alert."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self.published: Counter[str] = Counter()

    def publish(self, alert: Alert) -> None:
        if self._stage.strikes("notifier_down"):
            raise StoreUnavailable("the topic is down")
        self._stage.around(lambda: self.published.update([alert.alert_id]), "publish")


class OwnersMailbox:
    """Implements Mailer: keeps the subjects of what was sent, and every page that was about to be."""

    def __init__(self, stage: Stage) -> None:
        self._stage, self._outputs = stage, OutputChecks(stage)
        self.subjects: list[str] = []
        self.pages: list[str] = []

    def send(self, mail: Mail) -> str:
        if self._stage.strikes("mailer_down"):
            raise StoreUnavailable("the mail service is down")
        self._outputs.on_mail(mail)
        self.pages.append(mail.html)
        self._stage.around(lambda: self.subjects.append(mail.subject), "send")
        return f"message-{len(self.subjects)}"
