"""The account's curve and its drawdown as SVG: values in, markup out, without a script or a picture of its own colours.

Colours are classes of the page's style sheet, so that the same drawing serves light and dark. A point is a session; where
there are more of them than pixels, each column of pixels keeps its lowest and its highest, so that no drawdown is lost.
"""

from collections.abc import Callable, Sequence
from datetime import date
from decimal import Decimal
from math import ceil, floor, log10
from typing import NamedTuple

from markupsafe import Markup, escape

from closebell.backtest.records import EquityRow
from closebell.reports.formatting import MINUS, day, month, percent, short_day, usd


class Canvas(NamedTuple):
    """A drawing's size in CSS pixels, how many dates its axis names, and the room at its left for the amounts."""

    name: str
    width_px: int
    equity_height_px: int
    drawdown_height_px: int
    dates_count: int
    hovers_count: int
    left_px: int = 66


WIDE = Canvas("wide", 1100, 320, 130, 7, 220)
NARROW = Canvas("narrow", 350, 230, 110, 3, 60)
RIGHT_PX, TOP_PX, BOTTOM_PX = 12, 8, 24
_PLACES_MAX = 9
_LABEL_GAP_PX, _DIGIT_PX, _SIGN_PX = 8, 7.7, {",": 4, ".": 4, MINUS: 10}
"""A label's distance from the grid, and how wide its signs are in the widest of the usual fonts at 12 pixels."""


class _Scale(NamedTuple):
    canvas: Canvas
    height_px: int
    low: float
    high: float
    last: int

    def x(self, at: float) -> float:
        return self.canvas.left_px + at / max(self.last, 1) * (self.canvas.width_px - self.canvas.left_px - RIGHT_PX)

    def y(self, value: float) -> float:
        return TOP_PX + (self.high - value) / (self.high - self.low) * (self.height_px - TOP_PX - BOTTOM_PX)


def with_room(canvas: Canvas, equity: Sequence[EquityRow], cash_usd: Decimal) -> Canvas:
    """The canvas with room for the account's amounts, however large: both drawings of a page begin at the same place."""
    labels = _amounts(_equity_ticks(*_values(equity, cash_usd)))
    widest_px = max(sum(_SIGN_PX.get(sign, _DIGIT_PX) for sign in label) for label in labels)
    return canvas._replace(left_px=max(canvas.left_px, _LABEL_GAP_PX + ceil(widest_px)))


def equity_svg(equity: Sequence[EquityRow], cash_usd: Decimal, canvas: Canvas) -> Markup:
    """The account's value after and before costs, from its opening cash on (point 0) to each session's close."""
    net, gross = _values(equity, cash_usd)
    ticks = _equity_ticks(net, gross)
    scale = _Scale(canvas, canvas.equity_height_px, ticks[0], ticks[-1], len(equity))
    body = [
        _grid(scale, ticks, _amounts(ticks)),
        _dates(scale, equity),
        _line("start", [(scale.x(0), scale.y(net[0])), (scale.x(len(equity)), scale.y(net[0]))]),
        _line("gross", _points(scale, gross)),
        _line("net", _points(scale, net)),
        _hovers(scale, equity, lambda row: f"{usd(row.equity_usd)} after costs\n{usd(row.gross_equity_usd)} before costs"),
    ]
    return _svg(scale, "Equity after and before costs", body)


def drawdown_svg(equity: Sequence[EquityRow], canvas: Canvas) -> Markup:
    """How far the account lies below its highest close so far, after costs."""
    depth = [0.0, *(-float(row.drawdown_frac) for row in equity)]
    ticks = round_ticks(min(*depth, -0.01), 0.0, 3)
    scale = _Scale(canvas, canvas.drawdown_height_px, ticks[0], ticks[-1], len(equity))
    points, places = _points(scale, depth), _places([tick * 100 for tick in ticks], 1)
    area = [(scale.x(0), scale.y(0)), *points, (scale.x(len(equity)), scale.y(0))]
    body = [
        _grid(scale, ticks, [percent(_decimal(tick), places) for tick in ticks]),
        _dates(scale, equity),
        Markup('<polygon class="deep" points="{}"/>').format(_coordinates(area)),
        _line("fall", points),
        _hovers(scale, equity, lambda row: f"{percent(-row.drawdown_frac, 2)} from the highest close"),
    ]
    return _svg(scale, "Drawdown after costs", body)


def round_ticks(low: float, high: float, count_max: int) -> list[float]:
    """Ascending round values, at least two, that reach from at or below `low` to at or above `high`."""
    if high - low < 1e-9:
        room = abs(high) * 0.01 or 1.0
        low, high = low - room, high + room
    rough = (high - low) / count_max
    power = 10.0 ** floor(log10(rough))
    step = next(power * factor for factor in (1, 2, 2.5, 5, 10) if power * factor >= rough * 0.999999)
    first, last = floor(low / step + 1e-9), ceil(high / step - 1e-9)
    return [at * step for at in range(first, last + 1)]


