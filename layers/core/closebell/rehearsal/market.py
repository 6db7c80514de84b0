"""A small seeded market: eight symbols of three sectors and an index, with gaps, crashes, splits and a calendar of its own."""

from bisect import bisect_left, bisect_right
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from closebell.model.instruments import Instrument, Market, SessionHours
from closebell.model.operations import NewsItem
from closebell.model.panel import FIELDS, BarPanel, Matrix
from closebell.simulation.market import DayBar, ListedAsset, Print, Split

INDEX = "INDX"
SECTOR_OF = {
    "ALFA": "materials", "BRAV": "materials", "CHAR": "materials",
    "DELT": "consumer_staples", "ECHO": "consumer_staples", "FOXT": "consumer_staples",
    "GOLF": "utilities", "HOTL": "utilities",
}  # fmt: skip
SYMBOLS = (*SECTOR_OF, INDEX)
HISTORY_SESSIONS = 260
SPARE_SESSIONS = 15
"""Sessions after the played ones: the calendar must know what comes next, and the calm days are played in them."""

_OPENS, _CLOSES, _CLOSES_EARLY = time(9, 30), time(16, 0), time(13, 0)
_PRINT_MINUTES = (0, 12, 27, 33, 75, 140, 200, 260, 330, 372, 390)
"""Minutes after the opening at which every symbol trades: the first is the opening auction, the last the close."""
_HALF_DAY_PRINT_MINUTES = (0, 12, 27, 33, 75, 110, 140, 160, 180, 195, 210)
_SPLIT_RATIOS = (Decimal(2), Decimal(3), Decimal("1.5"))
_CLOCK_CHANGES = (date(2018, 11, 4), date(2019, 3, 10), date(2019, 11, 3), date(2020, 3, 8))
_CENT = Decimal("0.01")


class _Paths(NamedTuple):
    """Bars (sessions x symbols) and the intraday prices of every session (sessions x prints x symbols)."""

    panel: BarPanel
    intraday: np.ndarray[tuple[int, int, int], np.dtype[np.float64]]


class _Fall(NamedTuple):
    """The session in which every symbol opens lower, by its row, and by how much (log of the ratio)."""

    row: int
    log_ratio: float


class OddChances(NamedTuple):
    """The chance of each oddity: a played session ends at 13:00, a symbol splits, calendars differ on a date, all fall once."""

    half_day_frac: float = 0.0
    split_frac: float = 0.0
    wrong_calendar_frac: float = 0.0
    down_day_frac: float = 0.0


