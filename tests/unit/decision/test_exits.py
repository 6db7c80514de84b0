"""When a position is left."""

import pytest

from closebell.decision.exits import exit_due, why_kept, why_sold
from closebell.decision.vote import Ballot, ballot
from closebell.model.books import Position, PositionState
from closebell.model.decision import ExitRule, Stance
from closebell.model.parameters import ExitTerms
from tests.unit.decision.desks import position

TERMS = ExitTerms(time_stop_sessions=5, minimum_hold_sessions=2)
SELL = ballot({"rsi": -0.5, "macd": -0.4, "momentum": 0.1}, -1, -0.27)
BUY = ballot({"rsi": 0.5, "macd": 0.4}, 1, 0.45)


@pytest.mark.parametrize(
    ("held", "votes", "rule"),
    [
        (5, BUY, ExitRule.TIME_STOP), (9, BUY, ExitRule.TIME_STOP), (4, BUY, None), (2, SELL, ExitRule.SIGNAL), (1, SELL, None),
        (5, SELL, ExitRule.TIME_STOP), (0, SELL, None), (4, SELL, ExitRule.SIGNAL),
    ],
)
def test_time_and_signal(held: int, votes: Ballot, rule: ExitRule | None) -> None:
    assert exit_due(position("AAA"), held, votes.stance, TERMS) is rule


@pytest.mark.parametrize("state", [PositionState.EXTERNAL, PositionState.DISPUTED, PositionState.CLOSING, PositionState.DUST])
def test_what_is_not_ours_to_sell_is_kept_whatever_happens(state: PositionState) -> None:
    kept = position("AAA", state)
    assert exit_due(kept, 99, Stance.SELL, TERMS) is None
    assert why_kept(kept, 99, TERMS)


def test_an_unprotected_position_is_left_like_a_protected_one() -> None:
    assert exit_due(position("AAA", PositionState.OPEN), 5, Stance.BUY, TERMS) is not None


def test_the_terms_a_position_was_opened_with_count() -> None:
    patient = position("AAA", time_stop_sessions=20, minimum_hold_sessions=10)
    assert exit_due(patient, 9, Stance.SELL, TERMS) is None
    assert exit_due(patient, 19, Stance.BUY, TERMS) is None
    assert exit_due(patient, 20, Stance.BUY, TERMS) is not None


def test_a_minimum_hold_longer_than_the_time_stop_holds() -> None:
    assert exit_due(position("AAA", time_stop_sessions=3, minimum_hold_sessions=4), 3, Stance.SELL, TERMS) is None


@pytest.mark.parametrize(
    ("held", "votes", "evidence"),
    [
        (6, BUY, "held 6 sessions, time stop at 5"),
        (3, SELL, "2 of 3 would sell (rsi -0.50, macd -0.40) after 3 sessions"),
    ],
)
def test_the_evidence_has_its_numbers(held: int, votes: Ballot, evidence: str) -> None:
    rule = exit_due(position("AAA"), held, votes.stance, TERMS)
    assert rule is not None
    assert why_sold(rule, position("AAA"), held, votes, TERMS) == evidence


def test_one_session_is_told_as_one() -> None:
    brief = position("AAA", time_stop_sessions=1, minimum_hold_sessions=0)
    assert why_sold(ExitRule.TIME_STOP, brief, 1, BUY, TERMS) == "held 1 session, time stop at 1"
    assert why_sold(ExitRule.SIGNAL, brief, 1, SELL, TERMS).endswith("would sell (rsi -0.50, macd -0.40) after 1 session")


@pytest.mark.parametrize(
    ("kept", "held", "reason"),
    [
        (position("AAA"), 1, "held 1 of at least 2 sessions"),
        (position("AAA"), 3, "held 3 of at most 5 sessions, no signal to sell"),
        (position("AAA", PositionState.EXTERNAL), 3, "yours: counted against the limits, never sold by closebell"),
    ],
)
def test_why_a_position_is_kept(kept: Position, held: int, reason: str) -> None:
    assert why_kept(kept, held, TERMS) == reason
