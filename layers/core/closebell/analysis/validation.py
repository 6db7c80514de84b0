"""Which symbols may be traded after a session, and in one line why the others may not.

A symbol is judged on the `minimum_sessions` sessions up to the one decided on: what the strategies look at. Anything wrong
in there skips the symbol, whose column would otherwise be scored as if it were right. NaN means unknown: a missing close is
a fault, a missing volume never is. A crash is not a fault: only prices that no market makes are.

`usable` answers for every session of a panel at once, `bar_problems` says why for one session; both read the same faults.
"""

import math
from collections.abc import Mapping
from datetime import date
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from closebell.model.panel import BarPanel, Matrix

Flags = NDArray[np.bool_]
"""bool, sessions x symbols."""

Splits = Mapping[str, Mapping[date, float]]
"""Symbol -> ex-date -> ratio (2.0: two new shares for one old)."""

JUMP_RATIO = 30.0
"""A close this many times its predecessor, or as many times below, is a misplaced decimal or a wrong symbol."""

SPLIT_RATIOS = (2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 10.0, 15.0, 20.0, 25.0)
SPLIT_OPENS_FRAC, SPLIT_STAYS_FRAC = 0.01, 0.15
"""How near to an exact ratio the open, and then the close, must be to look like a split."""
SPLIT_VOLUME_RATIO = 2.0
"""A split multiplies the volume by its ratio, give or take this factor of an ordinary day."""
SPLIT_REPORTED_FRAC_MIN = 0.2
"""Reported ratios within 20 % of one are left alone: a bar that missed such an adjustment looks like any bad day."""
FROZEN_SESSIONS = 5
_SPLIT_LIKE_TEXT = "looks like a split in session {session} that the bars are not adjusted for: {close:g} after {before:g}"
_SPLIT_TEXT = "bars are not adjusted for the split of {session}: {close:g} after {before:g}"
_FROZEN_TEXT = f"feed stands still: the same bar {FROZEN_SESSIONS} sessions in a row up to {{session}}, and no volume"


class _Fault(NamedTuple):
    """One kind of fault: where it happens, how many rows before it are needed to see it, and its words."""

    happens: Flags
    rows_before: int
    text: str


def bar_problems(panel: BarPanel, expected_session: date, splits: Splits, minimum_sessions: int) -> dict[str, str]:
    """The symbols that must be skipped for the decision after `expected_session`, each with a one-line reason.

    Parameters
    ----------
    panel
        Bars up to `expected_session` or later; later ones are ignored.
    splits
        Reported splits; a bar that was not adjusted for one is a fault.
    minimum_sessions
        Bars a symbol must have, and the window in which every bar must be right.
    """
    known = panel.through(expected_session)
    window = known.rows(slice(max(len(known.sessions) - minimum_sessions, 0), None))
    faults = [*_faults(window, splits), _Fault(_frozen_at_end(window), 0, _FROZEN_TEXT)]
    is_faulty = np.any([fault.happens.any(axis=0) for fault in faults], axis=0)
    has_last = np.zeros(len(panel.symbols), dtype=bool)
    if len(known.sessions) and known.sessions[-1] == np.datetime64(expected_session):
        has_last = np.isfinite(known.close[-1])
    suspects = np.flatnonzero(is_faulty | ~has_last | (len(window.sessions) < minimum_sessions))
    return {
        panel.symbols[column]: _absence(known, column, expected_session, minimum_sessions) or _words(window, faults, column)
        for column in suspects.tolist()
    }


def usable(panel: BarPanel, splits: Splits, minimum_sessions: int) -> Flags:
    """Sessions x symbols: whether `bar_problems` after that session would be silent on that symbol."""
    good = np.zeros(panel.close.shape, dtype=bool)
    if len(good) < minimum_sessions:
        return good
    good[minimum_sessions - 1 :] = True
    for fault in _faults(panel, splits):
        if fault.happens.any():
            good[minimum_sessions - 1 :] &= ~_any_within(fault.happens, minimum_sessions, fault.rows_before)
    return good & ~_frozen(panel)


def unadjusted_splits(panel: BarPanel, splits: Splits) -> dict[str, str]:
    """The symbols whose bars before a reported split are not adjusted for it, each with the latest such split in one line."""
    change = np.full(panel.close.shape, np.nan)
    with np.errstate(divide="ignore", invalid="ignore"):
        change[1:] = panel.close[1:] / panel.close[:-1]
    missed = _Fault(_missed_splits(panel, change, splits), 1, _SPLIT_TEXT)
    columns = np.flatnonzero(missed.happens.any(axis=0)).tolist()
    return {panel.symbols[column]: _words(panel, [missed], column) for column in columns}


def _any_within(happens: Flags, rows: int, rows_before: int) -> Flags:
    """For each full window of `rows` rows: whether it happens in the window, `rows_before` rows of which only lead up."""
    count = np.zeros((len(happens) + 1, happens.shape[1]), dtype=np.int32)
    np.cumsum(happens, axis=0, dtype=np.int32, out=count[1:])
    begin = count[rows_before : len(count) - rows + rows_before]
    return count[rows:] > begin


def _absence(known: BarPanel, column: int, expected_session: date, minimum_sessions: int) -> str:
    """Why a symbol has no bars to judge, or "" when it has them."""
    rows = np.flatnonzero(np.isfinite(known.close[:, column]))
    if not len(rows):
        return "no bars at all"
    last_session = known.sessions[rows[-1]]
    if last_session != np.datetime64(expected_session):
        return f"no bar for {expected_session}; its last one is of {last_session}"
    history = len(known.sessions) - int(rows[0])
    if history < minimum_sessions:
        return f"{history} session{'s' if history > 1 else ''} of bars, {minimum_sessions} needed"
    return ""


