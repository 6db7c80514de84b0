"""A session's decisions: one for every symbol, ranked entries, exits, and what the numbers say."""

from dataclasses import replace
from datetime import date
from decimal import Decimal

import numpy as np
import pytest

from closebell.decision.desk_view import DeskView
from closebell.decision.holdings import holdings_of
from closebell.decision.session import SessionDecisions, decide_session, plan_session
from closebell.model.books import PositionState
from closebell.model.broker import Side
from closebell.model.decision import Decision, EntryMethod, ExitRule, Outcome, PlanAction, Stance
from closebell.model.instruments import Instrument, Market
from closebell.model.orders import OrderLeg
from closebell.model.parameters import EntryTerms, ParameterSet, RiskLimits
from tests.unit.decision.desks import (
    NEXT_SESSION,
    NO_SNAPSHOT,
    SESSION,
    account,
    desk,
    inputs,
    order,
    position,
    snapshot,
    venue_position,
)

BUY, SELL, QUIET = (0.9, 0.6, 0.0), (-0.9, -0.6, 0.0), (0.0, 0.1, 0.0)


def by_symbol(decided: SessionDecisions) -> dict[str, Decision]:
    return {decision.symbol: decision for decision in decided.decisions}


def entered(decided: SessionDecisions) -> list[str]:
    return [plan.symbol for plan in decided.plans if plan.action is PlanAction.ENTER]


def test_every_symbol_gets_one_decision_in_the_order_of_the_configuration() -> None:
    view = desk(snapshot(venue_position("ZZZ")), positions=[position("ZZZ", PositionState.EXTERNAL)])
    scores = {"CCC": QUIET, "AAA": BUY, "BBB": SELL, "DDD": (0.5, -0.5, 0.0), "EEE": BUY}
    decided = decide_session(inputs(scores, view, problems={"EEE": "no bars at all"}))
    assert [(decision.symbol, decision.outcome) for decision in decided.decisions] == [
        ("CCC", Outcome.NO_TRADE), ("AAA", Outcome.ENTER), ("BBB", Outcome.NO_TRADE), ("DDD", Outcome.NO_TRADE),
        ("EEE", Outcome.SKIPPED), ("ZZZ", Outcome.HOLD),
    ]
    assert by_symbol(decided)["EEE"].reason == "no bars at all"
    assert by_symbol(decided)["DDD"].reason == "conflict: 1 buy (rsi), 1 sell (macd)"
    assert all(decision.reason and decision.session == SESSION for decision in decided.decisions)


def test_an_entry_says_everything() -> None:
    decided = decide_session(inputs({"AAA": BUY}, closes={"AAA": 100.123456}))
    decision, plan = decided.decisions[0], decided.plans[0]
    assert plan.plan_id == "us_equity-2018-10-02-AAA-enter"
    assert (plan.session, plan.decided_session, plan.method) == (NEXT_SESSION, SESSION, EntryMethod.MARKET_ON_OPEN)
    assert plan.reference_price_usd == decision.close_usd == Decimal("100.1235")
    assert plan.quantity_shares == 190
    assert plan.limit_price_usd is None
    assert (plan.stop_loss_frac, plan.take_profit_frac) == (Decimal("0.03"), Decimal("0.08"))
    assert (plan.time_stop_sessions, plan.minimum_hold_sessions) == (5, 2)
    assert (plan.strategies, plan.priority_score) == (("rsi", "macd"), 0.5)
    assert plan.reason == decision.reason == (
        "2 of 3 would buy (rsi +0.90, macd +0.60) in a bull market of low volatility; 19 % of equity, bound by position weight; "
        "stop 3 % below, target 8 % above, out after 5 sessions"
    )
    assert (decision.stance, decision.vote_score, decision.binding_check) == (Stance.BUY, 0.5, "position_weight")
    assert len(decision.checks) == 17
    assert decision.allocation is not None
    assert decision.allocation.quantity_shares == plan.quantity_shares


def test_the_best_votes_come_first_and_equal_ones_by_symbol() -> None:
    limits = RiskLimits(positions_count_max=3)
    equal = (0.5, 0.5, 0.0)
    scores = {"FFF": equal, "DDD": equal, "CCC": (0.9, 0.9, 0.9), "BBB": equal, "AAA": (0.3, 0.3, 0.0)}
    asked = inputs(scores)
    decided = decide_session(replace(asked, parameters=asked.parameters.model_copy(update={"limits": limits})))
    assert entered(decided) == ["CCC", "BBB", "DDD"]
    assert by_symbol(decided)["FFF"].outcome is Outcome.DENIED
    assert by_symbol(decided)["FFF"].binding_check == "positions"
    assert by_symbol(decided)["AAA"].reason == (
        "2 of 3 would buy (rsi +0.30, macd +0.30), but positions: 4 against a limit of 3 positions"
    )


