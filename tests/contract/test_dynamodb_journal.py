"""The journal on DynamoDB where it differs from memory: busy tables, lost answers, missing tables, items of newer code."""

import json
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest
from boto3.session import Session
from botocore.config import Config
from botocore.exceptions import ClientError, ConnectionClosedError, EndpointConnectionError, ReadTimeoutError

from closebell.adapters import aws_clients
from closebell.adapters.dynamodb import TRIES_MAX, DynamoJournal
from closebell.model.books import LedgerCursor
from closebell.model.errors import ConfigurationError, OutcomeUnknown, RunRefused, StoreUnavailable
from closebell.model.operations import Alert, Halt
from closebell.model.registry import RECORD_TYPES
from closebell.ports.journal import Create, Journal, Require, Stored
from tests.contract.aws_resources import TABLES, create_tables, dynamo_journal
from tests.contract.records import alert, counters, cursor, example, halt

pytest_plugins = ["tests.contract.aws_stack"]

PARTITION = "ALERT#2018-10"


class ScriptedClient:
    """A DynamoDB client whose next calls fail as told, then go through."""

    def __init__(self, client: Any, *failures: Exception, after_doing: bool = False) -> None:
        self._client = client
        self._failures = list(failures)
        self._after_doing = after_doing
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.replaced: dict[str, Callable[..., Any]] = {}

    def __getattr__(self, name: str) -> Any:
        if name == "meta":
            return self._client.meta

        def call(**request: Any) -> Any:
            self.calls.append((name, request))
            operation = self.replaced.get(name) or getattr(self._client, name)
            if self._failures and self._after_doing:
                operation(**request)
            if self._failures:
                raise self._failures.pop(0)
            return operation(**request)

        return call


def client_error(code: str, status: int = 400, **response: Any) -> ClientError:
    answer: Any = {"Error": {"Code": code, "Message": "m"}, "ResponseMetadata": {"HTTPStatusCode": status}, **response}
    return ClientError(answer, "Op")


def cancelled(*codes: str) -> ClientError:
    return client_error("TransactionCanceledException", CancellationReasons=[{"Code": code} for code in codes])


LOST = [
    ReadTimeoutError(endpoint_url="http://x"), ConnectionClosedError(endpoint_url="http://x"),
    client_error("InternalServerError", 500),
]
BUSY = [
    client_error("ThrottlingException"), client_error("ProvisionedThroughputExceededException"),
    client_error("TransactionConflictException"), EndpointConnectionError(endpoint_url="http://x"),
    cancelled("None", "TransactionConflict"), cancelled("ThrottlingError", "None"),
]
PAIR = [Create(halt("x")), Create(cursor("x"))]


class Scripted:
    """A journal over a scripted client on a real table."""

    def __init__(self, session: Session, *failures: Exception, after_doing: bool = False) -> None:
        client = aws_clients.dynamodb(session)
        names = create_tables(session, uuid4().hex[:8])
        self.client = ScriptedClient(client, *failures, after_doing=after_doing)
        self.pauses_s: list[float] = []
        self.journal = DynamoJournal(names, self.client, self.pauses_s.append)  # type: ignore[arg-type]  # scripted on purpose
        self.real = DynamoJournal(names, client)


def test_every_read_asks_for_a_strongly_consistent_answer(moto_aws: Session) -> None:
    scripted = Scripted(moto_aws)
    scripted.journal.commit(PAIR)
    scripted.client.calls.clear()
    scripted.journal.read(halt("x").key, Halt)
    scripted.journal.read_many([halt("x").key], Halt)
    scripted.journal.query("control", "DESK")
    names = [name for name, _ in scripted.client.calls]
    tables = [request.get("RequestItems", {"": request}).values() for _, request in scripted.client.calls]
    assert names == ["get_item", "batch_get_item", "query"]
    assert all(asked["ConsistentRead"] is True for of_call in tables for asked in of_call)


