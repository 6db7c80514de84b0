"""What a validation must do: refuse noise, pass an edge, never look at the holdout, open it once."""

import json
import math
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import cache
from io import BytesIO
from pathlib import Path
from statistics import NormalDist
from types import MappingProxyType

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import closebell.strategies
from closebell.backtest.bias.strategy_module import StrategyText
from closebell.backtest.run import Costs
from closebell.backtest.summary import Floats
from closebell.backtest.validation.files import validation_files
from closebell.backtest.validation.folder import ValidationFolder
from closebell.backtest.validation.splits import SessionSpan
from closebell.backtest.validation.statistics import (
    bootstrapped_drawdowns,
    deflated_sharpe,
    expected_max_sharpe_annual,
    superior_p_value,
)
from closebell.backtest.validation.trials import (
    AS_CONFIGURED,
    TrialResult,
    TrialTerms,
    all_trials,
    exit_grid,
    exit_name,
    judged_sha256,
    trial_sha256,
)
from closebell.backtest.validation.validate import Validation, ValidationRequest, matrix_of, validate
from closebell.backtest.validation.verdict import Colour, flags, is_refused
from closebell.model.errors import ConfigurationError
from closebell.model.instruments import Market
from closebell.model.panel import FIELDS, BarPanel, Matrix
from closebell.model.parameters import ExitTerms
from closebell.strategies import Strategy
from tests.unit.backtest.markets import coin_market, coin_panel, market_of, parameters_of, seeded_panel

AT = datetime(2026, 1, 5, 15, tzinfo=UTC)
COSTS = Costs(slippage_bps=Decimal(5))
NOISE = ("coin_1", "coin_2", "coin_3")
RISEN_SESSIONS = 5
RANDOM_TIMES = "better than at random times: p-value"


def coin(seed: int) -> Callable[[BarPanel], Matrix]:
    """Scores that know nothing."""
    return lambda panel: np.clip(np.random.default_rng(seed).normal(0.0, 0.6, panel.close.shape), -1.0, 1.0)


def drift(panel: BarPanel) -> Matrix:
    """What rose in the last five sessions goes on."""
    scores = np.full(panel.close.shape, np.nan)
    scores[RISEN_SESSIONS:] = np.clip((panel.close[RISEN_SESSIONS:] / panel.close[:-RISEN_SESSIONS] - 1.0) / 0.02, -1.0, 1.0)
    return scores


@pytest.fixture(autouse=True)
def invented_strategies(monkeypatch: pytest.MonkeyPatch) -> None:
    invented = {name: Strategy(name, 2, coin(seed)) for seed, name in enumerate(NOISE)}
    invented["drift"] = Strategy("drift", RISEN_SESSIONS + 1, drift)
    monkeypatch.setattr(closebell.strategies, "STRATEGIES", MappingProxyType(invented))


