"""The archive in memory, for backtests and tests: the same answers as the one in S3."""

from threading import Lock

from closebell.model.errors import JournalConflict


class MemoryArchive:
    """`ports.operations.Archive` in one process."""

    def __init__(self) -> None:
        self._documents: dict[str, bytes] = {}
        self._lock = Lock()

    def put(self, name: str, content: bytes, content_type: str) -> None:
        with self._lock:
            if self._documents.setdefault(name, content) != content:
                raise JournalConflict(f"{name} is archived already, with other content")

    def get(self, name: str) -> bytes | None:
        with self._lock:
            return self._documents.get(name)