@pytest.mark.parametrize("failure", BUSY, ids=str)
@pytest.mark.parametrize("changes", [PAIR, PAIR[:1]], ids=["transaction", "single"])
def test_a_busy_table_is_asked_again(moto_aws: Session, failure: Exception, changes: list[Create]) -> None:
    scripted = Scripted(moto_aws, failure, failure)
    scripted.journal.commit(changes)
    assert len(scripted.client.calls) == 3
    assert len(scripted.pauses_s) == 2
    assert scripted.real.read(halt("x").key, Halt) == Stored(halt("x"), 1)


@pytest.mark.parametrize("failure", BUSY, ids=str)
def test_a_table_that_stays_busy_is_unavailable_within_two_seconds(moto_aws: Session, failure: Exception) -> None:
    scripted = Scripted(moto_aws, *[failure] * TRIES_MAX)
    with pytest.raises(StoreUnavailable, match="journal|book|control"):
        scripted.journal.commit(PAIR)
    assert len(scripted.client.calls) == TRIES_MAX
    assert sum(scripted.pauses_s) < 2
    assert scripted.real.read(halt("x").key, Halt) is None


@pytest.mark.parametrize("failure", LOST, ids=str)
def test_a_single_write_whose_answer_is_lost_is_never_repeated(moto_aws: Session, failure: Exception) -> None:
    """Its condition would meet its own first try and look like a lost race."""
    scripted = Scripted(moto_aws, failure, after_doing=True)
    with pytest.raises(OutcomeUnknown, match="read before concluding"):
        scripted.journal.commit(PAIR[:1])
    assert len(scripted.client.calls) == 1
    assert scripted.real.read(halt("x").key, Halt) == Stored(halt("x"), 1)


@pytest.mark.parametrize("failure", LOST, ids=str)
def test_a_transaction_whose_answer_is_lost_is_asked_for_again_by_its_token(aws: Session, failure: Exception) -> None:
    scripted = Scripted(aws, failure, after_doing=True)
    scripted.journal.commit(PAIR)
    tokens = [request["ClientRequestToken"] for _, request in scripted.client.calls]
    assert len(tokens) == 2
    assert len(set(tokens)) == 1
    assert scripted.real.read(halt("x").key, Halt) == Stored(halt("x"), 1)


@pytest.mark.parametrize("last", [*LOST, *BUSY], ids=str)
def test_a_transaction_whose_answer_stays_lost_is_unknown(moto_aws: Session, last: Exception) -> None:
    scripted = Scripted(moto_aws, LOST[0], *[last] * TRIES_MAX)
    with pytest.raises(OutcomeUnknown):
        scripted.journal.commit(PAIR)


@pytest.mark.parametrize("failure", [*LOST, *BUSY], ids=str)
def test_a_read_is_tried_again_then_unavailable(moto_aws: Session, failure: Exception) -> None:
    once = Scripted(moto_aws, failure)
    assert once.journal.read(halt("x").key, Halt) is None
    always = Scripted(moto_aws, *[failure] * TRIES_MAX)
    with pytest.raises(StoreUnavailable):
        always.journal.query("journal", PARTITION)


def test_keys_that_dynamodb_left_unanswered_are_asked_for_again(moto_aws: Session) -> None:
    scripted = Scripted(moto_aws)
    scripted.real.commit([Create(alert(number)) for number in range(3)])
    batch_get_item = scripted.client._client.batch_get_item

    def answer_one(**request: Any) -> Any:
        (table, asked), = request["RequestItems"].items()
        reply = batch_get_item(RequestItems={table: {**asked, "Keys": asked["Keys"][:1]}})
        left = asked["Keys"][1:]
        return {**reply, "UnprocessedKeys": {table: {**asked, "Keys": left}} if left else {}}

    scripted.client.replaced["batch_get_item"] = answer_one
    found = scripted.journal.read_many([alert(number).key for number in range(3)], Alert)
    assert [stored.record for stored in found] == [alert(number) for number in range(3)]


