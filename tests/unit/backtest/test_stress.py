"""Stresses do what their names say, and a cut market has nothing after the cut."""

from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal

import numpy as np
import pytest

from closebell.app.evidence import SessionPair
from closebell.backtest.desk.known_evidence import KnownEvidence
from closebell.backtest.run import Costs
from closebell.backtest.validation.sensitivity import Sensitivity
from closebell.backtest.validation.splits import FoldRows, SessionSpan
from closebell.backtest.validation.stress import (
    CRASHES,
    DOUBLED,
    HOLED,
    MISSING_FRAC,
    STRESSES,
    DelayedEvidence,
    crashes,
    doubled,
    missing_bars,
    stressed,
)
from closebell.backtest.validation.trials import TrialTerms, run_trial
from closebell.backtest.validation.walk_forward import walk_forward
from closebell.model.errors import ConfigurationError
from closebell.model.instruments import Market
from closebell.model.panel import BarPanel
from closebell.simulation.bar_market import BarMarket, hours_of
from tests.unit.backtest.markets import CALENDAR, coin_market, coin_panel, market_of, parameters_of, seeded_panel


def days_of(panel: BarPanel) -> list[date]:
    found: list[date] = panel.sessions.astype(object).tolist()
    return found


def test_late_evidence_is_the_evening_befores_scores_with_todays_everything_else() -> None:
    panel = seeded_panel(21, 60, 3)
    market, parameters = market_of(panel), parameters_of(panel, "rsi", "sma_cross")
    hours = market.sessions(Market.US_EQUITY)
    dates = tuple(days_of(panel)[:56])
    pair = SessionPair(hours[55], hours[56], dates, dates)
    on_time = KnownEvidence(market, parameters).read(Market.US_EQUITY, parameters, pair)
    late = DelayedEvidence(market, parameters).read(Market.US_EQUITY, parameters, pair)
    for name, scores in on_time.scores.items():
        assert np.array_equal(late.scores[name][55], scores[54], equal_nan=True)
    assert late.ground is not None
    assert on_time.ground is not None
    assert np.array_equal(late.ground.votes.stance[55], on_time.ground.votes.stance[54])
    assert (late.regime, late.problems, late.universe.symbols) == (on_time.regime, on_time.problems, on_time.universe.symbols)


def test_doubled_costs_cost_double_and_two_percent_of_bars_are_missing_a_month_at_a_time() -> None:
    panel = seeded_panel(22, 300, 4)
    costs = Costs(slippage_bps=Decimal(5), commission_an_order_usd=Decimal(1))
    terms = TrialTerms(market_of(panel, f"{costs.spread_frac}"), costs, Decimal(100_000))
    parameters, span = parameters_of(panel, "momentum"), SessionSpan(days_of(panel)[250], days_of(panel)[-1])
    plain = run_trial("plain", terms, parameters, span)
    dear, late, holed = (stressed(name, terms, parameters, span, seed=1) for name in STRESSES)
    assert dear.summary["cost_usd"] == pytest.approx(2 * plain.summary["cost_usd"], rel=0.15)
    assert len({plain.summary["trades_sha256"], late.summary["trades_sha256"], holed.summary["trades_sha256"]}) == 3


@pytest.mark.parametrize(("market", "most"), [(Market.US_EQUITY, "500"), (Market.CRYPTO, "487.5")])
def test_costs_that_cannot_be_doubled_are_refused_with_the_most_that_can(market: Market, most: str) -> None:
    assert doubled(Costs(slippage_bps=Decimal(most)), market).slippage_bps == 1000
    with pytest.raises(ConfigurationError, match=f"at most {most}$"):
        doubled(Costs(slippage_bps=Decimal("500.1")), market)


def test_commissions_that_cannot_be_doubled_are_refused_with_the_most_that_can() -> None:
    assert doubled(Costs(commission_an_order_usd=Decimal(5000)), Market.US_EQUITY).commission_an_order_usd == 10_000
    with pytest.raises(ConfigurationError, match=r"a commission is 9000 USD: a validation doubles the costs, so at most 5,000$"):
        doubled(Costs(commission_an_order_usd=Decimal(9000)), Market.US_EQUITY)


