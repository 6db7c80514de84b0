"""Sequences of events that once went wrong: each test tells one, and what must come of it."""

from contextlib import suppress
from datetime import date
from decimal import Decimal
from typing import Any

import pytest

from closebell.app.control import halt_desk
from closebell.app.desk import load_desk
from closebell.model.books import Break, PositionState
from closebell.model.broker import OrderRequest, OrderType, Side, TimeInForce, VenueOrder
from closebell.model.decision import ExitRule
from closebell.model.errors import BrokerKeyRefused, BrokerUnavailable, OutcomeUnknown, RateLimited, RunRefused
from closebell.model.instruments import Market
from closebell.model.operations import UndeliveredAlert
from closebell.model.orders import LiveOrder, OrderRecord, OrderState, order_key
from closebell.ports.journal import Remove, Replace, key_of
from closebell.simulation.exchange.matching import Execution
from closebell.simulation.exchange.simulated_broker import SimulatedBroker
from tests.unit.app.small_desk import SmallDesk, bought, entry, leave, new_york, positions, trades

D = Decimal
TUESDAY, WEDNESDAY, THURSDAY = (date(2018, 10, day) for day in (2, 3, 4))


def subjects(desk: SmallDesk) -> list[str]:
    return [alert.subject for alert in desk.inbox.alerts]


def test_orders_placed_while_reconcile_reads_are_not_taken_for_a_strangers() -> None:
    """Both run at 09:00: what place_orders commits after reconcile loaded the desk must not halt it."""
    desk = SmallDesk({"AAA": ["100", "100"]})
    desk.plan(TUESDAY, entry(TUESDAY, "AAA"))
    listed = desk.broker.open_orders

    def placed_in_between() -> list[VenueOrder]:
        desk.broker.open_orders = listed
        desk.place(TUESDAY)
        found: list[VenueOrder] = listed()
        return found

    desk.broker.open_orders = placed_in_between
    desk.reconcile(TUESDAY, "09:00")
    assert (load_desk(desk.memory).is_halted, subjects(desk)) == (False, [])


def test_an_exit_planned_after_the_stop_filled_unseen_does_not_sell_the_owners_shares() -> None:
    """Reconcile missed the close: our ten are gone by the stop, the ten that are left are the owner's."""
    desk = bought(TUESDAY, ["100", "100", "90", "90"])
    desk.exchange.trade_manually("AAA", Side.BUY, D(10))
    desk.reconcile(TUESDAY, "17:00")
    desk.exchange.advance(new_york(WEDNESDAY, "17:00"))
    desk.plan(THURSDAY, leave(THURSDAY, "AAA"))
    desk.day(THURSDAY)
    assert desk.shares("AAA") == 10
    assert len(trades(desk)) == 1


def test_no_stop_is_rested_on_the_owners_shares_while_our_own_fill_is_not_booked() -> None:
    desk = bought(TUESDAY, ["100", "100", "90", "80"])
    desk.exchange.trade_manually("AAA", Side.BUY, D(10))
    desk.reconcile(TUESDAY, "17:00")
    listed = desk.broker.activities
    late = len(listed(""))
    desk.broker.activities = lambda after: listed("")[:late]
    desk.plan(WEDNESDAY)
    desk.day(WEDNESDAY)
    desk.broker.activities = listed
    desk.plan(THURSDAY)
    desk.day(THURSDAY)
    assert desk.shares("AAA") == 10


def test_an_unknown_entry_is_not_sent_again_after_a_halt() -> None:
    class DeafUntilHalted(SimulatedBroker):
        def submit(self, request: OrderRequest) -> VenueOrder:
            if load_desk(desk.memory).is_halted:
                return super().submit(request)
            raise OutcomeUnknown("connect timeout")

    desk = SmallDesk({"AAA": ["100", "100"]}, lambda broker: DeafUntilHalted(broker.exchange))
    desk.plan(TUESDAY, entry(TUESDAY, "AAA"))
    desk.place(TUESDAY)
    halt_desk(desk.memory, "by hand", "the owner", new_york(TUESDAY, "09:01"))
    desk.reconcile(TUESDAY, "09:05")
    assert desk.sent() == []


