"""Running the desk: runs, alerts, halts, leases and mails."""

from datetime import date, datetime
from enum import StrEnum
from typing import ClassVar

from pydantic import Field

from closebell.model.instruments import Market
from closebell.model.parameters import ParameterSet
from closebell.model.record import Instant, Key, Record, Value


class Trigger(Value):
    """What a schedule sends: which market, and the instant it was meant for (never the instant it arrived)."""

    market: Market
    scheduled_at: Instant


class RunState(StrEnum):
    """How a run stands: REFUSED did nothing for a stated reason, FAILED raised."""

    STARTED = "started"
    COMPLETED = "completed"
    REFUSED = "refused"
    FAILED = "failed"


class RunRecord(Record):
    """One scheduled run of one function; the scheduled instant is its identity, so a second delivery finds the first."""

    kind: ClassVar[str] = "run"

    function: str
    market: Market
    scheduled_at: Instant
    state: RunState
    attempts_count: int
    started_at: Instant
    finished_at: Instant | None = None
    code_version: str
    input_sha256: str = ""
    outcome: str = ""
    counts: dict[str, int] = {}

    @property
    def key(self) -> Key:
        return run_key(self.function, self.market, self.scheduled_at)


def run_key(function: str, market: Market, scheduled_at: Instant) -> Key:
    """The key of a run: function, market and month in the partition, the scheduled instant (UTC) as sort key."""
    return Key("journal", f"RUN#{function}#{market}#{scheduled_at:%Y-%m}", f"{scheduled_at:%Y-%m-%dT%H:%M:%SZ}")


class Priority(StrEnum):
    """How soon a human should look: URGENT now, WARNING today, INFO whenever."""

    URGENT = "urgent"
    WARNING = "warning"
    INFO = "info"


class Alert(Record):
    """A message to the owner, kept for good. The same `alert_id` is the same alert and is sent once."""

    kind: ClassVar[str] = "alert"

    alert_id: str
    priority: Priority
    subject: str
    body: str
    created_at: Instant
    runbook: str = ""

    @property
    def key(self) -> Key:
        return Key("journal", f"ALERT#{self.created_at:%Y-%m}", self.alert_id)


class UndeliveredAlert(Record):
    """The outbox: an alert that was committed with its cause and is still to be sent.

    Whoever sends it claims it first: until `claimed_until` nobody else does.
    """

    kind: ClassVar[str] = "undelivered_alert"

    alert: Alert
    attempts_count: int = 0
    claimed_until: Instant | None = None

    @property
    def key(self) -> Key:
        return Key("book", "DESK", f"OUTBOX#{self.alert.alert_id}")


HALT_KEY = Key("control", "DESK", "HALT")


class Halt(Record):
    """Whether risk may be increased. Anyone and anything halts; a human resumes."""

    kind: ClassVar[str] = "halt"

    is_halted: bool
    reason: str
    by: str
    changed_at: Instant
    resume_code: str = ""

    @property
    def key(self) -> Key:
        return HALT_KEY


LEASE_KEY = Key("book", "DESK", "LEASE")


class Lease(Record):
    """Which run may trade: one at a time. The version under which it is stored is the token, and only ever grows.

    `owner` is the run (function, market, scheduled instant), the instants are the broker's. `requests_count` is what was asked of
    the broker in the minute before the desk was released or, while it is not, taken.
    """

    kind: ClassVar[str] = "lease"

    owner: str
    taken_at: Instant
    expires_at: Instant
    released_at: Instant | None = None
    requests_count: int = 0

    @property
    def key(self) -> Key:
        return LEASE_KEY

    @property
    def function(self) -> str:
        """The function whose run it is."""
        return self.owner.partition("|")[0]

    def is_free(self, now: datetime) -> bool:
        """Whether anybody may take it; `now` is the broker's time."""
        return self.released_at is not None or self.expires_at <= now


class DeskOpening(Record):
    """When the watchdog first looked: what was due before cannot have been missed."""

    kind: ClassVar[str] = "desk_opening"

    opened_at: Instant

    @property
    def key(self) -> Key:
        return Key("book", "DESK", "OPENED")


class MailState(StrEnum):
    """SENDING was committed before the mail went out."""

    SENDING = "sending"
    SENT = "sent"


class MailRecord(Record):
    """One newsletter: written before it is sent, so that a second run knows."""

    kind: ClassVar[str] = "mail"

    market: Market
    session: date
    state: MailState
    subject: str
    archive_prefix: str
    message_id: str = ""
    recorded_at: Instant

    @property
    def key(self) -> Key:
        return Key("journal", f"MAIL#{self.market}", f"{self.session}")


class NewsItem(Value):
    """A headline from outside: untrusted text, escaped wherever it is shown."""

    news_id: str
    headline: str
    source: str
    url: str
    symbols: tuple[str, ...]
    published_at: Instant


class InlineImage(Value):
    """A PNG that the mail's HTML shows by `cid:<content_id>`."""

    content_id: str
    png: bytes


class Mail(Value):
    """A mail ready to send: HTML and text say the same."""

    subject: str
    html: str
    text: str
    images: tuple[InlineImage, ...] = ()


class SweepTask(Value):
    """One point of a sweep that lies in the archive: the sweep's fingerprint, the point's, and the configuration it tries."""

    sweep_sha256: str = Field(pattern="^[0-9a-f]{64}$")
    point_sha256: str = Field(pattern="^[0-9a-f]{64}$")
    parameters: ParameterSet

    @property
    def result_name(self) -> str:
        """Where the point's result lies in the archive."""
        return f"sweeps/{self.sweep_sha256}/points/{self.point_sha256}.json"
