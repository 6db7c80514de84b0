"""Counting orders that were sent twice, from the broker's own list."""

from collections.abc import Mapping
from typing import Any

import pytest

from infra.local.broker_view import duplicates_count, ours

MORNING = "2018-10-01T13:00:00Z"


def order(
    symbol: str = "AAPL", side: str = "buy", status: str = "filled", at: str = MORNING, filled: str = "5"
) -> dict[str, Any]:
    facts = {"symbol": symbol, "side": side, "status": status, "submitted_at": at, "filled_qty": filled}
    return {**facts, "client_order_id": "cbe20181001-x"}


@pytest.mark.parametrize(
    ("orders", "expected"),
    [
        ([order(), order()], 1),
        ([order(), order(status="new", filled="0")], 1),
        ([order(), order(status="canceled", filled="2")], 1),
        ([order(), order(status="canceled", filled="0")], 0),
        ([order(), order(status="rejected", filled="0")], 0),
        ([order(), order(at="2018-10-02T13:00:00Z")], 0),
        ([order(), order("MSFT")], 0),
        ([order(side="sell"), order(side="sell")], 0),
        # 23:30 UTC and 03:30 UTC are one evening in New York.
        ([order(at="2018-10-01T23:30:00Z"), order(at="2018-10-02T03:30:00.123456Z")], 1),
        ([order("BTC/USD", at="2018-10-01T23:30:00Z"), order("BTC/USD", at="2018-10-02T03:30:00Z")], 0),
    ],
)
def test_a_second_live_or_filled_entry_of_a_symbol_and_session_is_a_duplicate(
    orders: list[Mapping[str, Any]], expected: int
) -> None:
    assert duplicates_count(orders) == expected


def test_the_owners_orders_are_not_ours() -> None:
    assert ours([order(), order() | {"client_order_id": "manual"}]) == [order()]
