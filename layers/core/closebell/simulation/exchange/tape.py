"""The market as of an instant: sessions, prints, last prices and quotes, with nothing from the future in them."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from operator import attrgetter
from typing import NamedTuple

from closebell.model.broker import Quote
from closebell.model.instruments import Market, SessionHours
from closebell.simulation.market import ListedAsset, PriceBand, Print, SearchableMarket, SimulatedMarket

_PRINTED_AT = attrgetter("at")
TICK_USD, FINE_TICK_USD = Decimal("0.0001"), Decimal("1e-9")
"""The finest step of a share from a dollar up; of a coin, and of a share below a dollar."""
_CACHED_TAPES_MAX = 4096


class SessionCalendar:
    """One market's sessions, found by instant or date."""

    def __init__(self, sessions: tuple[SessionHours, ...]) -> None:
        self.sessions = sessions
        self._dates = [hours.session for hours in sessions]
        self._opens = [hours.opens_at for hours in sessions]
        self._closes = [hours.closes_at for hours in sessions]

    def on(self, session: date) -> SessionHours | None:
        """The session of a date."""
        place = bisect_left(self._dates, session)
        return self.sessions[place] if place < len(self._dates) and self._dates[place] == session else None

    def is_open(self, at: datetime) -> bool:
        """Whether a session is running: from its first instant up to, not including, its last."""
        started = self.last_started(at)
        return started is not None and at < started.closes_at

    def last_started(self, at: datetime) -> SessionHours | None:
        """The latest session that has opened."""
        place = bisect_right(self._opens, at)
        return self.sessions[place - 1] if place else None

    def last_closed(self, at: datetime) -> SessionHours | None:
        """The latest session that is over."""
        place = bisect_right(self._closes, at)
        return self.sessions[place - 1] if place else None

    def next_to_open(self, at: datetime) -> SessionHours | None:
        """The first session that opens after `at`."""
        place = bisect_right(self._opens, at)
        return self.sessions[place] if place < len(self.sessions) else None

    def next_to_close(self, at: datetime) -> SessionHours | None:
        """The first session that closes after `at`: the running one, else the next."""
        place = bisect_right(self._closes, at)
        return self.sessions[place] if place < len(self.sessions) else None

    def touching(self, after: datetime, until: datetime) -> tuple[SessionHours, ...]:
        """The sessions that have an instant in `after` < t <= `until`."""
        return self.sessions[bisect_right(self._closes, after) : bisect_right(self._opens, until)]

    def between(self, first: date, last: date) -> tuple[SessionHours, ...]:
        """The sessions of a range of dates, both ends included."""
        return self.sessions[bisect_left(self._dates, first) : bisect_right(self._dates, last)]


def midnight(day: date, market: Market) -> datetime:
    """The first instant (UTC) of a date in the market's zone."""
    return datetime(day.year, day.month, day.day, tzinfo=market.zone).astimezone(UTC)


class SeenPrint(NamedTuple):
    """A print with its place in its session. `came_from_usd` is where the price came from without a gap; None after one."""

    session: date
    print: Print
    is_first: bool
    is_last: bool
    came_from_usd: Decimal | None = None


