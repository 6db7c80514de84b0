"""The journal on DynamoDB: three tables with `pk` and `sk`, strongly consistent reads, conditional writes."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from random import SystemRandom
from typing import TYPE_CHECKING, Any, TypeVar
from uuid import uuid4

from closebell.adapters.aws_errors import FAILURES, Failure, Verdict, code_of, reasons_of, verdict_of
from closebell.adapters.dynamodb_items import item_key, item_of, known_type, stored_of
from closebell.model.errors import ConfigurationError, JournalConflict, OutcomeUnknown, StoreUnavailable
from closebell.model.record import Key, Record, Table
from closebell.ports.journal import Change, Create, Remove, Replace, Require, Stored, key_of, require_one_change_a_key

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

R = TypeVar("R", bound=Record)
T = TypeVar("T")

TRIES_MAX = 6
FIRST_PAUSE_S = 0.05
KEYS_A_BATCH = 100


class DynamoJournal:
    """`ports.journal.Journal` on DynamoDB.

    Parameters
    ----------
    tables
        The name of each table.
    client
        From `aws_clients.dynamodb`: botocore must not repeat a write on its own.
    pause
        Waits that many seconds between two tries of a busy table.

    Raises
    ------
    ConfigurationError
        A table has no name, or the client repeats writes.
    """

    def __init__(
        self, tables: Mapping[Table, str], client: "DynamoDBClient", pause: Callable[[float], None] = time.sleep
    ) -> None:
        unnamed = [table for table in ("journal", "book", "control") if not tables.get(table)]
        if unnamed:
            raise ConfigurationError(f"no name is set for the DynamoDB table {' and '.join(unnamed)}")
        if (getattr(client.meta.config, "retries", None) or {}).get("total_max_attempts") != 1:
            raise ConfigurationError("the DynamoDB client repeats requests on its own: make it with aws_clients.dynamodb()")
        self._tables = dict(tables)
        self._client = client
        self._pause = pause
        self._jitter = SystemRandom()

    def read(self, key: Key, record_type: type[R]) -> Stored[R] | None:
        request = partial(self._client.get_item, TableName=self._tables[key.table], Key=item_key(key), ConsistentRead=True)
        reply = self._read({key.table}, request)
        return stored_of(reply["Item"], record_type) if "Item" in reply else None

    def read_many(self, keys: Sequence[Key], record_type: type[R]) -> list[Stored[R]]:
        if len(keys) > KEYS_A_BATCH:
            raise ValueError(f"{len(keys)} keys at once; the most is {KEYS_A_BATCH}")
        wanted: dict[str, Any] = {}
        for key in dict.fromkeys(keys):
            wanted.setdefault(self._tables[key.table], {"Keys": [], "ConsistentRead": True})["Keys"].append(item_key(key))
        found: dict[tuple[str, str, str], Stored[R]] = {}
        for tries in range(TRIES_MAX):
            if not wanted:
                break
            self._wait_before(tries)
            reply = self._read({key.table for key in keys}, partial(self._client.batch_get_item, RequestItems=wanted))
            for name, items in reply["Responses"].items():
                for item in items:
                    found[name, item["pk"]["S"], item["sk"]["S"]] = stored_of(item, record_type)
            wanted = dict(reply.get("UnprocessedKeys", {}))
        if wanted:
            raise StoreUnavailable(f"DynamoDB left part of a reading unanswered {TRIES_MAX} times: it is overloaded")
        places = [(self._tables[key.table], key.partition, key.sort) for key in keys]
        return [found[place] for place in places if place in found]

    def query(self, table: Table, partition: str, prefix: str = "", newest: int | None = None) -> list[Stored[Record]]:
        if newest is not None and newest <= 0:
            return []
        found: list[Stored[Record]] = []
        for item in self._items(table, partition, prefix, newest):
            found.append(stored_of(item, known_type(item)))
            if len(found) == newest:
                break
        return found if newest is None else found[::-1]

    def commit(self, changes: Sequence[Change]) -> None:
        require_one_change_a_key(changes)
        operations = [self._operation(change) for change in changes]
        if not operations:
            return
        if len(operations) == 1 and not isinstance(changes[0], Require):
            self._write(changes, partial(self._write_one, operations[0]), is_repeatable=False)
            return
        # A token a commit: DynamoDB knows a repeat of the same request by it, so a lost answer may be asked for again.
        token = str(uuid4())
        transaction = partial(self._client.transact_write_items, TransactItems=operations, ClientRequestToken=token)
        self._write(changes, transaction, is_repeatable=True)

    def _items(self, table: Table, partition: str, prefix: str, newest: int | None) -> Iterator[Any]:
        request: dict[str, Any] = {
            "TableName": self._tables[table], "KeyConditionExpression": "pk = :partition", "ConsistentRead": True,
            "ExpressionAttributeValues": {":partition": {"S": partition}}, "ScanIndexForward": newest is None,
        }
        if prefix:
            request["KeyConditionExpression"] += " AND begins_with(sk, :prefix)"
            request["ExpressionAttributeValues"][":prefix"] = {"S": prefix}
        if newest is not None:
            request["Limit"] = newest
        while True:
            page = self._read({table}, partial(self._client.query, **request))
            yield from page["Items"]
            if not page.get("LastEvaluatedKey"):
                return
            request["ExclusiveStartKey"] = page["LastEvaluatedKey"]

    def _operation(self, change: Change) -> Any:
        """One entry of a transaction; its value is also the arguments of the single request."""
        key = key_of(change)
        target: dict[str, Any] = {"TableName": self._tables[key.table]}
        if isinstance(change, Create) or (isinstance(change, Require) and change.expected_version == 0):
            condition: dict[str, Any] = {"ConditionExpression": "attribute_not_exists(pk)"}
        else:
            condition = {
                "ConditionExpression": "#version = :expected", "ExpressionAttributeNames": {"#version": "version"},
                "ExpressionAttributeValues": {":expected": {"N": str(change.expected_version)}},
            }
        match change:
            case Create(record):
                return {"Put": {**target, "Item": item_of(record, 1), **condition}}
            case Replace(record, expected_version):
                return {"Put": {**target, "Item": item_of(record, expected_version + 1), **condition}}
            case Remove():
                return {"Delete": {**target, "Key": item_key(key), **condition}}
            case Require():
                return {"ConditionCheck": {**target, "Key": item_key(key), **condition}}

    def _write_one(self, operation: Any) -> None:
        if "Put" in operation:
            self._client.put_item(**operation["Put"])
        else:
            self._client.delete_item(**operation["Delete"])

    def _write(self, changes: Sequence[Change], request: Callable[[], object], *, is_repeatable: bool) -> None:
        """Send a write. A busy table is asked again: it did nothing. A lost answer is asked for again only if the request carries
        a token, because a condition would meet its own first try."""
        what = ", ".join(f"{type(change).__name__} {'/'.join(key_of(change))}" for change in changes)
        was_lost = False
        for tries in range(TRIES_MAX):
            self._wait_before(tries)
            try:
                request()
                return
            except FAILURES as error:
                failure = error
            verdict = verdict_of(failure)
            if verdict is Verdict.CONFLICT:
                raise JournalConflict(f"{what}: a record exists already or has moved on") from failure
            was_lost = was_lost or verdict is Verdict.LOST
            if verdict is Verdict.REFUSED or (verdict is Verdict.LOST and not is_repeatable):
                break
        if was_lost:
            raise OutcomeUnknown(f"{what}: DynamoDB's answer was lost ({failure}); read before concluding anything") from failure
        raise self._unavailable(failure, {key_of(change).table for change in changes}, what) from failure

    def _read(self, tables: set[Table], request: Callable[[], T]) -> T:
        for tries in range(TRIES_MAX):
            self._wait_before(tries)
            try:
                return request()
            except FAILURES as error:
                failure = error
            if verdict_of(failure) is Verdict.REFUSED:
                break
        raise self._unavailable(failure, tables, "read") from failure

    def _wait_before(self, tries: int) -> None:
        if tries:
            self._pause(FIRST_PAUSE_S * 2 ** (tries - 1) * self._jitter.uniform(0.5, 1.0))

    def _unavailable(self, failure: Failure, tables: set[Table], what: str) -> StoreUnavailable:
        named = " or ".join(f"{self._tables[table]!r} (setting {table.upper()}_TABLE)" for table in sorted(tables))
        if "ResourceNotFoundException" in {code_of(failure), *reasons_of(failure)}:
            return StoreUnavailable(f"{what}: DynamoDB has no table {named}: deploy the stack, or correct setting or region")
        return StoreUnavailable(f"{what}: table {named}: {code_of(failure)}: {failure}")
