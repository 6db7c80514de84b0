"""Each flag by its own number: what is red refuses, what is amber does not."""

import json
import math
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np
import pytest

from closebell.backtest.summary import Floats, sharpe_annual
from closebell.backtest.validation.files import validation_files
from closebell.backtest.validation.folder import HoldoutResult, HoldoutSeal
from closebell.backtest.validation.random_timing import RandomTiming
from closebell.backtest.validation.sensitivity import Sensitivity
from closebell.backtest.validation.splits import SessionSpan, anchored_folds, rolling_folds, split_sessions
from closebell.backtest.validation.statistics import Overfitting, deepest_drawdown_frac, total_return_frac
from closebell.backtest.validation.stress import CRASHES, CrashResult
from closebell.backtest.validation.trials import AS_CONFIGURED, TrialResult
from closebell.backtest.validation.validate import LuckMeasures, Validation, matrix_of
from closebell.backtest.validation.verdict import Colour, flags, is_refused, lookahead_flag
from closebell.backtest.validation.walk_forward import walk_forward
from closebell.model.instruments import Market
from closebell.model.parameters import ParameterSet
from closebell.strategies import Strategy
from tests.unit.backtest.markets import parameters_of, seeded_panel
from tests.unit.backtest.sample_records import trade_of

DAYS = [date(2020, 1, 1) + timedelta(days=count) for count in range(125)]
TIMED = RandomTiming(900.0, 50.0, 0.01)
SKILL = LuckMeasures(3, 1, 0.5, 0.99, Overfitting(0.1, 0.0, 3), 0.01, TIMED, np.array([0.1]), np.array([0.1]))
ENSEMBLE = "ensemble's Sharpe against the best single's"


def parameters() -> ParameterSet:
    return parameters_of(seeded_panel(1, 2, 2), "rsi", "macd")


def trial_of(name: str, returns: Floats, pnl_usd: Floats | None = None) -> TrialResult:
    pnl = np.array([30.0, -10.0]) if pnl_usd is None else pnl_usd
    summary = {
        "total_return_frac": total_return_frac(returns), "gross_total_return_frac": 0.5, "trades_count": len(pnl),
        "sharpe_annual_ratio": sharpe_annual(returns, 252), "drawdown_frac_max": deepest_drawdown_frac(returns),
        "win_rate_frac": float(np.mean(pnl > 0)),
    }  # fmt: skip
    return TrialResult(name, parameters(), returns, summary, [trade_of(f"{earned}") for earned in pnl])


def rising(step_frac: float) -> Floats:
    """A hundred sessions that go up by a step more than they go down."""
    return np.where(np.arange(100) % 2, -0.01, 0.01) + step_frac


def validation_of(*trials: TrialResult, market: Market = Market.US_EQUITY) -> Validation:
    split, returns, names = split_sessions(DAYS), matrix_of(list(trials)), [trial.name for trial in trials]
    plateau = Sensitivity((0.02, 0.04), (0.05, 0.1), np.ones((2, 2)))
    first, last = split.holdout
    seal = HoldoutSeal(first_session=first, last_session=last, bars_sha256="", configuration_sha256="")
    year = market.sessions_a_year_count
    return Validation(
        label="days", market=market, split=split, seal=seal, judged_sha256="5e", days=DAYS[:100], train_count=75,
        trials=list(trials), luck=SKILL,
        anchored=walk_forward(names, returns, DAYS, anchored_folds(100), year),
        rolling=walk_forward(names, returns, DAYS, rolling_folds(100), year),
        sensitivity=plateau, stresses=[], crashes=[],
    )  # fmt: skip


def good() -> Validation:
    return validation_of(trial_of(AS_CONFIGURED, rising(0.002)), trial_of("rsi", rising(0.001)), trial_of("macd", rising(0.0015)))


def colour(found: Validation, question: str) -> Colour:
    (flag,) = [flag for flag in flags(found) if flag.question == question]
    return flag.colour


def test_what_is_good_in_everything_is_green_in_everything() -> None:
    crashed = {f"drawdown in {name}" for name in CRASHES}
    assert {flag.colour for flag in flags(good()) if flag.question not in crashed} == {Colour.GREEN}
    assert not is_refused(flags(good()))


