"""The archive, alerts, mail, parameters and the wall clock."""

from datetime import datetime
from typing import Protocol

from closebell.model.operations import Alert, Mail


class Archive(Protocol):
    """A store of immutable documents (S3). Names are paths such as `decisions/us_equity/2018-10-01.json`."""

    def put(self, name: str, content: bytes, content_type: str) -> None:
        """Write once: writing the same content again is no error, other content under a taken name is JournalConflict."""

    def get(self, name: str) -> bytes | None:
        """Read; None when absent. Raises StoreUnavailable."""


class Notifier(Protocol):
    """Alerts to the owner (SNS), by priority."""

    def publish(self, alert: Alert) -> None:
        """Send once. Raises StoreUnavailable."""


class Mailer(Protocol):
    """The newsletter's way out (SES)."""

    def send(self, mail: Mail) -> str:
        """Send and return the message id. Raises StoreUnavailable."""


class Clock(Protocol):
    """Wall time for run records. Decisions and orders use the scheduled instant and the broker's clock, never this."""

    def now(self) -> datetime:
        """Aware UTC."""
