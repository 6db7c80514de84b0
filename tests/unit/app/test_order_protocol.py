"""The order protocol beyond the plain day: replaced orders, refusals for quantity, opposing orders, halts."""

from datetime import date
from decimal import Decimal

import pytest

from closebell.app.control import halt_desk
from closebell.app.desk import load_desk
from closebell.model.books import PositionState
from closebell.model.broker import OrderRequest, OrderType, Side, VenueOrder, VenuePosition
from closebell.model.decision import Denial
from closebell.model.errors import BooksDisagree, OutcomeUnknown, RateLimited
from closebell.model.orders import OrderLeg, OrderRecord, OrderState
from closebell.simulation.exchange.exchange import Replacement
from closebell.simulation.exchange.simulated_broker import SimulatedBroker
from closebell.simulation.exchange.venue_orders import ExchangeOrder, OrderTicket
from tests.unit.app.small_desk import SmallDesk, bought, entry, leave, new_york, positions, trades

D = Decimal
TUESDAY, WEDNESDAY, THURSDAY = (date(2018, 10, day) for day in (2, 3, 4))


def resting(desk: SmallDesk, side: Side = Side.SELL) -> ExchangeOrder:
    """The one order of a side that rests at the exchange, its head."""
    heads = [order for order in desk.exchange.floor.orders.all_live() if order.parent is None and order.side is side]
    assert len(heads) == 1
    return heads[0]


def live(desk: SmallDesk, leg: OrderLeg) -> list[OrderRecord]:
    return [stored.record for stored in load_desk(desk.memory).orders.values() if stored.record.leg is leg]


def at_work(prices: list[str]) -> SmallDesk:
    """A desk that holds 10 AAA since yesterday, this morning at 09:40: the exchange is open and takes replaces."""
    desk = bought(TUESDAY, prices)
    desk.plan(WEDNESDAY)
    desk.place(WEDNESDAY)
    desk.exchange.advance(new_york(WEDNESDAY, "09:40"))
    return desk


def rest_of(desk: SmallDesk, session: date) -> None:
    for at in ("15:00", "16:00", "16:05", "16:10"):
        desk.reconcile(session, at)


def subjects(desk: SmallDesk) -> list[str]:
    return [alert.subject for alert in desk.inbox.alerts]


def test_a_target_that_the_owner_moved_is_followed_and_its_fill_is_ours() -> None:
    desk = at_work(["100", "100", "103", "103"])
    child = desk.exchange.replace(resting(desk).venue_order_id, Replacement(limit_price_usd=D("102")))
    rest_of(desk, WEDNESDAY)
    assert desk.shares("AAA") == 0
    assert [(trade.exit_price_usd, trade.exit_rule) for trade in trades(desk)] == [(D("103"), "target")]
    assert positions(desk) == {}
    assert subjects(desk) == ["An order of ours for AAA was replaced"]
    assert child.filled_shares == 10


def test_a_protection_that_the_owner_made_smaller_is_followed_then_made_whole() -> None:
    desk = at_work(["100", "100", "100", "100"])
    desk.exchange.replace(resting(desk).venue_order_id, Replacement(quantity_shares=D(4)))
    rest_of(desk, WEDNESDAY)
    assert [order.quantity_shares for order in live(desk, OrderLeg.PROTECT)] == [10]
    assert resting(desk).quantity_shares == 10
    assert not load_desk(desk.memory).is_halted


def test_an_entry_that_the_owner_replaced_keeps_what_it_bought_before_and_after() -> None:
    desk = SmallDesk({"AAA": ["100", "100", "100"]})
    desk.plan(TUESDAY, entry(TUESDAY, "AAA"))
    desk.place(TUESDAY)
    desk.exchange.advance(new_york(TUESDAY, "09:40"))
    head = resting(desk, Side.BUY)
    desk.exchange.replace(head.venue_order_id, Replacement(quantity_shares=D(6)))
    desk.reconcile(TUESDAY, "09:45")
    order = live(desk, OrderLeg.ENTRY)[0]
    assert (order.quantity_shares, order.state) == (D(6), OrderState.ACCEPTED)
    assert order.former_venue_order_ids == (head.venue_order_id,)
    for at in ("16:00", "16:05", "16:10"):
        desk.reconcile(TUESDAY, at)
    assert positions(desk)["AAA"].quantity_shares == desk.shares("AAA") == 6
    assert positions(desk)["AAA"].external_shares == 0


