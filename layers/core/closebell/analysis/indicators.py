"""Indicators over sessions x symbols matrices.

Every row is made from a fixed number of rows ending at it (`*_SESSIONS` and the functions' docstrings say how many), in a
fixed order of IEEE additions, multiplications, divisions and square roots. So a row is the same to the last bit whether
the history before it is 300 sessions or 2 520, and whether the machine is a laptop or an arm64 Lambda: what makes a replay
equal to the day. TA-Lib, the oracle of the tests, promises neither: its running sums and recursions carry everything since
the first bar.

Sums over windows are made by doubling (a window of 128 is two of 64), which costs log2(window) passes and, unlike a running
sum, forgets: a NaN makes only the rows whose window holds it NaN, and the rows before a window is full are NaN.

Every array has all rows of the input, NaN at its head: rows that are not known are computed along, which is cheaper than to
cut them off and pad the result. Arrays that nobody else sees are changed in place, because memory is what takes the time.
"""

import math
from functools import cache

import numpy as np

from closebell.model.panel import Matrix

_MEMORY_PERIODS = 4.5
"""An exponential average over `period` rows forgets what is older than this many periods: the weight dropped is below
exp(-9), one part in 8 000; the rest is scaled up to make one."""

_REUSED_MIB = 16
np.empty(_REUSED_MIB << 20, dtype=np.uint8)
"""Freed at once, which teaches glibc to reuse blocks up to this size: M_MMAP_THRESHOLD in mallopt(3). Until then every array
above 128 KiB is given back to the kernel and fetched anew as zeroed pages, which takes longer than any sum here."""


def sma(values: Matrix, window: int) -> Matrix:
    """Simple moving average over `window` rows."""
    return _decayed_sum(values, window, 1.0) / window


def ema(values: Matrix, period: int) -> Matrix:
    """Exponential moving average, smoothing 2 / (period + 1), over `memory_sessions(period)` rows."""
    window, decay = memory_sessions(period), (period - 1) / (period + 1)
    return _decayed_sum(values, window, decay) / _total_weight(window, decay)


def memory_sessions(period: int) -> int:
    """Rows an exponential average of `period` looks at: the power of two at or above 4.5 periods."""
    return 1 << (math.ceil(_MEMORY_PERIODS * period) - 1).bit_length()


def rsi(closes: Matrix, period: int = 14) -> Matrix:
    """Relative strength index (Wilder 1978), 0..100, over `memory_sessions(2 * period - 1) + 1` rows.

    50 where no price in the window moved (TA-Lib says 0 there: a symbol that rests would be oversold).
    """
    wilder = 2 * period - 1
    changes, known = _unknown_until(1, closes)
    np.subtract(closes[1:], closes[:-1], out=known)
    index = ema(np.maximum(changes, 0.0), wilder)
    moves = ema(np.abs(changes, out=changes), wilder)
    index *= 100.0
    with np.errstate(divide="ignore", invalid="ignore"):
        index /= moves
    index[moves == 0.0] = 50.0
    return index


def macd(closes: Matrix, fast: int = 12, slow: int = 26, signal: int = 9) -> tuple[Matrix, Matrix]:
    """MACD line (fast EMA - slow EMA) and its signal line (Appel 1979), in USD.

    The line looks at `memory_sessions(slow)` rows, the signal at `memory_sessions(signal) - 1` more.
    """
    line = ema(closes, fast)
    line -= ema(closes, slow)
    return line, ema(line, signal)


def bollinger(closes: Matrix, window: int = 20) -> tuple[Matrix, Matrix]:
    """Middle band and standard deviation (population, as Bollinger has it) over `window` rows, in USD."""
    means, squares = _moments(closes, window)
    squares /= window
    return means, np.sqrt(squares, out=squares)


def atr(highs: Matrix, lows: Matrix, closes: Matrix, period: int = 14) -> Matrix:
    """Average true range (Wilder 1978), in USD, over `memory_sessions(2 * period - 1) + 1` rows."""
    ranges, known = _unknown_until(1, closes)
    np.maximum(highs[1:], closes[:-1], out=known)
    known -= np.minimum(lows[1:], closes[:-1])
    return ema(ranges, 2 * period - 1)


def returns(closes: Matrix) -> Matrix:
    """Simple one-session returns as fractions; the first row is NaN."""
    return rate_of_change(closes, 1)


