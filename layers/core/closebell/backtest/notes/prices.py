"""What a reader of results must know of bars with a close alone, and of bars without volumes."""

import numpy as np
from numpy.typing import NDArray

from closebell.backtest.notes.gaps import first_symbols
from closebell.model.panel import BarPanel


def one_price_warning(bars: BarPanel) -> str | None:
    """One sentence when bars have their close alone, with the symbols where it is only some; None when none has.

    `bars` are those of what is traded, with NaN where the open is unknown.
    """
    has_close = np.isfinite(bars.close)
    is_alone = has_close & np.isnan(bars.open)
    if not is_alone.any():
        return None
    told = "" if is_alone[has_close].all() else f" of {_counted_symbols(bars, is_alone.sum(axis=0), has_close.sum(axis=0))}"
    return (
        f"one price a session{told}, the close: entries fill at it, stops and targets are met at closes only, so a loss may be "
        "well beyond the stop"
    )


def unknown_volumes_warning(bars: BarPanel) -> str | None:
    """One sentence when symbols that are traded have no volume at all, with their names where it is only some; None otherwise."""
    has_bars = np.isfinite(bars.close).any(axis=0)
    is_unknown = has_bars & ~np.isfinite(bars.volume).any(axis=0)
    if not is_unknown.any():
        return None
    is_everywhere = is_unknown.sum() == has_bars.sum()
    unknown = [bars.symbols[column] for column in np.flatnonzero(is_unknown).tolist()]
    told = "" if is_everywhere else f" of {first_symbols(unknown)}"
    capacity = "capacity_usd is not known" if is_everywhere else "capacity_usd is that of the others"
    return f"no volumes{told}: orders of any size fill, limits.volume_share_frac_max is not checked, and {capacity}"


def _counted_symbols(bars: BarPanel, counts: NDArray[np.intp], totals: NDArray[np.intp]) -> str:
    """The symbols with the most such bars, with how many of how many."""
    columns = [column for column in np.argsort(-counts, kind="stable").tolist() if counts[column]]
    return first_symbols([f"{bars.symbols[column]} (of {counts[column]} of {totals[column]} bars)" for column in columns])
