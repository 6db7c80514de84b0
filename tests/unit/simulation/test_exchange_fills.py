"""At which print an order fills, and at what price: tiny price series, one rule each."""

from decimal import Decimal
from random import Random

import pytest

from closebell.simulation.exchange.exchange import Exchange
from closebell.simulation.exchange.trading_floor import ExchangeOptions
from closebell.simulation.exchange.venue_orders import ExchangeOrder
from tests.contract.tiny_market import FRI, HALF_DAY, MON, THU, WED, TinyMarket, ny, one_symbol, own, send


def test_a_market_order_fills_at_the_first_print_after_it_and_never_at_one_before() -> None:
    exchange = Exchange(one_symbol([("09:30", 90, 100), ("10:00", 91, 100), ("11:00", 92, 100)]), ny(THU, "10:00"))
    order = send(exchange, "buy", "market")
    exchange.advance(ny(THU, "10:59"))
    assert [order.status, order.filled_shares] == ["new", 0]
    exchange.advance(ny(THU, "11:00"))
    assert (order.status, order.filled_average_price_usd, order.filled_at) == ("filled", Decimal(92), ny(THU, "11:00"))


def test_an_order_sent_before_the_open_is_accepted_then_new_and_fills_at_the_opening_print() -> None:
    exchange = Exchange(one_symbol([("09:31", 90, 100)]), ny(THU, "09:00"))
    order = send(exchange, "buy", "market")
    assert order.status == "accepted"
    exchange.advance(ny(THU, "09:30"))
    assert order.status == "new"
    exchange.advance(ny(THU, "09:35"))
    assert (order.status, order.filled_average_price_usd) == ("filled", Decimal(90))


def test_buyers_pay_half_the_spread_and_sellers_give_it() -> None:
    exchange = Exchange(TinyMarket(), ny(THU, "09:00"))
    bought = send(exchange, "buy", "market", symbol="WIDE")
    exchange.advance(ny(THU, "09:30"))
    sold = send(exchange, "sell", "market", symbol="WIDE")
    exchange.advance(ny(THU, "10:30"))
    assert (bought.filled_average_price_usd, sold.filled_average_price_usd) == (
        Decimal("101") * Decimal("1.005"),
        Decimal("102") * Decimal("0.995"),
    )


def test_a_gap_through_the_stop_fills_at_the_gap_and_not_at_the_stop() -> None:
    exchange = Exchange(one_symbol([("09:30", 50, 100), ("16:00", 50, 100)]), ny(WED, "17:00"))
    own(exchange)
    order = send(exchange, "sell", "stop", "gtc", stop_price_usd=90)
    exchange.advance(ny(THU, "16:00"))
    assert (order.status, order.filled_average_price_usd, order.filled_at) == ("filled", Decimal(50), ny(THU, "09:30"))


def limited(side: str, limit: int, path: list[tuple[str, str | int, int]]) -> ExchangeOrder:
    """An order for ten with a limit, sent the evening before the path, at 15:00."""
    exchange = Exchange(one_symbol(path), ny(WED, "17:00"))
    if side == "sell":
        own(exchange)
    order = send(exchange, side, "limit", limit_price_usd=limit)
    exchange.advance(ny(THU, "15:00"))
    return order


@pytest.mark.parametrize(
    ("side", "limit", "path", "price"),
    [
        ("buy", 95, [("09:30", 97, 100), ("10:00", 94, 100)], 95),  # crossed on the way: the limit
        ("buy", 95, [("09:30", 93, 100)], 93),  # gapped below it at the open: the print
        ("buy", 95, [("09:30", 96, 100), ("10:00", "95.01", 100)], None),  # never crossed
        ("buy", 95, [("09:30", 96, 100), ("10:00", 95, 100)], 95),  # touched
        ("sell", 105, [("09:30", 104, 100), ("10:00", 106, 100)], 105),
        ("sell", 105, [("09:30", 110, 100)], 110),
    ],
)
def test_a_limit_fills_at_its_price_or_better(
    side: str, limit: int, path: list[tuple[str, str | int, int]], price: int | None
) -> None:
    order = limited(side, limit, path)
    assert order.filled_average_price_usd == (None if price is None else Decimal(price))


