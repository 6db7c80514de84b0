"""The life of an order: asynchronous cancels and replaces, groups, and what each leaves behind."""

from decimal import Decimal

import pytest

from closebell.model.broker import VenueStatus
from closebell.simulation.exchange.exchange import Exchange, Replacement
from closebell.simulation.exchange.order_book import OrderFilter
from closebell.simulation.exchange.trading_floor import ExchangeOptions
from closebell.simulation.exchange.venue_orders import OrderTicket, RefusalError
from tests.contract.tiny_market import FRI, THU, WED, TinyMarket, ny, one_symbol, own, send


def test_a_cancel_is_pending_until_the_clock_moves_on() -> None:
    exchange = Exchange(TinyMarket(), ny(THU, "10:00"))
    order = send(exchange, "buy", "limit", "gtc", limit_price_usd=50)
    exchange.cancel(order.venue_order_id)
    assert (order.status, order.is_open) == ("pending_cancel", True)
    exchange.cancel(order.venue_order_id)
    exchange.advance(ny(THU, "10:01"))
    assert order.status == "canceled"
    exchange.cancel(order.venue_order_id)


def test_without_latency_cancels_and_replaces_complete_at_once() -> None:
    exchange = Exchange(TinyMarket(), ny(THU, "10:00"), ExchangeOptions(cancel_latency_s=0))
    old = send(exchange, "buy", "limit", "gtc", limit_price_usd=50)
    new = exchange.replace(old.venue_order_id, Replacement(limit_price_usd=Decimal(51)))
    assert [old.status, new.status] == ["replaced", "new"]
    exchange.cancel(new.venue_order_id)
    assert new.status == "canceled"


def test_a_fill_during_a_cancel_wins_and_then_the_cancel_is_refused() -> None:
    exchange = Exchange(TinyMarket(), ny(THU, "10:29:59"))
    order = send(exchange, "buy", "market")
    exchange.cancel(order.venue_order_id, delay_s=5)
    exchange.advance(ny(THU, "10:31"))
    assert order.status == "filled"
    with pytest.raises(RefusalError, match='order is already in "filled" state'):
        exchange.cancel(order.venue_order_id)


def test_a_canceled_order_keeps_what_it_filled() -> None:
    exchange = Exchange(TinyMarket(), ny(THU, "10:00"))
    order = send(exchange, "buy", "market", shares=15, symbol="THIN")
    exchange.advance(ny(THU, "10:30"))
    exchange.cancel(order.venue_order_id)
    exchange.advance(ny(THU, "10:31"))
    assert [order.status, order.filled_shares, exchange.floor.book.shares("THIN")] == ["canceled", 10, 10]


def test_a_replace_makes_a_new_order_and_the_old_one_is_replaced_when_it_completes() -> None:
    exchange = Exchange(TinyMarket(), ny(THU, "10:00"))
    old = send(exchange, "buy", "limit", "gtc", limit_price_usd=50)
    new = exchange.replace(old.venue_order_id, Replacement(limit_price_usd=Decimal(60), quantity_shares=Decimal(4)))
    assert (old.status, new.status) == ("pending_replace", "pending_new")
    assert exchange.floor.orders.reserved_usd() == 500
    exchange.advance(ny(THU, "10:01"))
    assert (old.status, new.status, old.replaced_by, new.replaces) == ("replaced", "new", new, old)
    assert (new.limit_price_usd, new.quantity_shares) == (Decimal(60), Decimal(4))


def test_a_fill_during_a_replace_wins_and_the_new_order_is_rejected() -> None:
    exchange = Exchange(TinyMarket(), ny(THU, "10:00"), ExchangeOptions(cancel_latency_s=7200))
    old = send(exchange, "buy", "limit", "gtc", limit_price_usd=101)
    new = exchange.replace(old.venue_order_id, Replacement(limit_price_usd=Decimal(90)))
    exchange.advance(ny(THU, "12:30"))
    assert [old.status, new.status, exchange.floor.book.shares("ACME")] == ["filled", "rejected", 10]


