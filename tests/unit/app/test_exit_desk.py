"""Closing a position step by step: what is cancelled, what is awaited, what is sold, and when."""

from collections.abc import Callable
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import pytest

from closebell.app.desk import load_desk
from closebell.app.exits import EXIT_ATTEMPTS_COUNT_MAX, ExitDesk, exit_order, exit_time_in_force
from closebell.app.order_intent import Purpose
from closebell.app.runs import RunLog
from closebell.app.trading_room import TradingRoom
from closebell.app.venue_sync import VenueSync
from closebell.model.books import Position, PositionState
from closebell.model.broker import MarketClock, OrderType, Side, TimeInForce, VenueStatus
from closebell.model.decision import ExitRule
from closebell.model.errors import OutcomeUnknown
from closebell.model.instruments import Market
from closebell.model.orders import OrderLeg, OrderRecord, OrderState
from closebell.ports.journal import Create, Stored
from tests.unit.app.small_desk import VERSION, FixedClock, SmallDesk, bought, new_york

D = Decimal
TUESDAY, WEDNESDAY = date(2018, 10, 2), date(2018, 10, 3)


class Closing:
    """A desk that holds 10 AAA under an OCO since yesterday, at 09:40 with the market open; its exit desk."""

    def __init__(self, wrap_broker: Callable[[Any], Any] = lambda broker: broker) -> None:
        self.desk: SmallDesk = bought(TUESDAY, ["100", "100", "100"])
        self.desk.exchange.advance(new_york(WEDNESDAY, "09:40"))
        log = RunLog("reconcile", VERSION, self.desk.memory, FixedClock(), self.desk.inbox)
        room = TradingRoom(log, wrap_broker(self.desk.broker), "paper")
        self.sync = VenueSync.read(room, load_desk(self.desk.memory))
        self.exits = ExitDesk(self.sync)

    @property
    def position(self) -> Stored[Position]:
        return self.sync.keeper.positions["AAA"]

    def begin(self, **changes: object) -> None:
        self.exits.begin("AAA", "plan-x", ExitRule.SIGNAL, "two of three would sell")
        if changes:
            self.sync.keeper.hold("AAA", self.position.record.model_copy(update=changes), [])

    def also(self, leg: OrderLeg, state: OrderState, **changes: object) -> OrderRecord:
        """Another order of ours in the symbol, as the journal might have it."""
        resting = next(stored.record for stored in self.sync.keeper.orders.values() if stored.record.leg is OrderLeg.PROTECT)
        order_id = Purpose("other", leg, 9, WEDNESDAY).order_id("paper|PA", Market.US_EQUITY)
        facts = {"client_order_id": order_id, "leg": leg, "state": state, "venue_order_id": None, "venue_leg_order_ids": ()}
        order = resting.model_copy(update={**facts, **changes})
        self.sync.keeper.orders[order_id] = Stored(order, 1)
        return order

    def advance_twice(self) -> OrderRecord | None:
        """A step that asks for the cancel of the stop, and one after the broker has carried it out."""
        assert self.exits.advance("AAA") is None
        self.desk.exchange.advance(new_york(WEDNESDAY, "09:45"))
        self.sync.read_again()
        return self.exits.advance("AAA")

    @property
    def is_cancel_asked(self) -> bool:
        """Whether the cancel of the stop was asked for."""
        (protection,) = self.sync.working("AAA", OrderLeg.PROTECT)
        return protection.record.is_cancel_asked

    def resting(self) -> list[str]:
        live = self.desk.exchange.floor.orders.all_live()
        return sorted(f"{order.side} {order.quantity_shares} {order.order_type}" for order in live if order.parent is None)


PROTECTED = ["sell 10 limit"]


def test_what_is_not_closing_is_left_alone() -> None:
    closing = Closing()
    assert closing.exits.advance("AAA") is None
    assert closing.exits.advance("ZZZ") is None
    assert closing.resting() == PROTECTED


def test_an_exit_begins_with_its_reason_and_no_attempts_and_begins_once() -> None:
    closing = Closing()
    closing.sync.keeper.hold("AAA", closing.position.record.model_copy(update={"exit_attempts_count": 2}), [])
    closing.begin()
    closing.exits.begin("AAA", "another plan", ExitRule.TIME_STOP, "too long")
    found = closing.position.record
    assert (found.state, found.exit_plan_id, found.exit_rule) == (PositionState.CLOSING, "plan-x", ExitRule.SIGNAL)
    assert (found.exit_reason, found.exit_attempts_count) == ("two of three would sell", 0)