@pytest.mark.parametrize("seen_between", [False, True])
def test_an_order_replaced_twice_is_one_order(seen_between: bool) -> None:
    desk = at_work(["100", "100", "100", "100"])
    first = desk.exchange.replace(resting(desk).venue_order_id, Replacement(limit_price_usd=D("120")))
    desk.exchange.advance(new_york(WEDNESDAY, "10:00"))
    if seen_between:
        desk.reconcile(WEDNESDAY, "10:05")
    second = desk.exchange.replace(first.venue_order_id, Replacement(limit_price_usd=D("130")))
    rest_of(desk, WEDNESDAY)
    (order,) = live(desk, OrderLeg.PROTECT)
    assert (order.venue_order_id, order.limit_price_usd) == (second.venue_order_id, D("130"))
    assert len(order.former_venue_order_ids) == 2
    assert desk.shares("AAA") == positions(desk)["AAA"].quantity_shares == 10


def test_an_entry_that_still_rests_when_the_desk_is_halted_is_cancelled() -> None:
    desk = SmallDesk({"AAA": ["100", "100", "100"]})
    desk.plan(TUESDAY, entry(TUESDAY, "AAA"))
    desk.place(TUESDAY)
    halt_desk(desk.memory, "enough", "owner", desk.exchange.now)
    desk.reconcile(TUESDAY, "09:05")
    rest_of(desk, TUESDAY)
    assert desk.sent() == ["buy 10 AAA canceled"]
    assert live(desk, OrderLeg.ENTRY) == []
    assert positions(desk) == {}


def test_after_a_429_no_other_entry_is_sent_and_each_says_why() -> None:
    class Busy(SimulatedBroker):
        refusals = 0

        def submit(self, request: OrderRequest) -> VenueOrder:
            Busy.refusals += 1
            raise RateLimited("429")

    desk = SmallDesk({"AAA": ["100", "100"], "BBB": ["100", "100"]}, lambda broker: Busy(broker.exchange))
    desk.plan(TUESDAY, entry(TUESDAY, "AAA"), entry(TUESDAY, "BBB"))
    desk.place(TUESDAY)
    assert Busy.refusals == 1
    denials = [stored.record for stored in desk.memory.query("journal", f"DENIAL#us_equity#{TUESDAY}")]
    assert [denial.symbol for denial in denials if isinstance(denial, Denial)] == ["BBB"]


@pytest.mark.parametrize("is_ours", [True, False])
def test_no_entry_is_sent_against_a_sale_that_rests_in_the_symbol(is_ours: bool) -> None:
    """The broker refuses a wash trade; our own check says so before anything is sent."""
    desk = bought(TUESDAY, ["100", "100", "100", "100"])
    if not is_ours:
        desk = SmallDesk({"AAA": ["100", "100", "100", "100"]})
        desk.exchange.trade_manually("AAA", Side.BUY, D(5))
        desk.exchange.submit(OrderTicket("AAA", "sell", "limit", "gtc", quantity_shares=D(5), limit_price_usd=D(130)))
        desk.plan(TUESDAY)
        desk.day(TUESDAY)
    before = len(desk.sent())
    desk.plan(WEDNESDAY, entry(WEDNESDAY, "AAA"))
    desk.place(WEDNESDAY)
    assert len(desk.sent()) == before
    (denial,) = [one.record for one in desk.memory.query("journal", f"DENIAL#us_equity#{WEDNESDAY}")]
    assert isinstance(denial, Denial)
    assert denial.reason.startswith("symbol_free")


def test_an_exit_refused_because_the_owner_sold_in_between_is_not_sent_again() -> None:
    """The shares are gone between the reading and the sale: refused, then reconciled, never tried blindly."""

    class OwnerIsFaster(SimulatedBroker):
        def submit(self, request: OrderRequest) -> VenueOrder:
            if request.side is Side.SELL and request.order_type is OrderType.MARKET:
                self.exchange.trade_manually("AAA", Side.SELL, self.exchange.floor.book.shares("AAA"))
            return super().submit(request)

    desk = SmallDesk({"AAA": ["100", "100", "100", "100"]}, lambda broker: OwnerIsFaster(broker.exchange))
    desk.plan(TUESDAY, entry(TUESDAY, "AAA"))
    desk.day(TUESDAY)
    desk.plan(WEDNESDAY, leave(WEDNESDAY, "AAA"))
    desk.day(WEDNESDAY)
    orders = [one.record for one in desk.memory.query("journal", f"ORDER#us_equity#{WEDNESDAY}")]
    steps = [(order.leg, order.state) for order in orders if isinstance(order, OrderRecord)]
    assert steps == [(OrderLeg.EXIT, OrderState.REJECTED)]
    assert desk.shares("AAA") == 0
    assert positions(desk) == {}
    assert [trade.exit_rule for trade in trades(desk)] == ["manual"]
    assert any("Books differ" in subject for subject in subjects(desk))


