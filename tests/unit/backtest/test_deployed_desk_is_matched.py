"""A backtest leaves out what can change nothing: it must do, order for order, what the desk does that is deployed."""

from collections.abc import Callable

import pytest

from closebell.backtest.collected import collect
from closebell.backtest.engine import BacktestDesk
from closebell.backtest.known_evidence import KnownEvidence
from closebell.backtest.records import BacktestRecords
from closebell.backtest.run import span_of
from tests.unit.backtest.deployed_desk import DeployedDesk, lines_of
from tests.unit.backtest.desk_cases import CASES, CASH_USD, FIRST_ROW, DeskCase, day_of


def played(desk_class: type[BacktestDesk], case: DeskCase) -> tuple[BacktestDesk, BacktestRecords]:
    """A desk that has traded a case, and its records."""
    evidence = KnownEvidence(case.market, case.parameters)
    desk = desk_class(case.market, case.parameters, evidence, case.costs.options(CASH_USD))
    desk.play(*span_of(case.market, case.parameters, day_of(case.market.panel, FIRST_ROW), None))
    return desk, collect(desk, evidence, ())


@pytest.mark.parametrize("make", CASES, ids=lambda make: make.__name__)
def test_a_backtest_does_what_the_deployed_desk_does(make: Callable[[], DeskCase]) -> None:
    case = make()
    desk, records = played(BacktestDesk, case)
    oracle, expected = played(DeployedDesk, case)
    assert records == expected
    assert desk.halts_count == oracle.halts_count
    assert desk.delisted == oracle.delisted
    assert lines_of(desk) == lines_of(oracle)
    assert len(expected.trades) > 3
    assert case.shows(oracle, expected)