def test_each_entry_takes_room_from_the_next() -> None:
    scores = {symbol: BUY for symbol in ("AAA", "BBB", "EEE", "FFF", "CCC", "DDD")}
    decided = decide_session(inputs(scores))
    assert entered(decided) == ["AAA", "BBB", "CCC", "DDD", "EEE"]
    assert by_symbol(decided)["FFF"].binding_check == "positions"
    three_of_tech = decide_session(inputs({symbol: BUY for symbol in ("AAA", "BBB", "EEE", "FFF")}))
    assert by_symbol(three_of_tech)["FFF"].binding_check == "sector_positions"


def test_deciding_twice_is_deciding_once() -> None:
    scores = {symbol: BUY for symbol in ("AAA", "BBB", "CCC")}
    assert decide_session(inputs(scores)) == decide_session(inputs(scores))


def test_what_comes_after_the_session_changes_nothing() -> None:
    asked = inputs({"AAA": BUY, "BBB": SELL}, volume=1e6)
    earlier = date(2018, 9, 28)
    whole = replace(asked, session=earlier)
    rows = slice(0, int(np.searchsorted(asked.panel.sessions, np.datetime64(earlier))) + 1)
    cut = replace(whole, panel=asked.panel.rows(rows), scores={name: matrix[rows] for name, matrix in asked.scores.items()})
    assert decide_session(whole) == decide_session(cut)


def test_other_symbols_in_the_panel_are_not_traded() -> None:
    asked = inputs({"AAA": BUY, "SPY": BUY})
    only = asked.parameters.model_copy(update={"universe": asked.parameters.universe[:1]})
    decided = decide_session(replace(asked, parameters=only))
    assert [decision.symbol for decision in decided.decisions] == ["AAA"]


@pytest.mark.parametrize("closes", [{"AAA": float("nan")}, {"AAA": 0.0}, {"AAA": -1.0}])
def test_a_symbol_without_a_price_is_skipped_even_if_nobody_named_a_problem(closes: dict[str, float]) -> None:
    decided = decide_session(inputs({"AAA": BUY, "BBB": QUIET}, closes=closes))
    assert by_symbol(decided)["AAA"].outcome is Outcome.SKIPPED
    assert by_symbol(decided)["AAA"].reason == "no price for 2018-10-01"


def test_a_session_the_panel_does_not_have_skips_everything() -> None:
    decided = decide_session(replace(inputs({"AAA": BUY}), session=date(2018, 10, 5)))
    assert by_symbol(decided)["AAA"].outcome is Outcome.SKIPPED
    assert decided.plans == ()


def test_a_symbol_the_panel_does_not_have_is_skipped() -> None:
    asked = inputs({"AAA": BUY})
    gone = Instrument(symbol="GONE", sector="tech")
    wider = asked.parameters.model_copy(update={"universe": (*asked.parameters.universe, gone)})
    assert by_symbol(decide_session(replace(asked, parameters=wider)))["GONE"].outcome is Outcome.SKIPPED


def test_a_feed_with_too_many_holes_enters_nothing() -> None:
    scores = {symbol: BUY for symbol in ("AAA", "BBB", "CCC", "DDD", "EEE")}
    assert len(entered(decide_session(inputs(scores, problems={"AAA": "stale"})))) == 4
    decided = decide_session(inputs(scores, problems={"AAA": "stale", "BBB": "stale"}))
    assert entered(decided) == []
    assert by_symbol(decided)["CCC"].binding_check == "universe_coverage"


def test_no_history_is_no_opinion() -> None:
    nan = float("nan")
    assert by_symbol(decide_session(inputs({"AAA": (nan, nan, nan)})))["AAA"].reason == "no strategy has enough history"


def test_48_phantoms_change_nothing_and_are_not_sold() -> None:
    phantoms = [position(f"P{number}") for number in range(47)] + [position("BBB")]
    view = desk(snapshot(), positions=phantoms, sessions_held={phantom.symbol: 9 for phantom in phantoms})
    scores = {"AAA": BUY, "BBB": BUY, "CCC": BUY}
    assert decide_session(inputs(scores, view)) == decide_session(inputs(scores))
    assert entered(decide_session(inputs(scores, view))) == ["AAA", "BBB", "CCC"]


