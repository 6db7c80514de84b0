"""Follow the trend of the 20 session average against the 50 session average.

Buy while the fast average is above the slow one, sell while it is below: the moving average rule of Brock, Lakonishok and
LeBaron 1992 ("Simple technical trading rules and the stochastic properties of stock returns"). The score is 0.25 from the
cross on, so that the cross itself is a vote, and grows with the spread to 1 at a spread of 4 daily volatilities.
"""

import numpy as np

from closebell.analysis import indicators
from closebell.model.panel import BarPanel, Matrix

NAME = "sma_cross"
LOOKBACK_SESSIONS = 50

_FAST_SESSIONS, _SLOW_SESSIONS = 20, 50
_CROSSED_SCORE = 0.25
_FULL_SPREAD_VOLATILITIES = 4.0
_TIE_FRAC = 1e-9
"""Averages nearer than this are equal: sums of the same prices in another order differ by about 1e-15."""


def scores(panel: BarPanel) -> Matrix:
    """Sessions x symbols, -1..1; NaN for the first 49 bars of a symbol."""
    spread_frac = indicators.sma(panel.close, _FAST_SESSIONS) / indicators.sma(panel.close, _SLOW_SESSIONS) - 1.0
    spread = np.abs(indicators.in_volatilities(spread_frac, indicators.volatility(panel.close)))
    strength = _CROSSED_SCORE + (1.0 - _CROSSED_SCORE) * np.minimum(spread / _FULL_SPREAD_VOLATILITIES, 1.0)
    return np.where(np.abs(spread_frac) <= _TIE_FRAC, 0.0, np.sign(spread_frac) * strength)