@pytest.mark.parametrize(
    ("clock", "message"), [("09:00", "cannot replace order in accepted status"), ("12:00", "order is not open")]
)
def test_what_is_not_working_cannot_be_replaced(clock: str, message: str) -> None:
    exchange = Exchange(TinyMarket(), ny(THU, "09:00"))
    order = send(exchange, "buy", "market")
    exchange.advance(ny(THU, clock))
    with pytest.raises(RefusalError, match=message):
        exchange.replace(order.venue_order_id, Replacement(quantity_shares=Decimal(5)))


def test_bracket_legs_are_held_until_the_entry_is_completely_filled() -> None:
    exchange = Exchange(TinyMarket(), ny(THU, "10:00"))
    entry = send(exchange, "buy", "market", "gtc", 15, symbol="THIN", order_class="bracket", take_profit_usd=30, stop_loss_usd=15)
    target, stop = entry.legs
    exchange.advance(ny(THU, "10:30"))
    assert [order.status for order in (entry, target, stop)] == ["partially_filled", "held", "held"]
    assert exchange.floor.orders.held_shares("THIN", target.side) == 0
    exchange.advance(ny(THU, "12:00"))
    assert [order.status for order in (entry, target, stop)] == ["filled", "new", "held"]
    assert exchange.floor.orders.held_shares("THIN", target.side) == 15


def test_a_leg_does_not_trade_at_the_print_that_filled_its_entry() -> None:
    exchange = Exchange(one_symbol([("09:30", 120, 100), ("10:00", 125, 100)]), ny(WED, "17:00"))
    entry = send(exchange, "buy", "market", "gtc", order_class="bracket", take_profit_usd=110, stop_loss_usd=90)
    exchange.advance(ny(THU, "09:59"))
    assert [order.status for order in entry.family()] == ["filled", "new", "held"]
    exchange.advance(ny(THU, "10:00"))
    assert [entry.legs[0].filled_at, exchange.floor.book.shares("ACME")] == [ny(THU, "10:00"), 0]


def test_canceling_one_member_cancels_the_group() -> None:
    exchange = Exchange(TinyMarket(), ny(THU, "10:00"))
    entry = send(exchange, "buy", "limit", "gtc", limit_price_usd=50, order_class="bracket", take_profit_usd=60, stop_loss_usd=40)
    exchange.cancel(entry.legs[1].venue_order_id)
    exchange.advance(ny(THU, "10:01"))
    assert {order.status for order in entry.family()} == {VenueStatus.CANCELED}


@pytest.mark.parametrize(
    ("path", "winner", "price"),
    [
        ([("09:30", 100, 100), ("10:00", 110, 100), ("11:00", 80, 100)], "target", 108),
        ([("09:30", 100, 100), ("10:00", 96, 100), ("11:00", 120, 100)], "stop", 96),
        ([("09:30", 120, 100), ("09:31", 50, 100)], "target", 120),
    ],
)
def test_of_target_and_stop_the_first_on_the_tape_fills_and_cancels_the_other(
    path: list[tuple[str, int, int]], winner: str, price: int
) -> None:
    exchange = Exchange(one_symbol(path), ny(WED, "17:00"))
    own(exchange)
    target = send(exchange, "sell", "limit", "gtc", order_class="oco", take_profit_usd=108, stop_loss_usd=97)
    stop = target.legs[0]
    exchange.advance(ny(THU, "16:00"))
    won, lost = (target, stop) if winner == "target" else (stop, target)
    assert [won.status, won.filled_average_price_usd] == ["filled", Decimal(price)]
    assert [lost.status, lost.filled_shares] == ["canceled", 0]
    assert exchange.floor.book.shares("ACME") == 0


