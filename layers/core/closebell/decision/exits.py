"""When to leave a position by a decision of ours. Stop and target are no decision: they rest at the broker."""

from closebell.decision.vote import Ballot
from closebell.decision.words import in_sessions
from closebell.model.books import Position, PositionState
from closebell.model.decision import ExitRule, Stance
from closebell.model.parameters import ExitTerms

SELLABLE = frozenset({PositionState.OPEN, PositionState.PROTECTED})
"""EXTERNAL is the user's, DISPUTED is frozen, CLOSING is on its way out, DUST cannot be sold."""

_KEPT_BECAUSE = {
    PositionState.EXTERNAL: "yours: counted against the limits, never sold by closebell",
    PositionState.DISPUTED: "disputed: frozen until a human looks",
    PositionState.CLOSING: "closing already",
    PositionState.DUST: "too little to sell",
}


def exit_due(position: Position, held_sessions: int, stance: Stance, terms: ExitTerms) -> ExitRule | None:
    """The rule by which a position is to be closed in the next session; None to keep it. `stance` is the ensemble's.

    The terms a position was opened with count; `terms` stand in for those it does not carry. Neither rule acts within the
    minimum hold.
    """
    if position.state not in SELLABLE:
        return None
    time_stop, minimum_hold = _terms(position, terms)
    if held_sessions < minimum_hold:
        return None
    if held_sessions >= time_stop:
        return ExitRule.TIME_STOP
    return ExitRule.SIGNAL if stance is Stance.SELL else None


def why_sold(rule: ExitRule, position: Position, held_sessions: int, ballot: Ballot, terms: ExitTerms) -> str:
    """The evidence for an exit that is due by a rule."""
    if rule is ExitRule.TIME_STOP:
        return f"held {in_sessions(held_sessions)}, time stop at {_terms(position, terms)[0]}"
    sellers = len(ballot.names(Stance.SELL))
    return f"{sellers} of {len(ballot.votes)} would sell ({ballot.words}) after {in_sessions(held_sessions)}"


def why_kept(position: Position, held_sessions: int, terms: ExitTerms) -> str:
    """Why a position that is not to be closed stays."""
    time_stop, minimum_hold = _terms(position, terms)
    if position.state not in SELLABLE:
        return _KEPT_BECAUSE[position.state]
    if held_sessions < minimum_hold:
        return f"held {held_sessions} of at least {minimum_hold} sessions"
    return f"held {held_sessions} of at most {time_stop} sessions, no signal to sell"


def _terms(position: Position, terms: ExitTerms) -> tuple[int, int]:
    time_stop = position.time_stop_sessions if position.time_stop_sessions is not None else terms.time_stop_sessions
    minimum_hold = position.minimum_hold_sessions if position.minimum_hold_sessions is not None else terms.minimum_hold_sessions
    return time_stop, minimum_hold
