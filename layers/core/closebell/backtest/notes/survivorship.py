"""Whether a universe was chosen with hindsight: of what traded then, only what still trades now."""

import numpy as np

from closebell.model.panel import BarPanel

SESSIONS_COUNT_MIN = 252
SYMBOLS_COUNT_MIN = 5
LATE_SESSIONS_COUNT = 5
"""Whose bars end so few sessions before the panel does was downloaded earlier than the others; it was not delisted."""


def survivorship_warning(universe: BarPanel) -> str | None:
    """One sentence when no traded symbol ends more than 5 sessions before a panel of more than a year does; None otherwise.

    Of a few hundred listed companies several leave an exchange each year. Bars in which none does were picked from what is left,
    and a backtest on them is kinder than the past was. `universe` has the sessions of all bars and the traded symbols alone:
    a symbol that left and is not traded makes no result worse.
    """
    traded = np.isfinite(universe.close)
    count, sessions_count = int(traded.any(axis=0).sum()), len(universe.sessions)
    if sessions_count <= SESSIONS_COUNT_MIN or count < SYMBOLS_COUNT_MIN:
        return None
    if int(traded[-1 - LATE_SESSIONS_COUNT :].any(axis=0).sum()) < count:
        return None
    first, end = universe.sessions[0], universe.sessions[-1]
    return (
        f"survivorship: all {count} symbols of the universe trade to the end of {first} to {end}; none was ever delisted, "
        "so the universe was chosen with hindsight and the results are too good"
    )
