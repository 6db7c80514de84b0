"""The exchange calendar: NYSE sessions from the `exchange_calendars` package, and UTC days for crypto."""

import warnings
from bisect import bisect_left, bisect_right
from datetime import UTC, date, datetime
from operator import attrgetter

import exchange_calendars

from closebell.model.instruments import Market, SessionHours, crypto_session

_BY_DATE = attrgetter("session")


class ExchangeCalendar:
    """`ports.market_data.Calendar` without a network.

    NYSE sessions (holidays, one-off closures, half-days, daylight saving) are computed when first asked for, for whole
    years, and kept: a wider request computes the wider span once.
    """

    def __init__(self) -> None:
        self._first_year = self._last_year = 0
        self._equity_sessions: list[SessionHours] = []

    def sessions(self, market: Market, first: date, last: date) -> list[SessionHours]:
        """The sessions of `first`..`last`, both ends included, ascending; empty when there are none."""
        if first > last:
            return []
        if market is Market.CRYPTO:
            return [crypto_session(date.fromordinal(day)) for day in range(first.toordinal(), last.toordinal() + 1)]
        self._cover(first.year, last.year)
        start = bisect_left(self._equity_sessions, first, key=_BY_DATE)
        return self._equity_sessions[start : bisect_right(self._equity_sessions, last, key=_BY_DATE)]

    def _cover(self, first_year: int, last_year: int) -> None:
        if self._equity_sessions:
            if self._first_year <= first_year and last_year <= self._last_year:
                return
            first_year, last_year = min(first_year, self._first_year), max(last_year, self._last_year)
        self._equity_sessions = _nyse_sessions(first_year, last_year)
        self._first_year, self._last_year = first_year, last_year


def _nyse_sessions(first_year: int, last_year: int) -> list[SessionHours]:
    with warnings.catch_warnings():
        # exchange_calendars 4.13 reads `Series.values` of zoned times, which pandas 3.1 announces to change in pandas 4.
        warnings.simplefilter("ignore", DeprecationWarning)
        calendar = exchange_calendars.get_calendar("XNYS", start=f"{first_year}-01-01", end=f"{last_year}-12-31")
    return [
        SessionHours(session=session.date(), opens_at=_utc(opens_at), closes_at=_utc(closes_at))
        for session, opens_at, closes_at in zip(calendar.sessions, calendar.opens, calendar.closes, strict=True)
    ]


def _utc(at: datetime) -> datetime:
    """A plain datetime: pandas' own subclass must not leave this file."""
    return datetime.fromtimestamp(at.timestamp(), UTC)
