"""What is traded: markets and instruments."""

from datetime import UTC, date, datetime
from enum import StrEnum
from zoneinfo import ZoneInfo

from closebell.model.record import Instant, Value

_NEW_YORK, _UTC = ZoneInfo("America/New_York"), ZoneInfo("UTC")


class Market(StrEnum):
    """A market with sessions of its own; the values are Alpaca's asset classes."""

    US_EQUITY = "us_equity"
    CRYPTO = "crypto"

    @property
    def zone(self) -> ZoneInfo:
        """The zone whose calendar date names a session: New York for equities, UTC for crypto."""
        return _NEW_YORK if self is Market.US_EQUITY else _UTC

    @property
    def sessions_a_year_count(self) -> int:
        """By which ratios and returns are made annual."""
        return 252 if self is Market.US_EQUITY else 365

    def date_of(self, at: datetime) -> date:
        """The calendar date of an instant in the market's own zone."""
        return at.astimezone(self.zone).date()


class Instrument(Value):
    """A tradable symbol as the configuration names it (`AAPL`, `BTC/USD`) with the sector its limits count in."""

    symbol: str
    sector: str
    market: Market = Market.US_EQUITY


class SessionHours(Value):
    """One exchange session: its date in the market's zone and its first and last instant (UTC)."""

    session: date
    opens_at: Instant
    closes_at: Instant


def crypto_session(session: date) -> SessionHours:
    """A crypto session is the UTC day; its bar is final at the next midnight."""
    opens_at = datetime(session.year, session.month, session.day, tzinfo=UTC)
    return SessionHours(
        session=session, opens_at=opens_at, closes_at=datetime.fromordinal(session.toordinal() + 1).replace(tzinfo=UTC)
    )