def test_a_key_refused_at_the_order_halts_and_is_told() -> None:
    class Locked(SimulatedBroker):
        def submit(self, request: OrderRequest) -> VenueOrder:
            raise BrokerKeyRefused("HTTP 401: unauthorized.")

    desk = SmallDesk({"AAA": ["100", "100"]}, lambda broker: Locked(broker.exchange))
    desk.plan(TUESDAY, entry(TUESDAY, "AAA"))
    with pytest.raises(BrokerKeyRefused):
        desk.place(TUESDAY)
    assert load_desk(desk.memory).is_halted


def test_a_rate_limit_on_a_cancel_does_not_cost_the_day_its_other_orders() -> None:
    desk = SmallDesk({"AAA": ["100", "100", "100"], "BBB": ["50", "50", "50"]})
    desk.plan(TUESDAY, entry(TUESDAY, "AAA"))
    desk.day(TUESDAY)

    def limited(venue_order_id: str) -> None:
        raise RateLimited("HTTP 429")

    cancel = desk.broker.cancel
    desk.broker.cancel = limited
    desk.plan(WEDNESDAY, leave(WEDNESDAY, "AAA"), entry(WEDNESDAY, "BBB", reference="50"))
    assert desk.place(WEDNESDAY).counts["orders"] == 1
    desk.broker.cancel = cancel
    for at in ("09:05", "09:10", "16:00"):
        desk.reconcile(WEDNESDAY, at)
    assert (desk.shares("AAA"), desk.shares("BBB")) == (D(0), D(10))


def test_a_refusal_after_a_rate_limit_is_final() -> None:
    """429 never reached the book, so the refusal that follows says everything about the order."""

    class Limited(SimulatedBroker):
        tries = 0

        def submit(self, request: OrderRequest) -> VenueOrder:
            Limited.tries += 1
            if Limited.tries == 1:
                raise RateLimited("HTTP 429")
            return super().submit(request)

    desk = SmallDesk({"AAA": ["100", "100"]}, lambda broker: Limited(broker.exchange))
    desk.exchange.set_tradable("AAA", False)
    desk.plan(TUESDAY, entry(TUESDAY, "AAA"))
    desk.place(TUESDAY)
    desk.reconcile(TUESDAY, "09:05")
    assert (Limited.tries, load_desk(desk.memory).orders) == (2, {})


def test_a_stop_the_owner_cancels_twice_is_rested_once_more_and_then_asked_about() -> None:
    desk = bought(TUESDAY, ["100", "100", "100"])
    desk.plan(WEDNESDAY)
    for at in ("09:35", "09:40", "09:45", "09:50"):
        for order in list(desk.exchange.floor.orders.all_live()):
            desk.exchange.cancel(order.venue_order_id)
        desk.reconcile(WEDNESDAY, at)
    assert subjects(desk) == ["AAA is unprotected"]
    rested = [line for line in desk.sent() if line.startswith("sell")]
    assert len(rested) == 4, "two pairs of target and stop: the first and one more"


def test_a_stop_that_sold_a_part_before_it_was_taken_away_counts_as_taken_away() -> None:
    desk = bought(TUESDAY, ["100", "100", "100"])
    desk.plan(WEDNESDAY)
    for at in ("09:35", "09:40"):
        (target,) = (order for order in desk.exchange.floor.orders.all_live() if order.parent is None)
        desk.exchange.floor.fill(target, D(2), Execution(D(108), is_maker=True), desk.exchange.now)
        desk.exchange.cancel(target.venue_order_id)
        desk.reconcile(WEDNESDAY, at)
    assert (desk.shares("AAA"), subjects(desk)) == (D(6), ["AAA is unprotected"])


def test_a_stop_in_doubt_is_told_in_the_second_cycle_though_the_first_came_late() -> None:
    class DeafToSales(SimulatedBroker):
        def submit(self, request: OrderRequest) -> VenueOrder:
            if request.side is Side.SELL:
                raise OutcomeUnknown("connect timeout")
            return super().submit(request)

    desk = SmallDesk({"AAA": ["100", "100"]}, lambda broker: DeafToSales(broker.exchange))
    desk.plan(TUESDAY, entry(TUESDAY, "AAA"))
    desk.place(TUESDAY)
    desk.exchange.advance(new_york(TUESDAY, "16:03"))
    desk.reconcile(TUESDAY, "16:00")
    assert subjects(desk) == []
    desk.reconcile(TUESDAY, "16:05")
    assert subjects(desk) == ["AAA may be unprotected"]


