"""The machine's clock."""

from datetime import UTC, datetime


class SystemClock:
    """`ports.operations.Clock`: wall time, for run records and never for a decision."""

    def now(self) -> datetime:
        return datetime.now(UTC)
