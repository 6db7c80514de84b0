"""A validation's files: everything found as JSON with units in its keys, the verdict as a table, the sensitivity as a picture."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from closebell.backtest.results.files import csv_of
from closebell.backtest.summary import Floats, sharpe_annual
from closebell.backtest.validation.sensitivity import Sensitivity, sensitivity_png
from closebell.backtest.validation.splits import SessionSpan
from closebell.backtest.validation.statistics import total_return_frac
from closebell.backtest.validation.stress import CrashResult
from closebell.backtest.validation.trials import TrialResult
from closebell.backtest.validation.validate import LuckMeasures, Validation
from closebell.backtest.validation.verdict import VerdictFlag, is_refused
from closebell.backtest.validation.walk_forward import WalkForward
from closebell.model.parameters import ParameterSet

_PERCENTILES = (5, 50, 95, 99)
_TOLD = (
    "total_return_frac", "gross_total_return_frac", "annual_return_frac", "sharpe_annual_ratio", "drawdown_frac_max",
    "win_rate_frac", "trades_count", "cost_usd", "trades_sha256",
)  # fmt: skip


def validation_files(found: Validation, judged: Sequence[VerdictFlag]) -> dict[str, bytes]:
    """The files by name."""
    year, opened = found.market.sessions_a_year_count, found.seal.result
    document = {
        "label": found.label,
        "is_refused": is_refused(list(judged)),
        "flags": [flag._asdict() for flag in judged],
        "train": _span(found.split.train),
        "validation": _span(found.split.validation),
        "holdout": _span(found.split.holdout) | {
            "opened_count": found.seal.opened_count,
            "opened_at": found.seal.opened_at.isoformat() if found.seal.opened_at else None,
            "result": _numbers("holdout", opened.parameters, opened.summary) if opened else None,
        },
        "trials": [_trial(trial) for trial in found.trials],
        "luck": _luck(found.luck),
        "walk_forward": {"anchored": _walk(found.anchored, year), "rolling": _walk(found.rolling, year)},
        "sensitivity": _grid(found.sensitivity),
        "stresses": [_trial(trial) for trial in found.stresses],
        "crashes": [_crash(crash) for crash in found.crashes],
    }  # fmt: skip
    return {
        "validation.json": (json.dumps(document, indent=2) + "\n").encode(),
        "verdict.csv": csv_of(VerdictFlag, judged),
        "sensitivity.png": sensitivity_png(found.sensitivity),
    }


def _span(span: SessionSpan) -> dict[str, Any]:
    return {"first_session": f"{span.first}", "last_session": f"{span.last}"}


def _trial(trial: TrialResult) -> dict[str, Any]:
    return _numbers(trial.name, trial.parameters, trial.summary)


def _numbers(name: str, parameters: ParameterSet, summary: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "name": name,
        "strategies": list(parameters.strategies),
        "votes_to_act_count_min": parameters.votes_to_act_count_min,
        "stop_loss_frac": float(parameters.exits.stop_loss_frac),
        "take_profit_frac": float(parameters.exits.take_profit_frac),
        **{key: summary[key] for key in _TOLD},
    }


def _luck(luck: LuckMeasures) -> dict[str, Any]:
    return {
        "trials_ever_count": luck.trials_ever_count,
        "judged_ever_count": luck.judged_ever_count,
        "expected_max_sharpe_annual_ratio": luck.expected_max_sharpe_annual_ratio,
        "deflated_sharpe_frac": luck.deflated_sharpe_frac,
        "overfitting": luck.overfitting._asdict() if luck.overfitting else None,
        "superior_p_frac": luck.superior_p_frac,
        "random_timing": luck.random_timing._asdict() if luck.random_timing else None,
        "bootstrapped_drawdown": _distribution(luck.bootstrapped_drawdowns_frac),
        "reordered_drawdown": _distribution(luck.reordered_drawdowns_frac),
    }


def _distribution(draws: Floats) -> dict[str, Any]:
    shown: Mapping[str, float] = {f"percentile_{at}_frac": float(np.percentile(draws, at)) for at in _PERCENTILES}
    return {"draws_count": len(draws), **shown}


def _walk(walk: WalkForward, sessions_a_year: int) -> dict[str, Any]:
    return {
        "total_return_frac": total_return_frac(walk.returns),
        "sharpe_annual_ratio": sharpe_annual(walk.returns, sessions_a_year),
        "folds": [
            {**fold._asdict(), "in_sample": _span(fold.in_sample), "out_of_sample": _span(fold.out_of_sample)}
            for fold in walk.folds
        ],
    }


def _grid(grid: Sensitivity) -> dict[str, Any]:
    return {
        "stop_loss_fracs": list(grid.stop_loss_fracs),
        "take_profit_fracs": list(grid.take_profit_fracs),
        "sharpe_annual_ratios": grid.sharpe_annual.tolist(),
        "neighbours_over_best_ratio": grid.neighbours_ratio,
    }


def _crash(crash: CrashResult) -> dict[str, Any]:
    return {
        "name": crash.name, **_span(crash.span), "return_frac": crash.return_frac, "drawdown_frac_max": crash.drawdown_frac_max,
    }
