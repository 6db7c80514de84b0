"""Sequences at the broker that take several cycles, each played to its end: what is sold, once, and what is told."""

from collections.abc import Callable
from datetime import date
from decimal import Decimal
from typing import Any

import pytest

from closebell.app.desk import load_desk
from closebell.model.books import Fill, PositionState
from closebell.model.broker import Account, Side, VenuePosition, VenueStatus
from closebell.model.decision import EntryMethod, ExitRule
from closebell.model.orders import OrderLeg, OrderRecord, OrderState
from closebell.ports.journal import Create, Replace
from closebell.simulation.exchange.matching import Execution
from closebell.simulation.exchange.simulated_broker import SimulatedBroker
from closebell.simulation.exchange.trading_floor import ExchangeOptions
from closebell.simulation.exchange.venue_orders import ExchangeOrder
from tests.unit.app.small_desk import SmallDesk, bought, entry, leave, new_york, positions, trades

D = Decimal
TUESDAY, WEDNESDAY, THURSDAY, FRIDAY = (date(2018, 10, day) for day in (2, 3, 4, 5))
A_DAY_S = 86_400.0


def subjects(desk: SmallDesk) -> list[str]:
    return [alert.subject for alert in desk.inbox.alerts]


def orders(desk: SmallDesk, leg: OrderLeg) -> list[OrderRecord]:
    """Every order of ours for a purpose, oldest first, ended or not."""
    found = [item.record for day in desk.sessions for item in desk.memory.query("journal", f"ORDER#us_equity#{day}")]
    return sorted((one for one in found if isinstance(one, OrderRecord) and one.leg is leg), key=lambda one: one.created_at)


def resting(desk: SmallDesk, side: Side) -> list[ExchangeOrder]:
    """What of a side rests at the exchange, the heads of groups only."""
    return [order for order in desk.exchange.floor.orders.all_live() if order.parent is None and order.side is side]


def filled(desk: SmallDesk, order: ExchangeOrder, shares: str, price: str) -> None:
    """The exchange executes part of an order, now."""
    desk.exchange.floor.fill(order, D(shares), Execution(D(price), is_maker=True), desk.exchange.now)


def half_sold(prices: list[str]) -> SmallDesk:
    """A desk that holds 10 AAA since Tuesday, on Wednesday at 10:00, when four have reached the target."""
    desk = bought(TUESDAY, prices)
    desk.plan(WEDNESDAY)
    desk.place(WEDNESDAY)
    desk.exchange.advance(new_york(WEDNESDAY, "10:00"))
    (target,) = resting(desk, Side.SELL)
    filled(desk, target, "4", "108")
    return desk


def test_after_a_part_reached_the_target_the_stop_sells_exactly_the_rest() -> None:
    desk = half_sold(["100", "100", "100", "90"])
    before = desk.exchange.submissions.total()
    desk.reconcile(WEDNESDAY, "10:05")
    held = positions(desk)["AAA"]
    assert (held.quantity_shares, held.state, held.realised_usd) == (D(6), PositionState.PROTECTED, D(32))
    for session in (WEDNESDAY, THURSDAY):
        desk.reconcile(session, "16:00")
        desk.reconcile(session, "16:05")
    assert desk.shares("AAA") == 0
    assert positions(desk) == {}
    (trade,) = trades(desk)
    assert (trade.quantity_shares, trade.pnl_usd, trade.exit_rule) == (D(10), D(4 * 8 - 6 * 10), ExitRule.STOP)
    assert desk.exchange.submissions.total() == before, "the group that rested was right all the time"
    assert subjects(desk) == []


def test_after_a_part_reached_the_target_and_the_rest_was_cancelled_exactly_the_rest_is_protected_again() -> None:
    desk = half_sold(["100", "100", "100", "90"])
    desk.exchange.cancel(resting(desk, Side.SELL)[0].venue_order_id)
    desk.reconcile(WEDNESDAY, "10:05")
    desk.reconcile(WEDNESDAY, "10:10")
    (target,) = resting(desk, Side.SELL)
    (stop,) = target.legs
    assert [(one.quantity_shares, one.order_class) for one in (target, stop)] == [(D(6), "oco"), (D(6), "oco")]
    assert (target.limit_price_usd, stop.stop_price_usd) == (D(108), D(97))
    assert positions(desk)["AAA"].state is PositionState.PROTECTED
    rested = [(one.quantity_shares, one.filled_quantity_shares) for one in orders(desk, OrderLeg.PROTECT)]
    assert rested == [(D(10), D(4)), (D(6), D(0))]
    for at in ("16:00", "16:05"):
        desk.reconcile(THURSDAY, at)
    assert [(trade.quantity_shares, trade.pnl_usd) for trade in trades(desk)] == [(D(10), D(4 * 8 - 6 * 10))]
    assert (desk.shares("AAA"), positions(desk), len(orders(desk, OrderLeg.PROTECT))) == (D(0), {}, 2)


