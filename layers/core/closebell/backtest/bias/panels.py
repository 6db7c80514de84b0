"""Panels to check for bias on: seeded ones of several kinds, and real prices of bad and of good years."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from closebell.model.errors import ConfigurationError
from closebell.model.panel import FIELDS, BarPanel, Matrix
from closebell.ports.market_data import Calendar
from closebell.simulation.real_prices import RealPrices

SESSIONS_COUNT = 460
"""Rows of a panel: two look backs of 200 and 60 more."""

HISTORY_SESSIONS, HISTORY_SYMBOLS_COUNT = 1600, 2
"""Of the long panel: more than six years, for what is trained on three years and knows nothing before."""
OWN_SYMBOLS_COUNT_MAX = 20

REAL_SPANS = {"real to March 2009": "2009-03-31", "real to December 2018": "2018-12-31"}

_FIRST_SESSION = "2014-03-03"
_HOLIDAY_PROBABILITY = 0.03
_SYMBOLS_COUNT = 6


def sessions_for(lookback_sessions: int) -> int:
    """How many rows a panel needs to judge a look back."""
    return max(SESSIONS_COUNT, 2 * lookback_sessions + 60)


def all_panels(calendar: Calendar, sessions_count: int = SESSIONS_COUNT, seed: int = 7) -> dict[str, BarPanel]:
    """What every check of a strategy looks at: `synthetic_panels` and `real_panels`."""
    return synthetic_panels(sessions_count, seed) | real_panels(calendar, sessions_count)


def newest_part(panel: BarPanel) -> BarPanel:
    """Bars to check a strategy on beside these: the last `HISTORY_SESSIONS` of up to `OWN_SYMBOLS_COUNT_MAX` of their symbols."""
    places = np.unique(np.linspace(0, len(panel.symbols) - 1, OWN_SYMBOLS_COUNT_MAX).round().astype(int))
    return panel.columns(tuple(panel.symbols[place] for place in places)).rows(slice(-HISTORY_SESSIONS, None))


def synthetic_panels(sessions_count: int = SESSIONS_COUNT, seed: int = 7) -> dict[str, BarPanel]:
    """Panels of six symbols each but one, equal for equal arguments.

    trends: long rises and falls, a symbol listed late, one delisted, one that rests, one with holes. jumps: fat tails, overnight
    gaps of a tenth and more, days of one price, volumes that jump along, and half as many sessions again. records:
    every other symbol ends each session at a new high or low. cents: closes alone, in cents, of low prices that often rest. every
    day: sessions on weekends too. years: two symbols over `HISTORY_SESSIONS` or as long as the others, whichever is more.
    """
    shape = (sessions_count, _SYMBOLS_COUNT)
    weekdays, more_weekdays = _weekdays(sessions_count, seed), _weekdays(sessions_count * 3 // 2, seed)
    every_day = np.datetime64(_FIRST_SESSION, "D") + np.arange(sessions_count)
    trends, jumps, records, cents, weekends, years = (np.random.default_rng([seed, number]) for number in range(6))
    drifts = np.repeat(trends.normal(0.0, 0.004, (sessions_count // 60 + 1, _SYMBOLS_COUNT)), 60, axis=0)[:sessions_count]
    sides = np.where(np.arange(_SYMBOLS_COUNT) % 2 == 0, 1.0, -1.0)
    tails = jumps.standard_t(2.5, (len(more_weekdays), _SYMBOLS_COUNT))
    long = _weekdays(max(HISTORY_SESSIONS, sessions_count), seed)
    walk = np.round(3.0 * np.exp(np.cumsum(cents.normal(0.0, 0.004, shape), axis=0)), 2)
    return {
        "trends": _with_incidents(_bars("T", weekdays, drifts + trends.normal(0.0, 0.015, shape), trends)),
        "jumps": _with_odd_days(_bars("J", more_weekdays, np.clip(0.012 * tails, -0.5, 0.5), jumps), jumps),
        "records": _bars("R", weekdays, sides * np.abs(records.normal(0.002, 0.002, shape)), records),
        "cents": BarPanel(weekdays, _names("C"), *(np.full(shape, np.nan),) * 3, walk, np.full(shape, np.nan)),
        "every day": _bars("W", every_day, weekends.normal(0.0, 0.03, shape), weekends),
        "years": _bars("Y", long, years.normal(0.0, 0.015, (len(long), HISTORY_SYMBOLS_COUNT)), years),
    }


def real_panels(calendar: Calendar, sessions_count: int = SESSIONS_COUNT) -> dict[str, BarPanel]:
    """The demo's 20 stocks (closes alone) and two indices (all fields), up to the days of `REAL_SPANS`.

    Raises ConfigurationError when the prices are not installed, or do not reach back far enough.
    """
    whole = RealPrices(calendar).panel()
    panels = {}
    for name, last in REAL_SPANS.items():
        end = int(np.searchsorted(whole.sessions, np.datetime64(last), side="right"))
        if end < sessions_count:
            raise ConfigurationError(f"the real prices have {end} sessions up to {last}, {sessions_count} are needed")
        panels[name] = whole.rows(slice(end - sessions_count, end))
    return panels


def _weekdays(count: int, seed: int) -> NDArray[np.datetime64]:
    """Weekdays without some holidays, as weeks of four sessions show what weeks of five hide."""
    days = np.busday_offset(_FIRST_SESSION, np.arange(2 * count), roll="forward").astype("datetime64[D]")
    return days[np.random.default_rng(seed).random(2 * count) >= _HOLIDAY_PROBABILITY][:count]


def _names(letter: str, count: int = _SYMBOLS_COUNT) -> tuple[str, ...]:
    return tuple(f"{letter}{number}" for number in range(count))


def _bars(letter: str, sessions: NDArray[np.datetime64], moves: Matrix, generator: np.random.Generator) -> BarPanel:
    """Bars from log returns: gaps of a third of the day's typical move, ranges around it, volumes that rise with the move."""
    closes = 80.0 * np.exp(np.cumsum(moves, axis=0))
    typical = moves.std(axis=0)
    before = np.vstack([closes[:1], closes[:-1]])
    opens = before * np.exp(generator.normal(0.0, 1.0, moves.shape) * typical / 3.0)
    reach = np.abs(generator.normal(0.0, 1.0, (2, *moves.shape))) * typical / 3.0
    highs, lows = np.maximum(opens, closes) * np.exp(reach[0]), np.minimum(opens, closes) * np.exp(-reach[1])
    volumes = np.round(1e6 * np.exp(generator.normal(0.0, 0.3, moves.shape)) * (1.0 + np.abs(moves) / typical))
    return BarPanel(sessions, _names(letter, closes.shape[1]), opens, highs, lows, closes, volumes)


def _with_odd_days(panel: BarPanel, generator: np.random.Generator) -> BarPanel:
    """One day in fifty opens 10 to 25 percent away from the last close, another one has a single price."""
    shape, before = panel.close.shape, np.vstack([panel.close[:1], panel.close[:-1]])
    odd, jump = generator.random(shape), generator.uniform(0.1, 0.25, shape) * generator.choice((-1.0, 1.0), shape)
    opens = np.where(odd < 0.02, before * (1.0 + jump), panel.open)
    highs, lows = np.maximum(panel.high, opens), np.minimum(panel.low, opens)
    opens, highs, lows = (np.where(odd > 0.98, panel.close, prices) for prices in (opens, highs, lows))
    return replace(panel, open=opens, high=highs, low=lows)


def _with_incidents(panel: BarPanel) -> BarPanel:
    rows = len(panel.sessions)
    fields = [getattr(panel, field).copy() for field in FIELDS]
    for field in fields:
        field[: rows // 4, 1] = np.nan
        field[[rows // 3, rows // 2, rows // 2 + 1], 2] = np.nan
        field[:, 3] = field[0, 3]
        field[rows - rows // 8 :, 4] = np.nan
    return BarPanel(panel.sessions, panel.symbols, *fields)
