"""Faults that must leave no trace: the final book is the one of the same days without them."""

import pytest

from tests.simulation.rehearsed import played, told

INVISIBLE = (
    "killed_at_any_line", "duplicate_invocation", "overlapping_invocation", "three_at_once", "timeout_after_acceptance",
    "gateway_timeout_then_accepted", "fills_duplicated", "list_omits_order", "notifier_down",
    "skewed_clock", "limits_typo", "hostile_news", "news_down",
)  # fmt: skip


@pytest.mark.parametrize("fault", INVISIBLE)
def test_the_final_book_is_that_of_the_same_days_without_the_fault(fault: str) -> None:
    drawn = 0
    for seed in range(6):
        whole, faulty = played(seed, frozenset()), played(seed, frozenset({fault}))
        assert not told(faulty)
        assert faulty.final_book() == whole.final_book(), f"seed {seed}"
        drawn += faulty.stage.drawn[fault]
    assert drawn >= 10
