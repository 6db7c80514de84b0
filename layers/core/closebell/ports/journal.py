"""The store of records: strongly consistent reads and all-or-nothing conditional writes."""

from collections.abc import Sequence
from typing import Generic, NamedTuple, Protocol, TypeVar

from closebell.model.record import Key, Record, Table

R = TypeVar("R", bound=Record)


class Stored(NamedTuple, Generic[R]):
    """A record as it lies in its table; `version` counts its writes from 1."""

    record: R
    version: int


class Create(NamedTuple):
    """Write `record`; conflict if its key is taken."""

    record: Record


class Replace(NamedTuple):
    """Overwrite the record under the same key; conflict unless it is at `expected_version`."""

    record: Record
    expected_version: int


class Remove(NamedTuple):
    """Delete; conflict unless the record is at `expected_version`."""

    key: Key
    expected_version: int


class Require(NamedTuple):
    """Change nothing; conflict unless the record is at `expected_version` (0: absent)."""

    key: Key
    expected_version: int


Change = Create | Replace | Remove | Require


class Journal(Protocol):
    """Three tables of records."""

    def read(self, key: Key, record_type: type[R]) -> Stored[R] | None:
        """Read one record, strongly consistent; None when absent. Raises StoreUnavailable."""

    def read_many(self, keys: Sequence[Key], record_type: type[R]) -> list[Stored[R]]:
        """Read up to 100 records, strongly consistent, in the order of `keys`; absent ones are left out."""

    def query(self, table: Table, partition: str, prefix: str = "", newest: int | None = None) -> list[Stored[Record]]:
        """All records of a partition whose sort key begins with `prefix`, in sort order, every page, strongly consistent.

        With `newest` only the last that many, still in ascending order. Raises StoreUnavailable.
        """

    def commit(self, changes: Sequence[Change]) -> None:
        """Do all changes or none (at most 100, each key once).

        Raises
        ------
        JournalConflict
            A condition did not hold; nothing was written.
        OutcomeUnknown
            The answer was lost: read again before concluding anything.
        StoreUnavailable
            The store refused or could not be reached; nothing was written.
        """


CHANGES_MAX = 100


def key_of(change: Change) -> Key:
    """The key a change is about."""
    return change.record.key if isinstance(change, Create | Replace) else change.key


def require_one_change_a_key(changes: Sequence[Change]) -> list[Key]:
    """The changes' keys. ValueError when a commit is too long or names a key twice: the caller is wrong, not the store."""
    keys = [key_of(change) for change in changes]
    if len(keys) > CHANGES_MAX:
        raise ValueError(f"a commit of {len(keys)} changes; the most is {CHANGES_MAX}")
    if len(set(keys)) < len(keys):
        doubled = {key for key in keys if keys.count(key) > 1}
        raise ValueError(f"a commit names {', '.join(map(str, sorted(doubled)))} more than once")
    return keys
