"""The tests tested: the rehearsal gives each bug of `tests/mutants` away that is planted into a copy of the core."""

import pytest

from closebell.rehearsal.faults import FAULTS
from infra.mutants import ROOT, PlantedBug, given_away, judge, planted_bugs

BUGS = planted_bugs()


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name)
def test_a_planted_bug_is_caught(bug: PlantedBug) -> None:
    verdict = judge(bug)
    assert verdict.seed is not None, f"{bug.words} {verdict.why_not}"
    assert given_away(bug, range(verdict.seed, verdict.seed + 1)) is None, f"seed {verdict.seed} breaks without it too"


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name)
def test_a_planted_bug_says_what_it_is_and_is_published(bug: PlantedBug) -> None:
    assert bug.words.endswith(".")
    assert bug.faults <= FAULTS.keys()
    assert bug.invariants
    assert f"| {bug.words} |" in (ROOT / "docs" / "reliability.md").read_text()


def test_there_are_enough_planted_bugs() -> None:
    assert len(BUGS) >= 25
