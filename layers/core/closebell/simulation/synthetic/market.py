"""A seeded market for the simulated exchange. Everything in it is invented, and its label says so."""

from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal
from functools import partial

import numpy as np

from closebell.model.instruments import Instrument, Market, SessionHours, crypto_session
from closebell.model.operations import NewsItem
from closebell.model.panel import BarPanel
from closebell.ports.market_data import Calendar
from closebell.simulation.market import DayBar, ListedAsset, Print, Split
from closebell.simulation.synthetic.factors import market_factor, volatility_index
from closebell.simulation.synthetic.grid import price
from closebell.simulation.synthetic.headlines import headlines
from closebell.simulation.synthetic.incidents import plan_incidents
from closebell.simulation.synthetic.listing import COMPANIES, EQUITIES, PAIRS, instruments, listed_assets
from closebell.simulation.synthetic.prices import crypto_bars, equity_bars
from closebell.simulation.synthetic.seeds import stream
from closebell.simulation.synthetic.tape import Rhythm, print_times, tape

_SHARE = Rhythm(Market.US_EQUITY, timedelta(minutes=15), missing_frac=0.03, size_step_shares=Decimal(1))
_THIN_SHARE = _SHARE._replace(missing_frac=0.4)
_COIN = Rhythm(Market.CRYPTO, timedelta(minutes=30), missing_frac=0.0, size_step_shares=Decimal("0.0001"))
# Midnight belongs to the next crypto session, so a day's last print comes just before it.
_COIN_CLOSES_EARLY = timedelta(seconds=1)


# Two weeks after the start come Thanksgiving and a half-day.
HISTORY_FROM, START, LAST_SESSION = date(2021, 11, 1), date(2023, 11, 13), date(2024, 7, 31)


def synthetic_market_on(calendar: Calendar, seed: int = 7, start: date = START) -> "SyntheticMarket":
    """A calendar's sessions with two years of history before `START` and eight months after it."""
    return SyntheticMarket(seed, calendar.sessions(Market.US_EQUITY, HISTORY_FROM, LAST_SESSION), start)


