"""The rows of a panel after which its future is taken away, or up to which its past is."""

import numpy as np

from closebell.model.panel import BarPanel


def cut_rows(panel: BarPanel, count: int, seed: int) -> list[int]:
    """About `count` rows to cut after, ascending, each with at least one row behind it.

    The first two, the last quarter, those with the largest moves, gaps, ranges, volumes and prices and the rows before them,
    those around a first bar, a last bar and a hole, and seeded ones; all rows when `count` is as large.
    """
    last = len(panel.sessions) - 2
    if count > last:
        return list(range(last + 1))
    chosen = {0, 1, *range(max(last + 1 - count // 4, 0), last + 1), *_eventful_rows(panel, max(count // 30, 1))}
    chosen |= _edge_rows(panel)
    spread = np.random.default_rng(seed).permutation(last + 1).tolist()
    chosen.update(spread[: max(count - len(chosen), count // 4)])
    return sorted(row for row in chosen if 0 <= row <= last)


def _eventful_rows(panel: BarPanel, count: int) -> set[int]:
    """The rows of the `count` largest and smallest values of each kind over all symbols, and the rows before them."""
    closes = panel.close
    with np.errstate(all="ignore"):
        before = np.vstack([np.full((1, closes.shape[1]), np.nan), closes[:-1]])
        level, volume = (field / np.where(np.isnan(field), 0.0, field).max(axis=0) for field in (closes, panel.volume))
        kinds = (closes / before, panel.open / before, panel.high / panel.low, volume, level)
    rows: set[int] = set()
    for kind in kinds:
        known = np.flatnonzero(np.isfinite(kind))
        ordered = known[np.argsort(kind.ravel()[known], kind="stable")]
        rows.update((np.concatenate([ordered[:count], ordered[len(ordered) - count :]]) // closes.shape[1]).tolist())
    return rows | {row - 1 for row in rows}


def _edge_rows(panel: BarPanel) -> set[int]:
    """The last row before each change between bars and none, and the first after it: what fills a hole from both sides shows
    there alone."""
    traded = np.isfinite(panel.close)
    before = np.flatnonzero((traded[1:] != traded[:-1]).any(axis=1)).tolist()
    return {*before, *(row + 1 for row in before)}
