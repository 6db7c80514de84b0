"""One validation from its request to its findings.

The holdout's bars are cut off before anything is traded: no trial, statistic or stress can see them. They come back for one run,
of the configuration as it is, when the owner opens the seal.
"""

from dataclasses import dataclass
from datetime import date, datetime
from typing import NamedTuple

import numpy as np

from closebell.backtest.desk.known_evidence import universe_panel
from closebell.backtest.run import span_of
from closebell.backtest.summary import Floats
from closebell.backtest.validation.folder import HoldoutResult, HoldoutSeal, TrialLine, ValidationFolder, configuration_sha256
from closebell.backtest.validation.random_timing import RandomTiming, random_timing
from closebell.backtest.validation.runs import RunGround, validation_runs
from closebell.backtest.validation.sensitivity import Sensitivity
from closebell.backtest.validation.splits import DataSplit, anchored_folds, rolling_folds, split_sessions
from closebell.backtest.validation.statistics import (
    Overfitting,
    bootstrapped_drawdowns,
    deflated_sharpe,
    expected_max_sharpe_annual,
    overfitting,
    reordered_drawdowns,
    sharpe_or_zero,
    superior_p_value,
)
from closebell.backtest.validation.stress import STRESSES, CrashResult, crashes, doubled
from closebell.backtest.validation.trials import (
    AS_CONFIGURED,
    TrialResult,
    TrialTerms,
    all_trials,
    exit_grid,
    judged_sha256,
    run_trial,
    trial_sha256,
)
from closebell.backtest.validation.walk_forward import WalkForward, best_trial, walk_forward
from closebell.model.instruments import Market
from closebell.model.parameters import ParameterSet
from closebell.ports.progress import Progress, untold


@dataclass(frozen=True)
class ValidationRequest:
    """What is to be validated, and how.

    Parameters
    ----------
    terms
        Market, costs and cash.
    parameters
        The configuration that is judged.
    first, last
        Of the sessions; without them, from the first that has enough history to the last.
    grid_count
        How many stops and targets the sensitivity looks at, each.
    seed
        Of everything that is drawn.
    workers_count
        How many processes trade; with one it is this process. The results are the same.
    opens_at
        Now, to open the holdout; None leaves it sealed.
    """

    terms: TrialTerms
    parameters: ParameterSet
    first: date | None = None
    last: date | None = None
    grid_count: int = 3
    seed: int = 7
    workers_count: int = 1
    opens_at: datetime | None = None


class LuckMeasures(NamedTuple):
    """What the statistics say about the trials and about the configuration among them. `judged_ever_count` of the folder's trials
    were configurations to be judged; the others are what those were compared with."""

    trials_ever_count: int
    judged_ever_count: int
    expected_max_sharpe_annual_ratio: float
    deflated_sharpe_frac: float | None
    overfitting: Overfitting | None
    superior_p_frac: float | None
    random_timing: RandomTiming | None
    bootstrapped_drawdowns_frac: Floats
    reordered_drawdowns_frac: Floats


@dataclass(frozen=True, eq=False)
class Validation:
    """Everything that was found. The first of `trials` is the configuration; `days` are their sessions, train and validation;
    `judged_sha256` is what a seal knows the configuration by."""

    label: str
    market: Market
    split: DataSplit
    seal: HoldoutSeal
    judged_sha256: str
    days: list[date]
    train_count: int
    trials: list[TrialResult]
    luck: LuckMeasures
    anchored: WalkForward
    rolling: WalkForward
    sensitivity: Sensitivity
    stresses: list[TrialResult]
    crashes: list[CrashResult]

    @property
    def chosen_on_train(self) -> TrialResult:
        """The trial that the train span alone would have chosen."""
        return self.trials[best_trial(matrix_of(self.trials)[: self.train_count], self.market.sessions_a_year_count)]


