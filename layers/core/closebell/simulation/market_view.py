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
from closebell.simulation.exchange_tape import ExchangeTape, midnight
from closebell.simulation.market import DayBar, Print

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_ADJUSTED_TICK_USD = Decimal("0.0001")
_ADJUSTMENTS = ("raw", "split", "dividend", "spin-off", "all")


class VendorBar(NamedTuple):
    """A bar from `starts_at`; prices in USD, volume in shares, None when unknown."""

    starts_at: datetime
    session: date
    open_usd: Decimal
    high_usd: Decimal
    low_usd: Decimal
    close_usd: Decimal
    volume_shares: Decimal | None


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
        splits = adjustment in ("split", "all")
        return [
            _vendor_bar(bar, asset.market, self.tape.split_factor(symbol, bar.session, at) if splits else Decimal(1))
            for bar in bars
        ]

    def forming_bar(self, symbol: str, at: datetime) -> DayBar | None:
        """The running session so far; None outside a session or before its first print."""
        hours = self.tape.calendar(symbol).last_started(at)
        if hours is None or at >= hours.closes_at:
            return None
        return _day_bar(hours.session, self.tape.session_prints(symbol, hours.session, at))

    def intraday_bars(self, symbol: str, width: timedelta, start: datetime, end: datetime, at: datetime) -> list[VendorBar]:
        """Bars of `width` that begin in `start`..`end` and are over at `at`, as traded then."""
        found = []
        for begins_at, group in groupby(self.prints(symbol, start, end + width, at), key=lambda one: _floor(one.at, width)):
            bar = _day_bar(self.tape.assets[symbol].market.date_of(begins_at), tuple(group))
            if bar is not None and start <= begins_at <= end and begins_at + width <= at:
                found.append(VendorBar(begins_at, *bar))
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
        return bar.session.replace(day=1) if unit == "Month" else bar.session - timedelta(days=bar.session.weekday())

    return [_joined(tuple(group)) for _, group in groupby(bars, key=period)]


def _joined(bars: Sequence[VendorBar]) -> VendorBar:
    volumes = [bar.volume_shares for bar in bars]
    known = [volume for volume in volumes if volume is not None]
    return bars[0]._replace(
        high_usd=max(bar.high_usd for bar in bars),
        low_usd=min(bar.low_usd for bar in bars),
        close_usd=bars[-1].close_usd,
        volume_shares=sum(known, Decimal(0)) if len(known) == len(volumes) else None,
    )


def _vendor_bar(bar: DayBar, market: Market, factor: Decimal) -> VendorBar:
    starts_at = midnight(bar.session, market)
    if factor == 1:
        return VendorBar(starts_at, *bar)
    opening, high, low, close = ((price / factor).quantize(_ADJUSTED_TICK_USD) for price in bar[1:5])
    volume = None if bar.volume_shares is None else bar.volume_shares * factor
    return VendorBar(starts_at, bar.session, opening, high, low, close, volume)


def _day_bar(session: date, prints: Sequence[Print]) -> DayBar | None:
    if not prints:
        return None
    prices = [one.price_usd for one in prints]
    sizes = [one.size_shares for one in prints]
    known = [size for size in sizes if size is not None]
    volume = sum(known, Decimal(0)) if len(known) == len(sizes) else None
    return DayBar(session, prices[0], max(prices), min(prices), prices[-1], volume)


def _floor(at: datetime, width: timedelta) -> datetime:
    return _EPOCH + (at - _EPOCH) // width * width