@pytest.mark.parametrize("use", [
    lambda journal: journal.read(halt("x").key, Halt),
    lambda journal: journal.read_many([halt("x").key], Halt),
    lambda journal: journal.query("control", "DESK"),
    lambda journal: journal.commit([Create(halt("x"))]),
    lambda journal: journal.commit([Require(halt("x").key, 0)]),
])
def test_a_missing_table_is_named(moto_aws: Session, use: Callable[[Journal], object]) -> None:
    names = {table: f"absent-{table}" for table in TABLES}
    with pytest.raises(StoreUnavailable, match=r"no table 'absent-control' \(setting CONTROL_TABLE"):
        use(DynamoJournal(names, aws_clients.dynamodb(moto_aws)))


def set_body(client: Any, table: str, key: dict[str, Any], **fields: object) -> None:
    """Change an item's body behind the journal's back, as other code would have written it."""
    item = client.get_item(TableName=table, Key=key)["Item"]
    body = json.loads(item["body"]["S"]) | fields
    client.put_item(TableName=table, Item={**item, "body": {"S": json.dumps(body)}})


def test_an_item_of_a_newer_schema_is_refused(moto_aws: Session) -> None:
    scripted = Scripted(moto_aws)
    client, tables = scripted.client._client, scripted.journal._tables
    scripted.real.commit([Create(halt("x"))])
    key = {"pk": {"S": "DESK"}, "sk": {"S": "HALT"}}
    set_body(client, tables["control"], key, schema_version=2)
    for read in (lambda: scripted.real.read(halt("x").key, Halt), lambda: scripted.real.query("control", "DESK")):
        with pytest.raises(RunRefused, match="schema version 2, this code knows 1"):
            read()


def test_an_item_with_a_field_or_a_kind_that_this_code_does_not_know_is_refused(moto_aws: Session) -> None:
    scripted = Scripted(moto_aws)
    client, tables = scripted.client._client, scripted.journal._tables
    scripted.real.commit([Create(cursor("x"))])
    key = {"pk": {"S": "DESK"}, "sk": {"S": "CURSOR"}}
    to_new = {"TableName": tables["book"], "Key": key, "ExpressionAttributeValues": {":text": {"S": "new"}}}
    set_body(client, tables["book"], key, novelty="new")
    with pytest.raises(RunRefused, match="novelty"):
        scripted.real.read(cursor("x").key, LedgerCursor)
    client.update_item(UpdateExpression="SET kind = :text", **to_new)
    with pytest.raises(RunRefused, match="kind 'new', which this code does not know"):
        scripted.real.query("book", "DESK")


def test_an_item_is_readable_in_the_console(moto_aws: Session) -> None:
    scripted = Scripted(moto_aws)
    scripted.real.commit([Create(counters(7))])
    item = scripted.client._client.scan(TableName=scripted.journal._tables["book"])["Items"][0]
    assert item["kind"] == {"S": "day_counters"}
    assert item["version"] == {"N": "1"}
    body = json.loads(item["body"]["S"])
    assert (body["orders_count"], body["session"]) == (7, "2018-10-01")


def test_a_client_that_repeats_writes_by_itself_is_refused() -> None:
    names = {table: table for table in TABLES}
    for config in (None, Config(retries={"max_attempts": 2})):
        client = Session("id", "secret", region_name="us-east-1").client("dynamodb", config=config)
        with pytest.raises(ConfigurationError, match="aws_clients"):
            DynamoJournal(names, client)


def test_a_table_without_a_name_is_refused(moto_aws: Session) -> None:
    with pytest.raises(ConfigurationError, match="control"):
        DynamoJournal({"journal": "j", "book": "b", "control": ""}, aws_clients.dynamodb(moto_aws))


@pytest.mark.parametrize("kind", sorted(RECORD_TYPES))
def test_every_kind_of_record_survives_the_journal_exactly(kind: str, moto_aws: Session) -> None:
    record, journal = example(RECORD_TYPES[kind]), dynamo_journal(moto_aws)
    journal.commit([Create(record)])
    stored = journal.read(record.key, RECORD_TYPES[kind])
    assert stored is not None
    assert stored.record == record
    assert stored.record.model_dump_json() == record.model_dump_json()
