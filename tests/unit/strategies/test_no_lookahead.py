"""No strategy, no indicator and no regime knows the future, nor needs more of the past than it says.

A new strategy is tested by being registered. What the checks catch is in tests/unit/backtest/test_bias_checks.py.
"""

import inspect
from functools import cache

import numpy as np
import pytest

from closebell.adapters.exchange_calendar import ExchangeCalendar
from closebell.analysis import indicators
from closebell.backtest.bias.checks import lookahead_findings, warmup_findings
from closebell.backtest.bias.panels import all_panels
from closebell.backtest.bias.subject import BiasSubject
from closebell.backtest.bias.subjects import INDICATOR, registered_subjects
from closebell.model.panel import BarPanel
from closebell.strategies import STRATEGIES, Strategy, score_all
from tests.unit.strategies.panels import market

SUBJECTS = registered_subjects()
checked = pytest.mark.parametrize("subject", SUBJECTS, ids=[subject.name for subject in SUBJECTS])
registered = pytest.mark.parametrize("strategy", STRATEGIES.values(), ids=STRATEGIES.keys())


@cache
def panels() -> dict[str, BarPanel]:
    return {"market": market(460)} | all_panels(ExchangeCalendar())


@checked
def test_another_future_or_none_gives_the_same_rows(subject: BiasSubject) -> None:
    assert lookahead_findings(subject, panels()) == ()


@checked
def test_the_last_row_needs_only_the_lookback(subject: BiasSubject) -> None:
    assert warmup_findings(subject, panels()) == ()


def test_every_strategy_and_every_public_indicator_is_checked() -> None:
    names = {subject.name for subject in SUBJECTS}
    assert {f"strategy {name}" for name in STRATEGIES} <= names
    public = {
        name for name, function in inspect.getmembers(indicators, inspect.isfunction)
        if function.__module__ == indicators.__name__ and not name.startswith("_")
    }
    checked_indicators = {name.removeprefix(INDICATOR).split()[0] for name in names if name.startswith(INDICATOR)}
    assert checked_indicators == public - {"memory_sessions"}


@registered
def test_the_lookback_is_not_overstated(strategy: Strategy) -> None:
    steady = market().columns(("S0", "S4", "S5"))
    tail = steady.rows(slice(420 - strategy.lookback_sessions, None))
    assert np.isfinite(strategy.scores(tail)[-1]).all()
    assert np.isnan(strategy.scores(tail.rows(slice(1, None)))[-1]).all()


@registered
def test_the_shortest_history_allowed_is_enough(strategy: Strategy) -> None:
    assert strategy.lookback_sessions <= 220


def test_all_scores_together_do_not_look_ahead() -> None:
    together = BiasSubject(
        "all", max(strategy.lookback_sessions for strategy in STRATEGIES.values()),
        lambda panel: np.hstack(list(score_all(STRATEGIES, panel).values())), outputs=tuple(STRATEGIES), is_score=True,
        is_unknown_at_first=False,
    )
    few = {name: panels()[name] for name in ("market", "jumps")}
    assert lookahead_findings(together, few) == ()
    assert warmup_findings(together, few) == ()
