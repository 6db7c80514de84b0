"""No strategy and no regime knows the future, nor more of the past than it says.

A new strategy is tested by being registered.
"""

import numpy as np
import pytest
from numpy.typing import NDArray

from closebell.analysis import indicators
from closebell.analysis.regime import regimes
from closebell.model.panel import BarPanel, Matrix
from closebell.ports.market_data import VolatilitySeries
from closebell.strategies import STRATEGIES, Strategy, score_all
from tests.unit.strategies.panels import Scores, lookahead, market, unstable_start

PANEL = market()
ROWS = (0, 1, 40, 127, 128, 199, 200, 283, 350, 418)
LATE_ROWS = (220, 283, 351, 419)
registered = pytest.mark.parametrize("strategy", STRATEGIES.values(), ids=STRATEGIES.keys())


@registered
def test_a_prefix_and_another_future_give_the_same_rows(strategy: Strategy) -> None:
    assert lookahead(strategy.scores, PANEL, ROWS) == []


@registered
def test_the_last_row_needs_only_the_lookback(strategy: Strategy) -> None:
    assert unstable_start(strategy.scores, PANEL, strategy.lookback_sessions, LATE_ROWS) == []


@registered
def test_the_lookback_is_not_overstated(strategy: Strategy) -> None:
    steady = market().columns(("S0", "S4", "S5"))
    tail = steady.rows(slice(420 - strategy.lookback_sessions, None))
    assert np.isfinite(strategy.scores(tail)[-1]).all()
    assert np.isnan(strategy.scores(tail.rows(slice(1, None)))[-1]).all()


@registered
def test_the_shortest_history_allowed_is_enough(strategy: Strategy) -> None:
    assert strategy.lookback_sessions <= 220


@registered
def test_a_symbol_is_judged_by_its_own_column(strategy: Strategy) -> None:
    whole = strategy.scores(PANEL)
    for column, symbol in enumerate(PANEL.symbols):
        np.testing.assert_array_equal(strategy.scores(PANEL.columns((symbol,)))[:, 0], whole[:, column])


def test_all_scores_together_do_not_look_ahead() -> None:
    assert lookahead(lambda panel: np.hstack(list(score_all(STRATEGIES, panel).values())), PANEL, (40, 283)) == []


def regime_columns(panel: BarPanel) -> Matrix:
    """The regime as numbers, with a VIX made from the sessions' own highs: another future brings another VIX."""
    vix = VolatilitySeries(panel.sessions[::3], 10.0 + 20.0 * (panel.high[::3, 0] / panel.low[::3, 0] - 1.0) / 0.03)
    got = regimes(panel.sessions, panel.close[:, 0], vix)
    codes: NDArray[np.float64] = np.column_stack([
        np.unique([*got.trend, "bear", "bull", "sideways", "unknown"], return_inverse=True)[1][: len(got.trend)],
        np.unique([*got.volatility, "high", "low", "normal", "unknown"], return_inverse=True)[1][: len(got.trend)],
        got.level,
    ]).astype(np.float64)
    return codes


def test_the_regime_does_not_look_ahead() -> None:
    assert lookahead(regime_columns, PANEL, ROWS) == []


def test_the_regime_of_a_short_history_is_that_of_a_long_one() -> None:
    closes, sessions = PANEL.close[:, 0], PANEL.sessions
    for row in LATE_ROWS:
        recent = slice(row + 1 - 220, row + 1)
        assert regimes(sessions[recent], closes[recent], None).at(-1) == regimes(sessions, closes, None).at(row)


def _tomorrow(panel: BarPanel) -> Matrix:
    return np.vstack([panel.close[1:] / panel.close[:-1] - 1.0, np.full((1, len(panel.symbols)), np.nan)])


def _scaled_by_the_whole_history(panel: BarPanel) -> Matrix:
    return np.asarray(panel.close / np.fmax.reduce(panel.close, axis=0))


def _centred_mean(panel: BarPanel) -> Matrix:
    means = indicators.sma(panel.close, 11)
    return np.asarray(panel.close - np.vstack([means[5:], means[-5:]]))


def _counts_from_the_end(panel: BarPanel) -> Matrix:
    return np.where(np.arange(len(panel.sessions))[::-1, None] % 2, panel.close, -panel.close)


def _filled_backwards(panel: BarPanel) -> Matrix:
    closes = panel.close.copy()
    closes[:-1] = np.where(np.isnan(closes[:-1]), closes[1:], closes[:-1])
    return closes


@pytest.mark.parametrize(
    "cheat", [_tomorrow, _scaled_by_the_whole_history, _centred_mean, _counts_from_the_end, _filled_backwards]
)
def test_a_planted_lookahead_is_caught(cheat: Scores) -> None:
    assert lookahead(cheat, PANEL, (40, 104, 127, 209, 283))


def _since_the_first_bar(panel: BarPanel) -> Matrix:
    return np.asarray(np.cumsum(np.nan_to_num(panel.close), axis=0))


def test_a_planted_dependence_on_the_first_bar_is_caught() -> None:
    assert lookahead(_since_the_first_bar, PANEL, ROWS) == []
    assert unstable_start(_since_the_first_bar, PANEL, 200, LATE_ROWS)
