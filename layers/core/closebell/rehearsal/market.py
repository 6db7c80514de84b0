"""A small seeded market: eight symbols of three sectors and an index, with gaps, crashes and a calendar of its own."""

from bisect import bisect_left, bisect_right
from collections.abc import Mapping
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import NamedTuple

import numpy as np

from closebell.model.instruments import Instrument, Market, SessionHours
from closebell.model.operations import NewsItem
from closebell.model.panel import BarPanel, Matrix
from closebell.simulation.market import DayBar, ListedAsset, Print, Split

INDEX = "INDX"
SECTOR_OF = {
    "ALFA": "metals", "BRAV": "metals", "CHAR": "metals",
    "DELT": "grain", "ECHO": "grain", "FOXT": "grain",
    "GOLF": "rail", "HOTL": "rail",
}  # fmt: skip
SYMBOLS = (*SECTOR_OF, INDEX)
HISTORY_SESSIONS = 260
SPARE_SESSIONS = 15
"""Sessions after the played ones: the calendar must know what comes next, and the calm days are played in them."""

_OPENS, _CLOSES = time(9, 30), time(16, 0)
_PRINT_MINUTES = (0, 12, 27, 33, 75, 140, 200, 260, 330, 372, 390)
"""Minutes after the opening at which every symbol trades: the first is the opening auction, the last the close."""
_CLOCK_CHANGES = (date(2018, 11, 4), date(2019, 3, 10), date(2019, 11, 3), date(2020, 3, 8))
_CENT = Decimal("0.01")


class _Paths(NamedTuple):
    """Bars (sessions x symbols) and the intraday prices of every session (sessions x prints x symbols)."""

    panel: BarPanel
    intraday: np.ndarray[tuple[int, int, int], np.dtype[np.float64]]


class RehearsalMarket:
    """Implements `SimulatedMarket`; equal for equal seeds.

    Half of all markets change to or from daylight saving time while they are played.
    """

    label, is_synthetic = "rehearsal", True

    def __init__(self, seed: int, sessions_count: int) -> None:
        generator = np.random.default_rng([seed, 1])
        self.hours = _calendar(generator, sessions_count)
        self._dates = [hours.session for hours in self.hours]
        self.played = self._dates[HISTORY_SESSIONS : HISTORY_SESSIONS + sessions_count]
        self.eve = self._dates[HISTORY_SESSIONS - 1]
        paths = _paths(generator, self._dates)
        self.panel = paths.panel
        self._intraday = paths.intraday
        self._index = np.round(10 + 25 * generator.random(len(self._dates)) ** 2, 2)

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
        prices = self._intraday[row, :, column].tolist()
        return tuple(
            Print(opens_at + timedelta(minutes=minute), Decimal(str(price)), Decimal(1_000_000))
            for minute, price in zip(_PRINT_MINUTES, prices, strict=True)
        )

    def day_bars(self, symbol: str, first: date, last: date) -> tuple[DayBar, ...]:
        column = SYMBOLS.index(symbol)
        rows = range(bisect_left(self._dates, first), bisect_right(self._dates, last))
        fields = (self.panel.open, self.panel.high, self.panel.low, self.panel.close, self.panel.volume)
        return tuple(DayBar(self._dates[row], *(Decimal(str(field[row, column])) for field in fields)) for row in rows)

    def splits(self, symbol: str) -> tuple[Split, ...]:
        return ()

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
    """Implements `ports.market_data.Calendar` over a market's sessions."""

    def __init__(self, market: RehearsalMarket) -> None:
        self._hours = market.hours
        self._dates = [hours.session for hours in market.hours]

    def sessions(self, market: Market, first: date, last: date) -> list[SessionHours]:
        if market is not Market.US_EQUITY:
            return []
        return list(self._hours[bisect_left(self._dates, first) : bisect_right(self._dates, last)])


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


def _paths(generator: np.random.Generator, days: list[date]) -> _Paths:
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