def test_a_symbol_that_is_bought_again_is_a_new_round_trip_with_its_own_fills() -> None:
    desk = bought(TUESDAY, ["100", "100", "110", "120", "114"])
    desk.plan(WEDNESDAY, leave(WEDNESDAY, "AAA"))
    desk.day(WEDNESDAY)
    desk.plan(THURSDAY, entry(THURSDAY, "AAA", shares="5", reference="110"))
    desk.day(THURSDAY)
    again = positions(desk)["AAA"]
    assert (again.plan_id, again.opened_session) == (entry(THURSDAY, "AAA").plan_id, THURSDAY)
    assert (again.bought_shares, again.bought_notional_usd, again.sold_shares, again.realised_usd) == (D(5), D(600), D(0), D(0))
    (target,) = resting(desk, Side.SELL)
    assert (target.quantity_shares, target.legs[0].stop_price_usd) == (D(5), D("116.40"))
    for at in ("16:00", "16:05"):
        desk.reconcile(FRIDAY, at)
    found = [(trade.quantity_shares, trade.entry_price_usd, trade.pnl_usd, trade.opened_session) for trade in trades(desk)]
    assert found == [(D(10), D(100), D(100), TUESDAY), (D(5), D(120), D(-30), THURSDAY)]
    assert len({trade.trade_id for trade in trades(desk)}) == 2
    assert desk.exchange.equity_usd() == 100_000 + sum(trade.pnl_usd for trade in trades(desk))


def working_entry(*prices: str) -> tuple[SmallDesk, ExchangeOrder]:
    """A desk whose limit entry for 10 AAA works on Tuesday, at 10:00."""
    desk = SmallDesk({"AAA": list(prices)})
    terms = {"method": EntryMethod.LIMIT, "limit_price_usd": D(101)}
    desk.plan(TUESDAY, entry(TUESDAY, "AAA").model_copy(update=terms))
    desk.place(TUESDAY)
    desk.exchange.advance(new_york(TUESDAY, "10:00"))
    (order,) = resting(desk, Side.BUY)
    return desk, order


def test_an_entry_whose_first_part_is_sold_before_the_rest_is_bought_opens_again_under_its_own_plan() -> None:
    """The ids of the first part's stop are used up: the second part must still get one, and a trade of its own."""
    desk, order = working_entry("100", "100", "110", "110")
    filled(desk, order, "4", "100")
    desk.reconcile(TUESDAY, "10:05")
    (target,) = resting(desk, Side.SELL)
    filled(desk, target, "4", "108")
    desk.reconcile(TUESDAY, "10:10")
    assert (positions(desk), [trade.pnl_usd for trade in trades(desk)]) == ({}, [D(32)])
    for at in ("16:00", "16:05"):
        desk.reconcile(TUESDAY, at)
    again = positions(desk)["AAA"]
    assert (again.plan_id, again.quantity_shares, again.sold_shares, again.state) == (
        entry(TUESDAY, "AAA").plan_id, D(6), D(0), PositionState.PROTECTED,
    )  # fmt: skip
    assert [one.attempt_count for one in orders(desk, OrderLeg.PROTECT)] == [1, 2]
    desk.reconcile(WEDNESDAY, "16:00")
    assert [(trade.quantity_shares, trade.pnl_usd) for trade in trades(desk)] == [(D(4), D(32)), (D(6), D(60))]
    assert (desk.shares("AAA"), positions(desk), subjects(desk)) == (D(0), {}, [])


def test_a_bust_of_what_was_not_sold_ends_the_trade_once_also_when_the_book_table_is_restored() -> None:
    """Four of ten are sold with a gain, then the exchange takes the other six back: the gain stays in the books."""
    desk, order = working_entry("100", "100", "100", "100")
    filled(desk, order, "4", "100")
    filled(desk, order, "6", "100")
    desk.reconcile(TUESDAY, "10:05")
    (target,) = resting(desk, Side.SELL)
    filled(desk, target, "4", "108")
    desk.reconcile(TUESDAY, "10:10")
    before = load_desk(desk.memory)
    assert before.cursor is not None
    lines = [line for line in desk.exchange.floor.book.activities if line.code == "FILL"]
    desk.exchange.bust_fill(lines[1].activity_id)
    desk.reconcile(TUESDAY, "10:15")
    assert (positions(desk), [(trade.quantity_shares, trade.pnl_usd) for trade in trades(desk)]) == ({}, [(D(4), D(32))])
    after = load_desk(desk.memory)
    assert after.cursor is not None
    desk.memory.commit([Create(before.positions["AAA"].record), Replace(before.cursor.record, after.cursor.version)])
    desk.reconcile(TUESDAY, "10:20")
    assert (positions(desk), len(trades(desk)), desk.shares("AAA")) == ({}, 1, D(0))