def test_after_a_failed_read_nothing_is_entered_sold_or_concluded() -> None:
    view = desk(NO_SNAPSHOT, positions=[position("BBB")], sessions_held={"BBB": 9})
    decided = decide_session(inputs({"AAA": BUY, "BBB": SELL}, view))
    assert decided.plans == ()
    assert by_symbol(decided)["AAA"].binding_check == "broker_truth"
    assert by_symbol(decided)["BBB"].outcome is Outcome.HOLD
    assert by_symbol(decided)["BBB"].reason == "the broker could not be read: nothing changes"


def holding(**changes: object) -> DeskView:
    held = position("AAA", **changes)  # type: ignore[arg-type]  # fields of a position
    return desk(snapshot(venue_position("AAA", 1_050)), positions=[held], sessions_held={"AAA": 5})


def test_a_time_stop_plans_the_exit_of_what_is_ours() -> None:
    decided = decide_session(inputs({"AAA": BUY, "BBB": BUY}, holding()))
    plan = decided.plans[0]
    assert (plan.plan_id, plan.action, plan.exit_rule) == ("us_equity-2018-10-02-AAA-exit", PlanAction.EXIT, ExitRule.TIME_STOP)
    assert (plan.quantity_shares, plan.reference_price_usd) == (Decimal(10), Decimal(100))
    assert plan.method is EntryMethod.MARKET_ON_OPEN
    assert plan.reason == by_symbol(decided)["AAA"].reason == "held 5 sessions, time stop at 5"
    assert by_symbol(decided)["AAA"].outcome is Outcome.EXIT
    assert [plan.symbol for plan in decided.plans] == ["AAA", "BBB"]


def test_a_halt_does_not_keep_us_in_a_position() -> None:
    assert decide_session(inputs({"AAA": QUIET}, replace(holding(), is_halted=True))).plans[0].action is PlanAction.EXIT


def test_a_position_whose_bars_are_bad_is_still_left_on_time_at_the_brokers_price() -> None:
    decided = decide_session(inputs({"AAA": SELL}, holding(), problems={"AAA": "stale"}))
    assert decided.plans[0].reference_price_usd == Decimal(105)
    early = replace(holding(), sessions_held={"AAA": 3})
    kept = by_symbol(decide_session(inputs({"AAA": SELL}, early, problems={"AAA": "stale"})))["AAA"]
    assert (kept.outcome, kept.stance) == (Outcome.HOLD, Stance.NEUTRAL)
    assert kept.reason == "held 3 of at most 5 sessions, no signal to sell (bars unusable: stale)"


def test_a_position_outside_the_universe_is_still_left() -> None:
    view = desk(snapshot(venue_position("OLD")), positions=[position("OLD")], sessions_held={"OLD": 5})
    decided = decide_session(inputs({"AAA": QUIET}, view))
    assert [plan.symbol for plan in decided.plans] == ["OLD"]
    assert decided.decisions[-1].symbol == "OLD"


def test_the_users_own_shares_of_our_symbol_are_not_sold() -> None:
    held = position("AAA", external_shares=Decimal(15))
    view = desk(snapshot(venue_position("AAA", 2_000, 20)), positions=[held], sessions_held={"AAA": 5})
    assert decide_session(inputs({"AAA": QUIET}, view)).plans[0].quantity_shares == 5


@pytest.mark.parametrize(
    ("view", "reason"),
    [
        (desk(snapshot(venue_position("AAA"))), "at the broker, not in our books"),
        (holding(state=PositionState.EXTERNAL), "yours"),
        (holding(state=PositionState.DISPUTED), "disputed"),
        (holding(state=PositionState.CLOSING), "closing already"),
        (replace(holding(), live_orders=(order("AAA", side=Side.SELL, leg=OrderLeg.EXIT),)), "an exit order is out"),
        (holding(external_shares=Decimal(10)), "to be sold (held 5 sessions, time stop at 5), but"),
        (desk(snapshot(venue_position("AAA", -1_000, -10)), positions=[position("AAA")], sessions_held={"AAA": 5}), "to be sold"),
    ],
)
def test_what_is_not_ours_to_sell_is_held(view: DeskView, reason: str) -> None:
    decided = decide_session(inputs({"AAA": SELL}, view))
    assert decided.plans == ()
    assert decided.decisions[0].outcome is Outcome.HOLD
    assert decided.decisions[0].reason.startswith(reason)


