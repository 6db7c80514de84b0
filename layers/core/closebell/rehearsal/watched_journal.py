"""The journal in memory that shows the checker every commit and every record, past the port."""

from bisect import insort
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from closebell.model.record import Key, Record, Table
from closebell.ports.journal import Change, Require, Stored, key_of
from closebell.simulation.memory_journal import MemoryJournal

R = TypeVar("R", bound=Record)

Observer = Callable[[Sequence[Change], dict[Key, Record | None]], None]


class WatchedJournal(MemoryJournal):
    """A `MemoryJournal` whose records can be listed by type. `observer` is called after each commit with what was before."""

    def __init__(self) -> None:
        super().__init__()
        self._by_type: defaultdict[type[Record], dict[Key, Record]] = defaultdict(dict)
        self._written_at: dict[Key, int] = {}
        self._commits_count = 0
        self._former: dict[Key, Stored[Record] | None] = {}
        self.observer: Observer | None = None

    def commit(self, changes: Sequence[Change]) -> None:
        keys = [key_of(change) for change in changes if not isinstance(change, Require)]
        former = {key: self._stored.get(key) for key in keys}
        before = {key: stored.record if stored else None for key, stored in former.items()}
        super().commit(changes)
        self._former |= former
        self._commits_count += 1
        for key, record in before.items():
            self._written_at[key] = self._commits_count
            if record is not None:
                self._by_type[type(record)].pop(key, None)
            after = self._record(key)
            if after is not None:
                self._by_type[type(after)][key] = after
        if self.observer is not None:
            self.observer(changes, before)

    def all_of(self, record_type: type[R]) -> list[R]:
        """Every record of one type, in the order of their first writing."""
        return [record for record in self._by_type[record_type].values() if isinstance(record, record_type)]

    def at(self, key: Key, record_type: type[R]) -> R | None:
        """One record as it lies."""
        record = self._record(key)
        return record if isinstance(record, record_type) else None

    def former(self, key: Key, record_type: type[R]) -> Stored[R] | None:
        """What lay under a key before its last write."""
        stored = self._former.get(key)
        return Stored(stored.record, stored.version) if stored and isinstance(stored.record, record_type) else None

    def copy_of(self, table: Table) -> dict[Key, Stored[Record]]:
        """One table as it lies."""
        return {key: stored for key, stored in self._stored.items() if key.table == table}

    def put_back(self, table: Table, copy: Mapping[Key, Stored[Record]]) -> None:
        """Put a table back to what a copy holds, past every condition and observer: what a restore from a backup does."""
        for key in self.copy_of(table):
            record = self._stored.pop(key).record
            self._by_type[type(record)].pop(key, None)
            self._former.pop(key, None)
            self._keys[key.table, key.partition].remove(key)
        for key, stored in copy.items():
            self._stored[key] = stored
            self._by_type[type(stored.record)][key] = stored.record
            insort(self._keys[key.table, key.partition], key)

    def was_written_before(self, key: Key, other: Key) -> bool:
        """Whether a key's last commit came before another key's last one."""
        return self._written_at.get(key, 0) < self._written_at.get(other, 0)

    def _record(self, key: Key) -> Record | None:
        stored: Stored[Record] | None = self._stored.get(key)
        return stored.record if stored else None
