"""Faults inside an otherwise good reply: wrong statuses, missing rows, impossible prices."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from closebell.simulation.exchange.faults import FaultSwitch
from infra.local.exchange.api import Reply

_PRICES = ("o", "h", "l", "c")
Rows = list[dict[str, Any]]


def spoiled(fault: FaultSwitch, reply: Reply) -> Reply:
    """The reply with the fault in it; a refusal stays as it is."""
    if reply.body is None or reply.status >= 400:
        return reply
    return replace(reply, body=_SPOILERS[fault.name](fault, reply.body))


def _unknown_status(fault: FaultSwitch, body: Any) -> Any:
    if isinstance(body, list):
        return [_unknown_status(fault, row) for row in body]
    return body | {"status": fault.status} if "status" in body else body


def _omitted_order(fault: FaultSwitch, body: Any) -> Any:
    """The list without the newest order (of the fault's symbol)."""
    place = next((place for place, row in enumerate(body) if fault.symbol in (None, row["symbol"])), None)
    return [row for other, row in enumerate(body) if other != place]


def _no_positions(fault: FaultSwitch, body: Any) -> Any:
    return []


def _not_easy(fault: FaultSwitch, body: Any) -> Any:
    rows = [
        {name: value for name, value in row.items() if name != "easy_to_borrow"}
        for row in (body if isinstance(body, list) else [body])
    ]
    return rows if isinstance(body, list) else rows[0]


def _in_bars(change: Callable[[FaultSwitch, Rows], Rows]) -> Callable[[FaultSwitch, Any], Any]:
    """Apply a change to each symbol's bars (or to the fault's symbol's alone); symbols left without bars disappear."""

    def apply(fault: FaultSwitch, body: Any) -> Any:
        if not isinstance(body, dict) or not isinstance(body.get("bars"), dict):
            return body
        bars = {symbol: change(fault, rows) if fault.symbol in (None, symbol) else rows for symbol, rows in body["bars"].items()}
        return body | {"bars": {symbol: rows for symbol, rows in bars.items() if rows}}

    return apply


def _is_hit(fault: FaultSwitch, row: dict[str, Any], rows: Rows) -> bool:
    """The bar of the fault's session; without one, the last bar."""
    return row is rows[-1] if fault.session is None else row["t"].startswith(fault.session.isoformat())


def _without(fault: FaultSwitch, rows: Rows) -> Rows:
    return [row for row in rows if not _is_hit(fault, row, rows)]


def _stale(fault: FaultSwitch, rows: Rows) -> Rows:
    """The series ends before the fault's session; without one, before its last bar."""
    return rows[:-1] if fault.session is None else [row for row in rows if row["t"][:10] < fault.session.isoformat()]


# JSON has no NaN: a price that is no number is null on the wire.
def _priced(change: Callable[[float], float | None]) -> Callable[[FaultSwitch, Rows], Rows]:
    def apply(fault: FaultSwitch, rows: Rows) -> Rows:
        return [row | {name: change(row[name]) for name in _PRICES} if _is_hit(fault, row, rows) else row for row in rows]

    return apply


_SPOILERS: dict[str, Callable[[FaultSwitch, Any], Any]] = {
    "unknown_enum": _unknown_status,
    "list_omits_order": _omitted_order,
    "positions_empty": _no_positions,
    "easy_to_borrow_absent": _not_easy,
    "missing_bars": _in_bars(_without),
    "stale_bars": _in_bars(_stale),
    "nan_bars": _in_bars(_priced(lambda price: None)),
    "negative_bars": _in_bars(_priced(lambda price: -price)),
    "x100_bars": _in_bars(_priced(lambda price: price * 100)),
}
REPLY_FAULTS = tuple(_SPOILERS)
