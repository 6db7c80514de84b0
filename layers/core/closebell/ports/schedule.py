"""When a schedule fires."""

from datetime import datetime
from typing import Protocol

from closebell.model.schedule import ScheduledRun


class Firings(Protocol):
    """The instants of a cron expression in its zone, as EventBridge Scheduler has them."""

    def between(self, schedule: ScheduledRun, after: datetime, until: datetime) -> list[datetime]:
        """Instants (UTC) with after < instant <= until, ascending."""
