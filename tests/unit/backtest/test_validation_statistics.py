"""The statistics of a validation: published numbers, naive loops, and what they say about noise and about an edge."""

import math
from itertools import combinations

import numpy as np
import pytest

from closebell.backtest.summary import Floats
from closebell.backtest.validation.statistics import (
    bootstrapped_drawdowns,
    break_even_win_rate_frac,
    deepest_drawdown_frac,
    deflated_sharpe,
    expected_max_sharpe_annual,
    overfitting,
    reordered_drawdowns,
    superior_p_value,
    total_return_frac,
)


def noise(seed: int, sessions_count: int, trials_count: int, drift_frac: float = 0.0) -> Floats:
    return np.random.default_rng(seed).normal(drift_frac, 0.01, (sessions_count, trials_count))


def published_trials(sessions_a_year: int) -> Floats:
    """A hundred annual Sharpe ratios whose variance a session is 1/2 of 1/250, as in the paper's example."""
    values = np.linspace(-1.0, 1.0, 100)
    return values / np.std(values, ddof=1) * math.sqrt(0.5 / 250 * sessions_a_year)


def published_returns() -> Floats:
    """1 250 returns, Sharpe ratio 2.5 in 250 sessions, skewness -3, kurtosis 10: only two different values have all that."""
    returns = np.ones(1250)
    returns[::12] = 0.0
    deviation = float(np.std(returns, ddof=1))
    return 0.01 * ((returns - float(np.mean(returns))) / deviation + 2.5 / math.sqrt(250))


@pytest.mark.parametrize("sessions_a_year", [252, 365])
def test_the_papers_example_has_its_published_numbers(sessions_a_year: int) -> None:
    """Bailey and Lopez de Prado 2014: 0.1132 a session is what luck shows, 0.9004 the probability of skill."""
    trials = published_trials(sessions_a_year)
    expected = expected_max_sharpe_annual(trials) / math.sqrt(sessions_a_year)
    assert expected == pytest.approx(0.11317, abs=5e-5)
    assert deflated_sharpe(published_returns(), trials, sessions_a_year) == pytest.approx(0.9004, abs=2e-3)


def test_more_trials_deflate_more_and_without_variation_nothing_is_said() -> None:
    returns = noise(1, 500, 1, 0.0008)[:, 0]
    few, many = (deflated_sharpe(returns, np.linspace(-1, 1, count), 252) for count in (3, 300))
    assert few is not None
    assert many is not None
    assert few > many
    assert deflated_sharpe(np.zeros(50), np.array([0.0, 1.0]), 252) is None
    assert expected_max_sharpe_annual(np.array([1.0])) == 0.0


