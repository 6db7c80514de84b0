"""The tests tested: each bug planted into the production code is given away by the rehearsal within a few seeds."""

import pytest

from tests.simulation.planted_bugs import BUGS, PlantedBug
from tests.simulation.rehearsed import played

SEEDS = range(40)


def broken_by(planted: PlantedBug) -> set[int]:
    """The invariants that the first seed breaks which gives the bug away; empty when none does."""
    for seed in SEEDS:
        seen = {violation.invariant for violation in played(seed, planted.faults).stage.violations}
        if seen & planted.invariants:
            return seen
    return set()


@pytest.mark.parametrize("planted", BUGS, ids=lambda planted: planted.name)
def test_a_planted_bug_is_caught(planted: PlantedBug, monkeypatch: pytest.MonkeyPatch) -> None:
    planted.plant(monkeypatch)
    assert broken_by(planted), f"{planted.name} goes unnoticed"


def test_there_are_enough_planted_bugs() -> None:
    assert len(BUGS) >= 20