def test_a_stop_limit_that_gapped_below_its_limit_rests_until_the_price_comes_back() -> None:
    exchange = Exchange(one_symbol([("09:30", 80, 100), ("10:00", 88, 100), ("11:00", 89, 100)]), ny(WED, "17:00"))
    own(exchange)
    order = send(exchange, "sell", "stop_limit", "gtc", stop_price_usd=90, limit_price_usd=89)
    exchange.advance(ny(THU, "10:30"))
    assert order.status == "new"
    exchange.advance(ny(THU, "11:00"))
    assert order.filled_average_price_usd == Decimal(89)


def test_a_stop_limit_fills_at_the_print_that_triggers_it_when_its_limit_allows() -> None:
    exchange = Exchange(one_symbol([("09:30", 100, 100), ("10:00", 88, 100)]), ny(WED, "17:00"))
    own(exchange)
    order = send(exchange, "sell", "stop_limit", "gtc", stop_price_usd=90, limit_price_usd=85)
    exchange.advance(ny(THU, "10:00"))
    assert order.filled_average_price_usd == Decimal(88)


def test_a_trailing_stop_follows_the_high_and_never_the_low() -> None:
    path = [("09:30", 100, 100), ("10:00", 110, 100), ("11:00", 106, 100), ("12:00", 105, 100), ("13:00", 90, 100)]
    exchange = Exchange(one_symbol(path), ny(WED, "17:00"))
    own(exchange)
    order = send(exchange, "sell", "trailing_stop", "gtc", trail_usd=5)
    exchange.advance(ny(THU, "11:30"))
    assert (order.status, order.water_mark_usd, order.stop_price_usd) == ("new", Decimal(110), Decimal(105))
    exchange.advance(ny(THU, "16:00"))
    assert (order.filled_average_price_usd, order.filled_at) == (Decimal(105), ny(THU, "12:00"))


def test_market_on_open_takes_the_first_print_and_market_on_close_the_last() -> None:
    exchange = Exchange(one_symbol([("09:30", 90, 100), ("12:00", 95, 100), ("16:00", 99, 100)]), ny(WED, "19:00"))
    opening, closing = send(exchange, "buy", "market", "opg"), send(exchange, "buy", "market", "cls")
    exchange.advance(ny(THU, "16:00"))
    assert (opening.filled_average_price_usd, closing.filled_average_price_usd) == (Decimal(90), Decimal(99))


def test_in_a_market_of_one_price_a_session_market_on_open_fills_at_that_price() -> None:
    exchange = Exchange(TinyMarket(), ny(THU, "09:00"))
    order = send(exchange, "buy", "market", "opg", symbol="ONCE")
    exchange.advance(ny(THU, "15:59"))
    assert order.status == "new"
    exchange.advance(ny(THU, "16:00"))
    assert (order.status, order.filled_average_price_usd) == ("filled", Decimal(101))


def test_a_limit_on_open_that_the_auction_does_not_cross_is_canceled() -> None:
    exchange = Exchange(one_symbol([("09:30", 90, 100), ("10:00", 80, 100)]), ny(WED, "19:00"))
    order = send(exchange, "buy", "limit", "opg", limit_price_usd=85)
    exchange.advance(ny(THU, "10:00"))
    assert [order.status, order.filled_shares] == ["canceled", 0]


def test_a_day_order_expires_at_the_close_and_a_gtc_order_lives_on() -> None:
    exchange = Exchange(one_symbol([("09:30", 100, 100), ("16:00", 100, 100)]), ny(THU, "09:00"))
    day, gtc = (
        send(exchange, "buy", "limit", "day", limit_price_usd=50),
        send(exchange, "buy", "limit", "gtc", limit_price_usd=50),
    )
    exchange.advance(ny(THU, "16:00"))
    assert (day.status, day.expired_at, gtc.status) == ("expired", ny(THU, "16:00"), "new")


