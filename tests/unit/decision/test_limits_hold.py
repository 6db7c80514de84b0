"""Whatever the desk, the scores and the limits: the plans of a session never exceed a limit. The oracle adds up by itself."""

import math
from dataclasses import replace
from decimal import Decimal
from typing import NamedTuple

from hypothesis import find, given, settings
from hypothesis import strategies as st

from closebell.decision.board import SessionInputs
from closebell.decision.placing import recheck, reservation_usd
from closebell.decision.session import decide_session
from closebell.model.books import PositionState
from closebell.model.broker import Quote
from closebell.model.decision import Outcome, PlanAction, TradePlan
from closebell.model.orders import OrderState
from closebell.model.parameters import RiskLimits
from tests.unit.decision.desks import NOW, account, desk, inputs, order, position, snapshot, venue_order, venue_position

SYMBOLS = tuple(f"{letter}{letter}{letter}" for letter in "ABCDEFGHIJ")
SECTORS_OF = {symbol: ("tech", "energy", "health")[place % 3] for place, symbol in enumerate(SYMBOLS)}
fractions = st.sampled_from([Decimal("0.07"), Decimal("0.2"), Decimal("0.333"), Decimal("0.6"), Decimal(1)])
prices = st.floats(min_value=0.5, max_value=3_000.0)

limits_of = st.builds(
    RiskLimits, positions_count_max=st.integers(4, 12), positions_per_sector_count_max=st.integers(2, 5),
    sector_exposure_frac_max=fractions, gross_exposure_frac_max=st.decimals(min_value="0.3", max_value="2", places=3),
    position_weight_frac_max=fractions, risk_per_trade_frac_min=st.just(Decimal("0.01")),
    risk_per_trade_frac_max=st.decimals(min_value="0.01", max_value="0.05", places=3), volume_share_frac_max=fractions,
    orders_per_session_count_max=st.integers(1, 8),
)


class DrawnWorld(NamedTuple):
    """A session to decide; per symbol what is held or ordered before it, and what the broker's buying power does not show."""

    asked: SessionInputs
    committed_usd: dict[str, Decimal]
    unseen_usd: Decimal


@st.composite
def worlds(draw: st.DrawFn) -> DrawnWorld:
    symbols = draw(st.permutations(SYMBOLS))
    held, ours = symbols[: draw(st.integers(0, 3))], symbols[4 : 4 + draw(st.integers(0, 2))]
    foreign = symbols[6 : 6 + draw(st.integers(0, 1))]
    equity = draw(st.sampled_from([100_000, 77_777, 250_000, 99_999, 500_000, 0]))
    values = {symbol: draw(st.sampled_from([1, 500, 5_000, 12_000, -3_000, 40_000])) for symbol in held}
    reserved = {symbol: draw(st.sampled_from([1, 100, 4_000, 30_000])) for symbol in ours}
    phantoms = [position(f"P{number}") for number in range(draw(st.sampled_from([0, 48])))]
    before_usd = equity * draw(st.sampled_from([100, 101, 103, 104, 105, 106])) // 100
    power_usd = draw(st.sampled_from([400_000, 150_000, 50_000, 35_000, -1_000]))
    truth = snapshot(
        *(venue_position(symbol, value) for symbol, value in values.items()),
        broker_account=account(equity, last_equity_usd=before_usd, buying_power_usd=power_usd),
        orders=[venue_order(symbol, limit_price_usd=draw(st.sampled_from([20, 3_000]))) for symbol in foreign],
    )
    orders = [
        order(symbol, draw(st.sampled_from([OrderState.INTENT, OrderState.UNKNOWN, OrderState.ACCEPTED])), reserved_usd=value)
        for symbol, value in reserved.items()
    ]
    theirs = [position(symbol, PositionState.EXTERNAL) for symbol in held]
    view = desk(truth, positions=[*phantoms, *theirs], orders=orders, sectors=SECTORS_OF)
    opinions = st.sampled_from([(0.9, 0.5, 0.3), (0.5, 0.5, 0.0), (0.3, 0.3, 0.1), (0.9, 0.0, 0.0), (0.9, 0.9, -0.5)])
    scores, closes = {symbol: draw(opinions) for symbol in SYMBOLS}, {symbol: draw(prices) for symbol in SYMBOLS}
    asked = inputs(scores, view, closes=closes, volume=draw(st.sampled_from([float("nan"), 900.0, 1e6])))
    universe = tuple(one.model_copy(update={"sector": SECTORS_OF[one.symbol]}) for one in asked.parameters.universe)
    committed = {symbol: Decimal(abs(value)) for symbol, value in (values | reserved).items()}
    committed |= {resting.symbol: resting.quantity_shares * (resting.limit_price_usd or 0) for resting in truth.open_orders}
    parameters = asked.parameters.model_copy(update={"limits": draw(limits_of), "universe": universe})
    return DrawnWorld(replace(asked, parameters=parameters), committed, Decimal(sum(reserved.values())))


