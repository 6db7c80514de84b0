"""Panels for the strategies' tests, and the check that nothing looks ahead."""

from collections.abc import Callable

import numpy as np

from closebell.model.panel import FIELDS, BarPanel, Matrix

Scores = Callable[[BarPanel], Matrix]


def market(rows: int = 420, columns: int = 6, seed: int = 17) -> BarPanel:
    """Seeded OHLCV with trends, a symbol that was listed late, one that rests and one with a hole."""
    random = np.random.default_rng(seed)
    drift = np.repeat(random.normal(0.0, 0.004, (rows // 60 + 1, columns)), 60, axis=0)[:rows]
    moves = drift + random.normal(0.0, 0.015, (rows, columns))
    closes = np.asarray(80.0 * np.cumprod(1.0 + moves, axis=0), dtype=np.float64)
    opens = closes * (1.0 + random.normal(0.0, 0.004, closes.shape))
    highs, lows = np.maximum(opens, closes) * 1.006, np.minimum(opens, closes) * 0.994
    volumes = random.uniform(1e5, 1e6, closes.shape)
    for field in (opens, highs, lows, closes, volumes):
        field[: rows // 4, 1] = np.nan
        field[rows // 2, 2] = np.nan
        field[:, 3] = field[0, 3]
    sessions = np.busday_offset("2016-01-04", np.arange(rows), roll="forward").astype("datetime64[D]")
    return BarPanel(sessions, tuple(f"S{column}" for column in range(columns)), opens, highs, lows, closes, volumes)


def with_other_future(panel: BarPanel, row: int, seed: int = 23) -> BarPanel:
    """The same panel with the rows after `row` shuffled and scaled: another future."""
    random = np.random.default_rng(seed)
    order = np.concatenate([np.arange(row + 1), random.permutation(np.arange(row + 1, len(panel.sessions)))])
    scale = np.ones((len(panel.sessions), 1))
    scale[row + 1 :] = 3.0
    return BarPanel(panel.sessions, panel.symbols, *(getattr(panel, field)[order] * scale for field in FIELDS))


def lookahead(scores: Scores, panel: BarPanel, rows: tuple[int, ...]) -> list[str]:
    """What shows that a row of `scores` knows more than its past: a prefix or another future that gives other rows."""
    whole = scores(panel)
    found = []
    for row in rows:
        if not np.array_equal(scores(panel.rows(slice(0, row + 1))), whole[: row + 1], equal_nan=True):
            found.append(f"the prefix up to row {row} gives other rows")
        if not np.array_equal(scores(with_other_future(panel, row))[: row + 1], whole[: row + 1], equal_nan=True):
            found.append(f"another future changes rows up to {row}")
    return found


def unstable_start(scores: Scores, panel: BarPanel, lookback_sessions: int, rows: tuple[int, ...]) -> list[str]:
    """What shows that a row of `scores` needs more than its last `lookback_sessions` rows."""
    whole = scores(panel)
    return [
        f"row {row} is another from {lookback_sessions} sessions alone" for row in rows
        if not np.array_equal(scores(panel.rows(slice(row + 1 - lookback_sessions, row + 1)))[-1], whole[row], equal_nan=True)
    ]
