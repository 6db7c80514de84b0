"""A case on both desks, the one that leaves out what can change nothing and the one that leaves out nothing: they must agree."""

from closebell.backtest.desk.collected import collect
from closebell.backtest.desk.engine import BacktestDesk
from closebell.backtest.desk.known_evidence import KnownEvidence
from closebell.backtest.records import BacktestRecords
from closebell.backtest.run import span_of
from tests.unit.backtest.deployed_desk import DeployedDesk, lines_of
from tests.unit.backtest.desk_cases import CASH_USD, FIRST_ROW, DeskCase, day_of


def require_match(case: DeskCase) -> tuple[BacktestDesk, BacktestRecords]:
    """Hold one desk to the other; gives the deployed one, which has traded the case, and its records."""
    desk, records = _played(BacktestDesk, case)
    oracle, expected = _played(DeployedDesk, case)
    assert records == expected
    assert desk.halts_count == oracle.halts_count
    assert desk.delisted == oracle.delisted
    assert lines_of(desk) == lines_of(oracle)
    assert desk.alerts == oracle.alerts
    return oracle, expected


def _played(desk_class: type[BacktestDesk], case: DeskCase) -> tuple[BacktestDesk, BacktestRecords]:
    """A desk that has traded a case, and its records."""
    evidence = KnownEvidence(case.market, case.parameters)
    desk = desk_class(case.market, case.parameters, evidence, case.costs.options(CASH_USD))
    desk.play(*span_of(case.market, case.parameters, day_of(case.market.panel, FIRST_ROW), None))
    return desk, collect(desk, evidence)