def _words(window: BarPanel, faults: list[_Fault], column: int) -> str:
    """The first kind of fault a column has, told by its latest occurrence."""
    fault = next(fault for fault in faults if fault.happens[:, column].any())
    row = int(np.flatnonzero(fault.happens[:, column])[-1])
    before = window.close[row - 1, column] if row else np.nan
    return fault.text.format(session=window.sessions[row], before=before, close=window.close[row, column])


def _faults(panel: BarPanel, splits: Splits) -> list[_Fault]:
    """Every kind of fault, in the order in which they are told."""
    prices = (panel.open, panel.high, panel.low, panel.close)
    unknown = [~np.isfinite(price) for price in prices]
    is_partial = (unknown[0] | unknown[1] | unknown[2]) & ~(unknown[0] & unknown[1] & unknown[2])
    is_negative = np.logical_or.reduce([price <= 0.0 for price in prices]) | (panel.volume < 0.0)
    change, gap = np.full(panel.close.shape, np.nan), np.full(panel.close.shape, np.nan)
    with np.errstate(divide="ignore", invalid="ignore"):
        np.divide(panel.close[1:], panel.close[:-1], out=change[1:])
        np.divide(np.where(unknown[0][1:], panel.close[1:], panel.open[1:]), panel.close[:-1], out=gap[1:])
    jumps = (change >= JUMP_RATIO) | (change <= 1.0 / JUMP_RATIO)
    return [
        _Fault(unknown[3], 0, "no bar in session {session}"),
        _Fault(is_partial, 0, "incomplete bar in session {session}: open, high or low is missing"),
        _Fault(is_negative, 0, "zero or negative price or volume in session {session}"),
        _Fault(panel.high < panel.low, 0, "high below low in session {session}"),
        _Fault(jumps, 1, "price jump in session {session}: {close:g} after {before:g}"),
        _Fault(_missed_splits(panel, change, splits), 1, _SPLIT_TEXT),
        _Fault(_split_like(panel, change, gap), 1, _SPLIT_LIKE_TEXT),
    ]


def _missed_splits(panel: BarPanel, change: Matrix, splits: Splits) -> Flags:
    """Where a reported split's change of price is nearer to the unadjusted one than to none."""
    missed = np.zeros(panel.close.shape, dtype=bool)
    place = {symbol: column for column, symbol in enumerate(panel.symbols)}
    for symbol in splits.keys() & place.keys():
        for ex_date, ratio in splits[symbol].items():
            row, column = int(np.searchsorted(panel.sessions, np.datetime64(ex_date))), place[symbol]
            if 0 < row < len(missed) and abs(ratio - 1.0) >= SPLIT_REPORTED_FRAC_MIN:
                halfway = 1.0 / math.sqrt(ratio)
                missed[row, column] = change[row, column] < halfway if ratio > 1.0 else change[row, column] > halfway
    return missed


def _split_like(panel: BarPanel, change: Matrix, gap: Matrix) -> Flags:
    """Where a price opens at an exact split ratio, stays there, and the volume, if known, moved by the opposite share.

    A crash seldom opens within 1 % of a half or a third, and when it does, its volume is a larger multiple.
    """
    like = np.zeros(panel.close.shape, dtype=bool)
    rows, columns = np.nonzero((gap > SPLIT_RATIOS[0] * 0.95) | (gap < 1.0 / (SPLIT_RATIOS[0] * 0.95)))
    for row, column in zip(rows.tolist(), columns.tolist(), strict=True):
        opened = float(gap[row, column])
        ratio = min((*SPLIT_RATIOS, *(1.0 / ratio for ratio in SPLIT_RATIOS)), key=lambda split: abs(opened * split - 1.0))
        volume, volume_before = float(panel.volume[row, column]), float(panel.volume[row - 1, column])
        like[row, column] = (
            abs(opened * ratio - 1.0) <= SPLIT_OPENS_FRAC
            and abs(change[row, column] * ratio - 1.0) <= SPLIT_STAYS_FRAC
            and not volume > volume_before * ratio * SPLIT_VOLUME_RATIO
            and not volume < volume_before * ratio / SPLIT_VOLUME_RATIO
        )
    return like


def _frozen(panel: BarPanel) -> Flags:
    """Where the last `FROZEN_SESSIONS` bars are one bar repeated, and no volume says that it was traded."""
    repeats = np.zeros(panel.close.shape, dtype=bool)
    repeats[1:] = ~(panel.volume[1:] > 0.0)
    for price in (panel.open, panel.high, panel.low, panel.close):
        repeats[1:] &= (price[1:] == price[:-1]) | np.isnan(price[1:])
    run = repeats.copy()
    for back in range(1, FROZEN_SESSIONS - 1):
        run[back:] &= repeats[:-back]
        run[:back] = False
    return run


def _frozen_at_end(panel: BarPanel) -> Flags:
    """The same for the last session alone: what stood still once and moves again is no stale feed."""
    run = np.zeros(panel.close.shape, dtype=bool)
    tail = panel.rows(slice(max(len(panel.sessions) - FROZEN_SESSIONS, 0), None))
    run[-1:] = _frozen(tail)[-1:]
    return run
