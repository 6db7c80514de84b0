"""The market's regime: its trend from three averages of the index, its nervousness from the VIX.

Trend: *bull* when the close is above the 200 session average and the 20, 50 and 200 session averages lie in that order from
above; *bear* when all of it is mirrored; *sideways* otherwise; *unknown* before 200 sessions. Volatility: *low* below 15
points, *high* above 25, by the last VIX close dated on or before the session; where that is missing or more than 5 weekdays
old, by the index's own volatility over 20 sessions, annualised (252 sessions, of crypto 365), in the same points.
"""

import math
from dataclasses import dataclass
from typing import Literal, cast

import numpy as np
from numpy.typing import NDArray

from closebell.analysis import indicators
from closebell.model.decision import Regime, Trend, Volatility
from closebell.model.instruments import Market
from closebell.ports.market_data import VolatilitySeries

TREND_SESSIONS = (20, 50, 200)
LOW_BELOW_POINTS, HIGH_ABOVE_POINTS = 15.0, 25.0
VIX_AGE_WEEKDAYS_MAX = 5
REALISED_SESSIONS = 20

_TIE_FRAC = 1e-9
"""Averages nearer than this count as equal, so that rounding never decides a trend."""

Source = Literal["vix", "realised", "none"]


@dataclass(frozen=True, eq=False)
class RegimeSeries:
    """The regime at each session's close; one entry a session in every array.

    `level` is in VIX points (NaN when unknown); the others hold the values of `Trend`, `Volatility` and the level's source.
    """

    trend: NDArray[np.str_]
    volatility: NDArray[np.str_]
    level: NDArray[np.float64]
    source: NDArray[np.str_]

    def at(self, row: int) -> Regime:
        """The regime of one session as a record; -1 is the last."""
        level = float(self.level[row])
        return Regime(
            trend=Trend(str(self.trend[row])),
            volatility=Volatility(str(self.volatility[row])),
            volatility_index_score=None if math.isnan(level) else round(level, 4),
            volatility_source=cast(Source, str(self.source[row])),
        )


def regimes(
    sessions: NDArray[np.datetime64], index_closes: NDArray[np.float64], vix: VolatilitySeries | None,
    market: Market = Market.US_EQUITY,
) -> RegimeSeries:
    """The regime after each session.

    Parameters
    ----------
    sessions
        datetime64[D], ascending.
    index_closes
        The index's closes, one a session; a NaN makes the trend unknown while it is in a window.
    vix
        VIX closes of any dates; those after a session do not touch it.
    market
        The index's own; a year of it makes realised volatility annual.
    """
    vix_points = _latest(sessions, vix)
    realised_frac = indicators.volatility(index_closes[:, None], REALISED_SESSIONS)[:, 0]
    realised_points = realised_frac * (math.sqrt(market.sessions_a_year_count) * 100.0)
    level = np.where(np.isnan(vix_points), realised_points, vix_points)
    volatility = np.select(
        [np.isnan(level), level < LOW_BELOW_POINTS, level > HIGH_ABOVE_POINTS],
        [Volatility.UNKNOWN.value, Volatility.LOW.value, Volatility.HIGH.value],
        Volatility.NORMAL.value,
    )
    source = np.select([~np.isnan(vix_points), ~np.isnan(level)], ["vix", "realised"], "none")
    return RegimeSeries(_trend(index_closes), volatility, level, source)


def _trend(closes: NDArray[np.float64]) -> NDArray[np.str_]:
    short, middle, long = (indicators.sma(closes[:, None], window)[:, 0] for window in TREND_SESSIONS)
    bull = _above(closes, long) & _above(short, middle) & _above(middle, long)
    bear = _above(long, closes) & _above(middle, short) & _above(long, middle)
    known = [Trend.UNKNOWN.value, Trend.BULL.value, Trend.BEAR.value]
    return np.select([np.isnan(long), bull, bear], known, Trend.SIDEWAYS.value)


def _above(upper: NDArray[np.float64], lower: NDArray[np.float64]) -> NDArray[np.bool_]:
    return upper > lower * (1.0 + _TIE_FRAC)


def _latest(sessions: NDArray[np.datetime64], vix: VolatilitySeries | None) -> NDArray[np.float64]:
    """For each session the newest VIX close dated on or before it, NaN where there is none or it is too old.

    Age is counted in weekdays, which needs no calendar and does not depend on where `sessions` begins.
    """
    if vix is None:
        return np.full(len(sessions), np.nan)
    known = np.isfinite(vix.closes) & (vix.closes > 0.0)
    dates, closes = vix.sessions[known].astype("datetime64[D]"), vix.closes[known]
    place = np.searchsorted(dates, sessions, side="right") - 1
    points = np.full(len(sessions), np.nan)
    dated = place >= 0
    fresh = np.busday_count(dates[place[dated]], sessions[dated].astype("datetime64[D]")) <= VIX_AGE_WEEKDAYS_MAX
    points[dated] = np.where(fresh, closes[place[dated]], np.nan)
    return points