def test_a_sale_that_a_restored_table_does_not_explain_is_told() -> None:
    desk = bought(TUESDAY, ["100", "100", "100"])
    before = load_desk(desk.memory).positions["AAA"].record
    desk.plan(WEDNESDAY, leave(WEDNESDAY, "AAA"))
    desk.place(WEDNESDAY)
    desk.reconcile(WEDNESDAY, "09:05")
    desk.memory.commit([Replace(before, load_desk(desk.memory).positions["AAA"].version)])
    desk.reconcile(WEDNESDAY, "09:10")
    assert subjects(desk) == ["AAA has no stop"]
    desk.reconcile(WEDNESDAY, "16:05")
    assert (desk.shares("AAA"), len(trades(desk))) == (D(0), 1)


def test_an_order_whose_pointer_is_lost_is_taken_back_six_days_later_though_it_is_no_longer_listed() -> None:
    desk = bought(TUESDAY, ["100"] * 6)
    ((order_id, _),) = load_desk(desk.memory).orders.items()
    pointer = desk.memory.read(LiveOrder(client_order_id=order_id).key, LiveOrder)
    assert pointer is not None
    desk.memory.commit([Remove(pointer.record.key, pointer.version)])
    desk.exchange.cancel_all()
    desk.reconcile(date(2018, 10, 8), "09:35")
    stop = desk.memory.read(order_key(order_id), OrderRecord)
    assert stop is not None
    assert stop.record.state is OrderState.CANCELED


def test_an_owners_order_that_holds_the_shares_is_told_once_a_session() -> None:
    desk = bought(TUESDAY, ["100", "100", "100"])
    desk.plan(WEDNESDAY, leave(WEDNESDAY, "AAA"))
    desk.place(WEDNESDAY)
    desk.exchange.advance(new_york(WEDNESDAY, "09:04"))
    ticket = OrderRequest(
        client_order_id="by-hand", market=Market.US_EQUITY, symbol="AAA", side=Side.SELL, order_type=OrderType.LIMIT,
        time_in_force=TimeInForce.GTC, quantity_shares=D(10), limit_price_usd=D(200),
    )  # fmt: skip
    desk.broker.submit(ticket)
    for at in ("09:05", "09:10", "09:15"):
        desk.reconcile(WEDNESDAY, at)
    assert subjects(desk) == ["The exit of AAA waits"]
    assert positions(desk)["AAA"].state is PositionState.CLOSING


def test_a_withdrawal_is_no_loss() -> None:
    desk = bought(TUESDAY, ["100", "100", "100"])
    desk.exchange.advance(new_york(WEDNESDAY, "10:00"))
    desk.exchange.transfer(D(-20_000))
    desk.reconcile(WEDNESDAY, "10:05")
    desk.reconcile(WEDNESDAY, "10:10")
    assert not load_desk(desk.memory).is_halted


def test_a_disputed_position_is_left_alone_and_released_when_the_books_agree_again() -> None:
    desk = bought(TUESDAY, ["100", "100", "100"])
    desk.exchange.floor.book.take_shares("AAA", D(3))
    desk.exchange.floor.book.cash_usd += 300
    desk.reconcile(WEDNESDAY, "08:55")
    desk.plan(WEDNESDAY, leave(WEDNESDAY, "AAA"))
    before = desk.sent()
    desk.place(WEDNESDAY)
    assert desk.sent() == before, "its stop stays where it is"
    desk.exchange.floor.book.trade(Market.US_EQUITY, "AAA", Side.BUY, D(3), D(100))
    desk.reconcile(WEDNESDAY, "09:35")
    assert positions(desk)["AAA"].state is PositionState.PROTECTED


def test_plans_are_not_placed_once_the_opening_auction_is_closed() -> None:
    desk = SmallDesk({"AAA": ["100", "100", "100"]})
    desk.plan(TUESDAY, entry(TUESDAY, "AAA"))
    for at in ("09:28", "15:30", "19:30"):
        with pytest.raises(RunRefused, match="takes no more orders"):
            desk.place(TUESDAY, at)
    assert desk.sent() == []


