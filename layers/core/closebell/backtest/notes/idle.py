"""Why a backtest sent no order: too few votes, or a check that denied what the desk would have bought first.

A desk that never trades is the same every evening, so what it would decide can be asked anew once it is known that it did not;
a backtest that trades pays nothing for it.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date

import numpy as np

from closebell.backtest.desk.engine import BacktestDesk
from closebell.backtest.records import BacktestRecords
from closebell.decision.board import board_of
from closebell.decision.entries import judge_in_turn
from closebell.decision.session import terrain_of
from closebell.model.decision import PlanAction
from closebell.reports.formatting import counted


@dataclass
class _IdleEvenings:
    """The evenings on which something could be judged: how many there were, on how many nothing had the votes, the most votes to
    buy that anything had, and by which check the first choice of the others was denied."""

    judged_count: int = 0
    voteless_count: int = 0
    votes_count_max: int = 0
    denials: Counter[str] = field(default_factory=Counter)


def idle_notes(desk: BacktestDesk, records: BacktestRecords, evenings: Sequence[date]) -> Iterator[str]:
    """One sentence about a backtest that traded nothing, and of which `desk_notes` cannot say why.

    Parameters
    ----------
    desk
        As it stands after the last session.
    evenings
        The sessions that were decided after, ascending.
    """
    if records.orders:
        if not any(order.filled_shares for order in records.orders):
            wanted = "a price that it takes, or volume (--capacity)"
            yield f"nothing was traded: none of {len(records.orders)} orders found {wanted}; orders.csv says how each ended"
        return
    if any(row.outcome == PlanAction.ENTER for row in records.decisions):  # held back in the morning, of which is told
        return
    found = _asked_again(desk, evenings)
    reasons = tuple(_reasons(found, desk.parameters.votes_to_act_count_min))
    if reasons:  # there are none where nothing could be judged, of which is told too
        yield f"nothing was traded: {'; '.join(reasons)}"


def _reasons(found: _IdleEvenings, votes_count: int) -> Iterator[str]:
    if found.voteless_count:
        yield (
            f"in {found.voteless_count} of {found.judged_count} sessions no symbol got the {counted(votes_count, 'vote')} to "
            f"buy, and none to sell, that votes_to_act_count_min asks for (the most to buy were {found.votes_count_max})"
        )
    if found.denials:
        named = ", ".join(f"{check} {count}" for check, count in found.denials.most_common())
        sessions = f"in {found.denials.total()} of {found.judged_count} sessions"
        yield f"{sessions} a check denied what was to be bought first: {named}"


def _asked_again(desk: BacktestDesk, evenings: Sequence[date]) -> _IdleEvenings:
    found = _IdleEvenings()
    for session in evenings:
        board = board_of(desk.inputs_after(session))
        if not board.is_usable.any():
            continue
        found.judged_count += 1
        found.votes_count_max = max(found.votes_count_max, int(np.max(board.votes.buys[board.is_usable])))
        first = next(judge_in_turn(board.candidates(()), terrain_of(board)), None)
        if first is None:
            found.voteless_count += 1
        elif first.failed is not None:
            found.denials[first.failed.check] += 1
    return found