@cache
def drifting_panel() -> BarPanel:
    """Prices that drift up, then down, for twenty sessions at a time, each symbol in its own time."""
    plain = seeded_panel(11, 150, 4, volatility_frac=0.006)
    sessions, symbols = np.indices(plain.close.shape)
    direction = np.where((sessions + 7 * symbols) // 20 % 2, -1.0, 1.0)
    factor = np.exp(np.cumsum(0.006 * direction, axis=0))
    opens = plain.open * np.vstack([factor[:1], factor[:-1]])
    closes = plain.close * factor
    highs, lows = np.maximum(opens, closes) * 1.002, np.minimum(opens, closes) * 0.998
    opens, highs, lows, closes = (np.round(prices, 2) for prices in (opens, highs, lows, closes))
    return BarPanel(plain.sessions, plain.symbols, opens, highs, lows, closes, plain.volume)


def request_of(panel: BarPanel, *strategies: str, grid_count: int = 1, opens_at: datetime | None = None) -> ValidationRequest:
    return ValidationRequest(
        TrialTerms(market_of(panel, f"{COSTS.spread_frac}"), COSTS, Decimal(100_000)), parameters_of(panel, *strategies),
        grid_count=grid_count, opens_at=opens_at,
    )


def colours(found: Validation) -> dict[str, Colour]:
    return {flag.question: flag.colour for flag in flags(found)}


def test_a_planted_edge_passes_and_its_holdout_confirms_it(tmp_path: Path) -> None:
    folder = ValidationFolder(tmp_path)
    found = validate(request_of(drifting_panel(), "drift", grid_count=3, opens_at=AT), folder)
    judged = flags(found)
    assert not is_refused(judged), [flag for flag in judged if flag.colour is Colour.RED]
    assert found.seal.result is not None
    assert found.seal.result.summary["total_return_frac"] > 0
    assert found.seal.opened_at == AT
    files = validation_files(found, judged)
    document = json.loads(files["validation.json"])
    assert document["is_refused"] is False
    assert document["luck"]["trials_ever_count"] == len(found.trials) == 9
    with Image.open(BytesIO(files["sensitivity.png"])) as image:
        assert image.format == "PNG"


def test_a_family_of_pure_noise_is_refused(tmp_path: Path) -> None:
    found = validate(replace(request_of(seeded_panel(12, 150, 4), *NOISE), seed=8), ValidationFolder(tmp_path))
    seen = colours(found)
    assert seen["skill, not luck: deflated Sharpe"] is Colour.RED
    assert seen["any trial better than cash: SPA p-value"] is Colour.RED
    assert is_refused(flags(found))
    assert [trial.name for trial in found.trials] == [AS_CONFIGURED, *NOISE, "2 of 3 votes", "3 of 3 votes"]
    returns, luck = found.trials[0].returns, found.luck
    assert luck.superior_p_frac == superior_p_value(matrix_of(found.trials), 8)
    assert np.array_equal(luck.bootstrapped_drawdowns_frac, bootstrapped_drawdowns(returns, 8))
    assert found.days[found.train_count - 1] == found.split.train.last


@pytest.mark.parametrize("strategy", ["coin_1", "coin_2"])
def test_noise_in_a_market_that_rises_is_refused_however_well_it_earns(tmp_path: Path, strategy: str) -> None:
    """Whatever is bought gains there: every other question is answered well."""
    plain = seeded_panel(12, 150, 4)
    rise = np.exp(0.004 * np.arange(150))[:, None]
    risen = {field: np.round(getattr(plain, field) * rise, 2) for field in FIELDS[:4]}
    found = validate(request_of(replace(plain, **risen), strategy), ValidationFolder(tmp_path))
    assert [question for question, colour in colours(found).items() if colour is Colour.RED] == [RANDOM_TIMES]


def test_a_target_above_the_cut_is_tried_as_it_is_configured_and_nothing_beyond_it() -> None:
    parameters = parameters_of(seeded_panel(12, 10, 1), "drift", exits=ExitTerms(take_profit_frac=Decimal("0.96")))
    (row, *_) = exit_grid(parameters, 3)
    assert [point.exits.take_profit_frac for point in row] == [Decimal("0.48"), Decimal("0.96")]


def test_a_folder_in_which_many_were_judged_asks_for_more(tmp_path: Path) -> None:
    panel, folder = drifting_panel(), ValidationFolder(tmp_path)
    alone = validate(request_of(panel, "drift"), folder)
    both = validate(request_of(panel, "drift", "coin_1"), folder)
    assert both.luck.judged_ever_count == 2, "what was judged once is not forgotten when it is only compared with"
    after = validate(request_of(panel, "drift"), folder)
    assert (alone.luck.judged_ever_count, after.luck.judged_ever_count) == (1, 2), "again is not one more"
    assert alone.luck.random_timing is not None
    assert after.luck.random_timing == alone.luck.random_timing.among(2)
    lines = [json.loads(line) for line in (tmp_path / "trials.jsonl").read_text().splitlines()]
    ever = {line["trial_sha256"]: line["sharpe_annual_ratio"] for line in lines}
    assert after.luck.trials_ever_count == len(ever) > len(after.trials)
    sharpes = np.array(list(ever.values()))
    assert after.luck.expected_max_sharpe_annual_ratio == pytest.approx(expected_max_sharpe_annual(sharpes))
    assert after.luck.deflated_sharpe_frac == deflated_sharpe(after.trials[0].returns, sharpes, 252)


def test_nothing_of_the_holdout_is_seen_until_it_is_opened_and_then_once(tmp_path: Path) -> None:
    panel = seeded_panel(13, 110, 2)
    sealed = validate(request_of(panel, "drift"), ValidationFolder(tmp_path / "one"))
    row = int(np.searchsorted(panel.sessions, np.datetime64(sealed.split.holdout.first)))
    changed = {field: getattr(panel, field).copy() for field in FIELDS}
    for field in FIELDS:
        changed[field][row:] *= 3.0
    other = replace(panel, **changed)
    again = validate(request_of(other, "drift"), ValidationFolder(tmp_path / "two"))
    assert flags(again) == flags(sealed)
    assert again.seal.bars_sha256 != sealed.seal.bars_sha256
    opened = validate(request_of(panel, "drift", opens_at=AT), ValidationFolder(tmp_path / "one"))
    assert opened.luck.trials_ever_count == sealed.luck.trials_ever_count
    assert [flag for flag in flags(opened) if not flag.question.startswith("holdout")] == flags(sealed)
    with pytest.raises(ConfigurationError, match="it is opened once"):
        validate(request_of(panel, "drift", opens_at=AT), ValidationFolder(tmp_path / "one"))
    assert flags(validate(request_of(panel, "drift"), ValidationFolder(tmp_path / "one"))) == flags(opened), "it stands for good"


def test_a_holdout_that_was_opened_and_not_judged_refuses_until_the_same_configuration_is_judged_on_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    panel = seeded_panel(13, 110, 2)

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("closebell.backtest.validation.validate.run_trial", interrupted)
        with pytest.raises(KeyboardInterrupt):
            validate(request_of(panel, "drift", opens_at=AT), ValidationFolder(tmp_path))
    unjudged = validate(request_of(panel, "drift"), ValidationFolder(tmp_path))
    (told, *_) = (flag for flag in flags(unjudged) if flag.question.startswith("holdout"))
    assert (told.colour, told.note) == (Colour.RED, "opened and not judged: --open-holdout goes on")
    with pytest.raises(ConfigurationError, match="for another configuration, which was not judged to its end: it is opened once"):
        validate(request_of(panel, "coin_1", opens_at=AT), ValidationFolder(tmp_path))
    judged = validate(request_of(panel, "drift", opens_at=AT + timedelta(hours=1)), ValidationFolder(tmp_path))
    assert judged.seal.result is not None
    assert judged.seal.opened_at == AT


def test_what_a_holdout_was_opened_for_is_its_costs_cash_and_code_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()  # the registered strategies, which are modules with texts
    request = request_of(seeded_panel(13, 110, 2), "rsi", "macd")
    terms, parameters = request.terms, request.parameters
    same = terms._replace(costs=Costs(slippage_bps=Decimal("5.0")), cash_usd=Decimal("100000.00"))
    assert judged_sha256(same, parameters) == judged_sha256(terms, parameters)
    dearer = terms._replace(costs=Costs(slippage_bps=Decimal(6)))
    richer, other = terms._replace(cash_usd=Decimal(1)), parameters.model_copy(update={"votes_to_act_count_min": 2})
    digests = {judged_sha256(terms, parameters), judged_sha256(dearer, parameters), judged_sha256(richer, parameters)}
    digests.add(judged_sha256(terms, other))
    changed = StrategyText("rsi", "# changed", "rsi.py")
    monkeypatch.setattr("closebell.backtest.validation.trials.strategy_text", lambda strategy: changed)
    assert len(digests | {judged_sha256(terms, parameters)}) == 5


def naive_deflated_sharpe(returns: Floats, trial_sharpes: Floats) -> float:
    """Bailey and Lopez de Prado 2014 in plain numbers; every Sharpe ratio is of one session."""
    normal, gamma, count = NormalDist(), float(np.euler_gamma), len(trial_sharpes)
    sharpe = float(np.mean(returns) / np.std(returns, ddof=1))
    luckiest = float(np.std(trial_sharpes, ddof=1)) * (
        (1 - gamma) * normal.inv_cdf(1 - 1 / count) + gamma * normal.inv_cdf(1 - 1 / (count * math.e))
    )
    skewness, kurtosis = float(str(pd.Series(returns).skew())), float(str(pd.Series(returns).kurt())) + 3
    spread = math.sqrt(1 - skewness * sharpe + (kurtosis - 1) / 4 * sharpe**2)
    return normal.cdf((sharpe - luckiest) * math.sqrt(len(returns) - 1) / spread)


def test_crypto_is_judged_by_a_year_of_365_sessions(tmp_path: Path) -> None:
    panel = coin_panel(13, 130)
    terms = TrialTerms(coin_market(panel, f"{COSTS.spread_frac}"), COSTS, Decimal(100_000))
    parameters = parameters_of(panel, "drift", "coin_1", market=Market.CRYPTO)
    found = validate(ValidationRequest(terms, parameters, grid_count=1), ValidationFolder(tmp_path))

    def annual(returns: Floats) -> float:
        return float(np.mean(returns) / np.std(returns, ddof=1) * np.sqrt(365))

    sharpes = [annual(trial.returns) for trial in found.trials]
    assert len(set(sharpes)) > 2
    lines = [json.loads(line) for line in (tmp_path / "trials.jsonl").read_text().splitlines()]
    assert [line["sharpe_annual_ratio"] for line in lines] == pytest.approx(sharpes)
    assert [trial.summary["sharpe_annual_ratio"] for trial in found.trials] == pytest.approx(sharpes)
    assert found.sensitivity.sharpe_annual.tolist() == [[pytest.approx(sharpes[0])]]
    of_a_session = np.array(sharpes) / math.sqrt(365)
    assert found.luck.deflated_sharpe_frac == pytest.approx(naive_deflated_sharpe(found.trials[0].returns, of_a_session))
    chosen = {trial.name: trial for trial in found.trials}
    for fold in found.rolling.folds:
        rows = [place for place, day in enumerate(found.days) if fold.out_of_sample.first <= day <= fold.out_of_sample.last]
        assert fold.out_of_sample_sharpe_annual_ratio == pytest.approx(annual(chosen[fold.chosen].returns[rows]))
        assert fold.out_of_sample_return_frac == pytest.approx(np.prod(1.0 + chosen[fold.chosen].returns[rows]) - 1.0)
        rows = [place for place, day in enumerate(found.days) if fold.in_sample.first <= day <= fold.in_sample.last]
        assert fold.in_sample_sharpe_annual_ratio == pytest.approx(annual(chosen[fold.chosen].returns[rows]))
    document = json.loads(validation_files(found, flags(found))["validation.json"])
    for walk, returns in (("anchored", found.anchored.returns), ("rolling", found.rolling.returns)):
        assert document["walk_forward"][walk]["sharpe_annual_ratio"] == pytest.approx(annual(returns))
    assert found.trials[0].summary["commission_usd"] > 0


def test_what_was_earned_the_costs_the_cash_and_the_span_make_another_trial() -> None:
    request = request_of(seeded_panel(13, 20, 2), "coin_1")
    hours = request.terms.market.sessions(Market.US_EQUITY)
    span = SessionSpan(hours[0].session, hours[9].session)
    trial = TrialResult("as it was", request.parameters, np.array([0.01, 0.02]), {}, ())
    digests = [
        trial_sha256(request.terms, trial._replace(name=name, returns=np.array([0.01, second])), span)
        for name, second in (("as it was", 0.02), ("renamed", 0.02), ("as it was", 0.03))
    ]
    assert digests[0] == digests[1] != digests[2]
    shorter = SessionSpan(span.first, hours[8].session)
    others = [(request.terms._replace(costs=Costs(Decimal(7))), span), (request.terms._replace(cash_usd=Decimal(7)), span)]
    assert digests[0] not in {trial_sha256(terms, trial, of) for terms, of in (*others, (request.terms, shorter))}


def test_each_different_configuration_is_one_trial_and_the_grid_reaches_from_half_to_double() -> None:
    parameters = parameters_of(seeded_panel(14, 10, 2), *NOISE)
    grid = exit_grid(parameters, 3)
    assert [[float(point.exits.stop_loss_frac) for point in row] for row in grid] == [[0.015] * 3, [0.03] * 3, [0.06] * 3]
    assert [float(point.exits.take_profit_frac) for point in grid[0]] == [0.04, 0.08, 0.16]
    named = all_trials(parameters, grid)
    narrow = parameters.model_copy(update={"exits": parameters.exits.model_copy(update={"stop_loss_frac": Decimal("0.0001")})})
    assert len(all_trials(narrow, exit_grid(narrow, 5))) == 1 + 3 + 2 + 24, "a small difference has a name of its own"
    assert len(named) == 1 + 3 + 2 + 8
    assert list(named)[0] == AS_CONFIGURED


@pytest.mark.parametrize(("stop", "target", "name"), [
    ("0.030", "0.08", "stop 3 % target 8 %"), ("0.0150", "1", "stop 1.5 % target 100 %"),
])  # fmt: skip
def test_a_stop_and_a_target_are_named_without_idle_zeros(stop: str, target: str, name: str) -> None:
    assert exit_name(ExitTerms(stop_loss_frac=Decimal(stop), take_profit_frac=Decimal(target))) == name
