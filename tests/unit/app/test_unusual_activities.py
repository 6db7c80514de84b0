"""What happens at the broker after a fill: it is taken back, or its price is changed, or money comes without a trade."""

from datetime import date
from decimal import Decimal

import pytest

from closebell.app.desk import load_desk
from closebell.model.books import Break, Consequence, Fill, PositionState
from closebell.model.broker import CashActivity, Side, VenueFill
from closebell.model.decision import EntryMethod
from closebell.model.operations import Priority
from closebell.ports.journal import Remove
from closebell.simulation.exchange.matching import Execution
from closebell.simulation.exchange.simulated_broker import SimulatedBroker
from closebell.simulation.exchange.venue_orders import ExchangeOrder
from tests.unit.app.small_desk import SmallDesk, bought, entry, new_york, positions, trades

D = Decimal
TUESDAY, WEDNESDAY = date(2018, 10, 2), date(2018, 10, 3)


def first_fill(desk: SmallDesk) -> str:
    return next(line.activity_id for line in desk.exchange.floor.book.activities if line.code == "FILL")


def told(desk: SmallDesk) -> list[tuple[str, str]]:
    return [(alert.subject, alert.priority) for alert in desk.inbox.alerts]


def test_a_busted_buy_is_told_and_its_position_is_no_longer_ours() -> None:
    desk = bought(TUESDAY, ["100", "100", "90", "90"])
    desk.exchange.bust_fill(first_fill(desk))
    desk.reconcile(TUESDAY, "16:15")
    desk.plan(WEDNESDAY)
    desk.day(WEDNESDAY)
    assert desk.shares("AAA") == 0
    assert positions(desk) == {}
    assert trades(desk) == []
    assert told(desk) == [("The broker booked TRADE_BUST in AAA", Priority.URGENT)]
    assert desk.broker.account().cash_usd == 100_000


def test_busts_among_the_owners_trades_leave_both_books_equal() -> None:
    desk = SmallDesk({"AAA": ["100", "100", "100", "100"]})
    desk.plan(TUESDAY, entry(TUESDAY, "AAA"))
    desk.day(TUESDAY)
    desk.exchange.trade_manually("AAA", Side.BUY, D(4))
    desk.reconcile(TUESDAY, "16:15")
    manual = [line.activity_id for line in desk.exchange.floor.book.activities if line.code == "FILL"][-1]
    desk.exchange.bust_fill(manual)
    desk.exchange.bust_fill(first_fill(desk))
    desk.exchange.trade_manually("AAA", Side.BUY, D(7))
    desk.reconcile(TUESDAY, "16:20")
    held = positions(desk)["AAA"]
    assert held.quantity_shares + held.external_shares == desk.shares("AAA") == 7
    assert not load_desk(desk.memory).is_halted


def test_a_corrected_price_is_told_and_moves_no_shares() -> None:
    desk = bought(TUESDAY, ["100", "100", "100"])
    before = positions(desk)["AAA"].lots
    desk.exchange.correct_fill(first_fill(desk), D("101"))
    desk.reconcile(TUESDAY, "16:15")
    assert told(desk) == [("The broker booked TRADE_CORRECT in AAA", Priority.WARNING)]
    assert positions(desk)["AAA"].lots == before
    assert positions(desk)["AAA"].state is PositionState.PROTECTED


def test_a_busted_sale_brings_its_shares_back_and_takes_none_of_ours() -> None:
    desk = SmallDesk({"AAA": ["100"] * 4})
    desk.plan(TUESDAY, entry(TUESDAY, "AAA"))
    desk.day(TUESDAY)
    desk.exchange.trade_manually("AAA", Side.SELL, D(4))
    desk.reconcile(TUESDAY, "16:15")
    assert positions(desk)["AAA"].quantity_shares == 6
    sale = [line.activity_id for line in desk.exchange.floor.book.activities if line.code == "FILL"][-1]
    desk.exchange.bust_fill(sale)
    desk.reconcile(WEDNESDAY, "16:05")
    assert [subject for subject, _ in told(desk)[-2:]] == [
        "The broker booked TRADE_BUST in AAA", "Books differ from the broker: 1 quantity_differs",
    ]  # fmt: skip
    held = positions(desk)["AAA"]
    assert [held.quantity_shares, held.external_shares, desk.shares("AAA")] == [6, 4, 10]


