"""Whose an execution is that no live order of ours explains: it waits while one of ours could be the one. And what is booked of
lines that are no executions."""

from datetime import timedelta
from decimal import Decimal

import pytest

from closebell.app.booking import SHOWN_WITHIN, Bookkeeper, is_routine
from closebell.model.books import Position, PositionState
from closebell.model.broker import CashActivity, OrderClass, Side, VenueFill
from closebell.model.errors import BooksDisagree, BrokerUnavailable
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


def cash_line(code: str, shares: str = "0", amount_usd: str = "0") -> CashActivity:
    return CashActivity(
        activity_id="a2", code=code, symbol="AAA", quantity_shares=D(shares), amount_usd=D(amount_usd), occurred_at=NOW
    )


@pytest.mark.parametrize(
    ("code", "shares", "needs_nobody"),
    [
        ("CSD", "0", True), ("DIV", "0", True), ("DIVCGL", "0", True), ("SPLIT", "10", True), ("CFEE", "-0.1", True),
        ("DIV", "5", False), ("CSW", "-1", False), ("TRADE_BUST", "-3", False), ("MERGER", "0", False),
    ],
)  # fmt: skip
def test_what_moves_shares_in_a_way_not_known_is_not_routine(code: str, shares: str, needs_nobody: bool) -> None:
    assert is_routine(cash_line(code, shares)) is needs_nobody


def holding_three() -> Bookkeeper:
    """The books after three AAA of the owner's."""
    books = keeper(OrderState.UNKNOWN, OrderClass.SIMPLE, lists_it=True)
    books.book(execution(), NOW)
    return books


@pytest.mark.parametrize("shares", ["-2", "2"])
def test_an_unusual_line_that_is_no_bust_takes_none_of_our_shares(shares: str) -> None:
    books = holding_three()
    before = books.positions["AAA"]
    books.book(cash_line("REORG", shares), NOW)
    assert (books.positions["AAA"], books.alerts_count) == (before, 1)


def test_a_position_held_as_it_was_is_not_written_again() -> None:
    books = holding_three()
    before = books.positions["AAA"]
    books.hold("AAA", before.record, [])
    assert books.positions["AAA"] == before
    stored = books.journal.read(before.record.key, Position)
    assert stored is not None
    assert stored.version == before.version


def test_an_execution_that_the_journal_has_as_something_else_is_a_disagreement() -> None:
    """The book table may be older than the journal; an execution whose price has changed since is no execution of ours."""
    written = holding_three()
    later = Bookkeeper(written.journal, written.broker, {}, {}, {}, None)
    with pytest.raises(BooksDisagree, match="fill a1 of AAA is in the journal as something else"):
        later.book(execution().model_copy(update={"price_usd": D(101)}), NOW)
    assert later.positions == {}