def test_doubled_costs_of_crypto_are_twice_the_fee_too() -> None:
    panel = coin_panel(4, 330)
    costs = Costs(slippage_bps=Decimal(5))
    terms = TrialTerms(coin_market(panel, f"{costs.spread_frac}"), costs, Decimal(100_000))
    parameters = parameters_of(panel, "momentum", market=Market.CRYPTO)
    span = SessionSpan(days_of(panel)[230], days_of(panel)[-1])
    plain, dear = run_trial("plain", terms, parameters, span), stressed(DOUBLED, terms, parameters, span, seed=1)
    assert plain.summary["commission_usd"] > 3 * plain.summary["spread_cost_usd"]
    assert dear.summary["cost_usd"] == pytest.approx(2 * plain.summary["cost_usd"], rel=0.15)


def test_missing_bars_of_crypto_leave_the_coin_of_its_regime_and_are_thirty_days_long(monkeypatch: pytest.MonkeyPatch) -> None:
    panel = coin_panel(5, 2000)
    parameters = parameters_of(panel, "momentum", market=Market.CRYPTO).model_copy(update={"regime_symbol": "ETH/USD"})
    seen: list[TrialTerms] = []
    monkeypatch.setattr("closebell.backtest.validation.stress.run_trial", lambda name, terms, *rest: seen.append(terms))
    terms = TrialTerms(coin_market(panel), Costs(), Decimal(100_000))
    stressed(HOLED, terms, parameters, SessionSpan(days_of(panel)[230], days_of(panel)[-1]), seed=1)
    holes = np.isnan(seen[0].market.panel.close)
    assert not holes[:, panel.symbols.index("BTC/USD")].any()
    edges = np.diff(np.pad(holes[:, panel.symbols.index("ETH/USD")].astype(int), 1))
    lengths = np.flatnonzero(edges == -1) - np.flatnonzero(edges == 1)
    assert len(lengths)
    assert min(lengths) >= 30


def test_missing_bars_leave_the_regimes_symbol_alone_and_are_drawn_by_the_seed() -> None:
    panel = seeded_panel(23, 1000, 10)
    unknown = missing_bars(panel, "S03", seed=1, gap_sessions=20)
    assert unknown.mean() == pytest.approx(MISSING_FRAC, rel=0.15)
    assert not unknown[:, 3].any()
    assert np.array_equal(unknown, missing_bars(panel, "S03", seed=1, gap_sessions=20))
    assert not np.array_equal(unknown, missing_bars(panel, "S03", seed=2, gap_sessions=20))


def test_a_market_cut_after_a_date_has_nothing_of_later_and_stays_close_only() -> None:
    panel = seeded_panel(24, 60, 2)
    blank = np.full(panel.close.shape, np.nan)
    panel = replace(panel, open=blank, high=blank, low=blank)
    days = days_of(panel)
    whole = BarMarket(
        panel, hours_of(CALENDAR, panel), splits={"S00": {days[10]: 2.0, days[50]: 3.0}},
        volatility_closes={day: Decimal(20) for day in days}, spread_frac=Decimal("0.001"),
    )  # fmt: skip
    cut = whole.altered(until=days[30])
    assert days_of(cut.panel) == days[:31]
    assert [split.ex_session for split in cut.splits("S00")] == [days[10]]
    assert max(cut.volatility_index()) == days[30]
    assert len(cut.prints("S00", days[20])) == 1
    assert cut.prints("S00", days[20]) == whole.prints("S00", days[20])
    assert {asset.spread_frac for asset in cut.assets()} == {Decimal("0.001")}
    assert {asset.spread_frac for asset in whole.altered(spread_frac=Decimal("0.002")).assets()} == {Decimal("0.002")}