class RehearsalMarket:
    """Implements `SimulatedMarket`; equal for equal seeds and chances.

    Half of all markets change to or from daylight saving time while they are played. Prices on the tape are as traded, bars are
    adjusted for the splits that have happened.
    """

    label, is_synthetic = "rehearsal", True

    def __init__(self, seed: int, sessions_count: int, odd: OddChances) -> None:
        generator, oddities = np.random.default_rng([seed, 1]), np.random.default_rng([seed, 2])
        hours = _calendar(generator, sessions_count)
        played = slice(HISTORY_SESSIONS, HISTORY_SESSIONS + sessions_count)
        self.half_days = frozenset(day.session for day in hours[played] if oddities.random() < odd.half_day_frac)
        self.hours = tuple(_shortened(day) if day.session in self.half_days else day for day in hours)
        self._dates = [hours.session for hours in self.hours]
        self.played = self._dates[HISTORY_SESSIONS : HISTORY_SESSIONS + sessions_count]
        self.eve = self._dates[HISTORY_SESSIONS - 1]
        fall = _fall(np.random.default_rng([seed, 3]), odd.down_day_frac, sessions_count)
        self.falls_on = self._dates[fall.row] if fall else None
        paths = _paths(generator, self._dates, fall)
        self.panel = paths.panel
        self._intraday = paths.intraday
        self.split_of = _splits(oddities, odd.split_frac, self.played)
        self.differing = _differing_hours(oddities, odd.wrong_calendar_frac, self.hours[played])
        self._index = np.round(10 + 25 * generator.random(len(self._dates)) ** 2, 2)

    def is_session(self, day: date) -> bool:
        """Whether the exchange opens on a date."""
        row = bisect_left(self._dates, day)
        return row < len(self._dates) and self._dates[row] == day

    @property
    def weekdays(self) -> list[date]:
        """Every weekday from the first played session to the last: the schedule fires on holidays too."""
        first, last = self.played[0], self.played[-1]
        days = [first + timedelta(days=count) for count in range((last - first).days + 1)]
        return [day for day in days if day.weekday() < 5]

    @property
    def universe(self) -> tuple[Instrument, ...]:
        """What the desk is configured with."""
        return tuple(Instrument(symbol=symbol, sector=sector) for symbol, sector in SECTOR_OF.items())

    def after(self, session: date) -> date:
        """The session after `session`."""
        return self._dates[bisect_right(self._dates, session)]

    def assets(self) -> tuple[ListedAsset, ...]:
        return tuple(
            ListedAsset(name, name, Market.US_EQUITY, "NYSE", name != INDEX, True, False, Decimal("1e-9"), Decimal("0.0004"))
            for name in SYMBOLS
        )

    def sessions(self, market: Market) -> tuple[SessionHours, ...]:
        return self.hours if market is Market.US_EQUITY else ()

    def prints(self, symbol: str, session: date) -> tuple[Print, ...]:
        row = bisect_left(self._dates, session)
        if row == len(self._dates) or self._dates[row] != session:
            return ()
        column, opens_at = SYMBOLS.index(symbol), self.hours[row].opens_at
        minutes = _HALF_DAY_PRINT_MINUTES if session in self.half_days else _PRINT_MINUTES
        ratio = self._ratio_ahead(symbol, session)
        prices = self._intraday[row, :, column].tolist()
        return tuple(
            Print(opens_at + timedelta(minutes=minute), (Decimal(str(price)) * ratio).quantize(_CENT), Decimal(1_000_000))
            for minute, price in zip(minutes, prices, strict=True)
        )

    def day_bars(self, symbol: str, first: date, last: date) -> tuple[DayBar, ...]:
        column = SYMBOLS.index(symbol)
        rows = range(bisect_left(self._dates, first), bisect_right(self._dates, last))
        prices = (self.panel.open, self.panel.high, self.panel.low, self.panel.close)
        bars = []
        for row in rows:
            ratio = self._ratio_ahead(symbol, self._dates[row])
            opened, high, low, closed = ((Decimal(str(price[row, column])) * ratio).quantize(_CENT) for price in prices)
            bars.append(DayBar(self._dates[row], opened, high, low, closed, Decimal(str(self.panel.volume[row, column]))))
        return tuple(bars)

    def splits(self, symbol: str) -> tuple[Split, ...]:
        return (self.split_of[symbol],) if symbol in self.split_of else ()

    def _ratio_ahead(self, symbol: str, session: date) -> Decimal:
        """By what a price of a session is higher than after the symbol's split."""
        split = self.split_of.get(symbol)
        return split.ratio if split and session < split.ex_session else Decimal(1)

    def adjusted_panel(self, last: date) -> BarPanel:
        """The bars up to a date as a feed shows them on it: earlier prices are adjusted for a split once it has happened."""
        panel = self.panel.through(last)
        ratios = np.array([float(self._ratio_ahead(symbol, last)) for symbol in SYMBOLS])
        if (ratios == 1.0).all():
            return panel
        prices = {field: np.round(getattr(panel, field) * ratios, 2) for field in FIELDS[:4]}
        return replace(panel, **prices, volume=panel.volume / ratios)

    def halts(self, symbol: str, session: date) -> tuple[tuple[datetime, datetime], ...]:
        return ()

    def volatility_index(self) -> Mapping[date, Decimal]:
        return {day: Decimal(str(close)) for day, close in zip(self._dates, self._index.tolist(), strict=True)}

    def headlines(self, session: date) -> tuple[NewsItem, ...]:
        return ()

    def volatility_closes(self, last: date) -> Matrix:
        """Closes of the volatility index up to a date (index points)."""
        return self._index[: bisect_right(self._dates, last)]


class RehearsalCalendar:
    """Implements `ports.market_data.Calendar`: a market's sessions but for the dates on which our calendar is wrong."""

    def __init__(self, market: RehearsalMarket) -> None:
        by_date = {hours.session: hours for hours in market.hours} | market.differing
        self._hours = [hours for _, hours in sorted(by_date.items()) if hours is not None]
        self._dates = [hours.session for hours in self._hours]

    def sessions(self, market: Market, first: date, last: date) -> list[SessionHours]:
        if market is not Market.US_EQUITY:
            return []
        return list(self._hours[bisect_left(self._dates, first) : bisect_right(self._dates, last)])


def _shortened(hours: SessionHours) -> SessionHours:
    return hours.model_copy(update={"closes_at": new_york(hours.session, _CLOSES_EARLY)})


