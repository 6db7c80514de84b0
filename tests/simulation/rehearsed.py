"""Rehearsals as the tests play them."""

from closebell.rehearsal.desk_days import DeskDays, Rehearsal
from closebell.rehearsal.faults import FAULTS

KNOWN_FINDINGS: frozenset[str] = frozenset()
"""Faults under which the desk is known to be wrong at the moment: left out until it is mended."""

EVERY_FAULT = frozenset(FAULTS) - KNOWN_FINDINGS


def played(seed: int, faults: frozenset[str], sessions_count: int = 8, newsletters: bool = False) -> DeskDays:
    """One rehearsal, played to its end."""
    days = DeskDays(Rehearsal(seed, sessions_count, faults, newsletters))
    days.play()
    return days


def told(days: DeskDays) -> str:
    """The violations of a rehearsal with what led to the first, for a failing test; "" when there are none."""
    if not days.stage.violations:
        return ""
    lines = [f"invariant {one.invariant}, {one.session}, {one.step}: {one.seen}" for one in days.stage.violations]
    first = days.stage.violations[0]
    return "\n".join([f"seed {first.seed}", *lines, *first.trail[-15:]])
