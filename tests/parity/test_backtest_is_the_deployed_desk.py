"""The same bars through the local stack and through a backtest give the same plans, orders, fills and equity, byte for byte."""

from datetime import date
from pathlib import Path

import pytest

from closebell.adapters.exchange_calendar import ExchangeCalendar
from closebell.backtest.markets import demo_market
from closebell.model.instruments import Market
from infra.local.scenario import SCENARIOS, Scenario
from tests.parity.desks import Written, backtested, deployed
from tests.parity.invented_days import InventedDays, invented_parameters

MONTH_OPENS_AFTER, MONTH_SESSIONS_COUNT = date(2023, 11, 13), 21
DEMO_SESSIONS_COUNT = 10


def sessions_after(opening: date, count: int) -> list[date]:
    hours = ExchangeCalendar().sessions(Market.US_EQUITY, opening, date(opening.year + 1, 12, 31))
    return [day.session for day in hours[1 : count + 1]]


def require_equal(there: Written, here: Written) -> None:
    assert there.errors == here.errors == []
    for kind, lines in there.lines.items():
        assert lines == here.lines[kind], f"{kind} differs"


@pytest.mark.timeout(400)
def test_the_demos_sessions(tmp_path: Path) -> None:
    scenario = SCENARIOS["real"]
    demo = demo_market(ExchangeCalendar())
    here = backtested(demo.market, demo.parameters, sessions_after(scenario.opening, DEMO_SESSIONS_COUNT))
    there = deployed(scenario, DEMO_SESSIONS_COUNT, tmp_path)
    require_equal(there, here)
    assert len(here.lines["TRADE"]) > 5


@pytest.mark.timeout(900)
def test_a_month_of_the_synthetic_market(tmp_path: Path) -> None:
    scenario = Scenario(
        name=f"{InventedDays.__module__}:{InventedDays.__name__}", told="invented days", opening=MONTH_OPENS_AFTER,
        markets=(Market.US_EQUITY,), parameters=invented_parameters,
    )
    sessions = sessions_after(MONTH_OPENS_AFTER, MONTH_SESSIONS_COUNT)
    here = backtested(InventedDays(), invented_parameters(), sessions)
    there = deployed(scenario, MONTH_SESSIONS_COUNT, tmp_path)
    require_equal(there, here)
    assert {"stop", "target", "time_stop"} <= {rule for line in here.lines["TRADE"] for rule in RULES if f'"{rule}"' in line}


RULES = ("stop", "target", "time_stop", "signal")
