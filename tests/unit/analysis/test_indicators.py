"""Indicators against TA-Lib and against loops that say what is meant.

That no row knows the future, nor needs more rows than it says, is tested in tests/unit/strategies/test_no_lookahead.py.
"""

import math
from collections.abc import Callable

import numpy as np
import pytest
import talib

from closebell.analysis import indicators
from closebell.model.panel import Matrix
from tests.unit.analysis.real_prices import between, stocks


def walk(rows: int = 700, columns: int = 3, seed: int = 7) -> Matrix:
    """A seeded random walk of prices."""
    steps = np.random.default_rng(seed).normal(0.0003, 0.02, (rows, columns))
    return np.asarray(50.0 * np.cumprod(1.0 + steps, axis=0))


def by_column(function: Callable[..., object], *fields: Matrix) -> Matrix:
    """A TA-Lib function of single columns, applied to each column of some matrices."""
    columns = range(fields[0].shape[1])
    return np.column_stack([np.asarray(function(*(field[:, column].copy() for field in fields))) for column in columns])


def test_sma_is_ta_libs() -> None:
    closes = walk()
    for window in (1, 2, 20, 50, 200):
        expected = by_column(lambda column, window=window: talib.MA(column, window), closes)
        np.testing.assert_allclose(indicators.sma(closes, window), expected, rtol=1e-12)


def test_ema_is_ta_libs_after_its_warm_up() -> None:
    closes = walk()
    for period in (9, 12, 26):
        expected = by_column(lambda column, period=period: talib.EMA(column, period), closes)
        np.testing.assert_allclose(indicators.ema(closes, period)[300:], expected[300:], rtol=2e-4)


def test_ema_is_the_weighted_mean_of_its_window() -> None:
    closes, period = walk(150, 1), 12
    window = indicators.memory_sessions(period)
    weights = [(1 - 2 / (period + 1)) ** age for age in range(window)]
    for row in (window - 1, 120, 149):
        expected = math.fsum(weight * closes[row - age, 0] for age, weight in enumerate(weights)) / math.fsum(weights)
        assert indicators.ema(closes, period)[row, 0] == pytest.approx(expected, rel=1e-13)


def test_what_an_exponential_average_forgets_weighs_less_than_one_in_8_000() -> None:
    for period in range(2, 60):
        assert (1 - 2 / (period + 1)) ** indicators.memory_sessions(period) < 1 / 8000


def test_rsi_is_ta_libs_after_its_warm_up() -> None:
    closes = walk()
    expected = by_column(lambda column: talib.RSI(column, 14), closes)
    np.testing.assert_allclose(indicators.rsi(closes)[300:], expected[300:], atol=0.02)


def test_rsi_on_real_prices_is_ta_libs() -> None:
    closes = stocks().close[between(stocks(), "2015-01-01", "2018-12-31")]
    expected = by_column(lambda column: talib.RSI(column, 14), closes)
    np.testing.assert_allclose(indicators.rsi(closes)[300:], expected[300:], atol=0.05)


def test_rsi_of_prices_that_rest_rise_and_fall() -> None:
    flat, rising = np.full((200, 1), 10.0), np.arange(1.0, 201.0)[:, None]
    assert indicators.rsi(flat)[-1, 0] == 50.0
    assert indicators.rsi(rising)[-1, 0] == 100.0
    assert indicators.rsi(rising[::-1].copy())[-1, 0] == 0.0


def test_macd_is_ta_libs_after_its_warm_up() -> None:
    closes = walk()
    lines = by_column(lambda column: talib.MACD(column)[0], closes), by_column(lambda column: talib.MACD(column)[1], closes)
    for ours, theirs in zip(indicators.macd(closes), lines, strict=True):
        np.testing.assert_allclose(ours[350:], theirs[350:], atol=5e-4 * closes.max())


def test_bollinger_is_ta_libs() -> None:
    closes = walk()
    upper = by_column(lambda column: talib.BBANDS(column, 20, 2, 2)[0], closes)
    middle, deviation = indicators.bollinger(closes)
    np.testing.assert_allclose(middle + 2 * deviation, upper, rtol=1e-9)


def test_atr_is_ta_libs_after_its_warm_up() -> None:
    closes = walk()
    highs, lows = closes * 1.01, closes * 0.985
    expected = by_column(lambda high, low, close: talib.ATR(high, low, close, 14), highs, lows, closes)
    np.testing.assert_allclose(indicators.atr(highs, lows, closes)[300:], expected[300:], rtol=2e-4)