def test_dust_does_not_keep_us_out() -> None:
    view = desk(snapshot(venue_position("AAA", 2)), positions=[position("AAA", PositionState.DUST)])
    assert entered(decide_session(inputs({"AAA": BUY}, view))) == ["AAA"]


def test_crypto_buys_coins_at_the_market_and_leaves_equities_alone() -> None:
    view = desk(snapshot(venue_position("AAA")), positions=[position("AAA")], sessions_held={"AAA": 9})
    decided = decide_session(inputs({"BTC/USD": BUY}, view, closes={"BTC/USD": 6600.0}, market=Market.CRYPTO))
    plan = decided.plans[0]
    assert (plan.plan_id, plan.method) == ("crypto-2018-10-02-BTC-USD-enter", EntryMethod.MARKET)
    assert plan.quantity_shares == Decimal("2.886002886")
    assert [decision.symbol for decision in decided.decisions] == ["BTC/USD"]
    assert holdings_of(view, Market.CRYPTO) == {}


def test_a_limit_entry_rests_above_the_close_and_is_sized_at_its_limit() -> None:
    asked = inputs({"AAA": BUY})
    limited = asked.parameters.model_copy(update={"entries": EntryTerms(use_limit=True, limit_offset_frac=Decimal("0.01"))})
    plan = decide_session(replace(asked, parameters=limited)).plans[0]
    assert (plan.method, plan.limit_price_usd, plan.quantity_shares) == (EntryMethod.LIMIT, Decimal("101.00"), Decimal(198))


def test_the_volume_caps_the_size_when_it_is_known() -> None:
    decided = decide_session(inputs({"AAA": BUY}, volume=5_000.0))
    assert (decided.plans[0].quantity_shares, decided.decisions[0].binding_check) == (Decimal(50), "volume_share")


def test_the_volume_is_the_mean_of_the_last_20_sessions() -> None:
    asked = inputs({"AAA": BUY}, volume=1e9)
    asked.panel.volume[-20:, 0] = np.arange(20.0) * 1000.0
    assert decide_session(asked).plans[0].quantity_shares == 95
    asked.panel.volume[-20, 0] = np.nan
    assert decide_session(asked).plans[0].quantity_shares == 100
    asked.panel.volume[-20:, 0] = np.nan
    volume_share = next(check for check in decide_session(asked).decisions[0].checks if check.check == "volume_share")
    assert volume_share.note == "volume unknown: not checked"


def test_a_size_too_small_to_trade_is_denied_by_what_made_it_small() -> None:
    view = desk(snapshot(broker_account=account(buying_power_usd=150)))
    decision = decide_session(inputs({"AAA": BUY}, view, closes={"AAA": 90.0})).decisions[0]
    assert (decision.outcome, decision.binding_check) == (Outcome.DENIED, "minimum_notional")
    assert decision.reason.endswith("minimum notional: 90 against a limit of 100 USD (sized to 1 by buying_power)")


@pytest.mark.parametrize(
    "view",
    [desk(), desk(snapshot(venue_position("AAA"), venue_position("BBB"))), desk(is_halted=True), desk(orders=[order("BBB")])],
)
def test_planning_without_records_plans_the_same(view: DeskView) -> None:
    generator = np.random.default_rng(29)
    for _ in range(10):
        scores = {f"S{number}": tuple(generator.uniform(-0.3, 1.0, 3)) for number in range(30)}
        asked = inputs({"AAA": BUY, "BBB": BUY, **scores}, view, problems={"S3": "stale"})
        planned, decided = plan_session(asked), decide_session(asked)
        assert planned == decided.plans
        assert [decision.symbol for decision in decided.decisions if decision.outcome is Outcome.SKIPPED] == ["S3"]
        assert {decision.symbol for decision in decided.decisions} == {"AAA", "BBB", *scores}


def test_sessions_held_must_be_known() -> None:
    view = replace(holding(), sessions_held={})
    with pytest.raises(KeyError):
        decide_session(inputs({"AAA": QUIET}, view))


def test_every_strategy_of_the_parameters_must_have_scored() -> None:
    asked = inputs({"AAA": QUIET})
    parameters = ParameterSet(universe=asked.parameters.universe, strategies=("rsi", "sma_cross"))
    with pytest.raises(KeyError):
        decide_session(replace(asked, parameters=parameters))
