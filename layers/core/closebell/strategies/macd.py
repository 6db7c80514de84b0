"""Buy when momentum turns up, sell when it turns down: the MACD line against its signal line.

Appel 1979, with his 12, 26 and 9 sessions. The score is the distance of the two lines, 1 at one daily
volatility: lines that nearly touch say nothing.
"""

import numpy as np

from closebell.analysis import indicators
from closebell.model.panel import BarPanel, Matrix

NAME = "macd"
LOOKBACK_SESSIONS = indicators.memory_sessions(26) + indicators.memory_sessions(9) - 1

_FULL_DISTANCE_VOLATILITIES = 1.0


def scores(panel: BarPanel) -> Matrix:
    """Sessions x symbols, -1..1; NaN for the first 190 bars of a symbol."""
    line, signal = indicators.macd(panel.close)
    distance = indicators.in_volatilities((line - signal) / panel.close, indicators.volatility(panel.close))
    return np.clip(distance / _FULL_DISTANCE_VOLATILITIES, -1.0, 1.0)
