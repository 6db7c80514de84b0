"""The backtests of a validation, one after another or in processes side by side: the results and their order are the same."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NamedTuple

from closebell.backtest.process_pool import ProcessPool
from closebell.backtest.validation.splits import SessionSpan
from closebell.backtest.validation.stress import STRESSES, stressed
from closebell.backtest.validation.trials import TrialResult, TrialTerms, run_trial
from closebell.model.parameters import ParameterSet


class AskedRun(NamedTuple):
    """One backtest: a trial by its name, or the configuration under a stress by the stress's."""

    name: str
    parameters: ParameterSet
    is_stress: bool


@dataclass(frozen=True, eq=False)
class RunGround:
    """What all of them have in common. Called with one it trades it."""

    terms: TrialTerms
    span: SessionSpan
    seed: int

    def __call__(self, asked: AskedRun) -> TrialResult:
        if asked.is_stress:
            return stressed(asked.name, self.terms, asked.parameters, self.span, self.seed)
        return run_trial(asked.name, self.terms, asked.parameters, self.span)


@contextmanager
def validation_runs(
    ground: RunGround, trials: Mapping[str, ParameterSet], configured: ParameterSet, workers_count: int
) -> Iterator[Iterator[TrialResult]]:
    """The trials' results, then those of the configuration under each stress, each as soon as it and all before it are done.

    One worker is this process itself. Iterating raises the first error in that order: as `run_backtest`, or DataError when the
    process of a run died.
    """
    asked = {f"trial {name}": AskedRun(name, parameters, is_stress=False) for name, parameters in trials.items()}
    asked |= {f"stress {name}": AskedRun(name, configured, is_stress=True) for name in STRESSES}
    if workers_count == 1:
        yield map(ground, asked.values())
    else:
        with ProcessPool(ground, workers_count) as pool:
            yield pool.in_order(asked)