def test_a_crash_that_was_not_judged_is_told_and_where_it_is() -> None:
    """A hundred sessions of 2020 are judged, and 25 held out, from the tenth of April on."""
    told = {flag.question: flag for flag in flags(good()) if flag.colour is Colour.NOT_ASKED}
    assert {question.removeprefix("drawdown in ") for question in told} == set(CRASHES)
    assert {flag.value for flag in told.values()} == {None}
    assert told["drawdown in 2008"].note == "2008-09-02 to 2009-03-09: not wholly in the bars judged"
    first, last = CRASHES["2020"]
    later = replace(good(), split=good().split._replace(holdout=SessionSpan(last, last + timedelta(days=9))))
    (flag,) = (flag for flag in flags(later) if flag.question == "drawdown in 2020")
    assert flag.note == f"{first} to {last}: in the holdout, at least in part"
    seen = replace(good(), crashes=[CrashResult("2020", CRASHES["2020"], -0.1, 0.2)])
    assert colour(seen, "drawdown in 2020") is Colour.GREEN


def test_where_there_is_one_trial_nothing_was_chosen_and_nothing_is_asked_about_the_choice() -> None:
    alone = replace(
        validation_of(trial_of(AS_CONFIGURED, rising(0.002))), luck=SKILL._replace(overfitting=None),
        sensitivity=Sensitivity((0.02,), (0.05,), np.ones((1, 1))),
    )  # fmt: skip
    assert not is_refused(flags(alone))
    assert ENSEMBLE not in {flag.question for flag in flags(alone)}
    for question in ("overfitted: PBO", "no sharp peak: neighbours over best"):
        assert colour(alone, question) is Colour.NOT_ASKED, "it is said, not left out"


@pytest.mark.parametrize(("step_frac", "expected"), [(0.002, Colour.GREEN), (0.00195, Colour.AMBER), (0.0015, Colour.RED)])
def test_an_ensemble_below_the_best_single_is_red_and_amber_when_near(step_frac: float, expected: Colour) -> None:
    found = validation_of(trial_of(AS_CONFIGURED, rising(step_frac)), trial_of("rsi", rising(0.002)))
    assert colour(found, ENSEMBLE) is expected


@pytest.mark.parametrize(
    ("measures", "question", "expected"),
    [
        ({"deflated_sharpe_frac": 0.9}, "skill, not luck: deflated Sharpe", Colour.RED),
        ({"deflated_sharpe_frac": None}, "skill, not luck: deflated Sharpe", Colour.RED),
        ({"overfitting": Overfitting(0.6, 0.3, 3)}, "overfitted: PBO", Colour.RED),
        ({"overfitting": Overfitting(0.6, 0.01, 3)}, "overfitted: PBO", Colour.AMBER),
        ({"overfitting": None}, "overfitted: PBO", Colour.RED),
        ({"superior_p_frac": 0.2}, "any trial better than cash: SPA p-value", Colour.RED),
        ({"random_timing": TIMED._replace(p_frac=0.011)}, "better than at random times: p-value", Colour.RED),
        ({"random_timing": None}, "better than at random times: p-value", Colour.RED),
        ({"bootstrapped_drawdowns_frac": np.array([0.4])}, "drawdown, bootstrapped, 95th percentile", Colour.AMBER),
        ({"reordered_drawdowns_frac": np.array([0.4])}, "drawdown, trades reordered, 95th percentile", Colour.AMBER),
    ],
)
def test_a_measure_beyond_its_limit_is_flagged(measures: dict[str, Any], question: str, expected: Colour) -> None:
    found = replace(good(), luck=SKILL._replace(**measures))
    assert colour(found, question) is expected
    assert is_refused(flags(found)) is (expected is Colour.RED)


def test_losses_deep_falls_and_a_poor_win_rate_are_red() -> None:
    falling = np.concatenate([np.full(50, 0.01), np.full(50, -0.02)])
    found = validation_of(trial_of(AS_CONFIGURED, falling, np.array([10.0, -30.0, -30.0])))
    for question in ("return after costs", "Sharpe, annual", "deepest drawdown", "win rate", "walk-forward return, anchored",
                     "walk-forward return, rolling"):  # fmt: skip
        assert colour(found, question) is Colour.RED, question


