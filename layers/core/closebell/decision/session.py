"""The decision after a session: every symbol considered, the best that the limits allow entered, what is due sold.

1. The session's row of scores becomes votes, for all symbols at once (`board`).
2. Every position is kept or gets an exit plan.
3. What the ensemble would buy is ranked, sized, checked and reserved in turn (`entries`).
4. Each symbol gets a decision: what, why, by which numbers.
"""

from dataclasses import dataclass
from typing import NamedTuple

from closebell.decision import plans, risk, words
from closebell.decision.board import Board, SessionInputs, board_of
from closebell.decision.entries import EntryTerrain, Judgement, choose_entries, judge_in_turn
from closebell.decision.exits import SELLABLE, exit_due, why_kept, why_sold
from closebell.decision.exposure import UNKNOWN_SECTOR, exposure_of
from closebell.decision.holdings import Holding, holdings_of
from closebell.decision.sizing import risk_budget_frac
from closebell.decision.vote import Ballot
from closebell.model.decision import Allocation, CheckResult, Decision, Outcome, Stance, TradePlan


@dataclass(frozen=True)
class SessionDecisions:
    """One decision for every symbol of the universe, then for every other one held; exits first among the plans."""

    decisions: tuple[Decision, ...]
    plans: tuple[TradePlan, ...]


class _Decided(NamedTuple):
    decision: Decision
    plan: TradePlan | None = None


def plan_session(inputs: SessionInputs) -> tuple[TradePlan, ...]:
    """The plans of `decide_session`, exits first, without writing down why everything else was left alone."""
    board, holdings = board_of(inputs), holdings_of(inputs.desk, inputs.market)
    exits = (_exit_plan(board, symbol, holding) for symbol, holding in sorted(holdings.items()))
    chosen = choose_entries(board.candidates(holdings), terrain_of(board))
    entries = (_entry_plan(board, judgement, board.ballot(judgement.case.candidate.symbol)) for judgement in chosen)
    return (*(plan for plan in exits if plan is not None), *entries)


def is_settled(inputs: SessionInputs) -> bool:
    """Whether `plan_session` has nothing to plan, as far as that is plain without the broker's truth: none of our positions is
    due, and there are as many as may be."""
    held = [position for position in inputs.desk.positions if position.state in SELLABLE]
    if len(held) < inputs.parameters.limits.positions_count_max:
        return False
    board, terms, sessions_held = board_of(inputs), inputs.parameters.exits, inputs.desk.sessions_held
    return all(exit_due(one, sessions_held[one.symbol], board.stance(one.symbol), terms) is None for one in held)


def decide_session(inputs: SessionInputs) -> SessionDecisions:
    """Decide once; equal inputs give equal decisions and plans."""
    board, holdings = board_of(inputs), holdings_of(inputs.desk, inputs.market)
    universe = board.universe
    decided = {symbol: _decide_holding(board, symbol, holding) for symbol, holding in sorted(holdings.items())}
    for judgement in judge_in_turn(board.candidates(holdings), terrain_of(board)):
        decided[judgement.case.candidate.symbol] = _decide_candidate(board, judgement)
    for symbol in universe.sectors.keys() - decided.keys():
        decided[symbol] = _decide_idle(board, symbol)
    in_order = [*universe.sectors, *sorted(decided.keys() - universe.sectors.keys())]
    return SessionDecisions(
        decisions=tuple(decided[symbol].decision for symbol in in_order),
        plans=tuple(one.plan for one in decided.values() if one.plan),
    )


def terrain_of(board: Board) -> EntryTerrain:
    """What every candidate of the session is judged on."""
    desk, limits = board.inputs.desk, board.inputs.parameters.limits
    return EntryTerrain(desk, exposure_of(desk), limits, risk_budget_frac(board.inputs.regime, limits), board.coverage_frac)


def _decide_holding(board: Board, symbol: str, holding: Holding) -> _Decided:
    """Keep a position or plan its exit. Only what both books agree is ours is ever sold."""
    plan = _exit_plan(board, symbol, holding)
    if plan is None:
        return _held(board, symbol, _why_held(board, symbol, holding))
    return _Decided(_decision(board, symbol, board.ballot(symbol), Outcome.EXIT, plan.reason), plan)


