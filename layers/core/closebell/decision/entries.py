"""Which candidates are entered: each in turn is sized, checked and, when it passes, reserved before the next is looked at."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from closebell.decision import risk
from closebell.decision.desk_view import DeskView
from closebell.decision.exposure import Exposure
from closebell.decision.risk import Candidate, EntryCase
from closebell.decision.sizing import allocate
from closebell.decision.vote import Tally
from closebell.model.decision import Allocation, CheckResult
from closebell.model.parameters import RiskLimits


@dataclass(frozen=True)
class EntryTerrain:
    """What is the same for every candidate of a session.

    `exposure` is None when the broker could not be read; `coverage_frac` is the share of the universe with usable bars,
    `budget_frac` the share of equity that one trade may lose at its stop.
    """

    desk: DeskView
    exposure: Exposure | None
    limits: RiskLimits
    budget_frac: Decimal
    coverage_frac: Decimal


class Judgement(NamedTuple):
    """What became of a candidate: the case its checks saw, its size, and the first check that failed (None: entered)."""

    case: EntryCase
    allocation: Allocation
    failed: CheckResult | None


def ranked_buys(tally: Tally, is_eligible: NDArray[np.bool_], ranks: NDArray[np.intp]) -> list[int]:
    """The columns that the ensemble would buy, best vote score first, equal scores by `ranks`. Arrays over symbols."""
    buys = np.flatnonzero((tally.stance == 1) & is_eligible)
    order: list[int] = buys[np.lexsort((ranks[buys], -tally.vote_score[buys]))].tolist()
    return order


def judge_in_turn(candidates: Iterable[Candidate], terrain: EntryTerrain) -> Iterator[Judgement]:
    """Judge every candidate, each against the limits less what those before it reserved."""
    exposure = terrain.exposure
    for candidate in candidates:
        allocation = allocate(candidate, exposure, terrain.limits, terrain.budget_frac)
        case = EntryCase(
            candidate, allocation.quantity_shares, allocation.binding, terrain.desk, exposure, terrain.limits,
            terrain.coverage_frac,
        )
        failed = risk.first_failed(case)
        if exposure is not None and failed is None:
            exposure = exposure.with_entry(candidate.symbol, candidate.sector, case.committed_usd)
        yield Judgement(case, allocation, failed)


def choose_entries(candidates: Iterable[Candidate], terrain: EntryTerrain) -> Iterator[Judgement]:
    """Only those that are entered, and no candidate is looked at once none can be: what a backtest needs."""
    for judgement in judge_in_turn(candidates, terrain):
        if judgement.failed is None:
            yield judgement
        elif judgement.failed.check in risk.FINAL_CHECKS:
            return
