"""Buy weakness in an uptrend, sell strength in a downtrend, by the relative strength index over 14 sessions.

Wilder 1978 with Cardwell's range rule: in an uptrend the index finds its floor near 40, in a downtrend its ceiling near 60,
so a low reading below the 200 session average, or a high one above it, is no reason to act. The score is 0 at 50 and full
at 20 and 80.
"""

import numpy as np

from closebell.analysis import indicators
from closebell.model.panel import BarPanel, Matrix

NAME = "rsi"
LOOKBACK_SESSIONS = 200

_TREND_SESSIONS = 200
_FULL_POINTS = 30.0


def scores(panel: BarPanel) -> Matrix:
    """Sessions x symbols, -1..1; NaN for the first 199 bars of a symbol."""
    weakness = np.clip((50.0 - indicators.rsi(panel.close)) / _FULL_POINTS, -1.0, 1.0)
    trend = indicators.sma(panel.close, _TREND_SESSIONS)
    with_trend = np.where(panel.close > trend, np.maximum(weakness, 0.0), np.minimum(weakness, 0.0))
    return np.where(np.isnan(trend), np.nan, with_trend)
