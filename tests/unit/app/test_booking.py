"""Whose an execution is that no live order of ours explains: it waits while one of ours could be the one."""

from datetime import timedelta
from decimal import Decimal

import pytest

from closebell.app.booking import SHOWN_WITHIN, Bookkeeper
from closebell.model.books import PositionState
from closebell.model.broker import OrderClass, Side, VenueFill
from closebell.model.errors import BrokerUnavailable
from closebell.model.instruments import Market
from closebell.model.orders import OrderLeg, OrderState
from closebell.ports.journal import Stored
from tests.unit.app.executor_bench import NOW, Bench, ScriptedBroker, intent, shown

D = Decimal
WITHIN = intent().submit_deadline_at + SHOWN_WITHIN - NOW


def keeper(state: OrderState, order_class: OrderClass, *, lists_it: bool) -> Bookkeeper:
    """The books with one order of ours whose id at the broker is not known, and a broker that shows the executed order or not."""
    ours = intent().model_copy(update={"leg": OrderLeg.PROTECT, "order_class": order_class, "state": state})
    bench = Bench(ScriptedBroker(by_venue_id={"v9": shown(ours, client_order_id="by-hand")} if lists_it else {}))
    return Bookkeeper(bench.journal, bench.executor.broker, {}, {}, {ours.client_order_id: Stored(ours, 1)}, None)


def execution(symbol: str = "AAA") -> VenueFill:
    return VenueFill(
        activity_id="a1", venue_order_id="v9", symbol=symbol, market=Market.US_EQUITY, side=Side.BUY,
        quantity_shares=D(3), price_usd=D(100), occurred_at=NOW,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("state", "after"),
    [
        (OrderState.SUBMITTING, timedelta(0)),
        (OrderState.UNKNOWN, timedelta(days=1)),
        (OrderState.QUARANTINED, WITHIN),
    ],
)
def test_it_waits_while_it_may_be_of_a_leg_that_is_not_known_yet(state: OrderState, after: timedelta) -> None:
    books = keeper(state, OrderClass.OCO, lists_it=True)
    with pytest.raises(BrokerUnavailable, match="whose order v9 is cannot be told: one of ours is in doubt"):
        books.book(execution(), NOW + after)
    assert books.positions == {}


def test_it_waits_while_its_order_is_not_shown_and_one_of_ours_is_in_doubt() -> None:
    with pytest.raises(BrokerUnavailable, match="one of ours is in doubt"):
        keeper(OrderState.UNKNOWN, OrderClass.SIMPLE, lists_it=False).book(execution("BBB"), NOW)


@pytest.mark.parametrize(
    ("state", "order_class", "symbol", "after"),
    [
        (OrderState.UNKNOWN, OrderClass.SIMPLE, "AAA", timedelta(0)),
        (OrderState.UNKNOWN, OrderClass.OCO, "BBB", timedelta(0)),
        (OrderState.QUARANTINED, OrderClass.OCO, "AAA", WITHIN + timedelta(microseconds=1)),
    ],
    ids=["ours has no legs", "ours is in another symbol", "ours would have been shown by now"],
)
def test_it_is_the_owners_when_ours_cannot_be_the_one(
    state: OrderState, order_class: OrderClass, symbol: str, after: timedelta
) -> None:
    books = keeper(state, order_class, lists_it=True)
    books.book(execution(symbol), NOW + after)
    held = books.positions[symbol].record
    assert (held.state, held.external_shares, books.external_symbols) == (PositionState.EXTERNAL, D(3), {symbol})