def naive_pbo(returns: Floats, blocks_count: int) -> float:
    """Every balanced choice of blocks: the rank, in the other half, of the best of this one."""
    blocks = np.split(returns, blocks_count)
    below = []
    for chosen in combinations(range(blocks_count), blocks_count // 2):
        inside = np.vstack([blocks[at] for at in chosen])
        outside = np.vstack([blocks[at] for at in range(blocks_count) if at not in chosen])
        best = int(np.argmax(inside.mean(axis=0) / inside.std(axis=0, ddof=1)))
        after = outside.mean(axis=0) / outside.std(axis=0, ddof=1)
        rank = sum(after[other] <= after[best] for other in range(len(after)))
        below.append(rank / (len(after) + 1) <= 0.5)
    return float(np.mean(below))


def test_the_probability_of_overfitting_is_that_of_a_naive_loop() -> None:
    for seed in (1, 2, 3):
        returns = noise(seed, 120, 7)
        found = overfitting(returns, 6)
        assert found is not None
        assert found.pbo_frac == pytest.approx(naive_pbo(returns, 6))


def test_a_trial_with_an_edge_is_found_again_in_the_other_half_and_noise_is_not() -> None:
    lucky = noise(4, 400, 10)
    skilled = lucky.copy()
    skilled[:, 3] += 0.004
    idle = np.column_stack([skilled, np.zeros(400)])
    found, chance, beside_idle = overfitting(skilled), overfitting(lucky), overfitting(idle)
    assert found is not None
    assert chance is not None
    assert (found.pbo_frac, found.loss_frac) == (0.0, 0.0)
    assert chance.pbo_frac > 0.2
    assert chance.loss_frac > 0.2
    assert beside_idle == found
    assert overfitting(np.zeros((400, 5))) is None


def test_the_best_of_noise_is_not_superior_to_cash_and_an_edge_is() -> None:
    chance, skilled = noise(5, 300, 12), noise(5, 300, 12)
    skilled[:, 0] += 0.003
    alone = superior_p_value(chance, seed=1)
    found = superior_p_value(skilled, seed=1)
    assert alone is not None
    assert alone > 0.1
    assert found is not None
    assert found < 0.01
    assert superior_p_value(chance, seed=1) == alone
    assert superior_p_value(np.zeros((300, 3)), seed=1) is None


def test_bootstrapped_drawdowns_agree_with_a_naive_loop_over_independent_sessions() -> None:
    returns = noise(6, 250, 1, 0.0003)[:, 0]
    drawn = bootstrapped_drawdowns(returns, seed=3, draws_count=600)
    generator = np.random.default_rng(8)
    naive = [deepest_drawdown_frac(generator.choice(returns, 250)) for _ in range(600)]
    assert np.median(drawn) == pytest.approx(np.median(naive), rel=0.1)
    assert np.array_equal(drawn, bootstrapped_drawdowns(returns, seed=3, draws_count=600))
    assert (np.diff(drawn) >= 0).all()
    assert bootstrapped_drawdowns(np.zeros(20), seed=3, draws_count=4).tolist() == [0.0] * 4


def test_reordered_trades_range_from_the_kindest_to_the_worst_order() -> None:
    drawn = reordered_drawdowns(np.array([50.0, -10.0, -20.0]), 100.0, seed=1, draws_count=200)
    possible = {0.1, 0.2, 0.3, 30 / 150, 20 / 150, 20 / 140, 10 / 130}
    assert drawn[0] == pytest.approx(20 / 140)
    assert drawn[-1] == pytest.approx(0.3)
    assert {round(value, 9) for value in drawn} <= {round(value, 9) for value in possible}
    assert reordered_drawdowns(np.array([]), 100.0, seed=1, draws_count=3).tolist() == [0.0] * 3


def test_small_numbers_by_hand() -> None:
    assert total_return_frac(np.array([0.1, -0.1])) == pytest.approx(-0.01)
    assert deepest_drawdown_frac(np.array([-0.1, 0.5, -0.2, -0.5])) == pytest.approx(0.6)
    assert break_even_win_rate_frac(np.array([30.0, -10.0, -10.0])) == pytest.approx(0.25)
    assert break_even_win_rate_frac(np.array([30.0])) is None


def test_a_trade_that_earns_nothing_is_no_win() -> None:
    assert break_even_win_rate_frac(np.array([30.0, 0.0, -10.0])) == pytest.approx(5 / 35)


def test_a_trial_that_stood_still_in_half_of_the_blocks_is_not_compared() -> None:
    returns = noise(4, 120, 6)
    rested = returns[:, :1].copy()
    rested[60:] = 0.0
    assert overfitting(np.hstack([returns, rested]), 6) == overfitting(returns, 6)


def test_a_history_of_spells_falls_deeper_than_its_sessions_one_by_one() -> None:
    returns = np.repeat(noise(8, 25, 1)[:, 0], 20) / 5
    one_by_one = np.random.default_rng(1).permutation(returns)
    assert np.median(bootstrapped_drawdowns(returns, 3, 300)) > 1.5 * np.median(bootstrapped_drawdowns(one_by_one, 3, 300))


def test_an_edge_among_many_that_lose_a_little_is_what_luck_shows() -> None:
    """Those that lose a little could as well have won: the best of them all is the best of many."""
    trials = noise(4, 300, 31)
    trials -= trials.mean(axis=0)
    trials[:, 0] += 0.0013
    trials[:, 1:] -= 0.0006
    found = superior_p_value(trials, seed=1)
    assert found is not None
    assert found > 0.2
