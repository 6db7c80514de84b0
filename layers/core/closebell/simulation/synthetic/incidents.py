"""What goes wrong on the synthetic market: splits, halts, a delisting and thinly traded companies."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from decimal import Decimal

from closebell.model.instruments import SessionHours
from closebell.simulation.market import Split
from closebell.simulation.synthetic.listing import COMPANIES
from closebell.simulation.synthetic.seeds import stream


@dataclass(frozen=True)
class Incidents:
    """The incidents of one market, by symbol; every company has at most one.

    `halts` holds a session and the span (UTC) inside it, `halted_all_day` a session without a print, `delisted_from` the
    first session it is gone; a company in `thin` misses prints and now and then a session.
    """

    splits: dict[str, Split] = field(default_factory=dict)
    halts: dict[str, tuple[date, tuple[datetime, datetime]]] = field(default_factory=dict)
    halted_all_day: dict[str, date] = field(default_factory=dict)
    delisted_from: dict[str, date] = field(default_factory=dict)
    thin: frozenset[str] = frozenset()


def plan_incidents(seed: int, sessions: Sequence[SessionHours], start: date) -> Incidents:
    """Deal the incidents to companies drawn by the seed. `start` is the first session that will be traded.

    A 2-for-1 split lies 60 sessions before the start; an intraday halt, a 4-for-1 split, an all-day halt, a delisting and a
    1-for-10 reverse split follow on its 2nd, 3rd, 4th, 6th and 8th session. What falls outside `sessions` does not happen.
    """
    first = sum(hours.session < start for hours in sessions)
    days = dict(enumerate(sessions, start=-first))
    drawn = stream(seed, "incidents").permutation(list(COMPANIES)).tolist()
    thin, thinner, split_before, split, reverse_split, halted, silent, delisted = drawn[:8]
    splits = ((split_before, -60, Decimal(2)), (split, 2, Decimal(4)), (reverse_split, 7, Decimal("0.1")))
    return Incidents(
        splits={symbol: Split(days[offset].session, ratio) for symbol, offset, ratio in splits if offset in days},
        halts={halted: (days[1].session, _late_morning(days[1]))} if 1 in days else {},
        halted_all_day={silent: days[3].session} if 3 in days else {},
        delisted_from={delisted: days[5].session} if 5 in days else {},
        thin=frozenset({thin, thinner}),
    )


def _late_morning(hours: SessionHours) -> tuple[datetime, datetime]:
    return hours.opens_at + timedelta(minutes=90), hours.opens_at + timedelta(minutes=150)