def test_what_is_left_of_a_cancelled_entry_is_not_bought_and_the_stop_covers_what_was() -> None:
    desk, order = working_entry("100", "100", "100", "100")
    filled(desk, order, "4", "100")
    desk.exchange.cancel(order.venue_order_id)
    for at in ("10:05", "10:10", "16:00", "16:05"):
        desk.reconcile(TUESDAY, at)
    desk.plan(WEDNESDAY)
    desk.day(WEDNESDAY)
    (bought_order,) = orders(desk, OrderLeg.ENTRY)
    assert (bought_order.state, bought_order.filled_quantity_shares) == (OrderState.CANCELED, D(4))
    assert [line for line in desk.sent() if line.startswith("buy")] == ["buy 10 AAA canceled"]
    held = positions(desk)["AAA"]
    assert (held.quantity_shares, held.external_shares, held.state) == (D(4), D(0), PositionState.PROTECTED)
    assert [one.quantity_shares for one in orders(desk, OrderLeg.PROTECT)] == [D(4)]
    assert (desk.shares("AAA"), subjects(desk)) == (D(4), [])


@pytest.mark.parametrize("ending", ["cancelled", "filled"])
def test_a_cancel_that_is_acknowledged_and_not_carried_out_is_told_once_and_nothing_is_sold_beside_it(ending: str) -> None:
    """The stop stays pending_cancel and may still fill: an exit sent beside it would sell the shares twice."""
    desk = SmallDesk({"AAA": ["100"] * 4}, options=ExchangeOptions(cancel_latency_s=10 * A_DAY_S))
    desk.plan(TUESDAY, entry(TUESDAY, "AAA"))
    desk.day(TUESDAY)
    before = desk.sent()
    desk.plan(WEDNESDAY, leave(WEDNESDAY, "AAA"))
    desk.place(WEDNESDAY)
    for at in ("09:05", "09:10", "09:20", "09:25", "09:40", "15:55"):
        desk.reconcile(WEDNESDAY, at)
    (target,) = resting(desk, Side.SELL)
    assert target.status is VenueStatus.PENDING_CANCEL
    assert len(desk.sent()) == len(before), "no sale beside the one that may still fill"
    assert positions(desk)["AAA"].state is PositionState.CLOSING
    assert subjects(desk) == ["The exit of AAA waits"]
    if ending == "filled":
        filled(desk, target, "10", "108")
    else:
        desk.exchange.floor.end(target, VenueStatus.CANCELED, desk.exchange.now)
    for at in ("15:56", "15:58", "16:00", "16:05"):
        desk.reconcile(WEDNESDAY, at)
    sales = [line for line in desk.sent() if line.startswith("sell") and line.endswith("filled")]
    assert sales == ["sell 10 AAA filled"]
    assert [trade.quantity_shares for trade in trades(desk)] == [D(10)]
    assert (desk.shares("AAA"), positions(desk)) == (D(0), {})


class ShowsSharesAsFree(SimulatedBroker):
    """Lists every share as available, whatever an order still holds."""

    def positions(self) -> list[VenuePosition]:
        return [held.model_copy(update={"available_shares": held.quantity_shares}) for held in super().positions()]


def test_nothing_is_sold_beside_a_pending_cancel_though_the_shares_are_listed_as_free() -> None:
    slow = ExchangeOptions(cancel_latency_s=10 * A_DAY_S)
    desk = SmallDesk({"AAA": ["100"] * 4}, lambda broker: ShowsSharesAsFree(broker.exchange), options=slow)
    desk.plan(TUESDAY, entry(TUESDAY, "AAA"))
    desk.day(TUESDAY)
    desk.plan(WEDNESDAY, leave(WEDNESDAY, "AAA"))
    desk.place(WEDNESDAY)
    for at in ("09:05", "09:25", "15:55"):
        desk.reconcile(WEDNESDAY, at)
    assert orders(desk, OrderLeg.EXIT) == []
    assert subjects(desk) == ["The exit of AAA waits"]


