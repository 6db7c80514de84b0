"""Indicators over sessions x symbols matrices.

Every row is made from a fixed number of rows ending at it (`*_SESSIONS` and the functions' docstrings say how many), in a
fixed order of IEEE additions, multiplications, divisions and square roots. So a row is the same to the last bit whether
the history before it is 300 sessions or 2 520, and whether the machine is a laptop or an arm64 Lambda: what makes a replay
equal to the day. TA-Lib, the oracle of the tests, promises neither: its running sums and recursions carry everything since
the first bar.

Sums over windows are made by doubling (a window of 128 is two of 64), which costs log2(window) passes and, unlike a running
sum, forgets: a NaN makes only the rows whose window holds it NaN, and the rows before a window is full are NaN.
"""

import math

import numpy as np

from closebell.model.panel import Matrix

_MEMORY_PERIODS = 4.5
"""An exponential average over `period` rows forgets what is older than this many periods: the weight dropped is below
exp(-9), one part in 8 000; the rest is scaled up to make one."""


def sma(values: Matrix, window: int) -> Matrix:
    """Simple moving average over `window` rows."""
    return _padded(_decayed_sum(values, window, 1.0) / window, len(values))


def ema(values: Matrix, period: int) -> Matrix:
    """Exponential moving average, smoothing 2 / (period + 1), over `memory_sessions(period)` rows."""
    return _padded(_ema(values, period), len(values))


def memory_sessions(period: int) -> int:
    """Rows an exponential average of `period` looks at: the power of two at or above 4.5 periods."""
    return 1 << (math.ceil(_MEMORY_PERIODS * period) - 1).bit_length()


def rsi(closes: Matrix, period: int = 14) -> Matrix:
    """Relative strength index (Wilder 1978), 0..100, over `memory_sessions(2 * period - 1) + 1` rows.

    50 where no price in the window moved (TA-Lib says 0 there: a symbol that rests would be oversold).
    """
    wilder = 2 * period - 1
    changes = closes[1:] - closes[:-1]
    rises = _ema(np.maximum(changes, 0.0), wilder)
    moves = _ema(np.abs(changes), wilder)
    with np.errstate(divide="ignore", invalid="ignore"):
        index = np.where(moves == 0.0, 50.0, 100.0 * rises / moves)
    return _padded(index, len(closes))


def macd(closes: Matrix, fast: int = 12, slow: int = 26, signal: int = 9) -> tuple[Matrix, Matrix]:
    """MACD line (fast EMA - slow EMA) and its signal line (Appel 1979), in USD.

    The line looks at `memory_sessions(slow)` rows, the signal at `memory_sessions(signal) - 1` more.
    """
    slow_average = _ema(closes, slow)
    fast_average = _ema(closes, fast)
    line = fast_average[len(fast_average) - len(slow_average) :] - slow_average
    return _padded(line, len(closes)), _padded(_ema(line, signal), len(closes))


def bollinger(closes: Matrix, window: int = 20) -> tuple[Matrix, Matrix]:
    """Middle band and standard deviation (population, as Bollinger has it) over `window` rows, in USD."""
    means, squares = _moments(closes, window)
    return _padded(means, len(closes)), _padded(np.sqrt(squares / window), len(closes))


def atr(highs: Matrix, lows: Matrix, closes: Matrix, period: int = 14) -> Matrix:
    """Average true range (Wilder 1978), in USD, over `memory_sessions(2 * period - 1) + 1` rows."""
    before = closes[:-1]
    ranges = np.maximum(highs[1:], before) - np.minimum(lows[1:], before)
    return _padded(_ema(ranges, 2 * period - 1), len(closes))


def returns(closes: Matrix) -> Matrix:
    """Simple one-session returns as fractions; the first row is NaN."""
    return rate_of_change(closes, 1)


