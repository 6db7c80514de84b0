"""What is known before a session's plans are made: that there will be none, and how all its panel's sessions vote."""

from dataclasses import replace
from decimal import Decimal

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from closebell.decision.board import SessionInputs, ground_of
from closebell.decision.session import decide_session, is_settled, plan_session
from closebell.model.books import PositionState
from closebell.model.decision import PlanAction
from closebell.model.parameters import RiskLimits
from tests.unit.decision.desks import desk, inputs, position, snapshot, venue_position

SYMBOLS = ("AAA", "BBB", "CCC", "DDD", "EEE", "FFF")
BUY, SELL = (0.8, 0.8, 0.8), (-0.8, -0.8, -0.8)
ROWS = st.lists(st.sampled_from([BUY, SELL, (0.1, 0.0, -0.1), (0.9, -0.9, 0.0)]), min_size=6, max_size=6)


Held = dict[str, tuple[PositionState, int]]


def evening(votes: list[tuple[float, ...]], held: Held, positions_count_max: int) -> SessionInputs:
    """A session whose books and broker agree; `held` says in what state and for how long."""
    positions = [position(symbol, state) for symbol, (state, _) in held.items()]
    truth = snapshot(*(venue_position(symbol) for symbol in held))
    view = desk(truth, positions=positions, sessions_held={symbol: sessions for symbol, (_, sessions) in held.items()})
    found = inputs(dict(zip(SYMBOLS, votes, strict=True)), view)
    limits = RiskLimits(positions_count_max=positions_count_max, sector_exposure_frac_max=Decimal(1))
    return replace(found, parameters=found.parameters.model_copy(update={"limits": limits}))


HELD = st.dictionaries(
    st.sampled_from(SYMBOLS), st.tuples(st.sampled_from(sorted(PositionState)), st.integers(min_value=0, max_value=6)), max_size=6
)


@settings(max_examples=200, deadline=None)
@given(votes=ROWS, held=HELD, positions_count_max=st.integers(min_value=1, max_value=4))
def test_a_desk_that_is_settled_plans_nothing(votes: list[tuple[float, ...]], held: Held, positions_count_max: int) -> None:
    found = evening(votes, held, positions_count_max)
    if is_settled(found):
        assert plan_session(found) == decide_session(found).plans == ()


def test_a_full_desk_is_settled_until_one_of_its_positions_is_due() -> None:
    kept = dict.fromkeys(SYMBOLS[:2], (PositionState.PROTECTED, 3))
    assert is_settled(evening([BUY] * 6, kept, 2))
    assert not is_settled(evening([BUY] * 6, kept, 3)), "there is room for one more"
    assert not is_settled(evening([SELL] * 6, kept, 2)), "a sale is due"
    late = kept | {"AAA": (PositionState.PROTECTED, 5)}
    assert [plan.action for plan in plan_session(evening([BUY] * 6, late, 2))] == [PlanAction.EXIT]
    assert not is_settled(evening([BUY] * 6, late, 2))


@settings(max_examples=50, deadline=None)
@given(votes=ROWS, held=HELD)
def test_votes_counted_for_all_sessions_at_once_decide_the_same(votes: list[tuple[float, ...]], held: Held) -> None:
    alone = evening(votes, held, 4)
    ground = ground_of(alone.parameters, alone.market, alone.panel, alone.scores)
    together = replace(alone, ground=ground)
    assert plan_session(together) == plan_session(alone)
    assert decide_session(together) == decide_session(alone)
    assert np.array_equal(ground.universe.ranks, np.arange(6)), "the symbols stand in their alphabet already"
