"""The same bars through the local stack and through a backtest give the same plans, orders, fills and equity, byte for byte."""

import json
from datetime import date, timedelta
from pathlib import Path

import pytest

from closebell.adapters.exchange_calendar import ExchangeCalendar
from closebell.backtest.markets import demo_market
from closebell.model.instruments import Market
from infra.local.scenario import SCENARIOS, Scenario
from tests.parity.desks import Written, backtested, deployed
from tests.parity.invented_days import InventedCoinDays, InventedDays, invented_coin_parameters, invented_parameters

MONTH_OPENS_AFTER, MONTH_SESSIONS_COUNT = date(2023, 11, 13), 21
DEMO_SESSIONS_COUNT = 10
COINS_OPEN_AFTER, COIN_SESSIONS_COUNT = date(2024, 5, 15), 11
pytestmark = pytest.mark.timeout(1800)  # a slow and busy machine was seen to take a quarter of an hour for the month
RULES = ("stop", "target", "time_stop", "signal")


def sessions_after(opening: date, count: int) -> list[date]:
    hours = ExchangeCalendar().sessions(Market.US_EQUITY, opening, date(opening.year + 1, 12, 31))
    return [day.session for day in hours[1 : count + 1]]


def require_equal(there: Written, here: Written) -> None:
    assert there.errors == here.errors == []
    for kind, lines in there.lines.items():
        assert lines == here.lines[kind], f"{kind} differs"


def rules_of(written: Written) -> set[str]:
    """By which rules what was bought was sold again."""
    return {rule for line in written.lines["TRADE"] for rule in RULES if f'"{rule}"' in line}


def test_the_demos_sessions(tmp_path: Path) -> None:
    scenario = SCENARIOS["real"]
    demo = demo_market(ExchangeCalendar())
    sessions = sessions_after(scenario.opening, DEMO_SESSIONS_COUNT)
    here = backtested(demo.market, demo.parameters, sessions)
    there = deployed(scenario, sessions, tmp_path)
    require_equal(there, here)
    assert len(here.lines["TRADE"]) > 5


def test_a_month_of_the_synthetic_market(tmp_path: Path) -> None:
    scenario = Scenario(
        name=f"{InventedDays.__module__}:{InventedDays.__name__}", told="invented days", opening=MONTH_OPENS_AFTER,
        markets=(Market.US_EQUITY,), parameters=invented_parameters,
    )
    sessions = sessions_after(MONTH_OPENS_AFTER, MONTH_SESSIONS_COUNT)
    here = backtested(InventedDays(), invented_parameters(), sessions)
    there = deployed(scenario, sessions, tmp_path)
    require_equal(there, here)
    assert {"stop", "target", "time_stop"} <= rules_of(here)


def test_coins_on_days_of_the_synthetic_market(tmp_path: Path) -> None:
    scenario = Scenario(
        name=f"{InventedCoinDays.__module__}:{InventedCoinDays.__name__}", told="invented coins", opening=COINS_OPEN_AFTER,
        markets=(Market.CRYPTO,), parameters=invented_coin_parameters,
    )
    sessions = [COINS_OPEN_AFTER + timedelta(days=day) for day in range(1, COIN_SESSIONS_COUNT + 1)]
    here = backtested(InventedCoinDays(), invented_coin_parameters(), sessions)
    there = deployed(scenario, sessions, tmp_path)
    require_equal(there, here)
    assert {"stop", "target", "time_stop"} <= rules_of(here)  # no order rests for a coin's target: the desk itself sells
    assert here.lines["DENIAL"]
    fills, trades = ([json.loads(line) for line in here.lines[kind]] for kind in ("FILL", "TRADE"))
    bought = {fill["quantity_shares"] for fill in fills if fill["side"] == "buy"}
    assert bought.isdisjoint(trade["quantity_shares"] for trade in trades)  # the fee is taken in coins: less is there to sell