def test_an_exit_cancels_the_stop_sees_it_ended_and_sells_once() -> None:
    closing = Closing()
    closing.begin()
    before = closing.position
    order = closing.advance_twice()
    assert order is not None
    assert (order.plan_id, order.leg, order.attempt_count, order.session) == ("plan-x", OrderLeg.EXIT, 1, WEDNESDAY)
    assert (order.side, order.quantity_shares, order.order_type, order.time_in_force) == (
        Side.SELL, D(10), OrderType.MARKET, TimeInForce.DAY,
    )  # fmt: skip
    assert (order.reserved_usd, order.sector, order.state) == (D(0), "sector-AAA", OrderState.ACCEPTED)
    meant = Purpose("plan-x", OrderLeg.EXIT, 1, WEDNESDAY).order_id(closing.sync.desk_name, Market.US_EQUITY)
    assert order.client_order_id == meant
    assert closing.resting() == ["sell 10 market"]
    assert closing.position == Stored(before.record.model_copy(update={"exit_attempts_count": 1}), before.version + 1)
    assert closing.desk.memory.read(before.record.key, Position) == closing.position
    assert closing.sync.keeper.orders[order.client_order_id].record == order
    assert closing.exits.advance("AAA") is None
    assert closing.resting() == ["sell 10 market"]


def tried(last_session: date = WEDNESDAY, **changes: object) -> Closing:
    """A position whose exit three orders of today have tried in vain, but for what is said of the last of them."""
    closing = Closing()
    closing.begin(exit_attempts_count=EXIT_ATTEMPTS_COUNT_MAX)
    for number in range(1, EXIT_ATTEMPTS_COUNT_MAX + 1):
        drawn = exit_order(closing.position.record, number, D(10), closing.sync.desk_name, closing.sync.clock)
        session, last = (last_session, changes) if number == EXIT_ATTEMPTS_COUNT_MAX else (WEDNESDAY, {})
        order_id = Purpose("plan-x", OrderLeg.EXIT, number, session).order_id(closing.sync.desk_name, Market.US_EQUITY)
        facts = {"client_order_id": order_id, "session": session, "state": OrderState.REJECTED, **last}
        closing.desk.memory.commit([Create(drawn.model_copy(update=facts))])
    return closing


@pytest.mark.parametrize(
    ("changes", "is_given_up"),
    [
        ({}, True),
        ({"state": OrderState.EXPIRED}, True),
        ({"state": OrderState.EXPIRED, "filled_quantity_shares": D(3)}, False),
        ({"state": OrderState.CANCELED, "last_session": TUESDAY}, False),
        ({"plan_id": "another plan"}, False),
        ({"leg": OrderLeg.PROTECT}, False),
        ({"state": OrderState.ACCEPTED}, False),
    ],
)
def test_an_exit_is_given_up_when_three_orders_of_one_session_sold_nothing(
    changes: dict[str, Any], is_given_up: bool
) -> None:
    """What a day without trading ends, or what sold a part, is followed by another order: the shares are still ours to sell."""
    closing = tried(**changes)
    assert closing.exits.is_given_up(closing.position.record) is is_given_up


def test_the_last_attempt_is_made_and_none_after_it() -> None:
    spent = tried()
    assert spent.exits.advance("AAA") is None
    assert not spent.is_cancel_asked
    last = Closing()
    last.begin(exit_attempts_count=EXIT_ATTEMPTS_COUNT_MAX - 1)
    order = last.advance_twice()
    assert order is not None
    assert order.attempt_count == EXIT_ATTEMPTS_COUNT_MAX


def test_nothing_is_cancelled_or_sold_beside_an_exit_that_is_out() -> None:
    closing = Closing()
    closing.begin()
    closing.also(OrderLeg.EXIT, OrderState.ACCEPTED)
    assert closing.exits.advance("AAA") is None
    assert not closing.is_cancel_asked
    late = Closing()
    late.begin()
    assert late.exits.advance("AAA") is None
    late.also(OrderLeg.EXIT, OrderState.ACCEPTED)
    assert late.advance_twice() is None
    assert late.resting() == []