class ExchangeTape:
    """Reads a `SimulatedMarket` up to an instant. A symbol under `stopped_at` shows nothing after that instant."""

    def __init__(self, market: SimulatedMarket) -> None:
        self.market = market
        self._searchable = market if isinstance(market, SearchableMarket) else None
        self.assets: dict[str, ListedAsset] = {asset.symbol: asset for asset in market.assets()}
        self.calendars = {name: SessionCalendar(market.sessions(name)) for name in Market}
        self.stopped_at: dict[str, datetime] = {}
        self._prints: dict[tuple[str, date], tuple[Print, ...]] = {}
        self._splits = {symbol: market.splits(symbol) for symbol in self.assets}
        self._has_splits = any(self._splits.values())
        self._closed: date | None = None
        self._priced_at: datetime | None = None
        self._prices: dict[str, Decimal | None] = {}

    def calendar(self, symbol: str) -> SessionCalendar:
        """The sessions `symbol` trades in."""
        return self.calendars[self.assets[symbol].market]

    def stop(self, symbol: str, at: datetime) -> None:
        """Show nothing of a symbol after `at`."""
        self.stopped_at.setdefault(symbol, at)
        self._priced_at = self._closed = None

    def go_on(self, symbol: str) -> None:
        """Show a stopped symbol again, with what it printed meanwhile."""
        self.stopped_at.pop(symbol, None)
        self._priced_at = self._closed = None

    def prints(self, symbol: str, session: date) -> tuple[Print, ...]:
        """A session's whole tape, kept for the next call."""
        key = (symbol, session)
        if key not in self._prints:
            if len(self._prints) >= _CACHED_TAPES_MAX:
                self._prints.clear()
            self._prints[key] = self.market.prints(symbol, session)
        return self._prints[key]

    def seen(self, symbols: Iterable[str], after: datetime, until: datetime) -> Iterator[tuple[str, SeenPrint]]:
        """The prints of `after` < t <= `until` at which orders in some symbols can trade: none while a symbol is halted."""
        sessions_of = {market: calendar.touching(after, until) for market, calendar in self.calendars.items()}
        for symbol in symbols:
            for hours in sessions_of[self.assets[symbol].market]:
                if symbol not in self.stopped_at:
                    for seen in self._seen_in(symbol, hours.session, after, until):
                        yield symbol, seen

    def _seen_in(self, symbol: str, session: date, after: datetime, until: datetime) -> Iterator[SeenPrint]:
        tape = self.prints(symbol, session)
        first, last = bisect_right(tape, after, key=_PRINTED_AT), bisect_right(tape, until, key=_PRINTED_AT)
        if first == last:
            return
        halts = self.market.halts(symbol, session)
        for place in range(first, last):
            if not any(begin <= tape[place].at < end for begin, end in halts):
                came_from = tape[place - 1].price_usd if place and tape[place].is_path else None
                yield SeenPrint(session, tape[place], place == 0, place == len(tape) - 1, came_from)

    def first_session_outside(self, symbol: str, first: date, band: PriceBand) -> date:
        """The first session from `first` on in which a symbol may trade outside some prices; `first` when nobody knows."""
        return first if self._searchable is None else self._searchable.first_session_outside(symbol, first, band)

    def session_prints(self, symbol: str, session: date, at: datetime) -> tuple[Print, ...]:
        """A session's prints up to `at`."""
        at = min(at, self.stopped_at.get(symbol, at))
        tape = self.prints(symbol, session)
        return tape[: bisect_right(tape, at, key=_PRINTED_AT)]

    def last_print(self, symbol: str, at: datetime) -> tuple[date, Print] | None:
        """The latest print up to `at` and its session, as traded then."""
        calendar = self.calendar(symbol)
        hours = calendar.last_started(at)
        while hours is not None:  # however long ago it was: what is held has a price
            tape = self.session_prints(symbol, hours.session, at)
            if tape:
                return hours.session, tape[-1]
            hours = calendar.last_closed(hours.opens_at)
        return None

    def split_factor(self, symbol: str, session: date, at: datetime) -> Decimal:
        """By what a price of `session` is divided to be comparable at `at`: only splits that have happened count."""
        today = self.assets[symbol].market.date_of(at)
        factor = Decimal(1)
        for split in self._splits[symbol]:
            if session < split.ex_session <= today:
                factor *= split.ratio
        return factor

    def last_price_usd(self, symbol: str, at: datetime) -> Decimal | None:
        """The price now: the last print, adjusted for splits since. Kept as long as nothing can have printed."""
        if at != self._priced_at:
            before, self._priced_at, self._closed = self._closed, at, self._closed_session(at)
            if self._closed is None or self._closed != before:  # from a last print to the next first one prices do not change
                self._prices = {}
        if symbol not in self._prices:
            self._prices[symbol] = self._price_usd(symbol, at)
        return self._prices[symbol]

    def _closed_session(self, at: datetime) -> date | None:
        """The session that no print has followed; None while a session prints, or where only the tape can tell."""
        market = self._searchable
        if market is None or self.stopped_at or self._has_splits:
            return None
        calendar = self.calendars[market.asset_class]
        started = calendar.last_started(at)
        if started is None:
            return None
        prints = market.print_instants(started.session)
        if at >= prints[-1]:
            return started.session
        before = calendar.last_closed(at) if at < prints[0] else None
        return before.session if before else None

    def _price_usd(self, symbol: str, at: datetime) -> Decimal | None:
        if self._searchable is not None and self._closed is not None:
            close = self._searchable.close_usd(symbol, self._closed)
            if close is not None:
                return close
        found = self.last_print(symbol, at)
        if found is None:
            return None
        session, last = found
        factor = self.split_factor(symbol, session, at)
        return last.price_usd if factor == 1 else self.to_tick(symbol, last.price_usd / factor)

    def quote(self, symbol: str, at: datetime) -> Quote | None:
        """Best bid and ask: the price now less and plus half the spread, made at `at`."""
        price = self.last_price_usd(symbol, at)
        if price is None:
            return None
        half = self.half_spread_usd(symbol, price)
        return Quote(symbol=symbol, bid_usd=price - half, ask_usd=price + half, quoted_at=at)

    def half_spread_usd(self, symbol: str, price_usd: Decimal) -> Decimal:
        """Half the bid-ask spread at a price."""
        spread_frac = self.assets[symbol].spread_frac
        return (price_usd * spread_frac / 2).quantize(self._tick_usd(symbol, price_usd)) if spread_frac else Decimal(0)

    def to_tick(self, symbol: str, price_usd: Decimal) -> Decimal:
        """A price rounded to the finest step the tape shows."""
        return price_usd.quantize(self._tick_usd(symbol, price_usd))

    def _tick_usd(self, symbol: str, price_usd: Decimal) -> Decimal:
        return FINE_TICK_USD if price_usd < 1 or self.assets[symbol].market is Market.CRYPTO else TICK_USD
