"""The journal in memory, for backtests and tests: the same answers and conflicts as the one on DynamoDB."""

from bisect import bisect_left, insort
from collections import defaultdict
from collections.abc import Sequence
from threading import Lock
from typing import TypeVar

from closebell.model.errors import JournalConflict, RunRefused
from closebell.model.record import Key, Record, Table
from closebell.ports.journal import Change, Create, Remove, Replace, Require, Stored, key_of, require_one_change_a_key

R = TypeVar("R", bound=Record)

KEYS_A_BATCH = 100
LAST_CHARACTER = "\U0010ffff"


class MemoryJournal:
    """`ports.journal.Journal` in one process. Records are frozen and stored as they are; sort keys are kept in order."""

    def __init__(self) -> None:
        self._stored: dict[Key, Stored[Record]] = {}
        self._sorts: defaultdict[tuple[Table, str], list[str]] = defaultdict(list)
        self._lock = Lock()

    def read(self, key: Key, record_type: type[R]) -> Stored[R] | None:
        with self._lock:
            stored = self._stored.get(key)
        return None if stored is None else _as_type(key, stored, record_type)

    def read_many(self, keys: Sequence[Key], record_type: type[R]) -> list[Stored[R]]:
        if len(keys) > KEYS_A_BATCH:
            raise ValueError(f"{len(keys)} keys at once; the most is {KEYS_A_BATCH}")
        with self._lock:
            found = [(key, self._stored[key]) for key in keys if key in self._stored]
        return [_as_type(key, stored, record_type) for key, stored in found]

    def query(self, table: Table, partition: str, prefix: str = "", newest: int | None = None) -> list[Stored[Record]]:
        with self._lock:
            sorts = self._sorts.get((table, partition), [])
            first = bisect_left(sorts, prefix)
            end = bisect_left(sorts, prefix + LAST_CHARACTER, first) if prefix else len(sorts)
            if newest is not None:
                first = max(first, end - max(newest, 0))
            return [self._stored[Key(table, partition, sort)] for sort in sorts[first:end]]

    def commit(self, changes: Sequence[Change]) -> None:
        require_one_change_a_key(changes)
        with self._lock:
            for change in changes:
                self._check(change)
            for change in changes:
                self._apply(change)

    def _check(self, change: Change) -> None:
        key = key_of(change)
        stored = self._stored.get(key)
        version = stored.version if stored else 0
        expected = 0 if isinstance(change, Create) else change.expected_version
        is_absence_enough = isinstance(change, Create | Require)
        if version != expected or (version == 0 and not is_absence_enough):
            raise JournalConflict(f"{type(change).__name__} {'/'.join(key)}: a record exists already or has moved on")

    def _apply(self, change: Change) -> None:
        key = key_of(change)
        match change:
            case Create(record):
                self._stored[key] = Stored(record, 1)
                insort(self._sorts[key.table, key.partition], key.sort)
            case Replace(record, expected_version):
                self._stored[key] = Stored(record, expected_version + 1)
            case Remove():
                del self._stored[key]
                self._sorts[key.table, key.partition].remove(key.sort)


def _as_type(key: Key, stored: Stored[Record], record_type: type[R]) -> Stored[R]:
    if not isinstance(stored.record, record_type):
        raise RunRefused(f"{'/'.join(key)} is a {stored.record.kind!r}, not a {record_type.kind!r}")
    return Stored(stored.record, stored.version)