@settings(max_examples=150, deadline=None)
@given(worlds())
def test_no_plan_set_exceeds_a_limit(world: DrawnWorld) -> None:
    asked, before = world.asked, world.committed_usd
    plans, limits = entries(asked), asked.parameters.limits
    if not plans:
        return
    assert asked.desk.snapshot is not None
    the_account = asked.desk.snapshot.account
    equity = the_account.equity_usd
    worst = {plan.symbol: plan.quantity_shares * plan.reference_price_usd * (1 + limits.price_collar_frac) for plan in plans}
    after = {**before, **worst}
    assert not worst.keys() & before.keys()
    assert len(after) <= limits.positions_count_max
    assert len(plans) <= limits.orders_per_session_count_max
    assert sum(after.values()) <= equity * limits.gross_exposure_frac_max
    assert sum(worst.values()) <= the_account.buying_power_usd - world.unseen_usd
    assert the_account.last_equity_usd - equity <= the_account.last_equity_usd * limits.daily_loss_frac_max
    for sector in {plan.sector for plan in plans}:
        inside = [symbol for symbol in after if SECTORS_OF[symbol] == sector]
        assert len(inside) <= limits.positions_per_sector_count_max
        assert sum(after[symbol] for symbol in inside) <= equity * limits.sector_exposure_frac_max
    for plan in plans:
        assert worst[plan.symbol] <= equity * limits.position_weight_frac_max
        assert worst[plan.symbol] * asked.parameters.exits.stop_loss_frac <= equity * limits.risk_per_trade_frac_max
        assert plan.quantity_shares * plan.reference_price_usd >= limits.notional_usd_min
        assert plan.quantity_shares == plan.quantity_shares.to_integral_value()
        volume = float(asked.panel.volume[-1, 0])
        assert math.isnan(volume) or plan.quantity_shares <= Decimal(volume) * limits.volume_share_frac_max


@settings(max_examples=100, deadline=None)
@given(worlds())
def test_every_denial_names_a_failed_check_and_every_entry_passed_all(world: DrawnWorld) -> None:
    for decision in decide_session(world.asked).decisions:
        failed = [check.check for check in decision.checks if not check.passed]
        if decision.outcome is Outcome.DENIED:
            assert decision.binding_check == failed[0]
        else:
            assert failed == []


@settings(max_examples=60, deadline=None)
@given(worlds(), st.floats(0.96, 1.04))
def test_plans_placed_one_after_another_stay_within_the_limits(world: DrawnWorld, moved: float) -> None:
    """What was planned together can be sent together: each plan passes while the orders before it are out."""
    view, parameters = world.asked.desk, world.asked.parameters
    for plan in entries(world.asked):
        results = recheck(plan, view, parameters, _quote(plan, moved))
        assert [check.check for check in results if not check.passed] == []
        sent = order(plan.symbol, OrderState.ACCEPTED, sector=plan.sector, reserved_usd=reservation_usd(plan, parameters))
        view = replace(view, live_orders=(*view.live_orders, sent))


def entries(asked: SessionInputs) -> list[TradePlan]:
    return [plan for plan in decide_session(asked).plans if plan.action is PlanAction.ENTER]


def test_the_worlds_drawn_do_trade() -> None:
    """Or the properties below would hold for nothing."""
    found = find(worlds(), lambda world: len(entries(world.asked)) >= 3 and len(world.committed_usd) >= 2)
    assert found.committed_usd


def _quote(plan: TradePlan, moved: float) -> Quote:
    price = plan.reference_price_usd * Decimal(str(round(moved, 4)))
    return Quote(symbol=plan.symbol, bid_usd=price, ask_usd=price, quoted_at=NOW)