def validate(request: ValidationRequest, folder: ValidationFolder, done: Progress = untold) -> Validation:
    """Run every trial, judge them, and open the holdout when asked.

    Raises ConfigurationError (too few sessions, a holdout that was opened before), DataError (other bars, a folder
    that cannot be written).
    """
    terms, parameters = request.terms, request.parameters
    doubled(terms.costs, terms.market.asset_class)  # refused before anything is traded
    split = split_sessions(_days(request), folder.sealed_span())
    span = split.development
    digest = judged_sha256(terms, parameters)
    seal = folder.seal(split.holdout, terms.market.panel, digest)
    if request.opens_at is not None:
        folder.refuse_second_opening(digest)
    known = terms._replace(market=terms.market.altered(until=span.last))
    grid = exit_grid(parameters, request.grid_count)
    named = all_trials(parameters, grid)
    runs_count = len(named) + len(STRESSES) + (request.opens_at is not None)
    results: list[TrialResult] = []
    ever: list[TrialLine] = []
    with validation_runs(RunGround(known, span, request.seed), named, parameters, request.workers_count) as runs:
        for result in runs:
            if len(results) < len(named):
                ever = folder.remember(_line(known, result, split))
            results.append(result)
            done(len(results), runs_count)
    trials, stresses = results[: len(named)], results[len(named) :]
    if request.opens_at is not None:
        folder.open(digest, request.opens_at)
        judged = run_trial("holdout", terms, parameters, split.holdout)
        seal = folder.keep(HoldoutResult(parameters=parameters, summary=judged.summary))
        done(runs_count, runs_count)
    return _found(request, split, seal, trials, ever, grid, stresses)


def _found(
    request: ValidationRequest, split: DataSplit, seal: HoldoutSeal, trials: list[TrialResult], ever: list[TrialLine],
    grid: list[list[ParameterSet]], stresses: list[TrialResult],
) -> Validation:
    days = [day for day in _days(request) if day <= split.validation.last]
    returns, names = matrix_of(trials), [trial.name for trial in trials]
    market = request.terms.market.asset_class
    year = market.sessions_a_year_count
    return Validation(
        label=request.terms.market.label,
        market=market,
        split=split,
        seal=seal,
        judged_sha256=judged_sha256(request.terms, request.parameters),
        days=days,
        train_count=sum(day <= split.train.last for day in days),
        trials=trials,
        luck=_luck(request, trials, ever, days),
        anchored=walk_forward(names, returns, days, anchored_folds(len(days)), year),
        rolling=walk_forward(names, returns, days, rolling_folds(len(days)), year),
        sensitivity=_sensitivity(grid, trials, year),
        stresses=stresses,
        crashes=crashes(trials[0].returns, days),
    )


def matrix_of(trials: list[TrialResult]) -> Floats:
    """Returns, sessions x trials."""
    return np.column_stack([trial.returns for trial in trials])


def _luck(request: ValidationRequest, trials: list[TrialResult], ever: list[TrialLine], days: list[date]) -> LuckMeasures:
    configured, sharpes = trials[0], np.array([line.sharpe_annual_ratio for line in ever])
    judged_count = sum(line.is_judged for line in ever)
    traded_panel = universe_panel(request.terms.market, request.parameters, days[0], days[-1])
    timing = random_timing(configured.trades, traded_panel, request.seed, judged_count)
    return LuckMeasures(
        trials_ever_count=len(ever),
        judged_ever_count=judged_count,
        expected_max_sharpe_annual_ratio=expected_max_sharpe_annual(sharpes),
        deflated_sharpe_frac=deflated_sharpe(configured.returns, sharpes, request.terms.market.asset_class.sessions_a_year_count),
        overfitting=overfitting(matrix_of(trials)),
        superior_p_frac=superior_p_value(matrix_of(trials), request.seed),
        random_timing=timing.among(judged_count) if timing else None,
        bootstrapped_drawdowns_frac=bootstrapped_drawdowns(configured.returns, request.seed),
        reordered_drawdowns_frac=reordered_drawdowns(
            configured.trades_pnl_usd, float(request.terms.cash_usd), request.seed
        ),
    )


def _sensitivity(grid: list[list[ParameterSet]], trials: list[TrialResult], sessions_a_year: int) -> Sensitivity:
    sharpe_of = {configuration_sha256(trial.parameters): sharpe_or_zero(trial.returns, sessions_a_year) for trial in trials}
    return Sensitivity(
        stop_loss_fracs=[float(row[0].exits.stop_loss_frac) for row in grid],
        take_profit_fracs=[float(point.exits.take_profit_frac) for point in grid[0]],
        sharpe_annual=np.array([[sharpe_of[configuration_sha256(point)] for point in row] for row in grid]),
    )


def _line(terms: TrialTerms, trial: TrialResult, split: DataSplit) -> TrialLine:
    digest = trial_sha256(terms, trial, split.development)
    is_judged = trial.name == AS_CONFIGURED
    name = f"{'+'.join(trial.parameters.strategies)}: {trial.name}" if is_judged else trial.name
    sharpe = sharpe_or_zero(trial.returns, terms.market.asset_class.sessions_a_year_count)
    return TrialLine(digest, name, sharpe, len(trial.returns), is_judged)


def _days(request: ValidationRequest) -> list[date]:
    market = request.terms.market
    first, last = span_of(market, request.parameters, request.first, request.last)
    return [day for day in market.panel.days if first <= day <= last]
