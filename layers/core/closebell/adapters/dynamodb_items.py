"""Records as DynamoDB items and back, exactly, and readable in the console.

An item is {pk, sk, kind, version, body}. Integers and finite floats become numbers: both survive DynamoDB's 38 digits. A Decimal
stays the text it is, because DynamoDB would turn 1.50 into 1.5 and a replay must equal the original to the byte.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar

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

MEND = "newer code wrote it, deploy that code"
DIGITS_MAX = 38
FLOAT_MAGNITUDES = (1e-129, 1e125)


def item_key(key: Key) -> "Item":
    """The primary key of an item."""
    return {"pk": {"S": key.partition}, "sk": {"S": key.sort}}


def item_of(record: Record, version: int) -> "Item":
    """The item that stores a record as its `version`-th write."""
    body = _attribute(record.model_dump(mode="json"))
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
    body = _value(item["body"])
    schema_version = body.get("schema_version")
    newest = known.model_fields["schema_version"].default
    if schema_version != newest:
        raise RunRefused(f"{where} has schema version {schema_version}, this code knows {newest}: {MEND}")
    try:
        return Stored(known.model_validate(body), int(item["version"]["N"]))
    except ValidationError as mismatch:
        fields = ", ".join(sorted({".".join(map(str, error["loc"])) or "the whole" for error in mismatch.errors()}))
        raise RunRefused(f"{where} does not fit the {known.kind!r} that this code knows ({fields}): {MEND}") from None


def known_type(item: "StoredItem") -> type[Record]:
    """The class of an item's record. Raises RunRefused when this code has none."""
    kind = item.get("kind", {}).get("S", "")
    if kind not in RECORD_TYPES:
        raise RunRefused(f"item {item['pk']['S']} / {item['sk']['S']} is of kind {kind!r}, which this code does not know: {MEND}")
    return RECORD_TYPES[kind]


def _attribute(value: Any) -> "UniversalAttributeValueTypeDef":
    match value:
        case None:
            return {"NULL": True}
        case bool():
            return {"BOOL": value}
        case int() if len(str(abs(value))) <= DIGITS_MAX:
            return {"N": str(value)}
        case float() if value == 0 or FLOAT_MAGNITUDES[0] < abs(value) < FLOAT_MAGNITUDES[1]:
            return {"N": repr(value)}
        case list():
            return {"L": [_attribute(part) for part in value]}
        case dict():
            return {"M": {name: _attribute(part) for name, part in value.items()}}
        case _:
            return {"S": str(value)}


def _value(attribute: Mapping[str, Any]) -> Any:
    (kind, value), = attribute.items()
    match kind:
        case "NULL":
            return None
        case "N":
            return int(value) if value.lstrip("-").isdigit() else float(value)
        case "L":
            return [_value(part) for part in value]
        case "M":
            return {name: _value(part) for name, part in value.items()}
        case _:
            return value