def test_a_break_is_told_before_the_books_are_repaired(monkeypatch: pytest.MonkeyPatch) -> None:
    desk = bought(TUESDAY, ["100", "100", "100"])
    desk.exchange.floor.book.take_shares("AAA", D(10))
    desk.exchange.floor.book.cash_usd += 1000
    commit = desk.memory.commit

    def killed_at_the_repair(changes: Any) -> None:
        if any(key_of(change).sort.startswith("POSITION#") for change in changes):
            raise KeyboardInterrupt
        commit(changes)

    monkeypatch.setattr(desk.memory, "commit", killed_at_the_repair)
    with pytest.raises(KeyboardInterrupt):
        desk.reconcile(WEDNESDAY, "09:35")
    waiting = [item.record for item in desk.memory.query("book", "DESK", "OUTBOX#")]
    assert ["1 phantom" in alert.alert.subject for alert in waiting if isinstance(alert, UndeliveredAlert)] == [True]


def test_a_position_that_is_gone_is_dropped_in_the_second_run_and_not_before() -> None:
    desk = bought(TUESDAY, ["100", "100", "100"])
    desk.exchange.floor.book.take_shares("AAA", D(10))
    desk.exchange.floor.book.cash_usd += 1000
    desk.reconcile(WEDNESDAY, "09:35")
    assert positions(desk)["AAA"].state is PositionState.DISPUTED
    desk.reconcile(WEDNESDAY, "09:40")
    assert (positions(desk), trades(desk)) == ({}, [])


def test_a_sale_by_hand_that_is_listed_late_closes_the_position_as_a_trade(monkeypatch: pytest.MonkeyPatch) -> None:
    desk = bought(TUESDAY, ["100", "100", "110"])
    desk.plan(WEDNESDAY)
    listed = desk.broker.activities("")
    with monkeypatch.context() as lagging:
        lagging.setattr(desk.broker, "activities", lambda after: [one for one in listed if one.activity_id > after])
        desk.exchange.advance(new_york(WEDNESDAY, "09:34"))
        desk.exchange.trade_manually("AAA", Side.SELL, D(10))
        desk.reconcile(WEDNESDAY, "09:35")
    assert positions(desk)["AAA"].state is PositionState.DISPUTED
    desk.reconcile(WEDNESDAY, "09:40")
    assert positions(desk) == {}
    assert [(trade.exit_rule, trade.quantity_shares) for trade in trades(desk)] == [(ExitRule.MANUAL, D(10))]


def test_an_empty_position_list_stops_the_morning_too() -> None:
    desk = bought(TUESDAY, ["100", "100", "100"])
    desk.plan(WEDNESDAY, entry(WEDNESDAY, "AAA"))
    desk.broker.positions = list
    with pytest.raises(BrokerUnavailable, match="not whole"):
        desk.place(WEDNESDAY)


def test_an_oco_that_lost_its_stop_is_replaced_by_a_whole_one() -> None:
    desk = bought(TUESDAY, ["100", "100", "100"])
    desk.plan(WEDNESDAY)
    (stop,) = [order for order in desk.exchange.floor.orders.all_live() if order.parent is not None]
    desk.exchange.floor.lose(stop, desk.exchange.now)
    for at in ("09:35", "09:40", "09:45"):
        desk.reconcile(WEDNESDAY, at)
    open_stops = [order for order in desk.exchange.floor.orders.all_live() if order.parent is not None]
    assert [order.stop_price_usd for order in open_stops] == [D("97.00")]
    assert positions(desk)["AAA"].state is PositionState.PROTECTED


def test_a_halt_between_the_check_and_the_order_stops_the_order(monkeypatch: pytest.MonkeyPatch) -> None:
    desk = SmallDesk({"AAA": ["100", "100"]})
    desk.plan(TUESDAY, entry(TUESDAY, "AAA"))
    commit = desk.memory.commit
    halted: list[bool] = []

    def halts_once(changes: Any) -> None:
        is_sending = any("about to be sent" in str(getattr(change, "record", "")) for change in changes)
        if is_sending and not halted:
            halted.append(True)
            monkeypatch.setattr(desk.memory, "commit", commit)
            halt_desk(desk.memory, "by hand", "the owner", new_york(TUESDAY, "09:00"))
        commit(changes)

    monkeypatch.setattr(desk.memory, "commit", halts_once)
    desk.place(TUESDAY)
    assert halted
    assert desk.sent() == []


