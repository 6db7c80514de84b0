"""The regime: its rule row by row, the VIX's dates, and a real year."""

import math
from datetime import date, timedelta

import numpy as np
import pytest
from numpy.typing import NDArray

from closebell.analysis.regime import regimes
from closebell.model.decision import Regime, Trend, Volatility
from closebell.model.instruments import Market
from closebell.ports.market_data import VolatilitySeries
from tests.unit.analysis.real_prices import between, sp500_closes, stocks, vix


def weekdays(count: int, first: str = "2018-01-01") -> NDArray[np.datetime64]:
    return np.busday_offset(first, np.arange(count), roll="forward").astype("datetime64[D]")


def series(**closes: float) -> VolatilitySeries:
    """VIX closes by date: `d2018_01_05=12.0`."""
    return VolatilitySeries(
        np.array([name[1:].replace("_", "-") for name in closes], dtype="datetime64[D]"), np.array(list(closes.values()))
    )


def naive_trend(closes: list[float]) -> Trend:
    if len(closes) < 200:
        return Trend.UNKNOWN
    short, middle, long = (math.fsum(closes[-window:]) / window for window in (20, 50, 200))
    if closes[-1] > long and short > middle > long:
        return Trend.BULL
    if closes[-1] < long and short < middle < long:
        return Trend.BEAR
    return Trend.SIDEWAYS


def test_trend_is_the_rule_applied_by_a_loop() -> None:
    rows = between(stocks(), "2006-01-01", "2010-12-31")
    closes = sp500_closes()[rows]
    got = regimes(stocks().sessions[rows], closes, None).trend
    expected = [naive_trend(closes[: row + 1].tolist()) for row in range(len(closes))]
    assert got.tolist() == expected
    assert set(expected) == set(Trend)


def test_a_market_that_rests_goes_sideways() -> None:
    assert regimes(weekdays(220), np.full(220, 0.1) * 3, None).at(-1).trend is Trend.SIDEWAYS


@pytest.mark.parametrize(
    ("points", "volatility"),
    [(14.99, Volatility.LOW), (15.0, Volatility.NORMAL), (25.0, Volatility.NORMAL), (25.01, Volatility.HIGH)],
)
def test_volatility_by_the_vix(points: float, volatility: Volatility) -> None:
    regime = regimes(weekdays(3), np.array([1.0, 2.0, 3.0]), series(d2018_01_03=points)).at(2)
    assert (regime.volatility, regime.volatility_index_score, regime.volatility_source) == (volatility, points, "vix")


def test_a_vix_close_counts_from_its_date_for_five_weekdays() -> None:
    sessions = weekdays(12)
    got = regimes(sessions, np.full(12, 100.0), series(d2018_01_03=20.0))
    assert got.source.tolist() == ["none"] * 2 + ["vix"] * 6 + ["none"] * 4


def test_the_age_of_a_vix_close_does_not_depend_on_the_first_session() -> None:
    late = weekdays(3, "2018-02-01")
    assert regimes(late, np.full(3, 100.0), series(d2018_01_03=20.0)).source.tolist() == ["none"] * 3


def test_a_vix_of_tomorrow_is_not_known_today() -> None:
    sessions = weekdays(30)
    known, future = series(d2018_01_03=12.0), series(d2018_01_03=12.0, d2018_01_04=40.0)
    one, other = regimes(sessions, np.full(30, 100.0), known), regimes(sessions, np.full(30, 100.0), future)
    assert one.at(2) == other.at(2)
    assert other.at(3).volatility is Volatility.HIGH


@pytest.mark.parametrize("bad", [math.nan, 0.0, -1.0])
def test_a_vix_that_cannot_be_is_passed_over(bad: float) -> None:
    regime = regimes(weekdays(5), np.full(5, 100.0), series(d2018_01_03=12.0, d2018_01_04=bad)).at(3)
    assert regime.volatility_index_score == 12.0


@pytest.mark.parametrize(("market", "year_sessions"), [(Market.US_EQUITY, 252), (Market.CRYPTO, 365)])
def test_realised_volatility_stands_in(market: Market, year_sessions: int) -> None:
    moves = np.random.default_rng(5).normal(0.0, 0.02, 60)
    closes = np.asarray(100.0 * np.cumprod(1.0 + moves), dtype=np.float64)
    regime = regimes(weekdays(60), closes, None, market).at(-1)
    expected = float(np.std(closes[-20:] / closes[-21:-1] - 1.0, ddof=1)) * math.sqrt(year_sessions) * 100
    assert regime.volatility_source == "realised"
    assert regime.volatility_index_score == pytest.approx(expected, abs=1e-4)
    assert regime.volatility is Volatility.HIGH


def test_before_anything_is_known_nothing_is_claimed() -> None:
    unknown = Regime(trend=Trend.UNKNOWN, volatility=Volatility.UNKNOWN, volatility_index_score=None, volatility_source="none")
    assert regimes(weekdays(1), np.array([100.0]), None).at(0) == unknown


def test_crypto_weekends_use_fridays_vix() -> None:
    days = np.array([date(2018, 1, 5) + timedelta(days=ahead) for ahead in range(3)], dtype="datetime64[D]")
    assert regimes(days, np.full(3, 100.0), series(d2018_01_05=30.0)).source.tolist() == ["vix"] * 3


def test_autumn_2018_turned_from_calm_bull_to_nervous() -> None:
    rows = between(stocks(), "2017-06-01", "2018-12-31")
    got = regimes(stocks().sessions[rows], sp500_closes()[rows], vix())
    days = {str(session): row for row, session in enumerate(stocks().sessions[rows])}
    calm, christmas = got.at(days["2018-10-01"]), got.at(days["2018-12-24"])
    assert (calm.trend, calm.volatility, calm.volatility_index_score) == (Trend.BULL, Volatility.LOW, 12.0)
    assert (christmas.trend, christmas.volatility, christmas.volatility_index_score) == (Trend.BEAR, Volatility.HIGH, 36.07)