class DeafToCancels:
    """A broker that takes no cancel."""

    def __init__(self, broker: Any) -> None:
        self.broker = broker

    def __getattr__(self, name: str) -> Any:
        return getattr(self.broker, name)

    def cancel(self, venue_order_id: str) -> None:
        raise OutcomeUnknown(f"no answer about {venue_order_id}")


def test_nothing_is_sold_while_the_stop_rests() -> None:
    closing = Closing(DeafToCancels)
    closing.begin()
    assert closing.exits.advance("AAA") is None
    assert closing.resting() == PROTECTED


def test_nothing_is_sold_while_an_entry_in_the_symbol_may_go_on_buying() -> None:
    closing = Closing()
    closing.begin()
    closing.also(OrderLeg.ENTRY, OrderState.ACCEPTED, side=Side.BUY)
    assert closing.advance_twice() is None
    assert closing.resting() == []


def test_nothing_is_sold_while_an_execution_is_not_booked() -> None:
    closing = Closing()
    closing.begin()
    done = closing.also(OrderLeg.PROTECT, OrderState.FILLED)
    (shown,) = closing.sync.executor.shown.values()
    filled = shown.model_copy(update={"status": VenueStatus.FILLED, "filled_quantity_shares": D(10), "legs": ()})
    closing.sync.executor.shown[done.client_order_id] = filled
    assert closing.advance_twice() is None
    assert closing.resting() == []


@pytest.mark.parametrize(("external", "sellable"), [("0", "10"), ("4", "6"), ("10", "0")])
def test_the_owners_shares_are_left(external: str, sellable: str) -> None:
    closing = Closing()
    closing.begin()
    (protection,) = closing.sync.working("AAA", OrderLeg.PROTECT)
    closing.sync.cancel(protection)
    closing.desk.exchange.advance(new_york(WEDNESDAY, "09:45"))
    shared = closing.position.record.model_copy(update={"external_shares": D(external)})
    assert closing.exits.sellable_shares(shared) == D(sellable)
    assert closing.exits.sellable_shares(shared.model_copy(update={"symbol": "ZZZ"})) == 0


def clock(at: str, opens: datetime, is_open: bool = False) -> MarketClock:
    return MarketClock(
        now_at=new_york(WEDNESDAY, at), is_open=is_open, next_open_at=opens, next_close_at=new_york(WEDNESDAY, "16:00")
    )


TODAY, TOMORROW = new_york(WEDNESDAY, "09:30"), new_york(date(2018, 10, 4), "09:30")


@pytest.mark.parametrize(
    ("market", "shares", "seen", "expected"),
    [
        (Market.US_EQUITY, "10", clock("09:05", TODAY), TimeInForce.OPG),
        (Market.US_EQUITY, "10", clock("09:27:59", TODAY), TimeInForce.OPG),
        (Market.US_EQUITY, "10", clock("09:28", TODAY), TimeInForce.DAY),
        (Market.US_EQUITY, "0.5", clock("09:05", TODAY), TimeInForce.DAY),
        (Market.US_EQUITY, "10", clock("09:05", TOMORROW), TimeInForce.DAY),
        (Market.US_EQUITY, "10", clock("09:05", TODAY, is_open=True), TimeInForce.DAY),
        (Market.US_EQUITY, "10", clock("12:00", TOMORROW, is_open=True), TimeInForce.DAY),
        (Market.US_EQUITY, "10", clock("17:00", TOMORROW), TimeInForce.DAY),
        (Market.CRYPTO, "10", clock("09:05", TODAY), TimeInForce.GTC),
        (Market.CRYPTO, "0.5", clock("17:00", TOMORROW), TimeInForce.GTC),
    ],
)
def test_an_exit_takes_the_opening_auction_while_there_is_time(
    market: Market, shares: str, seen: MarketClock, expected: TimeInForce
) -> None:
    assert exit_time_in_force(market, D(shares), seen) is expected


def test_the_id_of_an_exit_names_its_market() -> None:
    held = Closing().position.record
    for market, letter in ((Market.US_EQUITY, "e"), (Market.CRYPTO, "c")):
        order = exit_order(held.model_copy(update={"market": market}), 1, D(1), "paper|PA1", clock("09:05", TODAY))
        assert order.client_order_id.startswith(f"cb{letter}20181003-")
