"""When a desk does what on a market's day: the schedule's instants, and between them those of what only a backtest does.

An equity session is decided on in its evening and traded from its opening auction on. A crypto session is the UTC day: it is
looked at, reviewed and decided on in the first minutes of the next, in which that day's orders are sent too.
"""

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

from closebell.model.instruments import Market

LOOKS_AFTER_SALE = timedelta(minutes=5)
"""How long after everything was sold at the backtest's end the desk finds it sold."""


@dataclass(frozen=True)
class DeskDay:
    """The instants of one session, as time since the midnight (of the market's zone) that its date begins with.

    Parameters
    ----------
    market
        Whose sessions they are.
    pays_out_at
        What has traded for the last time is paid out.
    resumes_at
        The owner resumes a desk that halted.
    places_at, reviews_at, decides_at
        The schedule's.
    looks_from, looks_until, looks_every
        The schedule's reconciliations; the last one up to `reviews_at` sees the session's close.
    puts_up_at
        The first reconciliation of a desk that is put up after the session.
    sells_out_at
        At the backtest's end: what is held is sold at the close.
    """

    market: Market
    pays_out_at: timedelta
    resumes_at: timedelta
    places_at: timedelta
    looks_from: timedelta
    looks_until: timedelta
    looks_every: timedelta
    reviews_at: timedelta
    puts_up_at: timedelta
    decides_at: timedelta
    sells_out_at: timedelta

    def at(self, session: date, since_midnight: timedelta) -> datetime:
        """An instant of a session's day (UTC), by the wall clock of the market's zone."""
        local = datetime.combine(session, time()) + since_midnight
        return local.replace(tzinfo=self.market.zone).astimezone(UTC)

    @property
    def last_look_before_review(self) -> timedelta:
        """The reconciliation that reads the account for the review."""
        return self.reviews_at - (self.reviews_at - self.looks_from) % self.looks_every


def _clock(hours: int, minutes: int) -> timedelta:
    return timedelta(hours=hours, minutes=minutes)


DESK_DAYS = {
    Market.US_EQUITY: DeskDay(
        Market.US_EQUITY,
        pays_out_at=_clock(8, 50), resumes_at=_clock(8, 55), places_at=_clock(9, 0),
        looks_from=_clock(9, 0), looks_until=_clock(16, 55), looks_every=_clock(0, 5),
        reviews_at=_clock(16, 5), puts_up_at=_clock(16, 10), decides_at=_clock(16, 20), sells_out_at=_clock(17, 0),
    ),
    Market.CRYPTO: DeskDay(
        Market.CRYPTO,
        pays_out_at=_clock(0, 6), resumes_at=_clock(0, 7), places_at=_clock(0, 10),
        looks_from=_clock(0, 30), looks_until=_clock(24, 0), looks_every=_clock(0, 30),
        reviews_at=_clock(24, 1), puts_up_at=_clock(24, 2), decides_at=_clock(24, 5), sells_out_at=_clock(23, 50),
    ),
}  # fmt: skip
