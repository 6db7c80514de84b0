"""One desk twice: deployed on the local stack, and in a backtest; and what each has written down."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from datetime import date
from pathlib import Path
from typing import NamedTuple

from closebell.backtest.engine import BacktestDesk
from closebell.backtest.known_evidence import KnownEvidence
from closebell.model.books import EquitySnapshot, Fill, Trade
from closebell.model.decision import Denial, TradePlan
from closebell.model.orders import OrderRecord
from closebell.model.parameters import ParameterSet
from closebell.model.record import Record
from closebell.ports.journal import Journal
from closebell.simulation.bar_market import BarMarket
from closebell.simulation.trading_floor import ExchangeOptions
from infra.local.demo_desk import open_desk
from infra.local.scenario import Scenario, ends_at

ROOT = Path(__file__).resolve().parents[2]
RecordType = type[Record]
BY_SESSION: tuple[tuple[RecordType, str], ...] = ((TradePlan, "PLAN"), (OrderRecord, "ORDER"), (Fill, "FILL"), (Denial, "DENIAL"))
BY_MARKET: tuple[tuple[RecordType, str], ...] = ((Trade, "TRADE"), (EquitySnapshot, "EQUITY"))


class Written(NamedTuple):
    """Every plan, order, fill, denial, trade and equity snapshot of some sessions, as the JSON that is stored, in key order."""

    lines: dict[str, list[str]]
    errors: list[str]


def deployed(scenario: Scenario, sessions_count: int, folder: Path) -> Written:
    """Trade sessions through handlers, HTTP exchange and DynamoDB, by the template's own schedules, without incidents."""
    with ExitStack() as stack:
        desk = open_desk(stack, scenario, folder, ROOT)
        sessions = desk.next_sessions(sessions_count)
        runs = desk.runner.run(desk.schedules, scenario.opens_at, ends_at(sessions[-1]))
        errors = [f"{run.firing.at} {run.firing.schedule.function}: {run.error}" for run in runs if run.error]
        return Written(lines_of(desk.journal, sessions), errors)


def backtested(market: BarMarket, parameters: ParameterSet, sessions: Sequence[date]) -> Written:
    """The same sessions in a backtest. What is sold at its very end is not part of them."""
    desk = BacktestDesk(market, parameters, KnownEvidence(market, parameters), ExchangeOptions())
    desk.trade(sessions[0], sessions[-1])
    return Written(lines_of(desk.journal, sessions), [f"{alert.subject}: {alert.body}" for alert in desk.alerts.alerts])


def lines_of(journal: Journal, sessions: Sequence[date]) -> dict[str, list[str]]:
    """What a journal holds of some sessions, by kind."""
    lines: dict[str, list[str]] = {}
    for record_type, name in BY_SESSION:
        partitions = [f"{name}#us_equity#{session}" for session in sessions]
        lines[name] = [record.model_dump_json() for record in _records(journal, partitions, record_type)]
    for record_type, name in BY_MARKET:
        lines[name] = [record.model_dump_json() for record in _records(journal, [f"{name}#us_equity"], record_type)]
    return lines


def _records(journal: Journal, partitions: Sequence[str], record_type: type[Record]) -> Iterator[Record]:
    for partition in partitions:
        for stored in journal.query("journal", partition):
            if isinstance(stored.record, record_type):
                yield stored.record
