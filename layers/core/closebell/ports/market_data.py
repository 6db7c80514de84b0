"""Prices, the volatility index, headlines and the exchange calendar."""

from collections.abc import Sequence
from datetime import date, datetime
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from closebell.model.instruments import Market, SessionHours
from closebell.model.operations import NewsItem
from closebell.model.panel import BarPanel


class MarketData(Protocol):
    """Final daily bars, adjusted for splits and dividends as of the request."""

    def daily_bars(self, symbols: Sequence[str], market: Market, first: date, last: date) -> BarPanel:
        """Bars of the sessions `first`..`last`; a symbol without bars keeps its column, all NaN. Raises BrokerUnavailable."""

    def split_dates(self, symbols: Sequence[str], first: date, last: date) -> dict[str, dict[date, float]]:
        """Per symbol the ex-dates of splits and their ratio (2.0: two new shares for one old)."""


class BarFiles(Protocol):
    """Files of daily bars for backtests, one a symbol."""

    def dates_to_fetch(self, symbol: str, first: date, last: date, *, replaces: bool) -> tuple[date, date] | None:
        """First and last date to fetch so that the file has `first`..`last` and all that it had; None when it has them.

        With `replaces` it is never None, and the owner's own file is no error. Raises DataError (the owner's own file, or bars
        that cannot stand beside what is there), StoreUnavailable.
        """

    def keep(self, first: date, last: date, bars: BarPanel) -> None:
        """Write one symbol's bars of `first`..`last`, whole or not at all. Raises DataError (wrong bars), StoreUnavailable."""


class VolatilitySeries(NamedTuple):
    """Closes of the volatility index: `sessions` datetime64[D] ascending, `closes` in index points."""

    sessions: NDArray[np.datetime64]
    closes: NDArray[np.float64]


class VolatilityIndex(Protocol):
    """The VIX."""

    def closes(self, last: date) -> VolatilitySeries:
        """Closes up to and including `last`. Raises DataError when the source cannot be read; realised volatility stands in."""


class News(Protocol):
    """Headlines."""

    def headlines(self, symbols: Sequence[str], since: datetime) -> list[NewsItem]:
        """Newest first, at most 50. Raises DataError when the source cannot be read; the mail then says so."""


class Calendar(Protocol):
    """When a market trades, known without asking the broker."""

    def sessions(self, market: Market, first: date, last: date) -> list[SessionHours]:
        """The sessions of a range of dates, both ends included; a crypto session is each UTC day."""
