"""One trading run works at a time: it holds the desk's lease, and everything it writes is conditional on it.

The lease saves work and quarrels; what prevents a second order is the order's id, because the broker cannot check a lease.
A run that died leaves a lease that runs out. Its own second delivery does not wait for that, and the morning's orders do not
wait for a reconciliation: they take over, and the older run's next write is a lost race.
"""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TypeVar

from closebell.app.guarded_broker import RATE_WINDOW
from closebell.model.errors import ClosebellError, OutcomeUnknown
from closebell.model.operations import LEASE_KEY, Lease, Trigger
from closebell.model.record import Key, Record, Table
from closebell.ports.journal import Change, Create, Journal, Replace, Require, Stored

R = TypeVar("R", bound=Record)

LEASE_LASTS = timedelta(minutes=4)
"""As long as Lambda lets a trading function run."""

YIELDS_TO = {"reconcile": "place_orders"}
"""Whose run gives way to which other's: the orders of the morning have a deadline, the next reconciliation comes anyway."""

TAKES_COUNT_MAX = 3


@dataclass(frozen=True)
class LeasedJournal:
    """Implements `ports.journal.Journal`: writes only while the lease is at `token`, else JournalConflict.

    The condition is one of a commit's 100 changes.
    """

    journal: Journal
    token: int

    def read(self, key: Key, record_type: type[R]) -> Stored[R] | None:
        return self.journal.read(key, record_type)

    def read_many(self, keys: Sequence[Key], record_type: type[R]) -> list[Stored[R]]:
        return self.journal.read_many(keys, record_type)

    def query(self, table: Table, partition: str, prefix: str = "", newest: int | None = None) -> list[Stored[Record]]:
        return self.journal.query(table, partition, prefix, newest)

    def commit(self, changes: Sequence[Change]) -> None:
        if changes:
            self.journal.commit([*changes, Require(LEASE_KEY, self.token)])


@dataclass
class Turn:
    """One run's turn at the desk, over all its tries: `held` is the lease as this run last wrote it."""

    journal: Journal
    function: str
    owner: str
    held: Stored[Lease] | None = None
    inherited_count: int = 0

    @classmethod
    def of(cls, journal: Journal, function: str, trigger: Trigger) -> "Turn":
        return cls(journal, function, f"{function}|{trigger.market}|{trigger.scheduled_at:%Y-%m-%dT%H:%M:%SZ}")

    def take(self, now: datetime) -> LeasedJournal | Lease:
        """Take the lease at `now` (the broker's time): the journal to write with, or the lease of the run that goes on having it.

        Afterwards `inherited_count` is what earlier runs asked of the broker in the last minute. Raises JournalConflict when
        another run took the lease at the same instant, OutcomeUnknown, StoreUnavailable.
        """
        for _ in range(TAKES_COUNT_MAX):
            stored = self.journal.read(LEASE_KEY, Lease)
            if stored is not None and not self._may_take(stored, now):
                return stored.record
            self.inherited_count = self._inherited_count(stored, now)
            lease = Lease(owner=self.owner, taken_at=now, expires_at=now + LEASE_LASTS, requests_count=self.inherited_count)
            with suppress(OutcomeUnknown):  # it is read again: if it was written it is ours, and taken once more
                self.journal.commit([Replace(lease, stored.version) if stored else Create(lease)])
                self.held = Stored(lease, stored.version + 1 if stored else 1)
                return LeasedJournal(self.journal, self.held.version)
        raise OutcomeUnknown("no answer says whether this run has the desk's lease")

    def release(self, now: datetime, requests_count: int) -> None:
        """Give the desk back. When that fails the lease has passed to another run, or runs out: nothing depends on it."""
        if self.held is None:
            return
        released = self.held.record.model_copy(update={"released_at": now, "requests_count": requests_count})
        with suppress(ClosebellError):
            self.journal.commit([Replace(released, self.held.version)])
            self.held = Stored(released, self.held.version + 1)

    def _may_take(self, stored: Stored[Lease], now: datetime) -> bool:
        """A run takes over from its own earlier delivery, but never back from a later one."""
        lease = stored.record
        is_mine = lease.owner == self.owner and (self.held is None or self.held.version == stored.version)
        return lease.is_free(now) or is_mine or YIELDS_TO.get(lease.function) == self.function

    def _inherited_count(self, stored: Stored[Lease] | None, now: datetime) -> int:
        """This run's own requests of an earlier try are counted already."""
        if stored is None or (self.held is not None and self.held.version == stored.version):
            return 0
        lease = stored.record
        return lease.requests_count if now - (lease.released_at or lease.taken_at) < RATE_WINDOW else 0
