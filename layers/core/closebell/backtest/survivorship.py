"""Whether a universe was chosen with hindsight: of what traded then, only what still trades now."""

import numpy as np

from closebell.model.panel import BarPanel

SESSIONS_COUNT_MIN = 252
SYMBOLS_COUNT_MIN = 5


def survivorship_warning(panel: BarPanel) -> str | None:
    """One sentence when no symbol of a panel of more than a year ends before the panel does; None otherwise.

    Of a few hundred listed companies several leave an exchange each year. Bars in which none does were picked from what is left,
    and a backtest on them is kinder than the past was.
    """
    traded = np.isfinite(panel.close)
    count = int(traded.any(axis=0).sum())
    if len(panel.sessions) <= SESSIONS_COUNT_MIN or count < SYMBOLS_COUNT_MIN:
        return None
    last = len(panel.sessions) - 1 - traded[::-1].argmax(axis=0)
    if (last[traded.any(axis=0)] < len(panel.sessions) - 1).any():
        return None
    first, end = panel.sessions[0], panel.sessions[-1]
    return (
        f"survivorship: all {count} symbols of the bars trade to the last session of {first} to {end}; none was ever delisted, "
        "so the universe was chosen with hindsight and the results are too good"
    )
