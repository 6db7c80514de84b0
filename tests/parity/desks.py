"""One desk twice: deployed on the local stack, and in a backtest; and what each has written down."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from datetime import date
from pathlib import Path
from typing import NamedTuple

from closebell.backtest.desk.desk_day import DESK_DAYS
from closebell.backtest.desk.engine import BacktestDesk
from closebell.backtest.desk.known_evidence import KnownEvidence
from closebell.model.books import EquitySnapshot, Fill, Trade
from closebell.model.decision import Denial, TradePlan
from closebell.model.instruments import Market
from closebell.model.orders import OrderRecord
from closebell.model.parameters import ParameterSet
from closebell.model.record import Record
from closebell.ports.journal import Journal
from closebell.simulation.bar_market import BarMarket
from closebell.simulation.exchange.trading_floor import ExchangeOptions
from infra.local.demo_desk import DemoDesk, open_desk
from infra.local.scenario import Scenario, ends_at
from infra.local.schedule_runner import Invocation
from infra.local.schedules import Firing

ROOT = Path(__file__).resolve().parents[2]
RecordType = type[Record]
BY_SESSION: tuple[tuple[RecordType, str], ...] = ((TradePlan, "PLAN"), (OrderRecord, "ORDER"), (Fill, "FILL"), (Denial, "DENIAL"))
BY_MARKET: tuple[tuple[RecordType, str], ...] = ((Trade, "TRADE"), (EquitySnapshot, "EQUITY"))


class Written(NamedTuple):
    """Every plan, order, fill, denial, trade and equity snapshot of some sessions, as the JSON that is stored, in key order."""

    lines: dict[str, list[str]]
    errors: list[str]


def deployed(scenario: Scenario, sessions: Sequence[date], folder: Path) -> Written:
    """Trade sessions of one market through handlers, HTTP exchange and DynamoDB, by the template's own schedules, without
    incidents."""
    (market,) = scenario.markets
    with ExitStack() as stack:
        desk = open_desk(stack, scenario, folder, ROOT)
        runs = _runs(desk, market, sessions)
        errors = [f"{run.firing.at} {run.firing.schedule.function}: {run.error}" for run in runs if run.error]
        return Written(lines_of(desk.journal, market, sessions), errors)


def _runs(desk: DemoDesk, market: Market, sessions: Sequence[date]) -> Iterator[Invocation]:
    """From the evening before the first session, when the desk is put up, to the review of the last one or later.

    Only the market's own schedule runs, as a backtest trades one market. The equity day's reconciliations look after the whole
    account: every five minutes they would find a coin at its target between the crypto day's own.
    """
    day, scenario = DESK_DAYS[market], desk.scenario
    schedules = [schedule for schedule in desk.schedules if schedule.market is market]
    puts_up_at = day.at(scenario.opening, day.puts_up_at)
    if puts_up_at > scenario.opens_at:  # its schedule decides next: whoever puts it up has to let it look first
        desk.broker.advance(puts_up_at)
        yield desk.runner.invoke(Firing(puts_up_at, next(each for each in schedules if each.function == "reconcile")))
    last = max(ends_at(sessions[-1]), day.at(sessions[-1], day.decides_at))
    yield from desk.runner.run(schedules, max(scenario.opens_at, puts_up_at), last)


def backtested(market: BarMarket, parameters: ParameterSet, sessions: Sequence[date]) -> Written:
    """The same sessions in a backtest. What is sold at its very end is not part of them."""
    desk = BacktestDesk(market, parameters, KnownEvidence(market, parameters), ExchangeOptions())
    desk.trade(sessions[0], sessions[-1])
    errors = [f"{alert.subject}: {alert.body}" for alert in desk.alerts.alerts]
    return Written(lines_of(desk.journal, market.asset_class, sessions), errors)


def lines_of(journal: Journal, market: Market, sessions: Sequence[date]) -> dict[str, list[str]]:
    """What a journal holds of some sessions, by kind."""
    lines: dict[str, list[str]] = {}
    for record_type, name in BY_SESSION:
        partitions = [f"{name}#{market}#{session}" for session in sessions]
        lines[name] = [record.model_dump_json() for record in _records(journal, partitions, record_type)]
    for record_type, name in BY_MARKET:
        lines[name] = [record.model_dump_json() for record in _records(journal, [f"{name}#{market}"], record_type)]
    return lines


def _records(journal: Journal, partitions: Sequence[str], record_type: type[Record]) -> Iterator[Record]:
    for partition in partitions:
        for stored in journal.query("journal", partition):
            if isinstance(stored.record, record_type):
                yield stored.record
