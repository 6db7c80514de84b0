"""The last look before an order is sent."""

from datetime import timedelta
from decimal import Decimal

import pytest

from closebell.decision.desk_view import DeskView
from closebell.decision.placing import forbids_sending, recheck, reservation_usd
from closebell.decision.session import decide_session
from closebell.model.broker import Quote
from closebell.model.decision import PlanAction, TradePlan
from closebell.model.parameters import ParameterSet
from tests.unit.decision.desks import NO_SNAPSHOT, NOW, account, desk, inputs, order, position, snapshot, venue_position

ASKED = inputs({"AAA": (0.9, 0.9, 0.0)})
PLAN = decide_session(ASKED).plans[0]
PARAMETERS = ASKED.parameters


def quote(price: str) -> Quote:
    return Quote(symbol="AAA", bid_usd=Decimal(price), ask_usd=Decimal(price), quoted_at=NOW)


def failed(view: DeskView | None = None, seen: Quote | None = None, plan: TradePlan = PLAN) -> str:
    asked = (plan, view or desk(), PARAMETERS, seen or quote("100"))
    found = forbids_sending(*asked)
    assert found == next((check for check in recheck(*asked) if not check.passed), None)
    return found.check if found else ""


def test_a_plan_whose_world_has_not_changed_may_be_sent() -> None:
    assert failed() == ""


def test_a_plan_survives_a_rise_within_the_collar_and_a_small_loss_overnight() -> None:
    assert failed(desk(snapshot(broker_account=account(99_600, last_equity_usd=100_000))), quote("104")) == ""


def test_a_quote_outside_the_collar_or_none_at_all_forbids_it() -> None:
    assert failed(seen=quote("94.9")) == "price_collar"
    assert failed(seen=quote("105.1")) in {"price_collar", "position_weight"}
    unquoted = forbids_sending(PLAN, desk(), PARAMETERS, None)
    assert unquoted is not None
    assert unquoted == next(check for check in recheck(PLAN, desk(), PARAMETERS, None) if not check.passed)


@pytest.mark.parametrize(
    ("view", "check"),
    [
        (desk(is_halted=True), "halt"),
        (desk(NO_SNAPSHOT), "broker_truth"),
        (desk(snapshot(broker_account=account(94_000, last_equity_usd=100_000))), "daily_loss"),
        (desk(snapshot(venue_position("AAA"))), "symbol_free"),
        (desk(orders=[order("AAA")]), "symbol_free"),
        (desk(orders=[order(f"P{number}") for number in range(5)]), "positions"),
        (desk(snapshot(broker_account=account(buying_power_usd=100))), "buying_power"),
    ],
)
def test_fresh_truth_forbids_it(view: DeskView, check: str) -> None:
    assert failed(view) == check


def test_the_reservation_covers_the_worst_price_the_collar_allows() -> None:
    assert reservation_usd(PLAN, PARAMETERS) == PLAN.quantity_shares * Decimal("105.00")
    limited = PLAN.model_copy(update={"limit_price_usd": Decimal("101.01")})
    assert reservation_usd(limited, PARAMETERS) == PLAN.quantity_shares * Decimal("101.01")


def test_the_reservation_is_never_rounded_below_the_price() -> None:
    odd = PLAN.model_copy(update={"quantity_shares": Decimal("1.5"), "limit_price_usd": Decimal("0.6674")})
    assert reservation_usd(odd, PARAMETERS) == Decimal("1.01")  # 1.0011


def test_a_plan_is_checked_in_its_sector_with_its_own_stop_at_its_own_limit() -> None:
    terms = {"stop_loss_frac": Decimal("0.5"), "limit_price_usd": Decimal(90), "quantity_shares": Decimal(100)}
    asked = PLAN.model_copy(update={"sector": "energy", **terms})
    results = {one.check: one for one in recheck(asked, desk(snapshot(venue_position("CCC"))), PARAMETERS, quote("100"))}
    assert results["sector_positions"].note == "sector energy"
    assert results["sector_positions"].measured == 2
    assert results["buying_power"].measured == 9_000
    assert results["risk_per_trade"].measured == Decimal("0.045")
    assert results["minimum_notional"].note == ""
    default = asked.model_copy(update={"stop_loss_frac": None})
    measured = {one.check: one.measured for one in recheck(default, desk(), PARAMETERS, quote("100"))}
    assert measured["risk_per_trade"] == Decimal("0.09") * PARAMETERS.exits.stop_loss_frac


@pytest.mark.parametrize(
    ("age_s", "is_denied"), [(0, False), (3600, False), (3601, True), (-3600, False), (-3601, True), (86_400, True)]
)
def test_an_entry_is_not_sent_on_an_old_quote_nor_on_one_from_the_future(age_s: int, is_denied: bool) -> None:
    seen = quote("100").model_copy(update={"quoted_at": NOW - timedelta(seconds=age_s)})
    denied = [check.check for check in recheck(PLAN, desk(), PARAMETERS, seen) if not check.passed]
    assert denied == (["quote_age"] if is_denied else [])
    patient = PARAMETERS.model_copy(update={"limits": PARAMETERS.limits.model_copy(update={"quote_age_s_max": 90_000})})
    assert all(check.passed for check in recheck(PLAN, desk(), patient, seen))


def test_nothing_keeps_us_in_a_position() -> None:
    held = position("AAA")
    view = desk(snapshot(venue_position("AAA")), positions=[held], sessions_held={"AAA": 5})
    plan = decide_session(inputs({"AAA": (0.0, 0.0, 0.0)}, view)).plans[0]
    assert plan.action is PlanAction.EXIT
    nothing_known = (plan, desk(NO_SNAPSHOT, is_halted=True), ParameterSet(universe=PARAMETERS.universe), None)
    assert recheck(*nothing_known) == ()
    assert forbids_sending(*nothing_known) is None
    assert reservation_usd(plan, PARAMETERS) == 0