class OtherTick(SimulatedBroker):
    """The account is valued a moment after the positions: its equity is a part of their value off."""

    off_frac = Decimal(0)

    def account(self) -> Account:
        account = super().account()
        invested = account.equity_usd - account.cash_usd
        return account.model_copy(update={"equity_usd": account.equity_usd + invested * self.off_frac})


def wrapped(off_frac: str) -> Callable[[Any], Any]:
    return lambda broker: type("OffBy", (OtherTick,), {"off_frac": D(off_frac)})(broker.exchange)


@pytest.mark.parametrize("off_frac", ["-0.02", "-0.004", "0.004"])
def test_an_account_priced_a_tick_away_from_its_positions_is_no_break(off_frac: str) -> None:
    desk = SmallDesk({"AAA": ["100"] * 5, "BBB": ["100"] * 5}, wrapped(off_frac))
    desk.plan(TUESDAY, entry(TUESDAY, "AAA", shares="150"))
    desk.day(TUESDAY)
    desk.plan(WEDNESDAY, entry(WEDNESDAY, "BBB"))
    desk.day(WEDNESDAY)
    snapshot = load_desk(desk.memory).snapshot
    assert snapshot is not None
    assert snapshot.record.as_of == desk.exchange.now, "a reading like this is whole and is kept"
    assert (desk.shares("AAA"), desk.shares("BBB")) == (D(150), D(10))
    assert {one.state for one in positions(desk).values()} == {PositionState.PROTECTED}
    assert (load_desk(desk.memory).is_halted, subjects(desk)) == (False, [])


def test_an_account_that_holds_clearly_more_than_is_listed_is_not_kept_as_the_snapshot() -> None:
    """The other side of the line: what is more than a price's move is a list that is not whole."""
    desk = SmallDesk({"AAA": ["100"] * 5}, wrapped("0.02"))
    desk.plan(TUESDAY, entry(TUESDAY, "AAA", shares="150"))
    desk.day(TUESDAY)
    snapshot = load_desk(desk.memory).snapshot
    assert snapshot is not None
    assert snapshot.record.as_of < desk.exchange.now


def fractional(prices: list[str]) -> SmallDesk:
    """A desk that bought 10.5 AAA on Tuesday: only simple orders for the day are taken for that."""
    desk = SmallDesk({"AAA": prices})
    desk.plan(TUESDAY, entry(TUESDAY, "AAA", shares="10.5").model_copy(update={"method": EntryMethod.MARKET}))
    desk.day(TUESDAY)
    return desk


def test_a_stop_that_dies_every_evening_is_rested_again_every_day_exactly_once() -> None:
    desk = fractional(["100", "100", "100", "101", "100", "90"])
    for session in (WEDNESDAY, THURSDAY, FRIDAY):
        before = len(orders(desk, OrderLeg.PROTECT))
        desk.plan(session)
        desk.day(session)
        rested = resting(desk, Side.SELL)
        assert [(one.order_type, one.time_in_force, one.quantity_shares) for one in rested] == [("stop", "day", D("10.5"))]
        assert len(orders(desk, OrderLeg.PROTECT)) == before + 1
    held = positions(desk)["AAA"]
    assert (held.state, held.vanished_stops_count, held.protections_count) == (PositionState.PROTECTED, 0, 4)
    assert [one.state for one in orders(desk, OrderLeg.PROTECT)] == [*[OrderState.EXPIRED] * 3, OrderState.ACCEPTED]
    assert subjects(desk) == []
    monday = date(2018, 10, 8)
    desk.plan(monday)
    desk.day(monday)
    assert [(trade.quantity_shares, trade.exit_price_usd, trade.exit_rule) for trade in trades(desk)] == [
        (D("10.5"), D(90), ExitRule.STOP)
    ]
    assert (desk.shares("AAA"), positions(desk), resting(desk, Side.SELL)) == (D(0), {}, [])


def test_every_fill_of_a_symbol_bought_twice_names_the_plan_it_was_for() -> None:
    desk = bought(TUESDAY, ["100", "100", "110", "120"])
    desk.plan(WEDNESDAY, leave(WEDNESDAY, "AAA"))
    desk.day(WEDNESDAY)
    desk.plan(THURSDAY, entry(THURSDAY, "AAA", shares="5", reference="110"))
    desk.day(THURSDAY)
    found = [item.record for day in desk.sessions for item in desk.memory.query("journal", f"FILL#us_equity#{day}")]
    assert [(one.plan_id, one.side) for one in found if isinstance(one, Fill)] == [
        (entry(TUESDAY, "AAA").plan_id, "buy"),
        (leave(WEDNESDAY, "AAA").plan_id, "sell"),
        (entry(THURSDAY, "AAA").plan_id, "buy"),
    ]
