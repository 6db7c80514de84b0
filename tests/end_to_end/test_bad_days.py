"""Bad days of a deployed desk: a wrong key, a broker that is down, a table that is gone, a typo in the configuration, phantoms.

Each test starts the local stack on a copy of the same prepared state and invokes the functions as their schedules would.
"""

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from closebell.app.control import read_halt
from closebell.app.desk import load_desk
from closebell.model.books import Lot, Position, PositionState
from closebell.model.instruments import Market
from closebell.model.operations import Alert, RunRecord, RunState, run_key
from closebell.ports.journal import Create
from infra.local.demo_desk import TRADING_KEY, DemoDesk, open_desk
from infra.local.scenario import SCENARIOS

ROOT = Path(__file__).resolve().parents[2]
AT = datetime(2018, 9, 28, 20, 15, tzinfo=UTC)  # 16:15 New York on the evening the demo opens
Prepare = Callable[[], DemoDesk]


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A desk that was deployed and stopped: its whole state on disk."""
    folder = tmp_path_factory.mktemp("prepared")
    with ExitStack() as stack:
        open_desk(stack, SCENARIOS["real"], folder, ROOT)
    return folder


@pytest.fixture
def desk(prepared: Path, tmp_path: Path) -> Iterator[DemoDesk]:
    """The prepared desk, up and running on a state of its own."""
    folder = tmp_path / "desk"
    shutil.copytree(prepared, folder)
    with ExitStack() as stack:
        yield open_desk(stack, SCENARIOS["real"], folder, ROOT)


def invoke(desk: DemoDesk, function: str) -> dict[str, Any]:
    """The function's answer, or Lambda's error document."""
    name = desk.deployment.physical_ids["".join(part.capitalize() for part in function.split("_"))]
    event = {"scheduled_at": f"{AT:%Y-%m-%dT%H:%M:%SZ}", "market": "us_equity"}
    reply = desk.aws.client("lambda").invoke(FunctionName=name, Payload=json.dumps(event).encode())
    answer: dict[str, Any] = json.loads(reply["Payload"].read())
    assert ("errorMessage" in answer) == bool(reply.get("FunctionError")), answer
    return answer


def run(desk: DemoDesk, function: str) -> RunRecord:
    stored = desk.journal.read(run_key(function, Market.US_EQUITY, AT), RunRecord)
    assert stored is not None
    return stored.record


def alerts(desk: DemoDesk) -> list[str]:
    found = desk.journal.query("journal", "ALERT#2018-09")
    return sorted(item.record.subject for item in found if isinstance(item.record, Alert))


def test_a_wrong_key_halts_the_desk_and_names_the_key_not_its_secret(desk: DemoDesk) -> None:
    wrong = json.dumps({"key_id": "WRONG-KEY", "secret_key": "canary-of-this-test"})
    desk.aws.client("ssm").put_parameter(Name=TRADING_KEY, Value=wrong, Type="SecureString", Overwrite=True)
    answer = invoke(desk, "reconcile")
    assert "unauthorized" in answer["errorMessage"]
    halt = read_halt(desk.journal)
    assert halt is not None
    assert halt.record.is_halted
    assert alerts(desk) == ["The desk is halted", "reconcile failed"]
    assert "canary" not in json.dumps(answer) + halt.record.reason


def test_a_key_that_is_replaced_is_used_by_the_process_that_was_opened_with_the_old_one(desk: DemoDesk) -> None:
    ssm = desk.aws.client("ssm")
    right = ssm.get_parameter(Name=TRADING_KEY, WithDecryption=True)["Parameter"]["Value"]
    wrong = json.dumps({"key_id": "OLD-KEY", "secret_key": "canary-of-this-test"})
    ssm.put_parameter(Name=TRADING_KEY, Value=wrong, Type="SecureString", Overwrite=True)
    invoke(desk, "reconcile")
    ssm.put_parameter(Name=TRADING_KEY, Value=right, Type="SecureString", Overwrite=True)
    assert invoke(desk, "reconcile")["state"] == "completed"


def test_a_broker_that_is_down_fails_the_run_and_changes_nothing(desk: DemoDesk) -> None:
    desk.broker.set_fault("garbage_html", path="/v2/account", times=20)
    before = desk.journal.query("book", "DESK", "POSITION#")
    answer = invoke(desk, "reconcile")
    assert "HTTP 502" in answer["errorMessage"]
    assert run(desk, "reconcile").state is RunState.FAILED
    assert (desk.journal.query("book", "DESK", "POSITION#"), load_desk(desk.journal).snapshot) == (before, None)
    desk.broker.clear_faults()
    assert invoke(desk, "reconcile")["state"] == "completed"
    assert run(desk, "reconcile").attempts_count == 2


def test_a_missing_table_is_named(desk: DemoDesk) -> None:
    table = desk.deployment.outputs["ControlTableName"]
    client = desk.aws.client("dynamodb")
    client.update_table(TableName=table, DeletionProtectionEnabled=False)
    client.delete_table(TableName=table)
    answer = invoke(desk, "reconcile")
    assert table in answer["errorMessage"]


def test_a_typo_in_the_stored_configuration_is_refused_and_named(desk: DemoDesk) -> None:
    key = {"pk": {"S": "DESK"}, "sk": {"S": "PARAMETERS"}}
    client, table = desk.aws.client("dynamodb"), desk.deployment.outputs["ControlTableName"]
    item = client.get_item(TableName=table, Key=key)["Item"]
    body = json.loads(item["body"]["S"])
    body["limits"]["positions_count_maxx"] = 50
    client.put_item(TableName=table, Item={**item, "body": {"S": json.dumps(body)}})
    for function in ("generate_signals", "reconcile"):
        answer = invoke(desk, function)
        assert "limits.positions_count_maxx" in answer["errorMessage"]


def test_an_event_that_no_schedule_sends_says_what_to_send(desk: DemoDesk) -> None:
    reply = desk.aws.client("lambda").invoke(
        FunctionName=desk.deployment.physical_ids["PlaceOrders"], Payload=b'{"scheduled_at": "yesterday"}'
    )
    answer = json.loads(reply["Payload"].read())
    assert "examples/events" in answer["errorMessage"]


def test_forty_eight_phantom_positions_in_the_tables_are_gone_after_one_run_without_an_order(desk: DemoDesk) -> None:
    for number in range(48):
        lot = Lot(activity_id=f"{number}", quantity_shares=Decimal(10), price_usd=Decimal(100), opened_at=AT)
        phantom = Position(
            symbol=f"S{number:02d}", market=Market.US_EQUITY, sector="technology", state=PositionState.PROTECTED,
            plan_id=f"old-{number}", lots=(lot,), opened_session=AT.date(),
        )  # fmt: skip
        desk.journal.commit([Create(phantom)])
    answer = invoke(desk, "reconcile")
    assert answer["counts"]["breaks"] == 48
    assert (list(load_desk(desk.journal).positions), list(desk.broker.orders())) == ([], [])
    assert len(alerts(desk)) == 1
    assert "48 phantom" in alerts(desk)[0]
    assert invoke(desk, "generate_signals")["state"] == "completed"
