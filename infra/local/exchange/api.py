"""What every endpoint takes and gives: a call that is parsed, a reply that is not yet written."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from closebell.simulation.exchange.venue_orders import MALFORMED, RefusalError
from infra.local.exchange.venue import Venue

NEW_YORK = ZoneInfo("America/New_York")
_DAY_LENGTH = len("2018-10-01")


@dataclass(frozen=True)
class ApiCall:
    """A request. `parts` are the pieces of its path, `query` its last value per name, `body` its JSON object."""

    method: str
    path: str
    parts: Mapping[str, str] = field(default_factory=dict)
    query: Mapping[str, str] = field(default_factory=dict)
    body: Mapping[str, Any] = field(default_factory=dict)

    def flag(self, name: str) -> bool:
        """A query boolean; clients write `true`, `True` or `1`."""
        return self.query.get(name, "").lower() in ("true", "1")

    def whole(self, name: str, default: int, maximum: int) -> int:
        """A query number from 1 up to `maximum`. Raises RefusalError when it is none."""
        text = self.query.get(name) or str(default)
        if not text.isdigit() or int(text) < 1:
            raise RefusalError(422, MALFORMED, f"invalid {name}: {text}")
        return min(int(text), maximum)

    def words(self, name: str) -> list[str]:
        """A comma-separated query value."""
        return [word.strip() for word in self.query.get(name, "").split(",") if word.strip()]

    def instant(self, name: str, *, ends_day: bool = False, zone: ZoneInfo = NEW_YORK) -> datetime | None:
        """A query instant (UTC): RFC 3339, or a date that begins (or with `ends_day` ends) in `zone`. Raises RefusalError."""
        text = self.query.get(name)
        if not text:
            return None
        try:
            if len(text) == _DAY_LENGTH:
                at = datetime.combine(date.fromisoformat(text), time.min, tzinfo=zone)
                return (at + timedelta(days=1, microseconds=-1) if ends_day else at).astimezone(UTC)
            at = datetime.fromisoformat(text.replace(" ", "+"))
        except ValueError as error:
            raise RefusalError(422, MALFORMED, f"invalid {name}: {text}") from error
        return at if at.tzinfo else at.replace(tzinfo=UTC)

    def day(self, name: str, default: date) -> date:
        """A query date. Raises RefusalError when it is none."""
        text = self.query.get(name)
        try:
            return date.fromisoformat(text[:_DAY_LENGTH]) if text else default
        except ValueError as error:
            raise RefusalError(422, MALFORMED, f"invalid {name}: {text}") from error


@dataclass(frozen=True)
class Reply:
    """A status and a JSON value (None: no body); `text` replaces the JSON by plain text."""

    status: int = 200
    body: Any = None
    text: str | None = None
    content_type: str = "application/json"


Endpoint = Callable[[Venue, ApiCall], Reply]
Route = tuple[str, str, Endpoint]
