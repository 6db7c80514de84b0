"""Puts the demo's desk up: exchange, local AWS, the deployed stack, keys, mail identities, the desk's configuration."""

import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import pairwise
from pathlib import Path

from closebell.adapters.dynamodb import DynamoJournal
from closebell.app.control import store_parameters
from closebell.model.instruments import Market
from closebell.model.parameters import ParameterSet
from closebell.model.record import Key
from closebell.ports.journal import Journal
from infra.local import package
from infra.local.aws import LocalAws
from infra.local.demo_memory import Memory
from infra.local.deploy import Deployment, deploy
from infra.local.exchange_process import DemoBroker, ExchangeProcess, named_broker
from infra.local.scenario import Scenario
from infra.local.schedule_runner import Progress, ScheduleRunner
from infra.local.schedules import Schedule, read_schedules
from infra.local.session_report import DeskRecords

STACK = "closebell"
MAIL_FROM, MAIL_TO = "desk@closebell.test", "owner@closebell.test"
INVOKE_TIMEOUT_S = 330.0  # above the longest time-out in the template
TRADING_KEY, DATA_KEY = "/closebell/paper/trading-key", "/closebell/data-key"


@dataclass(frozen=True)
class DemoDesk:
    """A deployed desk, its broker, and the runner that moves both through time. `told` says how it was put up."""

    scenario: Scenario
    broker: DemoBroker
    aws: LocalAws
    deployment: Deployment
    journal: Journal
    schedules: list[Schedule]
    runner: ScheduleRunner
    records: DeskRecords
    memory: Memory
    told: str

    def sessions_done(self) -> list[date]:
        """The sessions traded so far."""
        last = self.memory.last_session_done
        return self.broker.view.sessions(self.scenario.opening + timedelta(days=1), last) if last else []

    def next_sessions(self, count: int) -> list[date]:
        """The interrupted session, if any, and those after it; fewer than `count` where the market ends."""
        last = self.memory.last_session_done or self.scenario.opening
        return self.broker.view.sessions(last + timedelta(days=1), last + timedelta(days=30 + 2 * count))[:count]

    def days_of(self, sessions: Sequence[date]) -> list[list[date]]:
        """For each of the first sessions the dates after the one before it, itself the last: crypto trades on all of them."""
        before = [self.scenario.opening, *sessions]
        return [
            [date.fromordinal(day) for day in range(previous.toordinal() + 1, session.toordinal() + 1)]
            for previous, session in pairwise(before)
        ]


def open_desk(stack: ExitStack, scenario: Scenario, folder: Path, root: Path) -> DemoDesk:
    """Put everything up; `stack` takes it down again. Raises what its parts raise, each with a message for the owner."""
    state = folder / scenario.name
    state.mkdir(parents=True, exist_ok=True, mode=0o700)
    aws = LocalAws(state / "aws")
    exchange = ExchangeProcess(state / "exchange", scenario.name, scenario.opens_at)
    broker = named_broker()
    stack.callback(exchange.stop)
    stack.callback(aws.stop)
    template = package.read_template(root / "template.yaml")
    with ThreadPoolExecutor() as pool:
        packaged = pool.submit(package.build, template, root, folder / "build")
        # Processes are started from this thread, which lives as long as they should.
        aws.start()
        broker = broker or exchange.start()
        zips = packaged.result()
    broker.probe_control()
    parameters = _stack_parameters(broker, scenario, zips)
    deployment = deploy(aws, STACK, root / "template.yaml", parameters, folder / "build")
    journal = _journal(aws, deployment)
    _seed(aws, broker, journal, scenario)
    memory = Memory(state / "memory.json")
    memory.open_account(broker.view.equity_usd())
    return DemoDesk(
        scenario=scenario,
        broker=broker,
        aws=aws,
        deployment=deployment,
        journal=journal,
        schedules=read_schedules(template, parameters),
        runner=ScheduleRunner(
            aws.client("lambda", INVOKE_TIMEOUT_S), deployment.physical_ids, broker, Progress(state / "progress.json")
        ),
        records=DeskRecords(journal, scenario.markets),
        memory=memory,
        told=f"stack {STACK} {'deployed' if deployment.changed else 'is up to date'}, broker at {broker.trading_url}",
    )


def _stack_parameters(broker: DemoBroker, scenario: Scenario, zips: dict[str, Path]) -> dict[str, str]:
    return {
        "MailFrom": MAIL_FROM,
        "MailTo": MAIL_TO,
        "TradingKeyParameter": TRADING_KEY,
        "DataKeyParameter": DATA_KEY,
        "AlpacaTradingUrl": broker.trading_url,
        "AlpacaDataUrl": broker.data_url,
        "VixHistoryUrl": broker.vix_url,
        "SilenceAlarms": "no",  # metric math, which ministack does not know
        "TradesCrypto": "yes" if Market.CRYPTO in scenario.markets else "no",
        # Plans are placed only by the code that made them; the layer's content names the code.
        "CodeVersion": zips["CoreLayer"].stem,
    }


def _journal(aws: LocalAws, deployment: Deployment) -> Journal:
    outputs = deployment.outputs
    return DynamoJournal(
        {"journal": outputs["JournalTableName"], "book": outputs["BookTableName"], "control": outputs["ControlTableName"]},
        aws.client("dynamodb"),
    )


def _seed(aws: LocalAws, broker: DemoBroker, journal: Journal, scenario: Scenario) -> None:
    """Keys, verified mail identities, and the desk's configuration unless its owner has set one."""
    ssm, ses = aws.client("ssm"), aws.client("sesv2")
    value = json.dumps(broker.keys._asdict())
    present = {parameter["Name"] for parameter in ssm.get_parameters(Names=[TRADING_KEY, DATA_KEY])["Parameters"]}
    for name in {TRADING_KEY, DATA_KEY} - present:
        ssm.put_parameter(Name=name, Value=value, Type="SecureString")
    known = {identity["IdentityName"] for identity in ses.list_email_identities()["EmailIdentities"]}
    for address in {MAIL_FROM, MAIL_TO} - known:
        ses.create_email_identity(EmailIdentity=address)
    if journal.read(Key("control", "DESK", "PARAMETERS"), ParameterSet) is None:
        store_parameters(journal, scenario.parameters())
