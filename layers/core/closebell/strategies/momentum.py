"""Buy what has risen for half a year, sell what has fallen.

Jegadeesh and Titman 1993 with a formation of six months (126 sessions) that skips the last month (21), which tends to
reverse (Jegadeesh 1990). The score is the return over what a random walk of the same volatility would make in that time:
1 at 1.5 standard deviations.
"""

import math

import numpy as np

from closebell.analysis import indicators
from closebell.model.panel import BarPanel, Matrix

NAME = "momentum"
LOOKBACK_SESSIONS = 126 + 21 + 1

_FORMATION_SESSIONS, _SKIPPED_SESSIONS = 126, 21
_FULL_SCORE_DEVIATIONS = 1.5


def scores(panel: BarPanel) -> Matrix:
    """Sessions x symbols, -1..1; NaN for the first 147 bars of a symbol."""
    past = panel.close[: max(len(panel.close) - _SKIPPED_SESSIONS, 0)]
    risen_frac = indicators.rate_of_change(past, _FORMATION_SESSIONS)
    daily = indicators.volatility(past, _FORMATION_SESSIONS)
    deviations = indicators.in_volatilities(risen_frac, daily) / math.sqrt(_FORMATION_SESSIONS)
    unknown = np.full((min(_SKIPPED_SESSIONS, len(panel.close)), len(panel.symbols)), np.nan)
    return np.vstack([unknown, np.clip(deviations / _FULL_SCORE_DEVIATIONS, -1.0, 1.0)])
