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


class SweepMachine(Protocol):
    """What gives every point of a sweep in the archive to a run of `run_backtest` (Step Functions)."""

    def start(self, points: str) -> str:
        """Start on a list of points in the archive, by its name; what the run is called.

        Raises StoreUnavailable; RunRefused while another run goes on.
        """

    def outcome(self, run: str) -> str | None:
        """How a run ended; None while it goes on, a moment later. Raises StoreUnavailable."""

    def stop(self, run: str) -> None:
        """End a run; what it trades at this moment is lost, what it did before is in the archive. Raises StoreUnavailable."""

    def first_failure(self, run: str) -> str:
        """What a point that failed in a run has said; "" when none has."""


class Mailer(Protocol):
    """The newsletter's way out (SES)."""

    def send(self, mail: Mail) -> str:
        """Send and return the message id. Raises StoreUnavailable."""


class Clock(Protocol):
    """Wall time for run records. Decisions and orders use the scheduled instant and the broker's clock, never this."""

    def now(self) -> datetime:
        """Aware UTC."""
