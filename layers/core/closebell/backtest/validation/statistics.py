"""What tells skill from luck: statistics of returns, as pure functions of float arrays. Chance comes from a seed.

Returns are of sessions, as fractions, and `sessions_a_year` is the market's; trials are columns. Where a number has no meaning it
is None. ffn, arch and pandas are imported where something is computed and nowhere else: they take longer to load than most
commands take.
"""

from __future__ import annotations

import math
from itertools import combinations
from typing import NamedTuple

import numpy as np

from closebell.backtest.summary import Floats, drawdowns_frac, sharpe_annual

BLOCKS_COUNT = 10
"""Blocks of the combinatorial cross-validation: 252 ways to choose half of them."""
DRAWS_COUNT = 1000


class Overfitting(NamedTuple):
    """What choosing the best trial by its past is worth, over all balanced halves of the sessions.

    Parameters
    ----------
    pbo_frac
        Probability of backtest overfitting: how often the best of one half is at or below the median of the other half.
    loss_frac
        How often the best of one half loses money in the other half.
    trials_count
        Trials that traded enough to be judged.
    """

    pbo_frac: float
    loss_frac: float
    trials_count: int


def expected_max_sharpe_annual(trial_sharpes_annual: Floats) -> float:
    """The Sharpe ratio that the best of so many trials without skill is expected to show."""
    from ffn import calc_expected_max_sharpe

    spread = float(np.std(trial_sharpes_annual, ddof=1)) if len(trial_sharpes_annual) > 1 else 0.0
    return float(calc_expected_max_sharpe(max(len(trial_sharpes_annual), 1), spread))


def deflated_sharpe(returns: Floats, trial_sharpes_annual: Floats, sessions_a_year: int) -> float | None:
    """The probability that the true Sharpe ratio is above zero, given how many trials it was chosen from.

    Bailey and Lopez de Prado, The Deflated Sharpe Ratio, Journal of Portfolio Management 40(5), 2014.
    """
    import pandas as pd
    from ffn import calc_deflated_sharpe_ratio

    if len(returns) < 3 or not len(trial_sharpes_annual):
        return None
    return _finite(calc_deflated_sharpe_ratio(pd.Series(returns), trial_sharpes_annual, nperiods=sessions_a_year))


def overfitting(returns: Floats, blocks_count: int = BLOCKS_COUNT) -> Overfitting | None:
    """Combinatorially symmetric cross-validation over sessions x trials; None with fewer than two trials that trade.

    A trial that stood still in half of the blocks or more has no Sharpe ratio in some halves and is left out.
    Bailey, Borwein, Lopez de Prado and Zhu, The Probability of Backtest Overfitting, J. of Computational Finance 20(4), 2017.
    """
    import pandas as pd
    from ffn import calc_prob_backtest_overfitting

    rows_count = len(returns) // blocks_count * blocks_count
    if rows_count < 2 * blocks_count:
        return None
    blocks = returns[:rows_count].reshape(blocks_count, rows_count // blocks_count, -1)
    moving = (np.ptp(blocks, axis=1) > 0).sum(axis=0) > blocks_count // 2
    if moving.sum() < 2:
        return None
    judged = blocks[:, :, moving]
    pbo = _finite(calc_prob_backtest_overfitting(pd.DataFrame(judged.reshape(rows_count, -1)), n_blocks=blocks_count))
    return None if pbo is None else Overfitting(pbo, _loss_frac(judged), int(moving.sum()))


def _loss_frac(blocks: Floats) -> float:
    """How often the best of one half has a mean return of zero or less in the other; blocks x sessions x trials."""
    everything = set(range(len(blocks)))
    losses = []
    for chosen in combinations(range(len(blocks)), len(blocks) // 2):
        inside = blocks[list(chosen)].reshape(-1, blocks.shape[2])
        outside = blocks[sorted(everything - set(chosen))].reshape(-1, blocks.shape[2])
        best = int(np.argmax(inside.mean(axis=0) / inside.std(axis=0, ddof=1)))
        losses.append(outside[:, best].mean() <= 0.0)
    return float(np.mean(losses))


def superior_p_value(returns: Floats, seed: int, draws_count: int = DRAWS_COUNT) -> float | None:
    """Hansen's test of superior predictive ability against cash: the p-value of "no trial earns more than nothing".

    `returns` is sessions x trials; trials that never trade are left out. Hansen, A Test for Superior Predictive Ability,
    Journal of Business and Economic Statistics 23(4), 2005; the consistent p-value.
    """
    from arch.bootstrap import SPA

    moving = returns[:, np.ptp(returns, axis=0) > 0]
    if not moving.shape[1] or len(moving) < 3:
        return None
    test = SPA(np.zeros(len(moving)), -moving, reps=draws_count, seed=seed)
    test.compute()
    return float(test.pvalues["consistent"])


def bootstrapped_drawdowns(returns: Floats, seed: int, draws_count: int = DRAWS_COUNT) -> Floats:
    """The deepest drawdown (fraction) of each of `draws_count` histories that the stationary bootstrap draws, ascending.

    Politis and Romano, The Stationary Bootstrap, JASA 89, 1994; blocks of the length that Politis and White 2004 choose.
    """
    from arch.bootstrap import StationaryBootstrap, optimal_block_length

    if len(returns) < 3 or np.ptp(returns) == 0:
        return np.full(draws_count, deepest_drawdown_frac(returns))
    length = _finite(optimal_block_length(returns)["stationary"].iloc[0])
    block = max(round(length if length is not None else math.sqrt(len(returns))), 1)
    drawn = StationaryBootstrap(block, returns, seed=seed).apply(_deepest_drawdown, draws_count)
    return np.sort(drawn[:, 0])


def reordered_drawdowns(pnl_usd: Floats, cash_usd: float, seed: int, draws_count: int = DRAWS_COUNT) -> Floats:
    """The deepest drawdown (fraction) of the same trades in `draws_count` random orders, one after the other, ascending."""
    generator = np.random.default_rng(seed)
    equity = cash_usd + np.cumsum([generator.permutation(pnl_usd) for _ in range(draws_count)], axis=1)
    curves = np.column_stack([np.full(draws_count, cash_usd), equity])
    return np.sort([float(drawdowns_frac(curve).max()) for curve in curves])


def deepest_drawdown_frac(returns: Floats) -> float:
    """How far the account fell below its highest value (0.05 is five percent)."""
    return float(drawdowns_frac(np.concatenate([[1.0], np.cumprod(1.0 + returns)])).max())


def _deepest_drawdown(returns: Floats) -> Floats:
    return np.array([deepest_drawdown_frac(returns)])


def total_return_frac(returns: Floats) -> float:
    """What one dollar has earned at the end."""
    return float(np.prod(1.0 + returns) - 1.0)


def sharpe_or_zero(returns: Floats, sessions_a_year: int) -> float:
    """The annual Sharpe ratio; zero for an account that stood still."""
    return sharpe_annual(returns, sessions_a_year) or 0.0


def break_even_win_rate_frac(pnl_usd: Floats) -> float | None:
    """The win rate at which trades with these mean gains and losses earn nothing; None without both kinds."""
    gains, losses = pnl_usd[pnl_usd > 0], -pnl_usd[pnl_usd <= 0]
    if not len(gains) or not len(losses):
        return None
    return float(losses.mean() / (gains.mean() + losses.mean()))


def _finite(value: object) -> float | None:
    number = float(str(value))
    return number if math.isfinite(number) else None