def test_true_range_reaches_to_the_close_before() -> None:
    closes = np.full((200, 1), 10.0)
    closes[-1] = 20.0
    jumped = indicators.atr(closes, closes, closes)[-1, 0]
    assert jumped == pytest.approx(10.0 * (1 / 14), rel=1e-3)


def test_rate_of_change_is_ta_libs() -> None:
    closes = walk()
    expected = by_column(lambda column: talib.ROCP(column, 126), closes)
    np.testing.assert_allclose(indicators.rate_of_change(closes, 126), expected, atol=1e-12)


def test_volatility_is_the_sample_deviation_of_returns() -> None:
    closes = walk(60, 2)
    moves = closes[1:] / closes[:-1] - 1
    for row in (20, 33, 59):
        expected = np.std(moves[row - 20 : row], axis=0, ddof=1)
        np.testing.assert_allclose(indicators.volatility(closes, 20)[row], expected, rtol=1e-12)
    assert np.isnan(indicators.volatility(closes, 20)[:20]).all()


def test_prices_that_rest_have_no_deviation_at_all() -> None:
    closes = np.full((50, 1), 0.1) * 3  # 0.30000000000000004: sums of it are inexact
    _, deviation = indicators.bollinger(closes)
    assert (deviation[19:] == 0.0).all()


@pytest.mark.parametrize("offset", [0.0, 1e6])
def test_deviation_does_not_suffer_from_a_large_mean(offset: float) -> None:
    values = np.random.default_rng(3).normal(0.0, 1e-3, (300, 1)) + offset
    _, deviation = indicators.bollinger(values, 20)
    assert deviation[-1, 0] == pytest.approx(math.sqrt(float(np.var(values[-20:] - values[-20:].mean()))), rel=1e-6)


def functions() -> list[Callable[[Matrix], Matrix]]:
    return [
        lambda closes: indicators.sma(closes, 50), lambda closes: indicators.ema(closes, 26), indicators.rsi,
        lambda closes: indicators.macd(closes)[0], lambda closes: indicators.macd(closes)[1],
        lambda closes: indicators.bollinger(closes)[1], lambda closes: indicators.atr(closes * 1.01, closes * 0.99, closes),
        indicators.volatility, lambda closes: indicators.rate_of_change(closes, 63),
    ]


@pytest.mark.parametrize("function", functions())
def test_a_nan_is_forgotten_when_its_window_has_passed(function: Callable[[Matrix], Matrix]) -> None:
    closes = walk()
    holed = closes.copy()
    holed[:30, 0] = np.nan
    holed[250, 1] = np.nan
    got, whole = function(holed), function(closes)
    assert np.isnan(got[:30, 0]).all()
    assert np.isnan(got[250, 1])
    np.testing.assert_array_equal(got[:250, 1], whole[:250, 1])
    np.testing.assert_array_equal(got[460:, :], whole[460:, :])
    np.testing.assert_array_equal(got[:, 2], whole[:, 2])


@pytest.mark.parametrize("function", functions())
@pytest.mark.parametrize("rows", [0, 1, 2, 19])
def test_too_short_a_history_is_all_nan_in_the_panels_shape(function: Callable[[Matrix], Matrix], rows: int) -> None:
    got = function(walk(rows, 2))
    assert got.shape == (rows, 2)
    assert np.isnan(got).all()


@pytest.mark.parametrize("window", [1, 2, 20])
def test_what_an_indicator_returns_is_not_its_input(window: int) -> None:
    closes = walk(60, 2)
    before = closes.copy()
    for got in (indicators.sma(closes, window), *indicators.bollinger(closes, window)):
        assert not np.shares_memory(got, closes)
    np.testing.assert_array_equal(closes, before)


@pytest.mark.parametrize("function", functions())
def test_an_indicator_leaves_its_input_as_it_was(function: Callable[[Matrix], Matrix]) -> None:
    closes = walk()
    closes.flags.writeable = False
    function(closes)


def test_in_volatilities_knows_rest_from_ignorance() -> None:
    fractions, volatilities = np.array([[0.02, 0.01, np.nan, 0.01]]), np.array([[0.01, 0.0, 0.0, np.nan]])
    np.testing.assert_array_equal(indicators.in_volatilities(fractions, volatilities), [[2.0, 0.0, np.nan, np.nan]])
