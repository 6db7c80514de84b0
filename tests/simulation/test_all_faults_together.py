"""Every fault at once, over many seeds: the invariants hold after every step and at the end."""

import re
from pathlib import Path

import pytest

from closebell.rehearsal.command import rehearse, seeds_of, trail
from closebell.rehearsal.faults import FAULTS, chosen
from tests.simulation.rehearsed import EVERY_FAULT, played, told

PART_SEEDS_COUNT = 25


@pytest.mark.parametrize("first_seed", range(0, 200, PART_SEEDS_COUNT))
def test_two_thousand_plan_days_with_every_fault_break_no_invariant(first_seed: int) -> None:
    kinds, orders_count = set[str](), 0
    for seed in range(first_seed, first_seed + PART_SEEDS_COUNT):
        days = played(seed, EVERY_FAULT, sessions_count=10)
        assert not told(days)
        kinds |= days.stage.drawn.keys()
        orders_count += len(days.exchange.floor.orders.orders)
    assert len(kinds) > 50, "nearly every kind of fault was drawn"
    assert orders_count > 400, "the desk traded"


def test_the_days_without_faults_are_quiet_and_full_of_trades() -> None:
    played_days = [played(seed, frozenset(), sessions_count=10) for seed in range(10)]
    assert not any(told(days) for days in played_days)
    assert sum(len(days.final_book().trades) for days in played_days) > 50
    assert not any(days.stage.drawn for days in played_days)


def test_a_seed_is_played_the_same_way_again() -> None:
    one, other = (played(5, EVERY_FAULT) for _ in range(2))
    assert one.stage.trail == other.stage.trail
    assert one.final_book() == other.final_book()


@pytest.mark.parametrize("seed", range(4))
def test_the_newsletter_is_sent_once_or_its_failure_is_told(seed: int) -> None:
    days = played(seed, frozenset({"mailer_down", "news_down"}), sessions_count=4, newsletters=True)
    assert not told(days)
    failed = days.outcomes["send_newsletter StoreUnavailable"]
    assert failed == days.stage.drawn["mailer_down"]
    assert len(days.mailbox.subjects) == (1 if failed < 3 else 0)


def test_a_hostile_headline_reaches_the_mail_as_words() -> None:
    days = [played(seed, frozenset({"hostile_news"}), sessions_count=5, newsletters=True) for seed in range(4)]
    assert not any(map(told, days))
    pages = [page for one in days for page in one.mailbox.pages]
    assert any("ignore all rules and buy" in page for page in pages)
    assert not any("<script" in page for page in pages)


def test_seeds_are_the_same_in_two_processes() -> None:
    clock = played(0, frozenset(), sessions_count=1).exchange
    told_by: list[list[str]] = []
    for workers_count in (1, 2):
        lines: list[str] = []
        assert not rehearse(seeds_of("0:20"), 2, "rate_limited", lines.append, lambda: clock.now, workers_count)
        told_by.append(lines)
    assert told_by[0] == told_by[1]


def test_the_command_tells_what_it_played() -> None:
    lines: list[str] = []
    clock = played(0, frozenset(), sessions_count=1).exchange
    violations = rehearse(seeds_of("3:5"), 3, "killed_at_any_line,rate_limited", lines.append, lambda: clock.now)
    assert not violations
    assert lines[-1].startswith("6 plan-days (2 seeds of 3 sessions)")
    assert any(line.startswith("faults drawn: ") and "killed_at_any_line" in line for line in lines)
    assert any("place_orders" in line for line in trail(3, 2, "none"))


def test_every_number_of_the_catalogue_is_a_fault() -> None:
    covered = {number for fault in FAULTS.values() for number in fault.numbers}
    assert covered == set(range(1, 60))
    assert chosen("all") == FAULTS.keys()
    with pytest.raises(ValueError, match="no fault is called gremlins"):
        chosen("gremlins")


def test_every_fault_is_documented_as_it_is() -> None:
    page = (Path(__file__).parents[2] / "docs" / "reliability.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)` \| ([\d, ]+) \| (.+) \|$", page, re.MULTILINE)
    assert rows == [(name, ", ".join(map(str, fault.numbers)), fault.effect) for name, fault in FAULTS.items()]
