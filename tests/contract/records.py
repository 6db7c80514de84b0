"""Records for the journal's contract: small ones to write, and one of every kind to read back."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from enum import Enum
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel

from closebell.model.books import LedgerCursor
from closebell.model.instruments import Market
from closebell.model.operations import Alert, Halt, Priority
from closebell.model.orders import DayCounters
from closebell.model.record import Instant, Record

NOW = datetime(2018, 10, 1, 20, 20, 0, 123456, tzinfo=UTC)


def alert(number: int, month: int = 10, body: str = "body") -> Alert:
    """An alert; those of a month share a partition and sort by number."""
    created_at = NOW.replace(month=month) + timedelta(seconds=number % 60)
    return Alert(alert_id=f"A{number:05d}", priority=Priority.INFO, subject="subject", body=body, created_at=created_at)


def halt(reason: str, is_halted: bool = True) -> Halt:
    """The one halt record of the `control` table."""
    return Halt(is_halted=is_halted, reason=reason, by="test", changed_at=NOW)


def counters(orders_count: int) -> DayCounters:
    """The counters of one session, in `book`."""
    return DayCounters(market=Market.US_EQUITY, session=date(2018, 10, 1), orders_count=orders_count)


def cursor(activity_id: str) -> LedgerCursor:
    """The ledger's cursor, in `book`."""
    return LedgerCursor(recent_ids=(activity_id,), recorded_at=NOW)


def example(record_type: type[Record]) -> Record:
    """A record of a kind with every field filled, optional ones too, by the types its schema gives."""
    return record_type.model_validate(_fields(record_type))


def _fields(model: type[BaseModel]) -> dict[str, Any]:
    return {name: _NAMED.get(name) or _value(field.annotation, name) for name, field in model.model_fields.items()}


def _value(annotation: Any, name: str) -> Any:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _value(arguments[0], name)
    if origin in (Union, UnionType):
        return _value(arguments[0], name)
    if origin is Literal:
        return arguments[0]
    if name == "legs":
        return ()
    if origin is tuple:
        return (_value(arguments[0], name),)
    if origin is dict:
        return {f"{name} é": _value(arguments[1], name)}
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        return list(annotation)[-1]
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation.model_validate(_fields(annotation))
    return _SCALARS[annotation]


_NAMED: dict[str, object] = {
    "client_order_id": "cbe20181001-abcdefghij234567abcd",
    "history_sessions": 300,
    "snapshot_age_s_max": 3600,
    "quote_age_s_max": 3600,
    "notional_usd_min": Decimal("100.50"),
    "votes_to_act_count_min": 1,
}
"""What a type alone does not tell: a pattern, a range, an end to recursion."""

_SCALARS: dict[type, object] = {
    str: "text with é, 'quotes' and\na line",
    bool: True,
    int: 7,
    float: 0.1 + 0.2,
    Decimal: Decimal("0.9750"),
    date: date(2018, 10, 1),
    Instant: NOW,
}
