"""A panel for the strategies' tests."""

import numpy as np

from closebell.model.panel import BarPanel


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
