"""The walk forward: again and again choose the trial that was best so far, and count only what it earned afterwards.

Each trial is one unbroken account, of which a fold takes its sessions; what the change from one trial's positions to another's
would cost at a fold's edge is not counted.
"""

from collections.abc import Sequence
from datetime import date
from typing import NamedTuple

import numpy as np

from closebell.backtest.summary import Floats
from closebell.backtest.validation.splits import FoldRows, SessionSpan
from closebell.backtest.validation.statistics import sharpe_or_zero, total_return_frac


class Fold(NamedTuple):
    """The trial chosen on one span, and what it earned in the next."""

    in_sample: SessionSpan
    out_of_sample: SessionSpan
    chosen: str
    in_sample_sharpe_annual_ratio: float
    out_of_sample_sharpe_annual_ratio: float
    out_of_sample_return_frac: float


class WalkForward(NamedTuple):
    """The folds, and the returns of their out-of-sample spans, stitched together."""

    folds: list[Fold]
    returns: Floats


def walk_forward(
    names: Sequence[str], returns: Floats, days: Sequence[date], rows: Sequence[FoldRows], sessions_a_year: int
) -> WalkForward:
    """Walk through sessions x trials."""
    folds, stitched = [], []
    for fold in rows:
        best = best_trial(returns[fold.in_sample], sessions_a_year)
        after = returns[fold.out_of_sample, best]
        stitched.append(after)
        folds.append(Fold(
            in_sample=_span(days, fold.in_sample),
            out_of_sample=_span(days, fold.out_of_sample),
            chosen=names[best],
            in_sample_sharpe_annual_ratio=sharpe_or_zero(returns[fold.in_sample, best], sessions_a_year),
            out_of_sample_sharpe_annual_ratio=sharpe_or_zero(after, sessions_a_year),
            out_of_sample_return_frac=total_return_frac(after),
        ))  # fmt: skip
    return WalkForward(folds, np.concatenate(stitched))


def best_trial(returns: Floats, sessions_a_year: int) -> int:
    """The column with the highest Sharpe ratio; the first of equals."""
    return int(np.argmax([sharpe_or_zero(column, sessions_a_year) for column in returns.T]))


def _span(days: Sequence[date], rows: slice) -> SessionSpan:
    return SessionSpan(days[rows.start], days[rows.stop - 1])