def test_a_peak_a_crash_and_a_losing_holdout_refuse_and_a_stress_warns() -> None:
    span = SessionSpan(DAYS[0], DAYS[9])
    peak = replace(good(), sensitivity=Sensitivity((0.02,), (0.05, 0.1), np.array([[1.0, 0.1]])))
    crashed = replace(good(), crashes=[CrashResult("2008", span, -0.35, 0.35)])
    losing, key = trial_of("holdout", rising(-0.001)), good().judged_sha256
    result = HoldoutResult(parameters=losing.parameters, summary=losing.summary)
    opening = {"opened_count": 1, "opened_at": datetime(2026, 1, 5, tzinfo=UTC), "opened_configuration_sha256": key}
    lost = replace(good(), seal=good().seal.model_copy(update={**opening, "result": result}))
    stressed = replace(good(), stresses=[trial_of("doubled costs", rising(-0.001))])
    assert [is_refused(flags(found)) for found in (peak, crashed, lost, stressed)] == [True, True, True, False]
    assert colour(stressed, "return with doubled costs") is Colour.AMBER


@pytest.mark.parametrize(("market", "sessions_a_year"), [(Market.US_EQUITY, 252), (Market.CRYPTO, 365)])
def test_a_sharpe_ratio_in_words_is_of_the_markets_year(market: Market, sessions_a_year: int) -> None:
    single, whole = rising(0.001), rising(0.002)
    found = validation_of(trial_of(AS_CONFIGURED, whole), trial_of("rsi", single), market=market)
    flag_of = {flag.question: flag for flag in flags(found)}

    def annual(returns: Floats) -> float:
        return float(np.mean(returns) / np.std(returns, ddof=1)) * math.sqrt(sessions_a_year)

    assert flag_of[ENSEMBLE].value == pytest.approx(annual(whole))
    assert flag_of[ENSEMBLE].limit == pytest.approx(annual(single))
    chosen = flag_of["best of train, on validation"].note
    assert chosen.endswith(f"Sharpe {annual(whole[:75]):.2f}, then {annual(whole[75:]):.2f}")
    assert flag_of["walk-forward return, rolling"].note.endswith(f"Sharpe {annual(found.rolling.returns):.2f}")


def test_an_account_that_earned_nothing_is_refused() -> None:
    found = validation_of(trial_of(AS_CONFIGURED, np.zeros(100)))
    for question in ("return after costs", "walk-forward return, anchored", "walk-forward return, rolling",
                     "best of train, on validation"):  # fmt: skip
        assert colour(found, question) is not Colour.GREEN


def test_a_drawdown_is_judged_by_its_unlucky_draws() -> None:
    draws = np.linspace(0.05, 0.35, 101)
    found = replace(good(), luck=SKILL._replace(bootstrapped_drawdowns_frac=draws, reordered_drawdowns_frac=draws))
    told = {flag.question: flag for flag in flags(found)}
    for name in ("bootstrapped", "trades reordered"):
        flag = told[f"drawdown, {name}, 95th percentile"]
        assert flag.colour is Colour.AMBER
        assert flag.value == pytest.approx(0.335)
    known = {"annual_return_frac": 0.1, "cost_usd": 0.0, "trades_sha256": ""}
    whole = replace(found, trials=[trial._replace(summary={**known, **trial.summary}) for trial in found.trials])
    document = json.loads(validation_files(whole, flags(whole))["validation.json"])
    assert document["luck"]["bootstrapped_drawdown"]["percentile_5_frac"] == pytest.approx(0.065)
    assert document["luck"]["reordered_drawdown"]["percentile_99_frac"] == pytest.approx(0.347)


def test_the_best_of_train_is_judged_by_what_it_earned_afterwards() -> None:
    """It is not the configuration, and it has turned."""
    turned = np.concatenate([rising(0.004)[:75], rising(-0.004)[75:]])
    found = validation_of(trial_of(AS_CONFIGURED, rising(0.002)), trial_of("rsi", turned))
    (flag,) = [flag for flag in flags(found) if flag.question == "best of train, on validation"]
    assert flag.note.startswith("rsi: ")
    assert flag.colour is Colour.AMBER
    assert flag.value == pytest.approx(float(np.prod(1 + turned[75:])) - 1)


def test_a_strategy_that_cannot_be_judged_fails_every_lookahead_check() -> None:
    silent = Strategy("silent", 5, lambda panel: np.zeros(panel.close.shape))
    flag = lookahead_flag(silent, {"any": seeded_panel(1, 60, 2)})
    assert (flag.value, flag.colour) == (8.0, Colour.AMBER)
    assert "is not judged" in flag.note