def test_an_exit_that_cannot_go_on_is_told_even_when_the_run_ends_at_the_dispute(monkeypatch: pytest.MonkeyPatch) -> None:
    desk = bought(TUESDAY, ["100", "100", "100"])
    desk.exchange.set_tradable("AAA", False)
    desk.plan(WEDNESDAY, leave(WEDNESDAY, "AAA"))
    desk.place(WEDNESDAY)
    commit = desk.memory.commit

    def lost_at_the_dispute(changes: Any) -> None:
        commit(changes)
        if any("disputed" in str(getattr(change, "record", "")) for change in changes):
            raise OutcomeUnknown("the transaction's answer was lost")

    monkeypatch.setattr(desk.memory, "commit", lost_at_the_dispute)
    for at in ("09:05", "09:10", "09:15", "09:20"):
        with suppress(OutcomeUnknown):
            desk.reconcile(WEDNESDAY, at)
    desk.reconcile(WEDNESDAY, "09:25")
    assert positions(desk)["AAA"].state is PositionState.DISPUTED
    assert subjects(desk).count("AAA cannot be sold") == 1


def test_the_owners_trade_is_told_with_the_brokers_shares_though_the_list_is_empty() -> None:
    """In a symbol with an order in doubt nothing is compared, so that no second reading mends the first."""

    class DeafToOrders(SimulatedBroker):
        def submit(self, request: OrderRequest) -> VenueOrder:
            raise OutcomeUnknown("connect timeout")

    desk = SmallDesk({"AAA": ["100", "100"]}, lambda broker: DeafToOrders(broker.exchange))
    desk.plan(TUESDAY, entry(TUESDAY, "AAA"))
    desk.place(TUESDAY)
    desk.exchange.trade_manually("AAA", Side.BUY, D(19))
    desk.broker.positions = list
    desk.reconcile(TUESDAY, "09:05")
    found = [item.record for item in desk.memory.query("journal", f"BREAK#{TUESDAY}")]
    assert [(one.ours_shares, one.theirs_shares) for one in found if isinstance(one, Break)] == [(D(0), D(19))]


def test_a_stop_that_filled_while_its_group_could_not_be_found_is_ours_once_it_is_found() -> None:
    """The stop of a group carries no id of ours: until the group is shown, nobody can tell whose the fill is."""

    class HidesGroups(SimulatedBroker):
        is_hiding = True

        def submit(self, request: OrderRequest) -> VenueOrder:
            taken = super().submit(request)
            if request.side is Side.SELL and self.is_hiding:
                raise OutcomeUnknown("read timeout")
            return taken

        def order_by_client_id(self, client_order_id: str) -> VenueOrder | None:
            return None if self.is_hiding else super().order_by_client_id(client_order_id)

    broker: list[HidesGroups] = []

    def hiding(real: SimulatedBroker) -> HidesGroups:
        broker.append(HidesGroups(real.exchange))
        return broker[0]

    desk = SmallDesk({"AAA": ["100", "100", "90"]}, hiding)
    desk.plan(TUESDAY, entry(TUESDAY, "AAA"))
    desk.place(TUESDAY)
    desk.reconcile(WEDNESDAY, "15:55")
    with pytest.raises(BrokerUnavailable, match="one of ours is in doubt"):
        desk.reconcile(WEDNESDAY, "16:05")
    broker[0].is_hiding = False
    desk.reconcile(WEDNESDAY, "16:10")
    assert (desk.shares("AAA"), positions(desk)) == (D(0), {})
    assert [trade.exit_rule for trade in trades(desk)] == [ExitRule.STOP]


def test_an_exit_that_waits_for_an_order_whose_fate_is_not_known_is_told() -> None:
    """The broker shows shares as sold and never lists the sale: nothing more is sold, and not in silence."""
    desk = bought(TUESDAY, ["100"] * 4)
    ((order_id, stored),) = load_desk(desk.memory).orders.items()
    desk.plan(WEDNESDAY, leave(WEDNESDAY, "AAA"))
    real = desk.broker.order

    def sold_in_part(venue_order_id: str) -> VenueOrder | None:
        shown: VenueOrder | None = real(venue_order_id)
        is_stop = shown is not None and shown.client_order_id == order_id
        return shown.model_copy(update={"filled_quantity_shares": D(3)}) if shown is not None and is_stop else shown

    desk.broker.order = sold_in_part
    desk.place(WEDNESDAY)
    for at in ("09:05", "09:30"):
        desk.reconcile(WEDNESDAY, at)
    assert (desk.shares("AAA"), subjects(desk)) == (D(10), ["The exit of AAA waits"])
    assert order_id in desk.inbox.alerts[0].body