def _splits(generator: np.random.Generator, chance_frac: float, played: list[date]) -> dict[str, Split]:
    """At most one split a symbol, in a session that is played; three for two leaves halves of a share."""
    return {
        symbol: Split(played[int(generator.integers(len(played)))], _SPLIT_RATIOS[int(generator.integers(len(_SPLIT_RATIOS)))])
        for symbol in SECTOR_OF
        if generator.random() < chance_frac
    }


def _differing_hours(
    generator: np.random.Generator, chance_frac: float, played: tuple[SessionHours, ...]
) -> dict[date, SessionHours | None]:
    """What our calendar says instead of the broker's: a session missed (None) or of another length, a holiday not known."""
    differing: dict[date, SessionHours | None] = {}
    for before, hours in pairwise(played):
        if generator.random() < chance_frac:
            ends_early = hours.closes_at == new_york(hours.session, _CLOSES_EARLY)
            closes_at = new_york(hours.session, _CLOSES if ends_early else _CLOSES_EARLY)
            differing[hours.session] = None if generator.random() < 0.5 else hours.model_copy(update={"closes_at": closes_at})
        day = before.session + timedelta(days=1)
        while day < hours.session:
            if day.weekday() < 5 and generator.random() < min(10 * chance_frac, 1.0):
                differing[day] = SessionHours(session=day, opens_at=new_york(day, _OPENS), closes_at=new_york(day, _CLOSES))
            day += timedelta(days=1)
    return differing


def new_york(day: date, at: time) -> datetime:
    """An instant by New York's wall clock."""
    return datetime.combine(day, at, Market.US_EQUITY.zone).astimezone(UTC)


def _calendar(generator: np.random.Generator, sessions_count: int) -> tuple[SessionHours, ...]:
    """Weekdays without some holidays, placed so that the played part may hold a change of the clocks."""
    change = _CLOCK_CHANGES[int(generator.integers(len(_CLOCK_CHANGES)))]
    first_played = change - timedelta(days=int(generator.integers(1, max(2, 2 * sessions_count))))
    wanted = HISTORY_SESSIONS + sessions_count + SPARE_SESSIONS
    day = first_played - timedelta(days=int(HISTORY_SESSIONS * 1.45))
    days: list[date] = []
    while len(days) < wanted:
        if day.weekday() < 5 and generator.random() > 0.035:
            days.append(day)
        day += timedelta(days=1)
    return tuple(SessionHours(session=day, opens_at=new_york(day, _OPENS), closes_at=new_york(day, _CLOSES)) for day in days)


def _fall(generator: np.random.Generator, chance_frac: float, sessions_count: int) -> _Fall | None:
    """At most one, and not on the first played day: something has to be held by then."""
    if sessions_count < 2 or generator.random() >= chance_frac:
        return None
    return _Fall(HISTORY_SESSIONS + int(generator.integers(1, sessions_count)), float(generator.uniform(-0.14, -0.085)))


def _paths(generator: np.random.Generator, days: list[date], fall: _Fall | None) -> _Paths:
    """Random walks with a common and a sector factor, overnight gaps, and now and then a crash; cents, from $20 to $300."""
    sessions, prints, symbols = len(days), len(_PRINT_MINUTES), len(SYMBOLS)
    sectors = [*SECTOR_OF.values(), INDEX]
    names = sorted(set(sectors))
    common = generator.normal(0.0002, 0.004, (sessions, 1))
    by_sector = generator.normal(0.0, 0.005, (sessions, len(names)))[:, [names.index(sector) for sector in sectors]]
    gaps = common + by_sector + generator.normal(0.0, 0.006, (sessions, symbols))
    crashes = generator.random((sessions, symbols)) < 0.01
    gaps = np.where(crashes, generator.choice([-0.14, -0.09, 0.08, 0.12], (sessions, symbols)), gaps)
    steps = generator.normal(0.0, 0.0045, (sessions, prints, symbols))
    steps[:, 0, :] = gaps
    if fall is not None:
        steps[fall.row, 0, :] += fall.log_ratio
    starts = np.log(generator.uniform(40, 160, symbols))
    steps[0, 0, :] += starts
    logs = np.cumsum(steps.reshape(sessions * prints, symbols), axis=0)
    floor = np.log(8.0)
    prices = np.round(np.exp(floor + np.abs(logs - floor)), 2).reshape(sessions, prints, symbols)
    panel = BarPanel(
        np.array(days, dtype="datetime64[D]"), SYMBOLS,
        prices[:, 0], prices.max(axis=1), prices.min(axis=1), prices[:, -1],
        np.round(generator.uniform(5e5, 2e6, (sessions, symbols))),
    )  # fmt: skip
    return _Paths(panel, prices)