def rate_of_change(closes: Matrix, sessions: int) -> Matrix:
    """Return over `sessions` sessions as a fraction, over `sessions + 1` rows."""
    changes, known = _unknown_until(sessions, closes)
    with np.errstate(divide="ignore", invalid="ignore"):
        np.divide(closes[sessions:], closes[:-sessions], out=known)
    known -= 1.0
    return changes


def volatility(closes: Matrix, window: int = 20) -> Matrix:
    """Sample standard deviation of one-session returns, as a fraction per session, over `window + 1` rows."""
    _, squares = _moments(returns(closes), window)
    squares /= window - 1
    return np.sqrt(squares, out=squares)


def in_volatilities(fractions: Matrix, volatilities: Matrix) -> Matrix:
    """`fractions` over the volatility of one session; 0 where nothing moves, NaN where either is unknown."""
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios: Matrix = np.divide(fractions, volatilities)
    ratios[(volatilities == 0.0) & ~np.isnan(fractions)] = 0.0
    return ratios


def _decayed_sum(values: Matrix, window: int, decay: float) -> Matrix:
    """Sum over k < window of decay**k times the value k rows earlier.

    `span` holds the sums over 1, 2, 4, ... rows; those whose length is a binary digit of `window` are joined, each
    behind (earlier than) what is joined already.
    """
    span, span_rows, span_weight = values, 1, decay
    joined, joined_rows, joined_weight = values, 0, 1.0
    while True:
        if window & span_rows:
            joined = _joined(joined, joined_rows, span, joined_weight) if joined_rows else span
            joined_rows, joined_weight = joined_rows + span_rows, joined_weight * span_weight
        if joined_rows == window:
            return joined
        span = _joined(span, span_rows, span, span_weight)
        span_rows, span_weight = span_rows * 2, span_weight * span_weight


def _joined(late: Matrix, late_rows: int, early: Matrix, early_weight: float) -> Matrix:
    """Sums over `late_rows` rows plus weighted sums over the rows before those."""
    sums, known = _unknown_until(late_rows, late)
    if early_weight == 1.0:
        np.add(late[late_rows:], early[:-late_rows], out=known)
    else:
        np.multiply(early[:-late_rows], early_weight, out=known)
        known += late[late_rows:]
    return sums


@cache
def _total_weight(window: int, decay: float) -> float:
    """What the weights of a decayed sum add up to, by the same additions."""
    return float(_decayed_sum(np.ones((window, 1)), window, decay)[-1, 0])


def _moments(values: Matrix, window: int) -> tuple[Matrix, Matrix]:
    """Mean and sum of squared deviations over `window` rows.

    Doubled like the sums, joined as in Chan, Golub and LeVeque 1979: no cancellation, and exactly zero deviation when all
    values are equal.
    """
    span, span_rows = (values.copy(), np.zeros(values.shape)), 1  # a copy: what is returned is the caller's to change
    joined, joined_rows = span, 0
    while True:
        if window & span_rows:
            joined = _pooled(joined, joined_rows, span, span_rows) if joined_rows else span
            joined_rows += span_rows
        if joined_rows == window:
            return joined
        span, span_rows = _pooled(span, span_rows, span, span_rows), span_rows * 2


def _pooled(late: tuple[Matrix, Matrix], late_rows: int, early: tuple[Matrix, Matrix], early_rows: int) -> tuple[Matrix, Matrix]:
    """Means and squares over `late_rows` rows and the `early_rows` rows before those."""
    early_share = early_rows / (late_rows + early_rows)
    means, known_means = _unknown_until(late_rows, late[0])
    squares, known_squares = _unknown_until(late_rows, late[1])
    steps = np.subtract(early[0][:-late_rows], late[0][late_rows:], out=known_means)
    np.multiply(steps, steps, out=known_squares)
    known_squares *= late_rows * early_share
    known_squares += late[1][late_rows:] + early[1][:-late_rows]
    known_means *= early_share
    known_means += late[0][late_rows:]
    return means, squares


def _unknown_until(row: int, like: Matrix) -> tuple[Matrix, Matrix]:
    """An array of the shape of `like`, NaN before `row`, and the rest of its rows, to be filled."""
    whole = np.empty(like.shape)
    whole[:row] = np.nan
    return whole, whole[row:]
