"""The intraday path of one session of the synthetic market: a bridge through its open, high, low and close."""

from datetime import datetime, timedelta
from decimal import Decimal
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from closebell.model.instruments import Market
from closebell.simulation.market import DayBar, Print
from closebell.simulation.synthetic.grid import price


class Rhythm(NamedTuple):
    """How a symbol prints: every `interval`, each inner print missing with probability `missing_frac`; sizes are whole
    multiples of `size_step_shares`."""

    market: Market
    interval: timedelta
    missing_frac: float
    size_step_shares: Decimal


def print_times(
    opens_at: datetime, closes_at: datetime, interval: timedelta, halts: tuple[tuple[datetime, datetime], ...]
) -> list[datetime]:
    """Open, each interval and the close, without the instants inside a halt."""
    steps = int((closes_at - opens_at) / interval)
    grid = {opens_at + interval * step for step in range(steps + 1)} | {closes_at}
    return sorted(at for at in grid if not any(start <= at < end for start, end in halts))


def tape(rng: np.random.Generator, bar: DayBar, times: list[datetime], rhythm: Rhythm) -> tuple[Print, ...]:
    """Prints at some of `times` (at least four) whose first, highest, lowest and last price and total size are `bar`'s."""
    if bar.volume_shares is None:
        raise ValueError("a tape needs the volume of its bar")
    known = _turns(rng, bar, len(times))
    path = _bridge(rng, np.array(list(known)), np.array([float(usd) for usd in known.values()]), len(times))
    kept = sorted({*known, *np.flatnonzero(rng.random(len(times)) >= rhythm.missing_frac).tolist()})
    sizes = _sizes(rng, np.array(kept) / (len(times) - 1), int(bar.volume_shares / rhythm.size_step_shares))
    return tuple(
        Print(times[place], known.get(place) or price(path[place], rhythm.market), size * rhythm.size_step_shares)
        for place, size in zip(kept, sizes, strict=True)
    )


def _turns(rng: np.random.Generator, bar: DayBar, count: int) -> dict[int, Decimal]:
    """Where the path must pass, by place: open, high and low in either order, close."""
    earlier, later = sorted((1 + rng.choice(count - 2, size=2, replace=False)).tolist())
    inner = (bar.high_usd, bar.low_usd) if rng.random() < 0.5 else (bar.low_usd, bar.high_usd)
    return {0: bar.open_usd, earlier: inner[0], later: inner[1], count - 1: bar.close_usd}


def _bridge(rng: np.random.Generator, places: NDArray[np.intp], prices: NDArray[np.float64], count: int) -> NDArray[np.float64]:
    """A random walk tied to `prices` at `places` that stays between the lowest and the highest of them."""
    walk = np.cumsum(rng.standard_normal(count))
    steps = np.arange(count)
    loose = walk - np.interp(steps, places, walk[places])
    lowest, highest = prices.min(), prices.max()
    path = np.interp(steps, places, prices) + loose * (highest - lowest) * 0.5 / np.sqrt(count)
    return np.asarray(np.clip(path, lowest, highest), dtype=np.float64)


def _sizes(rng: np.random.Generator, phase: NDArray[np.float64], total: int) -> list[int]:
    """Whole numbers that add up to `total`: a U over the session (phase 0..1), heaviest at the close."""
    weight = (1 + 3 * (2 * phase - 1) ** 2) * (0.3 + rng.gamma(3.0, 1 / 3, len(phase)))
    weight[-1] *= 3
    edges = np.floor(np.cumsum(weight) / weight.sum() * total).astype(np.int64)
    edges[-1] = total
    return [int(size) for size in np.diff(edges, prepend=0)]
