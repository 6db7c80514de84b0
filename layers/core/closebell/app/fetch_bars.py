"""Daily bars for backtests: from the market data feed into files, a symbol at a time, and only what is not there yet."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta

import numpy as np

from closebell.analysis.validation import unadjusted_splits
from closebell.model.errors import BrokerUnavailable, ConfigurationError, DataError, RateLimited, RequestRefused
from closebell.model.instruments import Market
from closebell.model.panel import FIELDS, BarPanel
from closebell.ports.market_data import BarFiles, Calendar, MarketData
from closebell.ports.progress import Progress

SYMBOLS_A_BATCH = 20
"""Read before anything of them is written: ten years of twenty symbols are six of Alpaca's pages."""

FINAL_AFTER = timedelta(minutes=20)
"""After the close. Alpaca's free plan withholds the last quarter of an hour."""

_LOOK_BACK = timedelta(days=15)
"""A session ended within it, whatever the exchange was closed for."""

_SYMBOL = re.compile(r"[A-Z][A-Z0-9]*(\.[A-Z]+)?(/[A-Z]+)?")


@dataclass
class FetchedBars:
    """What became of each symbol: the first session written, there already, or why there is no file."""

    written: dict[str, date] = field(default_factory=dict)
    kept: list[str] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)
    notes: set[str] = field(default_factory=set)

    @property
    def done_count(self) -> int:
        """Symbols that are finished with."""
        return len(self.written) + len(self.kept) + len(self.refused)


@dataclass(frozen=True)
class FetchBars:
    """Fetches what is missing. Every file that it wrote stays, also when a later one cannot be had: the next call goes on."""

    data: MarketData
    calendar: Calendar
    files: BarFiles

    def fetch(
        self, symbols: Sequence[str], first: date, last: date | None, now: datetime, *, replaces: bool, progress: Progress
    ) -> FetchedBars:
        """The bars of `first`..`last`; no bar of a session that is not over, and up to the newest one that is without `last`.

        A file that is there for other dates is fetched again for both, so that it never becomes shorter.

        Parameters
        ----------
        replaces
            Fetch also what is there, and what the owner put or changed there.

        Raises
        ------
        ConfigurationError
            A name is no symbol, or no session has ended since `first`.
        BrokerUnavailable, StoreUnavailable
            The feed or the disk; what was written before is whole.
        """
        wanted = tuple(dict.fromkeys(_symbol(name) for name in symbols))
        fetched = FetchedBars()
        for market in Market:
            listed = [symbol for symbol in wanted if _market_of(symbol) is market]
            if not listed:
                continue
            until = self._until(market, first, last, now)
            missing = self._missing(listed, first, until, fetched, replaces=replaces)
            progress(fetched.done_count, len(wanted))
            for dates, lacking in missing.items():
                for start in range(0, len(lacking), SYMBOLS_A_BATCH):
                    try:
                        self._fetch_batch(tuple(lacking[start : start + SYMBOLS_A_BATCH]), market, *dates, fetched)
                    finally:  # a disk or a limit can end it with some of the batch written
                        progress(fetched.done_count, len(wanted))
        return fetched

    def _until(self, market: Market, first: date, last: date | None, now: datetime) -> date:
        today = market.date_of(now)
        ended = [
            hours.session for hours in self.calendar.sessions(market, today - _LOOK_BACK, today)
            if hours.closes_at + FINAL_AFTER <= now
        ]  # fmt: skip
        until = ended[-1] if last is None else min(last, ended[-1])
        if first > until:
            raise ConfigurationError(f"nothing to fetch: {first} is after {until}, which is --to or the last finished session")
        return until

    def _missing(
        self, symbols: Sequence[str], first: date, until: date, fetched: FetchedBars, *, replaces: bool
    ) -> dict[tuple[date, date], list[str]]:
        """Symbols by the dates to fetch. What a file has of other dates is among them: its bars are adjusted as of one day."""
        missing: dict[tuple[date, date], list[str]] = {}
        for symbol in symbols:
            try:
                dates = self.files.dates_to_fetch(symbol, first, until, replaces=replaces)
            except DataError as error:
                fetched.refused[symbol] = str(error)
                continue
            if dates is None:
                fetched.kept.append(symbol)
            else:
                missing.setdefault(dates, []).append(symbol)
        return missing

    def _fetch_batch(self, symbols: tuple[str, ...], market: Market, first: date, until: date, fetched: FetchedBars) -> None:
        try:
            self._fetch_together(symbols, market, first, until, fetched)
        except RequestRefused as error:
            if len(symbols) == 1:
                fetched.refused[symbols[0]] = str(error)
                return
            for symbol in symbols:  # the feed refuses all for one that it does not know
                self._fetch_batch((symbol,), market, first, until, fetched)

    def _fetch_together(self, symbols: tuple[str, ...], market: Market, first: date, until: date, fetched: FetchedBars) -> None:
        panel = self.data.daily_bars(symbols, market, first, until)
        splits = self._splits(symbols, first, until, fetched)
        sessions = np.array([hours.session for hours in self.calendar.sessions(market, first, until)], dtype="datetime64[D]")
        for symbol in symbols:
            bars = _traded(panel.columns((symbol,)))
            faults = (*_foreign(bars, sessions), *unadjusted_splits(bars, splits).values())
            try:
                if not len(bars.sessions):
                    raise DataError(f"the feed has no bars from {first} to {until}: is the symbol right?")
                if faults:
                    raise DataError("; ".join(faults))
                self.files.keep(first, until, bars)
            except DataError as error:
                fetched.refused[symbol] = str(error)
            else:
                fetched.written[symbol] = bars.sessions[0].astype(object)

    def _splits(self, symbols: tuple[str, ...], first: date, until: date, fetched: FetchedBars) -> dict[str, dict[date, float]]:
        try:
            return self.data.split_dates(symbols, first, until)
        except RateLimited:
            raise
        except BrokerUnavailable as error:
            fetched.notes.add(f"reported splits could not be read: that bars are adjusted for them was not checked: {error}")
            return {}


def _symbol(name: str) -> str:
    """A name as Alpaca spells it. It becomes a file's name, so nothing else may pass."""
    symbol = name.strip().upper()
    if not _SYMBOL.fullmatch(symbol):
        raise ConfigurationError(f"{name!r} is no symbol: write AAPL, BRK.B or BTC/USD")
    return symbol


def _market_of(symbol: str) -> Market:
    return Market.CRYPTO if "/" in symbol else Market.US_EQUITY


def _traded(bars: BarPanel) -> BarPanel:
    """One symbol's sessions with anything in them: the panel has those of the others too."""
    known = np.logical_or.reduce([np.isfinite(getattr(bars, name)[:, 0]) for name in FIELDS])
    return BarPanel(bars.sessions[known], bars.symbols, *(getattr(bars, name)[known] for name in FIELDS))


def _foreign(bars: BarPanel, sessions: "np.typing.NDArray[np.datetime64]") -> Iterator[str]:
    for day in bars.sessions[~np.isin(bars.sessions, sessions)][:1]:
        yield f"the feed has a bar of {day}, which is no session of the exchange"
