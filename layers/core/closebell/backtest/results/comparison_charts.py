"""The comparison's pictures: backtests in, PNG bytes out.

Colours are Okabe and Ito's (https://jfly.uni-koeln.de/color/); a ninth curve repeats the first colour with another dash, and
the last backtest, by custom the ensemble, is black and thick. matplotlib is imported where something is drawn and nowhere else.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from io import BytesIO
from itertools import cycle, islice, product
from typing import TYPE_CHECKING, Literal

from closebell.backtest.results.comparison import ComparedBacktest, ComparisonRow, comparison_rows
from closebell.reports.formatting import percent, usd

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_WIDTH_PX, _DPI, _FONT_PT = 1600, 160, 12.0
_PAPER, _INK, _FAINT, _GRID = "#ffffff", "#16202c", "#56616f", "#dfe4ea"
_BLUE, _VERMILION, _LIGHT_BLUE, _LIGHT_VERMILION = "#0072b2", "#d55e00", "#a6cde4", "#f3c6a5"
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7f6a00", "#6a51a3")
_PANELS = (
    ("Total return", (("total_return_frac", _BLUE, "return after costs"),
                      ("gross_total_return_frac", _LIGHT_BLUE, "before costs"))),
    ("Deepest drawdown", (("drawdown_frac_max", _VERMILION, "drawdown after costs"),
                          ("gross_drawdown_frac_max", _LIGHT_VERMILION, "before costs"))),
)  # fmt: skip
_DASHES = ("-", "--", ":")
_NAME_CHARS_MAX, _LEGEND_COLUMNS_MAX, _LEGEND_MARK_PX, _LEGEND_LETTER_PX = 35, 4, 100, 14


def comparison_pictures(backtests: Sequence[ComparedBacktest]) -> dict[str, bytes]:
    """The pictures by file name; equal input gives equal bytes for one version of matplotlib. None for no backtests."""
    if not backtests:
        return {}
    from matplotlib import style

    rows = comparison_rows(backtests)
    with style.context("default"):
        return {
            "return_against_drawdown.png": _return_against_drawdown(rows),
            "win_rate_against_sharpe.png": _win_rate_against_sharpe(rows),
            "equity_curves.png": _equity_curves(backtests),
        }


def _return_against_drawdown(rows: Sequence[ComparisonRow]) -> bytes:
    """Two panels side by side, so that a loss is not hidden behind its own drawdown; before costs lighter and below."""
    figure = _figure(240 + 110 * len(rows))
    panels = zip(figure.subplots(1, 2, sharey=True), _PANELS, strict=True)
    for axes, (title, fields) in panels:
        for offset, (field, colour, label) in zip((-0.19, 0.19), fields, strict=True):
            values = [getattr(row, field) or 0.0 for row in rows]
            axes.barh([at + offset for at in range(len(rows))], values, height=0.36, color=colour, label=label)
        axes.axvline(0, color=_FAINT, linewidth=1)
        _dress(axes, title, "x")
        axes.xaxis.set_major_formatter(_percent_label)
    axes.set_yticks(range(len(rows)), [_plain(row.name) for row in rows])
    axes.invert_yaxis()
    _legend(figure)
    return _png(figure)


def _win_rate_against_sharpe(rows: Sequence[ComparisonRow]) -> bytes:
    """A dot after costs, joined to a ring before costs; a backtest without a trade has neither."""
    figure = _figure(960)
    axes = figure.subplots()
    for row, (dash, colour), in zip(rows, _marks(len(rows)), strict=True):
        if row.win_rate_frac is None or row.sharpe_annual_ratio is None:
            continue
        after = (row.win_rate_frac, row.sharpe_annual_ratio)
        if row.gross_win_rate_frac is not None and row.gross_sharpe_annual_ratio is not None:
            before = (row.gross_win_rate_frac, row.gross_sharpe_annual_ratio)
            axes.plot(*zip(before, after, strict=True), color=colour, linewidth=1, linestyle=dash)
            axes.plot(*before, marker="o", markersize=8, markerfacecolor=_PAPER, markeredgecolor=colour, linestyle="")
        axes.plot(*after, marker="o", markersize=9, color=colour, linestyle="", label=_plain(row.name))
    axes.axhline(0, color=_FAINT, linewidth=1)
    axes.margins(0.12)
    _dress(axes, "Win rate against Sharpe: dot after costs, ring before", "both")
    axes.set_xlabel("Win rate", fontsize=_FONT_PT, color=_FAINT)
    axes.set_ylabel("Sharpe, annual", fontsize=_FONT_PT, color=_FAINT)
    axes.xaxis.set_major_formatter(_percent_label)
    if axes.get_legend_handles_labels()[0]:
        _legend(figure)
    else:
        axes.text(0.5, 0.5, "No backtest made a trade.", transform=axes.transAxes, ha="center", fontsize=_FONT_PT, color=_FAINT)
    return _png(figure)


def _equity_curves(backtests: Sequence[ComparedBacktest]) -> bytes:
    """After costs above, before costs below, on one scale."""
    figure = _figure(1300)
    upper, lower = figure.subplots(2, 1, sharex=True, sharey=True)
    for backtest, (dash, colour) in zip(backtests, _marks(len(backtests)), strict=True):
        sessions = [row.session for row in backtest.records.equity]
        width = 2.6 if backtest is backtests[-1] else 1.5
        net = [float(row.equity_usd) for row in backtest.records.equity]
        gross = [float(row.gross_equity_usd) for row in backtest.records.equity]
        upper.plot(sessions, net, color=colour, linestyle=dash, linewidth=width, label=_plain(backtest.name))
        lower.plot(sessions, gross, color=colour, linestyle=dash, linewidth=width)
    _dress(upper, "Equity after costs", "y")
    _dress(lower, "Equity before costs", "y")
    upper.yaxis.set_major_formatter(lambda value, _: usd(_decimal(value), 0))
    _legend(figure)
    return _png(figure)


def _marks(count: int) -> list[tuple[str, str]]:
    """A dash and a colour for each; the last is black."""
    return [*islice(cycle(product(_DASHES, _COLOURS)), count - 1), ("-", _INK)]


def _figure(height_px: int) -> Figure:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    layout = ConstrainedLayoutEngine(w_pad=0.12, h_pad=0.1)
    figure = Figure(figsize=(_WIDTH_PX / _DPI, height_px / _DPI), dpi=_DPI, layout=layout, facecolor=_PAPER)
    FigureCanvasAgg(figure)
    return figure


def _dress(axes: Axes, title: str, grid: Literal["x", "y", "both"]) -> None:
    axes.set_title(title, loc="left", fontsize=_FONT_PT + 1, fontweight="bold", color=_INK, pad=10)
    axes.tick_params(labelsize=_FONT_PT - 1, labelcolor=_INK, length=0)
    axes.grid(axis=grid, color=_GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[:].set_visible(False)


def _legend(figure: Figure) -> None:
    """Below the picture, in as many columns as there is room for."""
    longest = max(len(label) for axes in figure.axes for label in axes.get_legend_handles_labels()[1])
    columns_count = min(_WIDTH_PX // (_LEGEND_MARK_PX + _LEGEND_LETTER_PX * longest), _LEGEND_COLUMNS_MAX)
    figure.legend(loc="outside lower left", ncols=columns_count, frameon=False, fontsize=_FONT_PT - 1, labelcolor=_INK)


def _percent_label(value: float, _: object) -> str:
    exact = _decimal(value)
    return percent(exact, 0 if exact * 100 % 1 == 0 else 1)


def _decimal(value: float) -> Decimal:
    return Decimal(repr(round(float(value), 10)))


def _plain(name: str) -> str:
    """matplotlib reads $...$ as mathematics, and leaves a leading underscore out of the legend; of a long name the middle is left
    out, so that the curves keep their room."""
    text = name.replace("_", " ").strip() or "?"
    if len(text) > _NAME_CHARS_MAX:
        half = (_NAME_CHARS_MAX - 1) // 2
        text = f"{text[:half]}…{text[-half:]}"
    return text.replace("$", r"\$")


def _png(figure: Figure) -> bytes:
    """Without the metadata that would tell matplotlib's version."""
    content = BytesIO()
    figure.savefig(content, format="png", dpi=_DPI, facecolor=_PAPER, metadata={"Software": None})
    return content.getvalue()
