"""Every table of a deployed desk is lost after a close: the owner rebuilds by the runbook, and the next session trades on."""

from collections.abc import Iterator
from contextlib import ExitStack
from datetime import date, datetime, time
from decimal import Decimal
from pathlib import Path
from typing import NamedTuple

import pytest
from typer.testing import CliRunner

from closebell.app.desk import load_desk
from closebell.cli import app
from closebell.model.books import PositionState
from closebell.model.orders import OrderLeg
from closebell.simulation.real_prices import real_desk_toml
from infra.local.aws import credentials
from infra.local.broker_view import duplicates_count
from infra.local.demo_desk import STACK, DemoDesk, open_desk
from infra.local.scenario import NEW_YORK, SCENARIOS, ends_at

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.timeout(1000)  # the first test of the module waits for a whole session
MONDAY, TUESDAY = date(2018, 10, 1), date(2018, 10, 2)
LOST_AT = datetime.combine(MONDAY, time(16, 15), NEW_YORK)  # the session is booked, the evening's decisions are still to come


class Held(NamedTuple):
    """What is ours in one symbol, what it cost, and since when."""

    quantity_shares: Decimal
    cost_usd: Decimal
    opened_session: date


class Rebuilt(NamedTuple):
    """The books before the loss, what the exchange held then, what the commands said, and the books that they made."""

    before: dict[str, Held]
    at_exchange: dict[str, Decimal]
    refusal: str
    told: str
    after: dict[str, Held]


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DemoDesk]:
    """A deployed desk that has traded one session, in which it might hold three positions."""
    folder = tmp_path_factory.mktemp("rebuild")
    with ExitStack() as stack:
        desk = open_desk(stack, SCENARIOS["real"], folder, ROOT)
        command(desk, "configure", str(configuration(folder, 3)))
        run(desk, desk.scenario.opens_at, LOST_AT)
        yield desk


@pytest.fixture(scope="module")
def rebuilt(desk: DemoDesk, tmp_path_factory: pytest.TempPathFactory) -> Rebuilt:
    """The desk's tables emptied, its configuration stored anew with room for two more positions, its books rebuilt."""
    before = books(desk)
    lose_every_table(desk)
    command(desk, "configure", str(configuration(tmp_path_factory.mktemp("anew"), 5)))
    refusal = command(desk, "rebuild", exit_code=1)
    command(desk, "halt", "the tables are lost")
    told = command(desk, "rebuild")
    resume = command(desk, "resume")
    command(desk, "resume", "--code", resume.split()[-1])
    return Rebuilt(before, at_exchange(desk), refusal, told, books(desk))


def configuration(folder: Path, positions_count_max: int) -> Path:
    """The demo's configuration with a limit of its own, as a file for `closebell configure`."""
    path = folder / "desk.toml"
    path.write_text(f"{real_desk_toml()}\n[limits]\npositions_count_max = {positions_count_max}\n")
    return path


def run(desk: DemoDesk, start: datetime, end: datetime) -> None:
    """Let the schedule invoke the functions; none may fail."""
    errors = [(done.firing.schedule.name, done.error) for done in desk.runner.run(desk.schedules, start, end) if done.error]
    assert errors == []


def command(desk: DemoDesk, *words: str, exit_code: int = 0) -> str:
    """What `closebell` says, called as the owner of the deployed stack calls it."""
    told = CliRunner().invoke(app, [*words, "--stack", STACK], env=credentials(desk.aws.endpoint_url))
    assert told.exit_code == exit_code, told.output
    return told.output


def lose_every_table(desk: DemoDesk) -> None:
    """Delete every item of the three tables."""
    client = desk.aws.client("dynamodb")
    for name in ("JournalTableName", "BookTableName", "ControlTableName"):
        table = desk.deployment.outputs[name]
        for page in client.get_paginator("scan").paginate(TableName=table, ConsistentRead=True):
            for item in page["Items"]:
                client.delete_item(TableName=table, Key={"pk": item["pk"], "sk": item["sk"]})
        assert client.scan(TableName=table, ConsistentRead=True)["Count"] == 0


def books(desk: DemoDesk) -> dict[str, Held]:
    """What our tables say is ours; nothing of it is anybody else's or in dispute."""
    positions = {symbol: stored.record for symbol, stored in load_desk(desk.journal).positions.items()}
    assert all(not one.external_shares and one.state is not PositionState.DISPUTED for one in positions.values())
    return {
        symbol: Held(
            one.quantity_shares, sum((lot.quantity_shares * lot.price_usd for lot in one.lots), Decimal(0)), one.opened_session
        )
        for symbol, one in positions.items()
    }


def at_exchange(desk: DemoDesk) -> dict[str, Decimal]:
    return {position["symbol"]: Decimal(position["qty"]) for position in desk.broker.view.positions()}


def quantities(held: dict[str, Held]) -> dict[str, Decimal]:
    return {symbol: one.quantity_shares for symbol, one in held.items()}


def test_books_rebuilt_into_empty_tables_are_those_that_were_lost(rebuilt: Rebuilt) -> None:
    assert len(rebuilt.before) == 3
    assert rebuilt.after == rebuilt.before
    assert quantities(rebuilt.after) == rebuilt.at_exchange
    assert f"{len(rebuilt.before)} positions" in rebuilt.told
    assert "0 symbols differ" in rebuilt.told


def test_books_are_not_rebuilt_while_the_desk_may_trade(rebuilt: Rebuilt) -> None:
    assert "the desk is not halted" in rebuilt.refusal


def test_the_next_session_buys_more_protects_everything_and_finds_no_break_and_no_duplicate(
    desk: DemoDesk, rebuilt: Rebuilt
) -> None:
    run(desk, LOST_AT, ends_at(TUESDAY))
    line = desk.records.line([MONDAY, TUESDAY])
    assert (line.breaks, duplicates_count(desk.broker.orders())) == (0, 0)
    held = books(desk)
    assert quantities(held) == at_exchange(desk)
    assert len(held) == 5
    assert {symbol: held[symbol] for symbol in rebuilt.after} == rebuilt.after
    orders = [stored.record for stored in load_desk(desk.journal).orders.values()]
    assert {order.symbol: order.quantity_shares for order in orders if order.leg is OrderLeg.PROTECT} == quantities(held)
    resting = [order for order in desk.broker.orders() if order["side"] == "sell" and order["status"] in {"new", "accepted"}]
    assert sorted(order["symbol"] for order in resting) == sorted(held)
