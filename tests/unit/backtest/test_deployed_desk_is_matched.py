"""A backtest leaves out what can change nothing: it must do, order for order, what the desk does that is deployed."""

from collections.abc import Callable

import pytest

from tests.unit.backtest.desk_cases import CASES, DeskCase
from tests.unit.backtest.drawn_markets import CHANCES, drawn_case
from tests.unit.backtest.matched_desks import require_match

HALTS_WITH_AN_ENTRY_OUT = 1772
"""Coins whose desk halts at the day's low with an entry out, and whose prices are back at the next look, which withdraws it."""
SEEDS, SESSIONS_COUNT = (*range(40), HALTS_WITH_AN_ENTRY_OUT), 15


@pytest.mark.parametrize("make", CASES, ids=lambda make: make.__name__)
def test_a_backtest_does_what_the_deployed_desk_does(make: Callable[[], DeskCase]) -> None:
    case = make()
    oracle, expected = require_match(case)
    assert len(expected.trades) > 3
    assert case.shows(oracle, expected)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_backtest_does_on_a_drawn_market_what_the_deployed_desk_does(seed: int) -> None:
    """More seeds, and longer: `python -m tests.unit.backtest.match_drawn 100:250 60`."""
    require_match(drawn_case(seed, SESSIONS_COUNT).case)


def test_the_seeds_draw_every_oddity() -> None:
    assert set().union(*(drawn_case(seed, SESSIONS_COUNT).oddities for seed in SEEDS)) == CHANCES.keys()