class ListsTwice(SimulatedBroker):
    """Every activity comes twice in a reading, as at the border of two pages."""

    def activities(self, after_activity_id: str) -> list[VenueFill | CashActivity]:
        return [listed for listed in super().activities(after_activity_id) for _ in range(2)]


def test_an_activity_that_is_listed_twice_in_a_reading_is_booked_once() -> None:
    desk = SmallDesk({"AAA": ["100"] * 3}, lambda broker: ListsTwice(broker.exchange))
    desk.plan(TUESDAY, entry(TUESDAY, "AAA"))
    desk.day(TUESDAY)
    assert [positions(desk)["AAA"].quantity_shares, desk.shares("AAA")] == [10, 10]
    assert told(desk) == []


def test_what_an_order_bought_whose_plan_is_lost_is_the_owners_and_told_once() -> None:
    desk = SmallDesk({"AAA": ["100"] * 3})
    plan = entry(TUESDAY, "AAA")
    desk.plan(TUESDAY, plan)
    desk.place(TUESDAY)
    desk.memory.commit([Remove(plan.key, 1)])
    desk.reconcile(TUESDAY, "16:05")
    held = positions(desk)["AAA"]
    assert (held.state, held.quantity_shares, held.external_shares) == (PositionState.EXTERNAL, D(0), D(10))
    (fill,) = (stored.record for stored in desk.memory.query("journal", f"FILL#us_equity#{TUESDAY}"))
    assert isinstance(fill, Fill)
    assert (fill.client_order_id, fill.plan_id) == (None, None)
    (found,) = (stored.record for stored in desk.memory.query("journal", f"BREAK#{TUESDAY}"))
    assert isinstance(found, Break)
    assert (found.consequence, found.note.endswith("its record is lost: taken as the owner's")) == (Consequence.FREEZE, True)
    assert len(desk.inbox.alerts) == 1


def test_what_an_entry_buys_after_its_first_part_was_sold_is_ours_again_beside_the_owners_shares() -> None:
    desk = SmallDesk({"AAA": ["100"] * 3})
    plan = entry(TUESDAY, "AAA").model_copy(update={"method": EntryMethod.LIMIT, "limit_price_usd": D(100)})
    desk.plan(TUESDAY, plan)
    desk.place(TUESDAY)
    (order,) = desk.exchange.floor.orders.live("AAA")

    def trade(one: ExchangeOrder, shares: int, clock: str) -> None:
        desk.exchange.advance(new_york(TUESDAY, clock))
        desk.exchange.floor.fill(one, D(shares), Execution(D(100), is_maker=False), desk.exchange.now)
        desk.reconcile(TUESDAY, clock)

    trade(order, 4, "10:00")
    desk.exchange.trade_manually("AAA", Side.BUY, D(3))
    (target,) = (one for one in desk.exchange.floor.orders.live("AAA") if one.order_class == "oco" and not one.parent)
    trade(target, 4, "10:05")
    assert (positions(desk)["AAA"].state, desk.shares("AAA")) == (PositionState.EXTERNAL, D(3))
    trade(order, 6, "10:10")
    held = positions(desk)["AAA"]
    assert (held.quantity_shares, held.external_shares, held.plan_id) == (D(6), D(3), plan.plan_id)
    assert held.state is PositionState.PROTECTED


@pytest.mark.parametrize("event", ["dividend", "deposit"])
def test_income_and_deposits_are_routine_and_only_the_deposit_is_left_out_of_the_days_result(event: str) -> None:
    desk = bought(TUESDAY, ["100", "100", "100"])
    if event == "dividend":
        desk.exchange.pay_dividend("AAA", D("0.5"))
    else:
        desk.exchange.transfer(D(5))
    desk.reconcile(TUESDAY, "16:15")
    snapshot = load_desk(desk.memory).snapshot
    assert snapshot is not None
    assert snapshot.record.account.cash_usd == 99_005
    assert snapshot.record.transfers_usd == (0 if event == "dividend" else 5)
    assert told(desk) == []