def test_crashes_are_told_where_the_sessions_cover_them() -> None:
    first = CRASHES["2020"].first - timedelta(days=10)
    days = [first + timedelta(days=count) for count in range(80)]
    returns = np.array([-0.01 if CRASHES["2020"].first <= day <= CRASHES["2020"].last else 0.02 for day in days])
    (crash,) = crashes(returns, days)
    inside = (CRASHES["2020"].last - CRASHES["2020"].first).days + 1
    assert crash.return_frac == pytest.approx(0.99**inside - 1)
    assert crash.drawdown_frac_max == pytest.approx(1 - 0.99**inside)
    assert crashes(returns[20:], days[20:]) == []


def test_a_peak_is_told_from_a_plateau() -> None:
    plateau = np.full((3, 3), 0.9)
    plateau[1, 1] = 1.0
    peak = np.zeros((3, 3))
    peak[0, 2] = 1.0
    fracs = (0.01, 0.02, 0.04)
    assert Sensitivity(fracs, fracs, plateau).neighbours_ratio == pytest.approx(0.9)
    assert Sensitivity(fracs, fracs, peak).neighbours_ratio == 0.0
    assert Sensitivity(fracs, fracs, peak).best == (0, 2)
    assert Sensitivity(fracs, fracs, -plateau).neighbours_ratio == 0.0
    assert Sensitivity(fracs[:1], fracs[:1], plateau[:1, :1]).neighbours_ratio is None


def test_a_walk_forward_earns_what_came_after_each_choice() -> None:
    days = [date(2020, 1, 1) + timedelta(days=count) for count in range(9)]
    wiggle = np.tile([0.01, -0.01, 0.0], 3)
    returns = np.column_stack([wiggle + np.repeat([0.02, -0.02, 0.0], 3), wiggle + np.repeat([0.0, 0.01, 0.005], 3)])
    rows = [FoldRows(slice(0, 3), slice(3, 6)), FoldRows(slice(3, 6), slice(6, 9))]
    walked = walk_forward(("early", "late"), returns, days, rows, 252)
    assert [fold.chosen for fold in walked.folds] == ["early", "late"]
    assert walked.returns.tolist() == [*returns[3:6, 0], *returns[6:9, 1]]
    assert walked.folds[1].out_of_sample == SessionSpan(days[6], days[8])


def test_every_cost_is_doubled() -> None:
    costs = Costs(Decimal(5), Decimal("0.01"), Decimal(1), Decimal("0.5"), Decimal(4))
    assert doubled(costs, Market.US_EQUITY) == Costs(Decimal(10), Decimal("0.02"), Decimal(2), Decimal("0.5"), Decimal(8))


def test_a_crash_that_is_not_over_is_not_told() -> None:
    first, last = CRASHES["2020"]
    days = [first + timedelta(days=count) for count in range((last - first).days + 1)]
    returns = np.full(len(days), -0.01)
    assert [crash.name for crash in crashes(returns, days)] == ["2020"]
    assert crashes(returns[:-1], days[:-1]) == []


def test_the_last_bars_are_never_missing() -> None:
    unknown = missing_bars(seeded_panel(23, 300, 10), "S03", seed=1, gap_sessions=20)
    assert unknown.any()
    for seed in range(40):
        assert not missing_bars(seeded_panel(23, 100, 10), "S03", seed, gap_sessions=20)[-20:].any()


def test_a_trial_begins_with_the_cash_that_is_asked_for() -> None:
    panel = seeded_panel(22, 80, 2)
    days = panel.days
    terms = TrialTerms(market_of(panel), Costs(), Decimal(50_000))
    found = run_trial("half", terms, parameters_of(panel, "sma_cross"), SessionSpan(days[60], days[-1]))
    assert found.summary["cash_usd"] == 50_000
    assert 40_000 < found.summary["final_equity_usd"] < 60_000
    assert 1 + found.returns[0] == pytest.approx(1.0, abs=0.1)
