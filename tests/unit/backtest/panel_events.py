"""What can happen to a panel of bars: gaps, crashes, thin volume, splits, holes."""

from dataclasses import replace

import numpy as np

from closebell.model.panel import FIELDS, BarPanel

PRICES = FIELDS[:4]


def crashing(panel: BarPanel, *rows: int, kept_frac: float = 0.8) -> BarPanel:
    """On some days everything falls, by a fifth unless said otherwise, and is back at the close."""
    low = panel.low.copy()
    low[list(rows)] *= kept_frac
    return replace(panel, low=low)


def thinned(panel: BarPanel, divisor: int) -> BarPanel:
    """Volumes so small that the desk's orders are more than a print offers."""
    return replace(panel, volume=panel.volume / divisor)


def gapping(panel: BarPanel, volatility_frac: float, seed: int = 1, decimals: int = 2) -> BarPanel:
    """Every day opens away from where the last one closed."""
    gaps = np.random.default_rng(seed).normal(0, volatility_frac, panel.open.shape)
    opens = np.round(panel.open * np.exp(gaps), decimals)
    return replace(panel, open=opens, high=np.maximum(panel.high, opens), low=np.minimum(panel.low, opens))


def unadjusted(panel: BarPanel, row: int, ratio: float, columns: slice) -> BarPanel:
    """The bars as they were traded before a split in some columns that takes place in `row`."""
    raw = {name: getattr(panel, name).copy() for name in PRICES}
    for prices in raw.values():
        prices[:row, columns] = np.round(prices[:row, columns] * ratio, 2)
    return replace(panel, **raw)


def without(panel: BarPanel, names: tuple[str, ...], rows: slice, column: int) -> BarPanel:
    """The panel with some fields of one column unknown for some rows."""
    changed = {name: getattr(panel, name).copy() for name in names}
    for prices in changed.values():
        prices[rows, column] = np.nan
    return replace(panel, **changed)
