"""Buy below the lower Bollinger band, sell above the upper one: prices far from their 20 session mean come back.

Bollinger 2001, bands at two standard deviations. The score leaves 0 at one deviation, is one half at the band and 1 at
three deviations.
"""

import numpy as np

from closebell.analysis import indicators
from closebell.model.panel import BarPanel, Matrix

NAME = "mean_reversion"
LOOKBACK_SESSIONS = 20

_CALM_DEVIATIONS, _FULL_DEVIATIONS = 1.0, 3.0


def scores(panel: BarPanel) -> Matrix:
    """Sessions x symbols, -1..1; NaN for the first 19 bars of a symbol."""
    middle, deviation = indicators.bollinger(panel.close)
    below = indicators.in_volatilities(middle - panel.close, deviation)
    beyond = np.clip((np.abs(below) - _CALM_DEVIATIONS) / (_FULL_DEVIATIONS - _CALM_DEVIATIONS), 0.0, 1.0)
    return np.sign(below) * beyond