def test_a_partly_filled_target_shrinks_its_stop() -> None:
    market = one_symbol([("09:30", 110, 4), ("10:00", 90, 100)])
    exchange = Exchange(market, ny(WED, "17:00"))
    own(exchange)
    target = send(exchange, "sell", "limit", "gtc", order_class="oco", take_profit_usd=108, stop_loss_usd=97)
    exchange.advance(ny(THU, "09:45"))
    assert [target.status, target.legs[0].quantity_shares] == ["partially_filled", 6]
    exchange.advance(ny(THU, "10:00"))
    assert [target.status, target.legs[0].status, exchange.floor.book.shares("ACME")] == ["canceled", "filled", 0]


def test_a_leg_can_be_replaced_and_stays_in_its_group() -> None:
    exchange = Exchange(one_symbol([("09:30", 100, 100), ("10:00", 94, 100), ("11:00", 110, 100)]), ny(WED, "17:00"))
    own(exchange)
    target = send(exchange, "sell", "limit", "gtc", order_class="oco", take_profit_usd=108, stop_loss_usd=97)
    moved = exchange.replace(target.legs[0].venue_order_id, Replacement(stop_price_usd=Decimal(90)))
    exchange.advance(ny(THU, "10:30"))
    assert (moved.status, target.legs, target.status) == ("held", [moved], "new")
    exchange.advance(ny(THU, "11:00"))
    assert (target.status, moved.status) == ("filled", "canceled")


def test_one_triggers_the_other() -> None:
    exchange = Exchange(TinyMarket(), ny(THU, "10:00"))
    entry = send(exchange, "buy", "market", "gtc", order_class="oto", stop_loss_usd=90)
    assert entry.legs[0].status == "held"
    exchange.advance(ny(THU, "10:30"))
    assert (entry.status, entry.legs[0].status) == ("filled", "new")


def test_day_legs_end_with_the_day_that_their_entry_filled_in() -> None:
    exchange = Exchange(TinyMarket(), ny(THU, "10:00"))
    entry = send(exchange, "buy", "market", "day", order_class="bracket", take_profit_usd=200, stop_loss_usd=50)
    exchange.advance(ny(THU, "16:00"))
    assert [order.status for order in entry.family()] == ["filled", "expired", "expired"]


def test_an_order_may_be_rejected_after_it_was_taken() -> None:
    exchange = Exchange(TinyMarket(), ny(THU, "09:00"))
    order = exchange.submit(OrderTicket("ACME", "buy", "market", "day", quantity_shares=Decimal(1)), reject_later=True)
    assert order.status == "accepted"
    exchange.advance(ny(THU, "09:30"))
    assert [order.status, order.failed_at, order.filled_shares] == ["rejected", ny(THU, "09:00"), 0]


def test_orders_sent_in_one_instant_have_instants_of_their_own_so_that_pages_lose_none() -> None:
    exchange = Exchange(TinyMarket(), ny(THU, "10:00"))
    sent = [send(exchange, "buy", "limit", "gtc", 1, limit_price_usd=50 + number) for number in range(7)]
    pages, until = [], None
    while page := exchange.floor.orders.matching(OrderFilter(limit=3, until=until)):
        pages += page
        until = page[-1].submitted_at
    assert pages == sent[::-1]


def test_a_listing_leaves_out_the_instants_that_it_lies_between() -> None:
    exchange = Exchange(TinyMarket(), ny(THU, "10:00"))
    sent = [send(exchange, "buy", "limit", "gtc", 1, limit_price_usd=50) for _ in range(4)]
    between = OrderFilter(after=sent[0].submitted_at, until=sent[3].submitted_at, ascending=True)
    assert exchange.floor.orders.matching(between) == sent[1:3]


def test_the_same_commands_give_the_same_ids() -> None:
    def ids() -> list[str]:
        exchange = Exchange(TinyMarket(), ny(THU, "10:00"))
        send(exchange, "buy", "market", "gtc", order_class="bracket", take_profit_usd=200, stop_loss_usd=50)
        exchange.advance(ny(FRI, "10:00"))
        book = exchange.floor
        return [*book.orders.orders, *(activity.activity_id for activity in book.book.activities)]

    assert ids() == ids()
    assert len(set(ids())) == len(ids()) == 4