def _why_held(board: Board, symbol: str, holding: Holding) -> str:
    """Why there is no plan to sell a position."""
    position, terms = holding.position, board.inputs.parameters.exits
    if holding.venue is None:
        return "the broker could not be read: nothing changes"
    if position is None:
        return "at the broker, not in our books: never sold by closebell"
    if holding.is_leaving:
        return "an exit order is out"
    sessions = board.inputs.desk.sessions_held[symbol]
    rule = exit_due(position, sessions, board.stance(symbol), terms)
    if rule is None:
        return why_kept(position, sessions, terms)
    evidence = why_sold(rule, position, sessions, board.ballot(symbol), terms)
    return f"to be sold ({evidence}), but what the broker shows is not ours"


def _exit_plan(board: Board, symbol: str, holding: Holding) -> TradePlan | None:
    """The plan to sell a position whose exit is due; None when it is kept, or when nothing of it is surely ours to sell."""
    inputs, position, terms = board.inputs, holding.position, board.inputs.parameters.exits
    if holding.venue is None or position is None or holding.is_leaving:
        return None
    sessions = inputs.desk.sessions_held[symbol]
    rule = exit_due(position, sessions, board.stance(symbol), terms)
    if rule is None or holding.sellable_shares <= 0:
        return None
    return plans.exit_plan(
        position, holding.sellable_shares, board.close_usd(symbol) or holding.venue_price_usd,
        session=inputs.next_session, decided_session=inputs.session, rule=rule,
        reason=why_sold(rule, position, sessions, board.ballot(symbol), terms),
    )


def _decide_candidate(board: Board, judgement: Judgement) -> _Decided:
    """Enter, or say which check denied it; either way with every check."""
    case, allocation = judgement.case, judgement.allocation
    symbol, ballot = case.candidate.symbol, board.ballot(case.candidate.symbol)
    checks = risk.evaluate(case)
    if judgement.failed is not None:
        reason = words.why_denied(ballot, judgement.failed)
        return _Decided(_decision(board, symbol, ballot, Outcome.DENIED, reason, checks, judgement.failed.check, allocation))
    plan = _entry_plan(board, judgement, ballot)
    return _Decided(_decision(board, symbol, ballot, Outcome.ENTER, plan.reason, checks, allocation.binding, allocation), plan)


def _entry_plan(board: Board, judgement: Judgement, ballot: Ballot) -> TradePlan:
    inputs, candidate, allocation = board.inputs, judgement.case.candidate, judgement.allocation
    return plans.entry_plan(
        candidate, allocation, inputs.parameters, session=inputs.next_session, decided_session=inputs.session,
        score=ballot.vote_score, strategies=ballot.names(Stance.BUY),
        reason=words.why_entered(ballot, inputs.regime, allocation, inputs.parameters.exits),
    )


def _decide_idle(board: Board, symbol: str) -> _Decided:
    ballot = board.ballot(symbol)
    if skipped := board.why_skipped(symbol):
        return _Decided(_decision(board, symbol, ballot, Outcome.SKIPPED, skipped))
    reason = words.why_not_bought(ballot, board.inputs.parameters.votes_to_act_count_min)
    return _Decided(_decision(board, symbol, ballot, Outcome.NO_TRADE, reason))


def _held(board: Board, symbol: str, reason: str) -> _Decided:
    if skipped := board.why_skipped(symbol):
        reason = f"{reason} (bars unusable: {skipped})"
    return _Decided(_decision(board, symbol, board.ballot(symbol), Outcome.HOLD, reason))


def _decision(
    board: Board, symbol: str, ballot: Ballot, outcome: Outcome, reason: str,
    checks: tuple[CheckResult, ...] = (), binding_check: str = "", allocation: Allocation | None = None,
) -> Decision:
    inputs = board.inputs
    sector = board.universe.sectors.get(symbol) or inputs.desk.sectors.get(symbol, UNKNOWN_SECTOR)
    return Decision(
        market=inputs.market, session=inputs.session, symbol=symbol, sector=sector, outcome=outcome, reason=reason,
        close_usd=board.close_usd(symbol), votes=ballot.votes, vote_score=ballot.vote_score, stance=ballot.stance,
        regime=inputs.regime, checks=checks, binding_check=binding_check, allocation=allocation,
    )