def test_an_exit_whose_shares_a_cancelled_stop_still_holds_waits_and_is_sent_once() -> None:
    class SlowToFree(SimulatedBroker):
        def positions(self) -> list[VenuePosition]:
            held = super().positions()
            return [one.model_copy(update={"available_shares": D(0)}) for one in held] if self.exchange.now < free_at else held

    free_at = new_york(WEDNESDAY, "09:08")
    desk = SmallDesk({"AAA": ["100", "100", "100", "100"]}, lambda broker: SlowToFree(broker.exchange))
    desk.plan(TUESDAY, entry(TUESDAY, "AAA"))
    desk.day(TUESDAY)
    desk.plan(WEDNESDAY, leave(WEDNESDAY, "AAA"))
    desk.day(WEDNESDAY)
    exits = [order for order in desk.sent() if order.startswith("sell 10 AAA") and "canceled" not in order]
    assert exits == ["sell 10 AAA filled"]
    assert positions(desk) == {}


def test_money_taken_out_before_a_holiday_is_no_loss_after_it() -> None:
    """The last equity is of the close before Thanksgiving; the withdrawal came after that close."""
    desk = SmallDesk({"AAA": ["100"] * 40})
    desk.reconcile(date(2018, 11, 21), "16:05")
    desk.exchange.transfer(D(-20_000))
    desk.reconcile(date(2018, 11, 21), "16:10")
    desk.reconcile(date(2018, 11, 23), "09:05")
    assert not load_desk(desk.memory).is_halted


def test_money_taken_out_in_the_afternoon_of_a_half_day_is_no_loss_on_monday() -> None:
    """The Friday after Thanksgiving closes at 13:00: what is taken out at 14:00 comes after Monday's starting point."""
    desk = SmallDesk({"AAA": ["100"] * 41})
    desk.reconcile(date(2018, 11, 23), "13:05")
    desk.exchange.transfer(D(-20_000))
    desk.reconcile(date(2018, 11, 23), "14:05")
    desk.reconcile(date(2018, 11, 26), "09:05")
    assert not load_desk(desk.memory).is_halted


def no_answer(request: OrderRequest) -> VenueOrder:
    raise OutcomeUnknown("no answer")


def test_what_somebody_else_trades_under_our_id_is_theirs_and_never_sold(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another stack took the id of our entry for an order of its own: the desk gives way, and what it buys stays the owner's."""
    desk = SmallDesk({"AAA": ["100", "100", "100", "100"]})
    desk.plan(TUESDAY, entry(TUESDAY, "AAA", shares="10"))
    with monkeypatch.context() as lost:
        lost.setattr(desk.broker, "submit", no_answer)
        desk.place(TUESDAY)
    (ours,) = live(desk, OrderLeg.ENTRY)
    foreign = OrderTicket("AAA", "buy", "market", "opg", quantity_shares=D(3), client_order_id=ours.client_order_id)
    desk.exchange.submit(foreign)
    with pytest.raises(BooksDisagree):
        desk.reconcile(TUESDAY, "09:05")
    for at in ("16:00", "16:05", "16:10"):
        desk.reconcile(TUESDAY, at)
    held = positions(desk)["AAA"]
    assert (held.state, held.lots, held.external_shares) == (PositionState.EXTERNAL, (), D(3))
    assert not [order for order in desk.exchange.floor.orders.all_live() if not order.is_buy], "nothing of it is offered for sale"


def test_a_strangers_order_that_rests_under_our_id_stops_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    desk = SmallDesk({"AAA": ["100", "100", "100", "100"], "BBB": ["50", "50", "50", "50"]})
    desk.plan(TUESDAY, entry(TUESDAY, "AAA", shares="10"), entry(TUESDAY, "BBB", shares="10", reference="50"))
    submit = desk.broker.submit
    with monkeypatch.context() as lost:
        lost.setattr(desk.broker, "submit", lambda request: no_answer(request) if request.symbol == "AAA" else submit(request))
        desk.place(TUESDAY)
    ours = next(order for order in live(desk, OrderLeg.ENTRY) if order.symbol == "AAA")
    foreign = OrderTicket(
        "AAA", "buy", "limit", "gtc", quantity_shares=D(10), limit_price_usd=D(80), client_order_id=ours.client_order_id
    )
    desk.exchange.submit(foreign)
    with pytest.raises(BooksDisagree):
        desk.reconcile(TUESDAY, "09:05")
    for at in ("16:00", "16:05", "16:10"):
        desk.reconcile(TUESDAY, at)
    assert positions(desk)["BBB"].state is PositionState.PROTECTED
    assert "AAA" not in positions(desk)


def test_every_run_that_did_something_says_on_what() -> None:
    desk = SmallDesk({"AAA": ["100", "100", "100"]})
    desk.plan(TUESDAY, entry(TUESDAY, "AAA"))
    desk.place(TUESDAY)
    first, second = desk.reconcile(TUESDAY, "09:35"), desk.reconcile(TUESDAY, "09:40")
    assert all(len(run.input_sha256) == 64 for run in (first, second))
    assert first.input_sha256 != second.input_sha256