class SyntheticMarket:
    """A `SimulatedMarket` of 60 companies in 11 sectors, 12 funds and 5 crypto pairs, equal for equal seeds.

    Daily bars are made at once, a session's tape when it is asked for, each from a random stream of its own: the order of
    calls changes nothing, and a longer calendar changes no earlier session.

    Parameters
    ----------
    seed
        A whole number from 0 on.
    equity_sessions
        Sessions of the exchange, ascending. Crypto trades every UTC day from the first to the last of them.
    start
        The first session that will be traded; the incidents lie around it (`synthetic_incidents.plan_incidents`).
    """

    is_synthetic = True

    def __init__(self, seed: int, equity_sessions: Sequence[SessionHours], start: date) -> None:
        if not equity_sessions:
            raise ValueError("a synthetic market needs at least one equity session")
        self.label = f"SYNTHETIC market, seed {seed}: every company, price and headline is invented"
        self.incidents = plan_incidents(seed, equity_sessions, start)
        self._seed = seed
        days = range(equity_sessions[0].session.toordinal(), equity_sessions[-1].session.toordinal() + 1)
        crypto_sessions = tuple(crypto_session(date.fromordinal(day)) for day in days)
        self._sessions = {Market.US_EQUITY: tuple(equity_sessions), Market.CRYPTO: crypto_sessions}
        self._hours = {market: {hours.session: hours for hours in known} for market, known in self._sessions.items()}
        shares, coins = market_factor(seed, "shares", len(equity_sessions)), market_factor(seed, "coins", len(days))
        self._bars = {
            Market.US_EQUITY: equity_bars(seed, equity_sessions, shares, self.incidents),
            Market.CRYPTO: crypto_bars(seed, crypto_sessions, coins),
        }
        closes = (Decimal(f"{points:.2f}") for points in volatility_index(seed, shares))
        self._volatility_index = dict(zip(self._hours[Market.US_EQUITY], closes, strict=True))

    def assets(self) -> tuple[ListedAsset, ...]:
        """Companies, sector funds (`TEC0`), the index fund (`IDX0`) and crypto pairs."""
        return listed_assets()

    def instruments(self) -> tuple[Instrument, ...]:
        """Companies and pairs with their sectors: a universe for the configuration."""
        return instruments()

    def sessions(self, market: Market) -> tuple[SessionHours, ...]:
        """The equity sessions handed in; each UTC day for crypto."""
        return self._sessions[market]

    def prints(self, symbol: str, session: date) -> tuple[Print, ...]:
        """Open, a print each 15 minutes (crypto: 30; some are missing) and the close (crypto: one second to midnight)."""
        rhythm, bars = self._rhythm(symbol), self.day_bars(symbol, session, session)
        if rhythm is None or not bars:
            return ()
        hours = self._hours[rhythm.market][session]
        closes_at = hours.closes_at - (_COIN_CLOSES_EARLY if rhythm is _COIN else timedelta(0))
        times = print_times(hours.opens_at, closes_at, rhythm.interval, self.halts(symbol, session))
        return tape(stream(self._seed, "tape", symbol, session.isoformat()), bars[0], times, rhythm)

    def day_bars(self, symbol: str, first: date, last: date) -> tuple[DayBar, ...]:
        """Bars of the sessions `first`..`last` that traded, not adjusted for splits."""
        rhythm = self._rhythm(symbol)
        if rhythm is None:
            return ()
        panel = self._bars[rhythm.market]
        start, stop = np.searchsorted(panel.sessions, [np.datetime64(first), np.datetime64(last) + 1])
        return _bars(panel.rows(slice(int(start), int(stop))), panel.symbols.index(symbol), rhythm)

    def splits(self, symbol: str) -> tuple[Split, ...]:
        """At most one a company."""
        split = self.incidents.splits.get(symbol)
        return (split,) if split else ()

    def halts(self, symbol: str, session: date) -> tuple[tuple[datetime, datetime], ...]:
        """The span inside a session, or the whole session, in which the symbol was halted."""
        if self.incidents.halted_all_day.get(symbol) == session:
            hours = self._hours[Market.US_EQUITY][session]
            return ((hours.opens_at, hours.closes_at),)
        halted, span = self.incidents.halts.get(symbol, (None, None))
        return (span,) if span and halted == session else ()

    def volatility_index(self) -> Mapping[date, Decimal]:
        """Synthetic VIX closes of the equity sessions, in points."""
        return self._volatility_index

    def headlines(self, session: date) -> tuple[NewsItem, ...]:
        """Invented news of a date, some of it nasty on purpose."""
        if session not in self._hours[Market.CRYPTO]:
            return ()
        return headlines(self._seed, session, self._gaps(session), self.incidents)

    def _rhythm(self, symbol: str) -> Rhythm | None:
        if symbol in PAIRS:
            return _COIN
        if symbol in self.incidents.thin:
            return _THIN_SHARE
        return _SHARE if symbol in EQUITIES else None

    def _gaps(self, session: date) -> dict[str, float]:
        """Overnight log returns of the companies that traded in both sessions; a split is no gap."""
        panel = self._bars[Market.US_EQUITY]
        row = int(np.searchsorted(panel.sessions, np.datetime64(session)))
        if session not in self._hours[Market.US_EQUITY] or row == 0:
            return {}
        gaps = dict(zip(panel.symbols, np.log(panel.open[row] / panel.close[row - 1]).tolist(), strict=True))
        split_today = {symbol for symbol, split in self.incidents.splits.items() if split.ex_session == session}
        return {symbol: gaps[symbol] for symbol in COMPANIES if symbol not in split_today and np.isfinite(gaps[symbol])}


def _bars(panel: BarPanel, column: int, rhythm: Rhythm) -> tuple[DayBar, ...]:
    """One symbol's column as records: here floats become Decimals."""
    usd = partial(price, market=rhythm.market)
    step = float(rhythm.size_step_shares)
    fields = (panel.sessions, *(values[:, column] for values in (panel.open, panel.high, panel.low, panel.close, panel.volume)))
    return tuple(
        DayBar(session, usd(opened), usd(high), usd(low), usd(close), round(volume / step) * rhythm.size_step_shares)
        for session, opened, high, low, close, volume in zip(*(field.tolist() for field in fields), strict=True)
        if np.isfinite(close)
    )