def rate_of_change(closes: Matrix, sessions: int) -> Matrix:
    """Return over `sessions` sessions as a fraction, over `sessions + 1` rows."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return _padded(closes[sessions:] / closes[: max(len(closes) - sessions, 0)] - 1.0, len(closes))


def volatility(closes: Matrix, window: int = 20) -> Matrix:
    """Sample standard deviation of one-session returns, as a fraction per session, over `window + 1` rows."""
    _, squares = _moments(returns(closes)[1:], window)
    deviations: Matrix = np.sqrt(squares / (window - 1))
    return _padded(deviations, len(closes))


def in_volatilities(fractions: Matrix, volatilities: Matrix) -> Matrix:
    """`fractions` over the volatility of one session; 0 where nothing moves, NaN where either is unknown."""
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios: Matrix = np.divide(fractions, volatilities)
    ratios[(volatilities == 0.0) & ~np.isnan(fractions)] = 0.0
    return ratios


def _ema(values: Matrix, period: int) -> Matrix:
    """The exponential average without its NaN head: rows from the first full window on."""
    window = memory_sessions(period)
    decay = (period - 1) / (period + 1)
    total_weight = float(_decayed_sum(np.ones((window, 1)), window, decay)[0, 0])
    return _decayed_sum(values, window, decay) / total_weight


def _decayed_sum(values: Matrix, window: int, decay: float) -> Matrix:
    """Sum over k < window of decay**k times the value k rows earlier; rows from the first full window on.

    `span` holds the sums over 1, 2, 4, ... rows; those whose length is a binary digit of `window` are joined, each
    behind (earlier than) what is joined already. Arrays are aligned at their last row.
    """
    span, span_rows, span_weight = values, 1, decay
    joined, joined_rows, joined_weight = values[:0], 0, 1.0
    while True:
        if window & span_rows:
            joined = _joined(joined, joined_rows, span, span_rows, joined_weight) if joined_rows else span
            joined_rows, joined_weight = joined_rows + span_rows, joined_weight * span_weight
        if joined_rows == window:
            return joined
        span = _joined(span, span_rows, span, span_rows, span_weight)
        span_rows, span_weight = span_rows * 2, span_weight * span_weight


def _joined(late: Matrix, late_rows: int, early: Matrix, early_rows: int, early_weight: float) -> Matrix:
    """Sums over `late_rows` rows plus weighted sums over the `early_rows` rows before those."""
    early = early[: max(len(early) - late_rows, 0)]
    return late[early_rows:] + (early if early_weight == 1.0 else early * early_weight)


def _moments(values: Matrix, window: int) -> tuple[Matrix, Matrix]:
    """Mean and sum of squared deviations over `window` rows, without their NaN head.

    Doubled like the sums, joined as in Chan, Golub and LeVeque 1979: no cancellation, and exactly zero deviation when all
    values are equal.
    """
    span, span_rows = (values, np.zeros_like(values)), 1
    joined, joined_rows = (values[:0], values[:0]), 0
    while True:
        if window & span_rows:
            joined = _pooled(joined, joined_rows, span, span_rows) if joined_rows else span
            joined_rows += span_rows
        if joined_rows == window:
            return joined
        span, span_rows = _pooled(span, span_rows, span, span_rows), span_rows * 2


def _pooled(late: tuple[Matrix, Matrix], late_rows: int, early: tuple[Matrix, Matrix], early_rows: int) -> tuple[Matrix, Matrix]:
    kept = max(len(early[0]) - late_rows, 0)
    early_share = early_rows / (late_rows + early_rows)
    steps = early[0][:kept] - late[0][early_rows:]
    means = late[0][early_rows:] + steps * early_share
    squares = late[1][early_rows:] + early[1][:kept] + steps * steps * (late_rows * early_share)
    return means, squares


def _padded(tail: Matrix, rows: int) -> Matrix:
    """`tail` as the last rows of a matrix of `rows` rows, NaN before."""
    whole = np.full((rows, tail.shape[1]), np.nan)
    if len(tail):
        whole[rows - len(tail) :] = tail
    return whole
