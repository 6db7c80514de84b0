"""Daily bars as a market that the simulated exchange can trade on.

A session prints its open, low, high and close, evenly spread over it: which of low and high came first is unknown, and the low
first is the worse order for an owner with a stop. Between those prints the price passes through every price, so a stop inside
the day's range fills at the stop and one that the open has jumped over fills at the open. A close-only session prints its close.

A crypto day prints on its way from one of the four to the next too, once between any two reconciliations: the desk itself
watches the targets of coins, and would otherwise sell at the high of the day. It prints its open twice, before the desk's orders,
which are judged by that price, and after them, when they trade at it.
"""

import math
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import date, datetime, timedelta
from decimal import Decimal
from functools import cached_property, reduce
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from closebell.model.instruments import Market, SessionHours
from closebell.model.operations import NewsItem
from closebell.model.panel import FIELDS, BarPanel, Matrix
from closebell.ports.market_data import Calendar
from closebell.simulation.market import DayBar, ListedAsset, PriceBand, Print, Split

VOLUME_SESSIONS = 20
"""A print offers the mean of the volumes that are known of this many sessions before its own."""

_INCREMENT_SHARES = Decimal("1e-9")
_PRICE_DECIMALS = 9
_PRICE_STEP_USD = Decimal(1).scaleb(-_PRICE_DECIMALS)
_SPARE = timedelta(days=15)
_SPARE_FRAC = 1e-9
_SEARCHED_SESSIONS = 64


class _DayPath(NamedTuple):
    """How a session prints: the first and the last print lie `margin` inside it, the others evenly between, and `corners` are the
    places of open, low, high and close among them. `shows_open_at` are instants, from the opening, at which the open is printed
    already. Volumes are told to `volume_places` decimals."""

    venue: str
    margin: timedelta
    corners: tuple[int, int, int, int]
    shows_open_at: tuple[timedelta, ...]
    volume_places: int

    def instants(self, hours: SessionHours) -> tuple[datetime, ...]:
        first, steps_count = hours.opens_at + self.margin, self.corners[-1]
        step = (hours.closes_at - self.margin - first) / steps_count
        early = (hours.opens_at + since for since in self.shows_open_at)
        return (*early, *(first + step * place for place in range(steps_count + 1)))

    def prices(self, bar: DayBar) -> Iterator[Decimal]:
        """The corners' prices as they are, those between on the line."""
        yield from (bar.open_usd for _ in self.shows_open_at)
        path = (bar.open_usd, bar.low_usd, bar.high_usd, bar.close_usd)
        for (place, price), (next_place, next_price) in pairwise(zip(self.corners, path, strict=True)):
            steps_count = next_place - place
            yield price
            for step in range(1, steps_count):
                yield (price + (next_price - price) * step / steps_count).quantize(_PRICE_STEP_USD)
        yield bar.close_usd

    def offered_shares(self, volume_shares: float) -> float:
        """What one print offers of a session's volume: all of it where there are four, and as much a day where there are more."""
        prints_count = len(self.shows_open_at) + self.corners[-1] + 1
        return round(volume_shares * len(self.corners) / prints_count, self.volume_places)


_PATHS = {
    Market.US_EQUITY: _DayPath("NYSE", timedelta(0), (0, 1, 2, 3), (), 0),
    Market.CRYPTO: _DayPath("CRYPTO", timedelta(minutes=15), (0, 16, 32, 47), (timedelta(minutes=3),), 9),
}