def test_a_day_order_sent_after_the_close_is_for_the_next_session() -> None:
    exchange = Exchange(one_symbol([("09:30", 100, 100)]), ny(WED, "16:00"))
    order = send(exchange, "buy", "market")
    exchange.advance(ny(THU, "09:30"))
    assert order.status == "filled"


def test_a_half_day_ends_at_one_and_the_morning_after_daylight_saving_opens_an_hour_earlier_in_utc() -> None:
    exchange = Exchange(TinyMarket(), ny(FRI, "19:00"))
    monday = send(exchange, "buy", "market", "opg")
    exchange.advance(ny(MON, "09:30"))
    assert monday.filled_at is not None
    assert monday.filled_at.hour == 13
    assert ny(FRI, "09:30").hour == 14
    exchange.advance(ny(HALF_DAY, "12:30"))
    order = send(exchange, "buy", "limit", limit_price_usd=50)
    exchange.advance(ny(HALF_DAY, "13:00"))
    assert order.status == "expired"


def test_a_print_fills_no_more_than_its_share_of_size_and_the_rest_waits() -> None:
    exchange = Exchange(TinyMarket(), ny(THU, "09:00"), ExchangeOptions(print_share_frac=Decimal("0.5")))
    first, second = (
        send(exchange, "buy", "market", shares=8, symbol="THIN"),
        send(exchange, "buy", "market", shares=4, symbol="THIN"),
    )
    exchange.advance(ny(THU, "09:30"))
    assert [first.status, first.filled_shares, second.filled_shares] == ["partially_filled", 5, 0]
    exchange.advance(ny(THU, "10:30"))
    assert [first.status, first.filled_shares, second.filled_shares] == ["filled", 8, 2]


def test_unknown_size_limits_nothing() -> None:
    exchange = Exchange(
        TinyMarket(), ny(THU, "09:00"), ExchangeOptions(cash_usd=Decimal(10_000_000), print_share_frac=Decimal("0.01"))
    )
    order = send(exchange, "buy", "market", shares=50_000, symbol="ONCE")
    exchange.advance(ny(THU, "16:00"))
    assert order.filled_shares == 50_000


def test_a_partly_filled_gtc_order_is_done_for_the_day_and_works_again_in_the_morning() -> None:
    exchange = Exchange(TinyMarket(), ny(THU, "12:00"))
    order = send(exchange, "buy", "limit", "gtc", shares=15, symbol="THIN", limit_price_usd=20)
    exchange.advance(ny(THU, "16:00"))
    assert [order.status, order.filled_shares] == ["done_for_day", 10]
    exchange.advance(ny(FRI, "09:29"))
    assert order.is_open
    exchange.advance(ny(FRI, "09:30"))
    assert [order.status, order.filled_shares] == ["filled", 15]


def test_immediate_or_cancel_takes_what_the_next_print_gives_and_fill_or_kill_all_or_nothing() -> None:
    exchange = Exchange(TinyMarket(), ny(THU, "10:00"))
    taken = send(exchange, "buy", "market", "ioc", shares=15, symbol="THIN")
    exchange.advance(ny(THU, "10:30"))
    killed = send(exchange, "buy", "market", "fok", shares=15, symbol="THIN")
    exchange.advance(ny(THU, "12:00"))
    assert [taken.status, taken.filled_shares] == ["canceled", 10]
    assert [killed.status, killed.filled_shares] == ["canceled", 0]


def test_random_partial_fills_are_the_same_for_the_same_seed() -> None:
    def fills(seed: int) -> list[Decimal]:
        exchange = Exchange(TinyMarket(), ny(WED, "17:00"), ExchangeOptions(partial_fill_frac=0.5), Random(seed))
        for day in (THU, FRI, MON):
            exchange.advance(ny(day, "09:00"))
            send(exchange, "buy", "market", shares=100)
            exchange.advance(ny(day, "17:00"))
        return [activity.quantity_shares for activity in exchange.floor.book.activities]

    assert fills(3) == fills(3)
    assert sum(fills(3)) == 300
    assert Decimal(50) in fills(3)


