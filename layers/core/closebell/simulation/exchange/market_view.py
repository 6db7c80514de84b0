"""Bars as a data vendor serves them at an instant: final, adjusted for what has happened, with no future in them.

An equity's daily bar is served once its session has closed; a coin's forming bar is served too, as Alpaca does. Intraday bars
are made from prints and served when their interval is over. A field the source does not know is None.
"""

from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from itertools import groupby
from typing import NamedTuple

from closebell.model.instruments import Market
from closebell.simulation.exchange.tape import ExchangeTape, midnight
from closebell.simulation.market import DayBar, Print

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_ADJUSTED_TICK_USD = Decimal("0.0001")
_ADJUSTMENTS = ("raw", "split", "dividend", "spin-off", "all")


class VendorBar(NamedTuple):
    """What traded from `starts_at` on, as the request wants it adjusted. `traded.session` is the date it began."""

    starts_at: datetime
    traded: DayBar


class MarketView:
    """What may be known of a market at an instant."""

    def __init__(self, tape: ExchangeTape) -> None:
        self.tape = tape

    def daily_bars(self, symbol: str, first: date, last: date, at: datetime, adjustment: str = "raw") -> list[VendorBar]:
        """The sessions `first`..`last` that may be known at `at`. Raises ValueError on an unknown adjustment."""
        if adjustment not in _ADJUSTMENTS:
            raise ValueError(f"invalid adjustment: {adjustment}")
        asset = self.tape.assets[symbol]
        closed = self.tape.calendar(symbol).last_closed(at)
        bars: list[DayBar] = []
        if closed is not None:
            bars = list(self.tape.market.day_bars(symbol, first, min(last, closed.session)))
        forming = self.forming_bar(symbol, at) if asset.market is Market.CRYPTO else None
        if forming is not None and first <= forming.session <= last:
            bars.append(forming)
        found = []
        for bar in bars:
            factor = self.tape.split_factor(symbol, bar.session, at) if adjustment in ("split", "all") else Decimal(1)
            found.append(VendorBar(midnight(bar.session, asset.market), _adjusted(bar, factor)))
        return found

    def forming_bar(self, symbol: str, at: datetime) -> DayBar | None:
        """The running session so far; None outside a session or before its first print."""
        hours = self.tape.calendar(symbol).last_started(at)
        if hours is None or at >= hours.closes_at:
            return None
        return bar_of(hours.session, self.tape.session_prints(symbol, hours.session, at))

    def intraday_bars(self, symbol: str, width: timedelta, start: datetime, end: datetime, at: datetime) -> list[VendorBar]:
        """Bars of `width` that begin in `start`..`end` and are over at `at`, as traded then."""
        found = []
        for begins_at, group in groupby(self.prints(symbol, start, end + width, at), key=lambda one: _floor(one.at, width)):
            bar = bar_of(self.tape.assets[symbol].market.date_of(begins_at), tuple(group))
            if bar is not None and start <= begins_at <= end and begins_at + width <= at:
                found.append(VendorBar(begins_at, bar))
        return found

    def prints(self, symbol: str, start: datetime, end: datetime, at: datetime) -> list[Print]:
        """The prints of `start`..`end` (both included) up to `at`."""
        until = min(end, at)
        sessions = self.tape.calendar(symbol).touching(start - timedelta(microseconds=1), until)
        prints = (one for hours in sessions for one in self.tape.session_prints(symbol, hours.session, until))
        return [one for one in prints if one.at >= start]


def grouped(bars: Iterable[VendorBar], unit: str) -> list[VendorBar]:
    """Daily bars put together by `Week` (from Monday) or `Month`."""

    def period(bar: VendorBar) -> date:
        day = bar.traded.session
        return day.replace(day=1) if unit == "Month" else day - timedelta(days=day.weekday())

    return [_joined(tuple(group)) for _, group in groupby(bars, key=period)]


def bar_of(session: date, prints: Sequence[Print]) -> DayBar | None:
    """The bar that prints make; None when there are none."""
    if not prints:
        return None
    prices = [one.price_usd for one in prints]
    volume = _total([one.size_shares for one in prints])
    return DayBar(session, prices[0], max(prices), min(prices), prices[-1], volume)


def _joined(bars: Sequence[VendorBar]) -> VendorBar:
    days = [bar.traded for bar in bars]
    return VendorBar(
        bars[0].starts_at,
        days[0]._replace(
            high_usd=max(day.high_usd for day in days),
            low_usd=min(day.low_usd for day in days),
            close_usd=days[-1].close_usd,
            volume_shares=_total([day.volume_shares for day in days]),
        ),
    )


def _adjusted(bar: DayBar, factor: Decimal) -> DayBar:
    if factor == 1:
        return bar
    opening, high, low, close = ((price / factor).quantize(_ADJUSTED_TICK_USD) for price in bar[1:5])
    return DayBar(bar.session, opening, high, low, close, None if bar.volume_shares is None else bar.volume_shares * factor)


def _total(sizes: Sequence[Decimal | None]) -> Decimal | None:
    """The sum; unknown when a part of it is."""
    known = [size for size in sizes if size is not None]
    return sum(known, Decimal(0)) if len(known) == len(sizes) else None


def _floor(at: datetime, width: timedelta) -> datetime:
    return _EPOCH + (at - _EPOCH) // width * width
