"""The journal in memory, for backtests and tests: the same answers and conflicts as the one on DynamoDB."""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Sequence
from threading import Lock
from typing import TypeVar

from closebell.model.errors import JournalConflict, RunRefused
from closebell.model.record import Key, Record, Table
from closebell.ports.journal import Change, Create, Remove, Replace, Require, Stored, require_one_change_a_key

R = TypeVar("R", bound=Record)

KEYS_A_BATCH = 100
LAST_CHARACTER = "\U0010ffff"


class MemoryJournal:
    """`ports.journal.Journal` in one process. Records are frozen and stored as they are; a partition's keys are put in order when
    they are asked for."""

    def __init__(self) -> None:
        self._stored: dict[Key, Stored[Record]] = {}
        self._keys: defaultdict[tuple[Table, str], list[Key]] = defaultdict(list)
        self._unordered: set[tuple[Table, str]] = set()
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
            keys = self._keys.get((table, partition), [])
            if (table, partition) in self._unordered:
                keys.sort()
                self._unordered.discard((table, partition))
            first = bisect_left(keys, Key(table, partition, prefix))
            end = bisect_left(keys, Key(table, partition, prefix + LAST_CHARACTER), first) if prefix else len(keys)
            if newest is not None:
                first = max(first, end - max(newest, 0))
            return [self._stored[key] for key in keys[first:end]]

    def commit(self, changes: Sequence[Change]) -> None:
        keys = require_one_change_a_key(changes)
        with self._lock:
            for key, change in zip(keys, changes, strict=True):
                self._check(key, change)
            for key, change in zip(keys, changes, strict=True):
                self._apply(key, change)

    def _check(self, key: Key, change: Change) -> None:
        stored = self._stored.get(key)
        version = stored.version if stored else 0
        expected = 0 if isinstance(change, Create) else change.expected_version
        is_absence_enough = isinstance(change, Create | Require)
        if version != expected or (version == 0 and not is_absence_enough):
            raise JournalConflict(f"{type(change).__name__} {'/'.join(key)}: a record exists already or has moved on")

    def _apply(self, key: Key, change: Change) -> None:
        match change:
            case Create(record):
                self._stored[key] = Stored(record, 1)
                self._keys[key.table, key.partition].append(key)
                self._unordered.add((key.table, key.partition))
            case Replace(record, expected_version):
                self._stored[key] = Stored(record, expected_version + 1)
            case Remove():
                del self._stored[key]
                self._keys[key.table, key.partition].remove(key)


def _as_type(key: Key, stored: Stored[Record], record_type: type[R]) -> Stored[R]:
    if not isinstance(stored.record, record_type):
        raise RunRefused(f"{'/'.join(key)} is a {stored.record.kind!r}, not a {record_type.kind!r}")
    return Stored(stored.record, stored.version)
