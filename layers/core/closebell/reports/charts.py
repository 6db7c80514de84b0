"""The newsletter's pictures: books records in, PNG bytes out.

Drawn for a 560 pixel column at twice its resolution, on a light ground of their own so that they also sit well in a dark
mail. Colours are from Okabe and Ito's palette, which colour-blind readers tell apart (https://jfly.uni-koeln.de/color/).
Equal input gives equal bytes for one version of matplotlib, whatever the user's matplotlibrc says.

matplotlib takes most of a second to import, so it is imported where something is drawn and nowhere else.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from io import BytesIO
from typing import TYPE_CHECKING

from closebell.model.books import EquitySnapshot
from closebell.reports.formatting import month, percent, short_day, usd

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.ticker import Locator

WIDTH_PX = 1120
EQUITY_HEIGHT_PX = 640
_DPI = 200
_BAR_HEIGHT_PX = 64
_BARS_MAX = 12
_FONT_PT = 11.5
"""About 16 pixels in a 560 pixel column, 10 on a telephone."""

_PAPER, _INK, _FAINT, _GRID = "#f7f9fb", "#16202c", "#56616f", "#dfe4ea"
_BLUE, _VERMILION, _GREY = "#0072b2", "#d55e00", "#c3cad3"


def equity_chart(equity: Sequence[EquitySnapshot]) -> bytes:
    """The equity curve in USD and, below it, the drawdown in percent.

    Parameters
    ----------
    equity
        Ascending; none gives a picture that says so, one a single dot.

    Returns
    -------
    bytes
        A PNG of 1120 x 640 pixels.
    """
    from matplotlib import style

    with style.context("default"):
        figure = _figure(EQUITY_HEIGHT_PX)
        if not equity:
            message = "The curve begins with the first reviewed session."
            figure.text(0.5, 0.5, message, ha="center", va="center", fontsize=_FONT_PT, color=_FAINT)
            return _png(figure)
        upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
        at = range(len(equity))
        values = [float(snapshot.equity_usd) for snapshot in equity]
        marker = "o" if len(equity) <= 2 else None
        upper.plot(at, values, color=_BLUE, linewidth=2, marker=marker, solid_joinstyle="round")
        upper.margins(y=0.12)
        upper.plot([at[-1]], [values[-1]], marker="o", markersize=6, color=_BLUE)
        upper.set_title(usd(equity[-1].equity_usd, 0), loc="right", fontsize=_FONT_PT, fontweight="bold", color=_BLUE)
        deepest = max(snapshot.drawdown_frac for snapshot in equity)
        lower.set_title(f"deepest {percent(deepest)}", loc="right", fontsize=_FONT_PT, color=_FAINT)
        depth = [-float(snapshot.drawdown_frac) for snapshot in equity]
        lower.fill_between(at, depth, 0, color=_VERMILION, alpha=0.35, linewidth=0)
        lower.plot(at, depth, color=_VERMILION, linewidth=1.5, marker=marker)
        lower.set_ylim(min(-0.01, min(depth) * 1.15), 0)
        _dress(upper, "Equity")
        _dress(lower, "Drawdown")
        _label_dollars(upper, values)
        lower.yaxis.set_major_locator(_few_ticks(3))
        lower.yaxis.set_major_formatter(lambda value, _: percent(Decimal(repr(float(value)))))
        _label_sessions(lower, equity)
        return _png(figure)


def exposure_chart(exposures_usd: Mapping[str, Decimal], equity_usd: Decimal) -> bytes:
    """A bar for each position's share of equity, and one for what is not invested.

    Parameters
    ----------
    exposures_usd
        Market value of each position in USD, in the order to draw; after the twelfth the rest are one bar.
    equity_usd
        The account's equity, above zero.

    Returns
    -------
    bytes
        A PNG, 1120 pixels wide; its height grows with the bars.
    """
    from matplotlib import style

    shares = {symbol: value / equity_usd for symbol, value in exposures_usd.items()}
    names = list(shares)
    bars = [(name, shares[name], _BLUE) for name in names[:_BARS_MAX]]
    if rest := names[_BARS_MAX:]:
        bars.append((f"{len(rest)} more", sum((shares[name] for name in rest), Decimal(0)), _BLUE))
    idle = 1 - sum(shares.values(), Decimal(0))
    bars.append(("not invested", idle, _GREY) if idle >= 0 else ("borrowed", -idle, _VERMILION))
    with style.context("default"):
        figure = _figure(_BAR_HEIGHT_PX * len(bars) + 80)
        axes = figure.subplots()
        axes.barh(range(len(bars)), [float(share) for _, share, _ in bars], color=[color for _, _, color in bars], height=0.62)
        axes.invert_yaxis()
        axes.set_yticks(range(len(bars)), [_plain(name) for name, _, _ in bars])
        axes.margins(x=0.16)
        for row, (_, share, _) in enumerate(bars):
            axes.annotate(percent(share), (max(float(share), 0.0), row), xytext=(6, 0), textcoords="offset points",
                          va="center", fontsize=_FONT_PT, color=_INK)
        _dress(axes, "Share of equity")
        axes.grid(visible=False)
        axes.set_xticks([])
        axes.spines[:].set_visible(False)
        return _png(figure)


def _figure(height_px: int) -> Figure:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    layout = ConstrainedLayoutEngine(w_pad=0.1, h_pad=0.08)
    figure = Figure(figsize=(WIDTH_PX / _DPI, height_px / _DPI), dpi=_DPI, layout=layout, facecolor=_PAPER)
    FigureCanvasAgg(figure)
    return figure


def _dress(axes: Axes, title: str) -> None:
    axes.set_title(title, loc="left", fontsize=_FONT_PT, fontweight="bold", color=_INK)
    axes.set_facecolor(_PAPER)
    axes.tick_params(labelsize=_FONT_PT - 1, labelcolor=_FAINT, length=0)
    axes.grid(axis="y", color=_GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[:].set_visible(False)


def _label_dollars(axes: Axes, values: Sequence[float]) -> None:
    """Whole dollars; a flat or single-valued curve gets half a percent of room on each side."""
    if max(values) == min(values):
        room = abs(values[0]) * 0.005 or 1.0
        axes.set_ylim(values[0] - room, values[0] + room)
    axes.yaxis.set_major_locator(_few_ticks(4))
    axes.yaxis.set_major_formatter(lambda value, _: usd(Decimal(repr(float(value))), 0))


def _label_sessions(axes: Axes, equity: Sequence[EquitySnapshot]) -> None:
    """Sessions stand side by side, without gaps for weekends; at most five of them are named."""
    last = len(equity) - 1
    named = sorted({round(last * step / 4) for step in range(5)})
    day_of = month if (equity[-1].session - equity[0].session).days > 300 else short_day
    axes.set_xticks(named, [day_of(equity[at].session) for at in named])
    axes.set_xlim(-0.5 if last == 0 else -last * 0.02, 0.5 if last == 0 else last * 1.02)


def _few_ticks(count: int) -> Locator:
    from matplotlib.ticker import MaxNLocator

    return MaxNLocator(nbins=count, min_n_ticks=2)


def _plain(name: str) -> str:
    """matplotlib reads $...$ as mathematics."""
    return name.replace("$", r"\$")


def _png(figure: Figure) -> bytes:
    """Without the metadata that would tell matplotlib's version."""
    content = BytesIO()
    figure.savefig(content, format="png", dpi=_DPI, facecolor=_PAPER, metadata={"Software": None})
    return content.getvalue()
