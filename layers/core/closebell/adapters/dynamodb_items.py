"""Records as DynamoDB items and back, exactly.

An item is {pk, sk, kind, version, body}; the body is the record as JSON text. Numbers of DynamoDB's own would turn 1.50 into 1.5,
and a replay must equal the original to the byte; a map of attributes takes botocore four times as long to read as text.
"""

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, TypeVar

from pydantic import ValidationError

from closebell.model.errors import RunRefused
from closebell.model.record import Key, Record
from closebell.model.registry import RECORD_TYPES
from closebell.ports.journal import Stored

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.type_defs import AttributeValueTypeDef, UniversalAttributeValueTypeDef

    Item = dict[str, UniversalAttributeValueTypeDef]
    StoredItem = Mapping[str, AttributeValueTypeDef]

R = TypeVar("R", bound=Record)

MEND = "code of another version wrote it; deploy that version"


def item_key(key: Key) -> "Item":
    """The primary key of an item."""
    return {"pk": {"S": key.partition}, "sk": {"S": key.sort}}


def item_of(record: Record, version: int) -> "Item":
    """The item that stores a record as its `version`-th write."""
    body = {"S": record.model_dump_json()}
    return {**item_key(record.key), "kind": {"S": record.kind}, "version": {"N": str(version)}, "body": body}


def stored_of(item: "StoredItem", record_type: type[R]) -> Stored[R]:
    """The record of an item.

    Raises
    ------
    RunRefused
        The item is of another kind or schema than this code knows: it must not act on what it may misread.
    """
    known = known_type(item)
    where = f"item {item['pk']['S']} / {item['sk']['S']}"
    if not issubclass(known, record_type):
        raise RunRefused(f"{where} is a {known.kind!r}; a {record_type.kind!r} was to be read there")
    body = item["body"]["S"]
    try:
        return Stored(known.model_validate_json(body), int(item["version"]["N"]))
    except ValidationError as mismatch:
        schema_version, newest = _schema_version(body), known.model_fields["schema_version"].default
        if schema_version not in {newest, None}:
            raise RunRefused(f"{where} has schema version {schema_version}, this code knows {newest}: {MEND}") from None
        fields = ", ".join(sorted({".".join(map(str, error["loc"])) or "the whole" for error in mismatch.errors()}))
        raise RunRefused(f"{where} does not fit the {known.kind!r} that this code knows ({fields}): {MEND}") from None


def _schema_version(body: str) -> object:
    """The schema version that a body names; None when it is not even JSON."""
    try:
        return json.loads(body)["schema_version"]
    except (ValueError, KeyError, TypeError):
        return None


def known_type(item: "StoredItem") -> type[Record]:
    """The class of an item's record. Raises RunRefused when this code has none."""
    kind = item.get("kind", {}).get("S", "")
    if kind not in RECORD_TYPES:
        raise RunRefused(f"item {item['pk']['S']} / {item['sk']['S']} is of kind {kind!r}, which this code does not know: {MEND}")
    return RECORD_TYPES[kind]