def test_orders_wait_through_a_halt_and_meet_the_print_after_it() -> None:
    exchange = Exchange(TinyMarket(), ny(FRI, "09:45"))
    order = send(exchange, "buy", "market", symbol="STOP")
    exchange.advance(ny(FRI, "12:29"))
    assert order.status == "new"
    exchange.advance(ny(FRI, "12:30"))
    assert order.filled_average_price_usd == Decimal(40)


def test_a_print_of_the_instant_in_which_a_halt_begins_is_in_it() -> None:
    tapes = {"STOP": {FRI: [("09:30", 50, 1000), ("10:00", 45, 1000), ("12:30", 40, 1000)]}}
    exchange = Exchange(TinyMarket(tapes), ny(FRI, "09:45"))
    order = send(exchange, "buy", "market", symbol="STOP")
    exchange.advance(ny(FRI, "12:30"))
    assert (order.filled_average_price_usd, order.filled_at) == (Decimal(40), ny(FRI, "12:30"))


def test_a_symbol_halted_by_hand_neither_prints_nor_fills_until_it_resumes() -> None:
    exchange = Exchange(TinyMarket(), ny(THU, "09:45"))
    order = send(exchange, "buy", "market")
    exchange.halt("ACME", halted=True)
    exchange.advance(ny(THU, "11:00"))
    assert (order.status, exchange.tape.last_price_usd("ACME", exchange.now)) == ("new", Decimal(101))
    exchange.halt("ACME", halted=False)
    assert exchange.tape.last_price_usd("ACME", exchange.now) == Decimal(102)
    exchange.advance(ny(THU, "12:00"))
    assert order.filled_average_price_usd == Decimal(100)


def test_one_jump_gives_what_many_small_steps_give() -> None:
    def run(steps: int) -> list[object]:
        exchange = Exchange(TinyMarket(), ny(WED, "09:45"))
        send(exchange, "buy", "market", "day", 10)
        send(exchange, "buy", "limit", "gtc", 10, limit_price_usd=102, symbol="WIDE")
        send(exchange, "buy", "market", "day", 5, symbol="SPLT")
        begin, end = exchange.now, ny(HALF_DAY, "17:00")
        for step in range(1, steps + 1):
            exchange.advance(begin + (end - begin) * step / steps)
        return [exchange.equity_usd(), exchange.floor.book.activities, exchange.equity_points]

    assert run(1) == run(997)


def test_the_clock_does_not_go_back() -> None:
    exchange = Exchange(TinyMarket(), ny(THU, "10:00"))
    with pytest.raises(ValueError, match="only moves forwards"):
        exchange.advance(ny(THU, "09:59"))


@pytest.mark.parametrize(
    ("side", "limit", "path", "price"),
    [
        ("buy", 101, [("09:30", 100, 5), ("10:00", 100, 5)], "100"),  # it stood at 100 all the time
        ("buy", 101, [("09:30", 100, 5), ("10:00", 102, 5), ("11:00", 99, 5)], "100.5"),  # it left, and came back to the limit
        ("buy", 101, [("09:30", 102, 5), ("10:00", 99, 5), ("11:00", 98, 5)], "99.5"),
        ("sell", 108, [("09:30", 120, 5), ("10:00", 119, 5)], "119.5"),
    ],
)
def test_what_is_left_of_a_limit_takes_the_next_price_and_not_its_limit(
    side: str, limit: int, path: list[tuple[str, str | int, int]], price: str
) -> None:
    order = limited(side, limit, path)
    assert (order.filled_shares, order.filled_average_price_usd) == (Decimal(10), Decimal(price))


def test_what_a_limit_allows_of_the_spread_is_told_as_spread() -> None:
    exchange = Exchange(TinyMarket(), ny(THU, "09:00"))
    order = send(exchange, "buy", "limit", symbol="WIDE", limit_price_usd="101.2")  # 101, and half a spread of 0.505
    exchange.advance(ny(THU, "09:30"))
    assert (order.filled_average_price_usd, order.spread_paid_usd) == (Decimal("101.2"), 10 * Decimal("0.2"))
