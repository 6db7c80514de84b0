"""What each strategy makes of prices whose meaning is plain, and of real ones."""

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from closebell import strategies
from closebell.analysis import indicators
from closebell.model.errors import ConfigurationError
from closebell.model.panel import BarPanel
from closebell.strategies import STRATEGIES, score_all
from tests.unit.analysis.real_prices import between, stocks
from tests.unit.backtest.markets import seeded_panel
from tests.unit.strategies.panels import market


def last_score(name: str, closes: NDArray[np.float64]) -> float:
    """A strategy's last score on one symbol's closes."""
    bars = closes[:, None]
    sessions = np.busday_offset("2016-01-04", np.arange(len(closes)), roll="forward").astype("datetime64[D]")
    return float(score_all([name], BarPanel(sessions, ("X",), bars, bars, bars, bars, np.full(bars.shape, np.nan)))[name][-1, 0])


def drifting(daily_frac: float, rows: int = 260, seed: int = 2) -> NDArray[np.float64]:
    return np.asarray(100.0 * np.cumprod(1.0 + daily_frac + np.random.default_rng(seed).normal(0.0, 0.004, rows)))


RISING, FALLING = drifting(0.004), drifting(-0.004)


@pytest.mark.parametrize("name", ["sma_cross", "momentum"])
def test_trend_followers_buy_what_rises_and_sell_what_falls(name: str) -> None:
    assert last_score(name, RISING) == 1.0
    assert last_score(name, FALLING) == -1.0


def test_a_cross_is_a_vote_from_its_first_session() -> None:
    closes = np.concatenate([np.full(80, 100.0), [100.0, 99.9, 100.2]])
    assert last_score("sma_cross", closes) >= 0.25
    assert last_score("sma_cross", 200.0 - closes) <= -0.25


def test_equal_averages_are_no_cross_however_they_were_summed() -> None:
    closes = np.tile([0.1, 0.7, 0.3, 0.9, 0.2], 40)
    assert last_score("sma_cross", closes) == 0.0


def test_macd_buys_the_turn_up_and_sells_the_turn_down() -> None:
    turned_up = np.concatenate([drifting(-0.004), drifting(-0.004)[-1] * drifting(0.006, 12) / 100.0])
    assert last_score("macd", turned_up) >= 0.2
    turned_down = np.concatenate([RISING, RISING[-1] * drifting(-0.006, 12) / 100.0])
    assert last_score("macd", turned_down) <= -0.2


def test_rsi_buys_a_setback_in_an_uptrend_only() -> None:
    setback = np.concatenate([RISING, RISING[-1] * np.cumprod(np.full(9, 0.985))])
    assert last_score("rsi", setback) >= 0.2
    assert last_score("rsi", np.concatenate([FALLING, FALLING[-1] * np.cumprod(np.full(9, 0.985))])) == 0.0
    bounce = np.concatenate([FALLING, FALLING[-1] * np.cumprod(np.full(9, 1.015))])
    assert last_score("rsi", bounce) <= -0.2
    assert last_score("rsi", RISING) == 0.0


def test_mean_reversion_buys_far_below_the_mean_and_sells_far_above() -> None:
    calm = 100.0 + np.tile([0.5, -0.5], 20)
    assert last_score("mean_reversion", np.append(calm, 97.0)) == pytest.approx(1.0)
    assert last_score("mean_reversion", np.append(calm, 103.0)) == pytest.approx(-1.0)
    assert last_score("mean_reversion", calm) == 0.0


@pytest.mark.parametrize("name", STRATEGIES)
def test_prices_that_rest_are_no_opinion(name: str) -> None:
    assert last_score(name, np.full(260, 0.1) * 3) == 0.0


@pytest.mark.parametrize("name", STRATEGIES)
def test_scores_stay_within_one_and_say_when_they_cannot_know(name: str) -> None:
    panel = market()
    scores = score_all([name], panel)[name]
    known = scores[np.isfinite(scores)]
    assert scores.shape == panel.close.shape
    assert known.min() >= -1.0
    assert known.max() <= 1.0
    assert np.isnan(scores[: STRATEGIES[name].lookback_sessions - 1]).all()
    hole = panel.close.shape[0] // 2
    assert np.isnan(scores[hole : hole + 22, 2]).any()
    assert np.isfinite(scores[-1]).all()


@pytest.mark.parametrize("name", STRATEGIES)
def test_every_strategy_takes_both_sides_on_real_prices(name: str) -> None:
    panel = stocks().rows(between(stocks(), "2014-01-02", "2018-12-31"))
    scores = score_all([name], panel)[name][220:]
    assert 0.02 < np.mean(scores >= 0.2) < 0.8
    assert 0.02 < np.mean(scores <= -0.2) < 0.8


@pytest.mark.parametrize("rows", [0, 1, 19])
def test_too_short_a_history_scores_nothing(rows: int) -> None:
    for scores in score_all(STRATEGIES, market().rows(slice(0, rows))).values():
        assert scores.shape == (rows, 6)
        assert np.isnan(scores).all()


def test_scoring_in_blocks_is_scoring_each_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    panel = market(300, 37)
    monkeypatch.setattr(strategies, "_BLOCK_CELLS", 300 * 16 + 200)
    together = score_all(STRATEGIES, panel)
    assert list(together) == list(STRATEGIES)
    for name, strategy in STRATEGIES.items():
        np.testing.assert_array_equal(together[name], np.round(strategy.scores(panel), 4))


def test_an_unknown_strategy_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ConfigurationError, match="'sma_cros' does not exist; the known ones are sma_cross, rsi, macd"):
        score_all(["rsi", "sma_cros"], market(30))


def test_every_score_is_what_its_words_say_in_plain_numbers() -> None:
    panel = seeded_panel(5, 260, 4)
    scores = {name: matrix[-1] for name, matrix in score_all(STRATEGIES, panel).items()}
    line, signal = indicators.macd(panel.close)
    for column in range(len(panel.symbols)):
        closes = panel.close[:, column]
        moves = closes[1:] / closes[:-1] - 1
        daily = float(np.std(moves[-20:], ddof=1))
        away = (np.mean(closes[-20:]) - closes[-1]) / np.std(closes[-20:])
        expected = {"mean_reversion": np.sign(away) * np.clip((abs(away) - 1) / 2, 0, 1)}
        risen = closes[-22] / closes[-148] - 1
        expected["momentum"] = np.clip(risen / np.std(moves[-147:-21], ddof=1) / math.sqrt(126) / 1.5, -1, 1)
        spread = float(np.mean(closes[-20:]) / np.mean(closes[-50:])) - 1
        expected["sma_cross"] = np.sign(spread) * (0.25 + 0.75 * min(abs(spread) / daily / 4, 1))
        expected["macd"] = np.clip((line[-1, column] - signal[-1, column]) / closes[-1] / daily, -1, 1)
        weakness = np.clip((50 - indicators.rsi(panel.close)[-1, column]) / 30, -1, 1)
        rises = closes[-1] > np.mean(closes[-200:])
        expected["rsi"] = max(weakness, 0) if rises else min(weakness, 0)
        assert expected.keys() == scores.keys()
        for name, value in expected.items():
            assert scores[name][column] == pytest.approx(value, abs=1e-4), (name, column)