def kept_indices(values: Sequence[float], columns_count: int) -> list[int]:
    """Which points to draw: all of them, or the lowest and highest of each column, and always the first and the last."""
    if len(values) <= 2 * columns_count:
        return list(range(len(values)))
    kept = {0, len(values) - 1}
    for column in range(columns_count):
        inside = range(column * len(values) // columns_count, (column + 1) * len(values) // columns_count)
        kept |= {min(inside, key=values.__getitem__), max(inside, key=values.__getitem__)}
    return sorted(kept)


def _points(scale: _Scale, values: Sequence[float]) -> list[tuple[float, float]]:
    return [(scale.x(at), scale.y(values[at])) for at in kept_indices(values, scale.canvas.width_px)]


def _coordinates(points: Sequence[tuple[float, float]]) -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in points)


def _line(name: str, points: Sequence[tuple[float, float]]) -> Markup:
    return Markup('<polyline class="line {}" points="{}"/>').format(name, _coordinates(points))


def _values(equity: Sequence[EquityRow], cash_usd: Decimal) -> tuple[list[float], list[float]]:
    """After and before costs, from the opening cash on."""
    net = [float(cash_usd), *(float(row.equity_usd) for row in equity)]
    return net, [float(cash_usd), *(float(row.gross_equity_usd) for row in equity)]


def _equity_ticks(net: Sequence[float], gross: Sequence[float]) -> list[float]:
    return round_ticks(min(*net, *gross), max(*net, *gross), 5)


def _amounts(ticks: Sequence[float]) -> list[str]:
    return [usd(_decimal(tick), _places(ticks, 2)) for tick in ticks]


def _grid(scale: _Scale, ticks: Sequence[float], labels: Sequence[str]) -> Markup:
    left, right = scale.canvas.left_px, scale.canvas.width_px - RIGHT_PX
    row = Markup('<path class="grid" d="M{x:d} {y:.1f}H{right}"/><text class="tick" x="{end}" y="{base:.1f}">{label}</text>')
    return Markup("").join(
        row.format(x=left, y=scale.y(tick), right=right, end=left - _LABEL_GAP_PX, base=scale.y(tick) + 4, label=label)
        for tick, label in zip(ticks, labels, strict=True)
    )


def _dates(scale: _Scale, equity: Sequence[EquityRow]) -> Markup:
    if not equity:
        return Markup("")
    wanted = scale.canvas.dates_count
    named = sorted({1 + round((len(equity) - 1) * step / (wanted - 1)) for step in range(wanted)})
    label = month if (equity[-1].session - equity[0].session).days > 300 else short_day
    mark = Markup('<text class="date" x="{x:.1f}" y="{y}" text-anchor="{anchor}">{label}</text>')
    return Markup("").join(
        mark.format(x=scale.x(at), y=scale.height_px - 6, anchor=_anchor(at, len(equity)), label=label(_session(equity, at)))
        for at in named
    )


def _anchor(at: int, last: int) -> str:
    if at == last:
        return "end"
    return "start" if at == 1 else "middle"


def _session(equity: Sequence[EquityRow], at: int) -> date:
    return equity[at - 1].session


def _hovers(scale: _Scale, equity: Sequence[EquityRow], text: Callable[[EquityRow], str]) -> Markup:
    """Invisible strips side by side, each telling the values of the session in its middle."""
    count = min(scale.canvas.hovers_count, len(equity))
    inner_px = scale.height_px - TOP_PX - BOTTOM_PX
    strip = Markup('<rect class="hover" x="{x:.1f}" y="{y}" width="{width:.1f}" height="{height}"><title>{text}</title></rect>')
    strips = []
    for number in range(count):
        first, end = number * len(equity) // count, (number + 1) * len(equity) // count
        row = equity[(first + end) // 2] if (first + end) // 2 < end else equity[end - 1]
        left, right = scale.x(first + 0.5), scale.x(min(end + 0.5, len(equity)))
        shown = f"{day(row.session)}\n{text(row)}"
        strips.append(strip.format(x=left, y=TOP_PX, width=right - left, height=inner_px, text=shown))
    return Markup("").join(strips)


def _svg(scale: _Scale, title: str, body: Sequence[Markup]) -> Markup:
    head = Markup('<svg class="{}" viewBox="0 0 {} {}" role="img" aria-label="{}">')
    size = (scale.canvas.width_px, scale.height_px)
    return head.format(scale.canvas.name, *size, escape(title)) + Markup("").join(body) + Markup("</svg>")


def _places(ticks: Sequence[float], places_min: int) -> int:
    """None for whole numbers, else as many as the ticks have: 2.5 % must not read 2 %, nor two ticks the same."""
    room = (ticks[1] - ticks[0]) / 100
    exact = (places for places in (0, *range(places_min, _PLACES_MAX)) if all(abs(round(it, places) - it) < room for it in ticks))
    return next(exact, _PLACES_MAX)


def _decimal(value: float) -> Decimal:
    return Decimal(repr(round(value, 10)))
