"""How much a result hangs on the exact stop and target: a grid of Sharpe ratios, its picture, and whether its best is a peak."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from typing import NamedTuple

import numpy as np

from closebell.backtest.summary import Floats

_WIDTH_INCHES, _HEIGHT_INCHES, _DPI = 8.0, 6.0, 160
_DARK_FRAC = 0.25
"""In the outer quarters of the colour map, ink is not readable."""


class Sensitivity(NamedTuple):
    """Annual Sharpe ratios, stops (rows) x targets (columns)."""

    stop_loss_fracs: Sequence[float]
    take_profit_fracs: Sequence[float]
    sharpe_annual: Floats

    @property
    def best(self) -> tuple[int, int]:
        """Row and column of the highest."""
        row, column = np.unravel_index(int(np.argmax(self.sharpe_annual)), self.sharpe_annual.shape)
        return int(row), int(column)

    @property
    def neighbours_ratio(self) -> float | None:
        """The mean of the best point's neighbours, diagonal ones too, over the best: near 1 on a plateau, near 0 on a sharp peak.

        None for a grid of one point; 0 where even the best earns nothing.
        """
        row, column = self.best
        around = self.sharpe_annual[max(row - 1, 0) : row + 2, max(column - 1, 0) : column + 2]
        if around.size == 1:
            return None
        best = float(self.sharpe_annual[row, column])
        return (float(around.sum()) - best) / (around.size - 1) / best if best > 0 else 0.0


def sensitivity_png(grid: Sensitivity) -> bytes:
    """The grid as a heat map; equal grids give equal bytes for one version of matplotlib."""
    from matplotlib import style
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    values = grid.sharpe_annual
    reach = max(float(np.abs(values).max()), 0.1)
    with style.context("default"):
        figure = Figure(figsize=(_WIDTH_INCHES, _HEIGHT_INCHES), dpi=_DPI, layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.subplots()
        image = axes.imshow(values, cmap="PuOr", vmin=-reach, vmax=reach, aspect="auto")
        for (row, column), value in np.ndenumerate(values):
            is_dark = abs(value) / reach > 1 - _DARK_FRAC
            weight = "bold" if (row, column) == grid.best else "normal"
            axes.text(column, row, f"{value:.2f}", ha="center", va="center", color="white" if is_dark else "black", weight=weight)
        axes.set_xticks(range(values.shape[1]), [f"{frac:.2%}" for frac in grid.take_profit_fracs])
        axes.set_yticks(range(values.shape[0]), [f"{frac:.2%}" for frac in grid.stop_loss_fracs])
        axes.set_xlabel("take profit")
        axes.set_ylabel("stop loss")
        axes.set_title("Sharpe ratio, annual, after costs; the best is bold", loc="left")
        figure.colorbar(image, ax=axes)
        content = BytesIO()
        figure.savefig(content, format="png", metadata={"Software": None})
    return content.getvalue()
