"""A seeded search by optuna: later points are drawn where earlier ones did well."""

from collections.abc import Sequence

import optuna

from closebell.backtest.sweeps.points import SweepAxis, SweepPoint, point_of
from closebell.backtest.sweeps.search import score_of
from closebell.backtest.sweeps.store import PointResult
from closebell.model.parameters import ParameterSet

BATCH_COUNT = 4
"""Points drawn before any of them is known. Not the number of processes: how many there are must not change what is tried."""


class OptunaSearch:
    """Implements `Search` with optuna's tree-structured Parzen estimator.

    Equal seeds draw equal points as long as the results are equal, so an interrupted search goes on by being repeated: what was
    tried is in the sweep's folder.

    Parameters
    ----------
    axes
        What is searched. Ascending numbers are searched as such, anything else as a choice.
    base
        The configuration that the rest comes from.
    points_count
        How many points are drawn; one that is drawn again is not traded again.
    objective
        The number to do well in.
    seed
        Of the draws.
    """

    def __init__(self, axes: Sequence[SweepAxis], base: ParameterSet, points_count: int, objective: str, seed: int) -> None:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self.points_count, self._left_count = points_count, points_count
        self._axes, self._base, self._objective = axes, base, objective
        self._study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=seed))
        self._asked: list[optuna.trial.Trial] = []

    def next_batch(self) -> Sequence[SweepPoint]:
        count = min(BATCH_COUNT, self._left_count)
        self._left_count -= count
        self._asked = [self._study.ask() for _ in range(count)]
        return [point_of(self._base, {axis.name: _drawn(trial, axis) for axis in self._axes}) for trial in self._asked]

    def tell(self, results: Sequence[PointResult]) -> None:
        for trial, result in zip(self._asked, results, strict=True):
            score = score_of(result, self._objective)
            if score is None:
                self._study.tell(trial, state=optuna.trial.TrialState.FAIL)
            else:
                self._study.tell(trial, score)


def _drawn(trial: optuna.trial.Trial, axis: SweepAxis) -> str:
    if axis.is_ordered:
        return axis.values[trial.suggest_int(axis.name, 0, len(axis.values) - 1)]
    return str(trial.suggest_categorical(axis.name, axis.values))