class BarMarket:
    """Implements `SimulatedMarket` over a panel of bars as traded; equal for equal panels.

    Parameters
    ----------
    panel
        Bars of shares or of crypto pairs. Prices are taken as they are: the shortest decimal that is the float. A bar without a
        close did not trade; one without an open has its close alone, in `panel` its other prices are then the close too.
    hours
        The market's sessions, ascending, from the panel's first to at least one after its last.
    asset_class
        What the bars are of.
    account_hours
        For crypto, NYSE's sessions: by their closes the broker reckons what the account was worth the day before.
    splits
        Symbol -> ex-date -> ratio, for bars that are not adjusted.
    spread_frac
        The bid-ask spread of every symbol, as a fraction of the price; half of it is what a market order pays.
    volatility_closes
        VIX closes in points; empty when unknown.
    label
        What the market is called.
    """

    is_synthetic = False

    def __init__(
        self, panel: BarPanel, hours: Sequence[SessionHours], *, splits: Mapping[str, Mapping[date, float]] | None = None,
        spread_frac: Decimal = Decimal(0), volatility_closes: Mapping[date, Decimal] | None = None, label: str = "daily bars",
        asset_class: Market = Market.US_EQUITY, account_hours: Sequence[SessionHours] = (),
    ) -> None:
        self.label, self.asset_class, self._path = label, asset_class, _PATHS[asset_class]
        self._as_given = panel
        self._is_close_only = np.isnan(panel.open) & np.isfinite(panel.close)
        self.panel = _filled(panel)
        self._hours, self._account_hours = tuple(hours), tuple(account_hours)
        self._sessions = {Market.US_EQUITY: self._account_hours} | {asset_class: self._hours}
        self._hours_of = {day.session: day for day in self._hours}
        self._dates = panel.days
        self._row_of = {day: row for row, day in enumerate(self._dates)}
        missing = [day for day in self._dates if day not in self._hours_of]
        if missing:
            raise ValueError(f"bars of {missing[0]}, which is no session of the market")
        self._column_of = {symbol: column for column, symbol in enumerate(panel.symbols)}
        self._splits = {symbol: tuple(Split(day, _exact(ratio)) for day, ratio in sorted(found.items()))
                        for symbol, found in (splits or {}).items()}
        self._split_days = {split.ex_session for found in self._splits.values() for split in found}
        self._instants_of: dict[date, tuple[datetime, ...]] = {}
        self.spread_frac = spread_frac
        self._volatility_closes = dict(volatility_closes or {})

    @property
    def as_traded(self) -> BarPanel:
        """The bars that make an equal market: where a session has its close alone, the open is unknown."""
        return replace(self.panel, open=np.where(self._is_close_only, np.nan, self.panel.open))

    @property
    def split_ratios(self) -> dict[str, dict[date, float]]:
        """Symbol -> ex-date -> ratio, of the symbols that are split, as an equal market takes them."""
        splits = {symbol: found for symbol, found in self._splits.items() if found}
        return {symbol: {split.ex_session: float(split.ratio) for split in found} for symbol, found in splits.items()}

    def assets(self) -> tuple[ListedAsset, ...]:
        return tuple(
            ListedAsset(
                symbol, symbol, self.asset_class, self._path.venue, tradable=True, fractionable=True, shortable=False,
                increment_shares=_INCREMENT_SHARES, spread_frac=self.spread_frac,
            )
            for symbol in self.panel.symbols
        )  # fmt: skip

    def sessions(self, market: Market) -> tuple[SessionHours, ...]:
        return self._sessions.get(market, ())

    def prints(self, symbol: str, session: date) -> tuple[Print, ...]:
        bar = self._bar(symbol, session)
        if bar is None:
            return ()
        instants, size = self.print_instants(session), self._offered_shares(symbol, session)
        if self._is_close_only[self._row_of[session], self._column_of[symbol]]:
            return (Print(instants[-1], bar.close_usd, size),)
        path = zip(instants, self._path.prices(bar), strict=True)
        return tuple(Print(at, price, size, place > 0) for place, (at, price) in enumerate(path))

    def print_instants(self, session: date) -> tuple[datetime, ...]:
        """When anything can print in a session (UTC)."""
        found = self._instants_of.get(session)
        if found is None:
            found = self._instants_of[session] = self._path.instants(self._hours_of[session])
        return found

    def day_bars(self, symbol: str, first: date, last: date) -> tuple[DayBar, ...]:
        days = self._dates[bisect_left(self._dates, first) : bisect_right(self._dates, last)]
        return tuple(bar for bar in (self._bar(symbol, day) for day in days) if bar is not None)

    def splits(self, symbol: str) -> tuple[Split, ...]:
        return self._splits.get(symbol, ())

    def halts(self, symbol: str, session: date) -> tuple[tuple[datetime, datetime], ...]:
        return ()

    def volatility_index(self) -> Mapping[date, Decimal]:
        return self._volatility_closes

    def headlines(self, session: date) -> tuple[NewsItem, ...]:
        return ()

    def last_session_of(self, symbol: str) -> date | None:
        """The last session in which a symbol traded; None when it never did."""
        last_row = int(self._last_rows[self._column_of[symbol]])
        return self._dates[last_row] if last_row >= 0 else None

    @cached_property
    def _last_rows(self) -> NDArray[np.intp]:
        """Of each symbol the last row with a close; -1 when it has none."""
        traded = np.isfinite(self.panel.close)
        return np.where(traded.any(axis=0), len(traded) - 1 - traded[::-1].argmax(axis=0), -1)

    def first_session_outside(self, symbol: str, first: date, band: PriceBand) -> date:
        """Implements `SearchableMarket`. A price within a billionth of a bound counts as outside."""
        column, row = self._column_of[symbol], bisect_left(self._dates, first)
        lowest = -math.inf if band.above_usd is None else float(band.above_usd) * (1 + _SPARE_FRAC)
        highest = math.inf if band.below_usd is None else float(band.below_usd) * (1 - _SPARE_FRAC)
        lows, highs = self._extremes
        while row < len(self._dates):
            block = slice(row, row + _SEARCHED_SESSIONS)
            outside = np.flatnonzero((lows[block, column] <= lowest) | (highs[block, column] >= highest))
            if len(outside):
                return self._dates[row + int(outside[0])]
            row += _SEARCHED_SESSIONS
        return date.max

    def lowest_prices_usd(self, symbols: Sequence[str], session: date) -> list[float]:
        """The lowest that symbols can be worth at any instant of a session's day (USD), the last close before its first print
        included; NaN where the session or the one before has no bar of a symbol, and on a day with a split."""
        row, columns = self._row_of.get(session, 0), [self._column_of[symbol] for symbol in symbols]
        if not row or session in self._split_days:
            return [math.nan] * len(columns)
        return [self._lowest_since_close.item(row, column) for column in columns]

    def close_usd(self, symbol: str, session: date) -> Decimal | None:
        """A session's close; None when the symbol did not trade in it."""
        place = self._place(symbol, session)
        return None if place is None else _exact(float(self.panel.close[place]))

    @cached_property
    def _extremes(self) -> tuple[Matrix, Matrix]:
        """The lowest and the highest price of each bar, whatever it calls them."""
        panel = self.panel
        prices = (panel.open, panel.high, panel.low, panel.close)
        return reduce(np.minimum, prices), reduce(np.maximum, prices)

    @cached_property
    def _lowest_since_close(self) -> Matrix:
        """The lowest price of each bar and the close before it; the first row has none before it."""
        return np.minimum(self._extremes[0], np.roll(self.panel.close, 1, axis=0))

    def altered(
        self, *, until: date | None = None, unknown: NDArray[np.bool_] | None = None, spread_frac: Decimal | None = None
    ) -> "BarMarket":
        """The same market without anything after a date, with some bars (sessions x symbols) unknown, or with another spread."""
        last = self._dates[-1] if until is None else until
        panel = self._as_given
        if unknown is not None:
            panel = BarPanel(panel.sessions, panel.symbols, *(np.where(unknown, np.nan, getattr(panel, name)) for name in FIELDS))
        return BarMarket(
            panel.through(last), self._hours,
            splits={symbol: {day: ratio for day, ratio in found.items() if day <= last}
                    for symbol, found in self.split_ratios.items()},
            spread_frac=self.spread_frac if spread_frac is None else spread_frac,
            volatility_closes={day: close for day, close in self._volatility_closes.items() if day <= last},
            label=self.label, asset_class=self.asset_class, account_hours=self._account_hours,
        )  # fmt: skip

    def _place(self, symbol: str, session: date) -> tuple[int, int] | None:
        row, column = self._row_of.get(session), self._column_of.get(symbol)
        if row is None or column is None or math.isnan(self.panel.close[row, column]):
            return None
        return row, column

    def _bar(self, symbol: str, session: date) -> DayBar | None:
        place = self._place(symbol, session)
        if place is None:
            return None
        opened, high, low, close, volume = (float(getattr(self.panel, field)[place]) for field in FIELDS)
        known = None if math.isnan(volume) else _exact(volume)
        return DayBar(session, _exact(opened), _exact(high), _exact(low), _exact(close), known)

    def mean_volume_shares(self, symbol: str, session: date) -> float | None:
        """The mean of the volumes known of the 20 sessions before, in shares of this one's splits; None when there are none."""
        row = bisect_left(self._dates, session)
        first = max(row - VOLUME_SESSIONS, 0)
        volumes = self.panel.volume[first:row, self._column_of[symbol]]
        for split in self.splits(symbol):
            if first < row and self._dates[first] < split.ex_session <= session:
                is_before = self.panel.sessions[first:row] < np.datetime64(split.ex_session)
                volumes = np.where(is_before, volumes * float(split.ratio), volumes)
        known = volumes[np.isfinite(volumes)]
        return float(np.mean(known)) if len(known) else None

    def _offered_shares(self, symbol: str, session: date) -> Decimal | None:
        mean_shares = self.mean_volume_shares(symbol, session)
        return None if mean_shares is None else _exact(self._path.offered_shares(mean_shares))


def _filled(panel: BarPanel) -> BarPanel:
    """Prices as the exchange shows them, in nine decimals; the close in place of every missing one where there is a close."""
    close = _shown(panel.close)

    def filled(prices: Matrix) -> Matrix:
        is_missing = np.isnan(prices)
        return np.where(is_missing, close, _shown(prices)) if is_missing.any() else _shown(prices)

    return replace(panel, open=filled(panel.open), high=filled(panel.high), low=filled(panel.low), close=close)


def _shown(prices: Matrix) -> Matrix:
    rounded = np.round(prices, _PRICE_DECIMALS)
    return prices if np.array_equal(rounded, prices, equal_nan=True) else rounded


def _exact(number: float) -> Decimal:
    """The shortest decimal that is the float: what the file said."""
    return Decimal(repr(number))


def hours_of(calendar: Calendar, panel: BarPanel, market: Market = Market.US_EQUITY) -> tuple[SessionHours, ...]:
    """A market's sessions that go with a panel: from its first to some days after its last."""
    first, last = panel.sessions[0].astype(object), panel.sessions[-1].astype(object)
    return tuple(calendar.sessions(market, first, last + _SPARE))
