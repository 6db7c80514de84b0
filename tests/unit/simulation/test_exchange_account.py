"""The hidden book: cash, positions, buying power, shares held, fees, splits, transfers, the user's own trades."""

from decimal import Decimal

import pytest

from closebell.model.broker import Side
from closebell.simulation.exchange.account_checks import available_shares, buying_power_usd
from closebell.simulation.exchange.exchange import Exchange, Replacement
from closebell.simulation.exchange.trading_floor import ExchangeOptions
from closebell.simulation.exchange.venue_orders import RefusalError
from closebell.simulation.market import Split
from tests.contract.tiny_market import FRI, MON, SPLIT_DAY, THU, TUE, WED, TinyMarket, ny, own, send, utc


def power(exchange: Exchange) -> Decimal:
    return buying_power_usd(exchange.floor, exchange.now)


def test_cash_changes_by_what_was_traded_and_equity_by_the_price() -> None:
    exchange = Exchange(TinyMarket(), ny(THU, "10:00"))
    send(exchange, "buy", "market")
    exchange.advance(ny(THU, "10:30"))
    assert (exchange.floor.book.cash_usd, exchange.equity_usd()) == (Decimal(100_000) - 1020, Decimal(100_000))
    exchange.advance(ny(THU, "12:00"))
    assert exchange.equity_usd() == Decimal(100_000) - 20


def test_open_buys_reserve_buying_power_and_working_sells_give_none_back() -> None:
    exchange = Exchange(TinyMarket(), ny(THU, "10:00"))
    own(exchange, 100)
    cash = exchange.floor.book.cash_usd
    buy = send(exchange, "buy", "limit", "gtc", 10, limit_price_usd=50, symbol="WIDE")
    send(exchange, "sell", "limit", "gtc", 100, limit_price_usd=500)
    assert power(exchange) == cash - 500
    exchange.cancel(buy.venue_order_id)
    assert power(exchange) == cash - 500
    exchange.advance(ny(THU, "10:01"))
    assert power(exchange) == cash


def test_a_purchase_in_parts_reserves_what_is_still_to_come() -> None:
    exchange = Exchange(TinyMarket(), ny(THU, "10:00"))
    send(exchange, "buy", "limit", "gtc", 15, symbol="THIN", limit_price_usd=25)
    exchange.advance(ny(THU, "10:30"))
    assert exchange.floor.book.shares("THIN") == 10
    assert power(exchange) == exchange.floor.book.cash_usd - 5 * 25


def test_a_margin_account_buys_twice_its_equity_but_no_coins_on_credit() -> None:
    exchange = Exchange(TinyMarket(), ny(THU, "10:00"), ExchangeOptions(margin_multiplier_ratio=2))
    assert power(exchange) == 200_000
    send(exchange, "buy", "limit", "day", 1500, limit_price_usd=100)
    assert power(exchange) == 50_000
    with pytest.raises(RefusalError, match="insufficient buying power"):
        send(exchange, "buy", "market", "gtc", "0.5", symbol="BTC/USD")


def test_shares_in_working_sells_are_held_and_a_group_holds_them_once() -> None:
    exchange = Exchange(TinyMarket(), ny(THU, "10:00"))
    own(exchange, 10)
    order = send(exchange, "sell", "limit", "gtc", 6, order_class="oco", take_profit_usd=200, stop_loss_usd=50)
    assert available_shares(exchange.floor, "ACME") == 4
    exchange.cancel(order.venue_order_id)
    assert available_shares(exchange.floor, "ACME") == 4
    exchange.advance(ny(THU, "10:01"))
    assert available_shares(exchange.floor, "ACME") == 10


def test_a_group_holds_what_its_largest_member_may_sell() -> None:
    exchange = Exchange(TinyMarket(), ny(THU, "10:00"), ExchangeOptions(cancel_latency_s=0))
    own(exchange, 10)
    target = send(exchange, "sell", "limit", "gtc", 10, order_class="oco", take_profit_usd=200, stop_loss_usd=50)
    exchange.replace(target.legs[0].venue_order_id, Replacement(quantity_shares=Decimal(6)))
    assert available_shares(exchange.floor, "ACME") == 0


def test_orders_for_more_than_a_split_has_left_free_no_shares() -> None:
    exchange = Exchange(TinyMarket(splits={"SPLT": (Split(SPLIT_DAY, Decimal("0.5")),)}), ny(MON, "12:30"))
    own(exchange, 10, "SPLT")
    send(exchange, "sell", "stop", "gtc", 10, symbol="SPLT", stop_price_usd=20)
    exchange.advance(ny(SPLIT_DAY, "09:00"))
    assert [exchange.floor.book.shares("SPLT"), available_shares(exchange.floor, "SPLT")] == [5, 0]


def test_a_purchase_that_cost_more_than_there_was_leaves_nothing_to_buy_with() -> None:
    exchange = Exchange(TinyMarket(), ny(THU, "10:00"))
    send(exchange, "buy", "market", "day", 990)
    exchange.advance(ny(THU, "10:30"))
    assert [exchange.floor.book.cash_usd, power(exchange)] == [100_000 - 990 * 102, 0]


def test_all_that_is_there_may_be_spent() -> None:
    exchange = Exchange(TinyMarket(), ny(THU, "10:00"))
    assert send(exchange, "buy", "limit", "day", 1_000, limit_price_usd=100).is_open
    assert power(exchange) == 0
    lender = Exchange(TinyMarket(), ny(THU, "10:00"), ExchangeOptions(margin_multiplier_ratio=2))
    assert send(lender, "sell", "limit", "day", 1_000, limit_price_usd=200).is_open


def test_a_coin_buyer_pays_the_fee_in_coins_and_a_seller_in_dollars() -> None:
    exchange = Exchange(TinyMarket(), utc(THU, "05:00"))
    bought = send(exchange, "buy", "market", "gtc", "0.1", symbol="BTC/USD")
    exchange.advance(utc(THU, "06:00"))
    assert (bought.filled_shares, exchange.floor.book.shares("BTC/USD")) == (Decimal("0.1"), Decimal("0.09975"))
    assert exchange.floor.book.holdings["BTC/USD"].average_price_usd == 60600
    cash = exchange.floor.book.cash_usd
    assert cash == Decimal(100_000) - 6060
    send(exchange, "sell", "limit", "gtc", "0.09975", symbol="BTC/USD", limit_price_usd=59900)
    exchange.advance(utc(FRI, "06:00"))
    sold = Decimal("0.09975") * 59900
    assert exchange.floor.book.shares("BTC/USD") == 0
    assert exchange.floor.book.cash_usd - cash == sold - sold * Decimal("0.0015")  # the order rested when the price came: maker
    assert [activity.code for activity in exchange.floor.book.activities] == ["FILL", "CFEE", "FILL", "CFEE"]


def test_a_coin_market_order_does_not_chase_the_price_beyond_two_percent() -> None:
    tapes = {"BTC/USD": {THU: [("06:00", 60000, 2), ("07:00", 62000, 2), ("08:00", 61000, 2)]}}
    exchange = Exchange(TinyMarket(tapes), utc(THU, "06:30"))
    order = send(exchange, "buy", "market", "gtc", "0.1", symbol="BTC/USD")
    exchange.advance(utc(THU, "07:30"))
    assert order.status == "new"
    exchange.advance(utc(THU, "08:00"))
    assert order.filled_average_price_usd == Decimal(61200)  # a limit two percent above 60000


def test_a_notional_order_buys_what_the_money_buys_in_nine_places() -> None:
    exchange = Exchange(TinyMarket(), ny(THU, "10:00"))
    order = send(exchange, "buy", "market", "day", None, notional_usd=250)
    exchange.advance(ny(THU, "10:30"))
    assert (order.status, order.filled_shares) == ("filled", Decimal("2.450980392"))
    assert Decimal(250) - order.filled_value_usd < Decimal("0.0000002")


def test_a_split_multiplies_the_position_and_leaves_its_worth() -> None:
    exchange = Exchange(TinyMarket(), ny(MON, "12:30"))
    own(exchange, 10, "SPLT")
    worth = exchange.equity_usd()
    exchange.advance(ny(MON, "23:59:59"))
    assert exchange.floor.book.shares("SPLT") == 10
    exchange.advance(ny(SPLIT_DAY, "00:00"))
    assert [exchange.floor.book.shares("SPLT"), exchange.equity_usd()] == [20, worth]
    activity = exchange.floor.book.activities[-1]
    assert [activity.code, activity.quantity_shares, activity.amount_usd] == ["SPLIT", 10, 0]


def test_what_trades_after_a_split_is_priced_as_it_trades() -> None:
    exchange = Exchange(TinyMarket(), ny(MON, "12:30"))
    own(exchange, 10, "SPLT")
    worth = exchange.equity_usd()
    for clock in ("09:00", "09:30", "16:00"):
        exchange.advance(ny(SPLIT_DAY, clock))
        assert exchange.tape.last_price_usd("SPLT", exchange.now) == 100
        assert exchange.equity_usd() == worth


def test_a_split_adjusts_a_resting_gtc_limit_but_no_bracket_and_no_stop() -> None:
    exchange = Exchange(TinyMarket(), ny(MON, "12:30"))
    own(exchange, 30, "SPLT")
    limit = send(exchange, "sell", "limit", "gtc", 10, symbol="SPLT", limit_price_usd=300)
    stop = send(exchange, "sell", "stop", "gtc", 10, symbol="SPLT", stop_price_usd=150)
    group = send(exchange, "sell", "limit", "gtc", 10, symbol="SPLT", order_class="oco", take_profit_usd=300, stop_loss_usd=20)
    exchange.advance(ny(TUE, "09:00"))
    assert [limit.quantity_shares, limit.limit_price_usd] == [20, 150]
    assert [stop.quantity_shares, stop.stop_price_usd] == [10, 150]
    assert [group.quantity_shares, group.limit_price_usd] == [10, 300]


def test_money_in_and_out_is_an_activity_of_its_own() -> None:
    exchange = Exchange(TinyMarket(), ny(THU, "10:00"))
    exchange.transfer(Decimal(500))
    exchange.transfer(Decimal(-200))
    booked = {activity.code: activity.amount_usd for activity in exchange.floor.book.activities}
    assert booked == {"CSD": Decimal(500), "CSW": Decimal(-200)}
    assert exchange.equity_usd() == 100_300


def test_the_user_sells_by_hand_what_our_stop_holds_and_the_stop_is_gone() -> None:
    exchange = Exchange(TinyMarket(), ny(THU, "10:00"))
    own(exchange, 10)
    stop = send(exchange, "sell", "stop", "gtc", 10, stop_price_usd=50)
    order = exchange.trade_manually("ACME", Side.SELL, Decimal(10))
    assert [order.status, stop.status, exchange.floor.book.shares("ACME")] == ["filled", "canceled", 0]


def test_short_sales_need_margin_whole_shares_and_an_asset_that_is_lent() -> None:
    exchange = Exchange(TinyMarket(), ny(THU, "10:00"), ExchangeOptions(margin_multiplier_ratio=2))
    send(exchange, "sell", "market", "day", 10)
    exchange.advance(ny(THU, "10:30"))
    assert exchange.floor.book.shares("ACME") == -10
    exchange.close_position("ACME")
    exchange.advance(ny(THU, "12:00"))
    assert [exchange.floor.book.shares("ACME"), exchange.equity_usd()] == [0, Decimal(100_000) + 20]
    with pytest.raises(RefusalError, match="fractional orders cannot be sold short"):
        send(exchange, "sell", "market", "day", "1.5")
    with pytest.raises(RefusalError, match='asset "SPLT" cannot be sold short'):
        send(exchange, "sell", "market", symbol="SPLT")


def test_what_is_sold_short_takes_buying_power_and_no_more_than_that_is_bought_back() -> None:
    exchange = Exchange(TinyMarket(), ny(THU, "10:00"), ExchangeOptions(margin_multiplier_ratio=2))
    send(exchange, "sell", "market", "day", 10)
    exchange.advance(ny(THU, "10:30"))
    assert power(exchange) == 2 * 100_000 - 10 * 102
    with pytest.raises(RefusalError, match=r"insufficient qty available for order \(requested: 11, available: 10\)"):
        send(exchange, "buy", "market", "day", 11)


def test_neither_a_group_of_exits_nor_a_coin_is_sold_short() -> None:
    exchange = Exchange(TinyMarket(), ny(THU, "10:00"), ExchangeOptions(margin_multiplier_ratio=2))
    send(exchange, "sell", "market", "day", 10)
    exchange.advance(ny(THU, "10:30"))
    with pytest.raises(RefusalError, match=r"insufficient qty available for order \(requested: 10, available: 0\)") as group:
        send(exchange, "sell", "limit", "gtc", 10, order_class="oco", take_profit_usd=200, stop_loss_usd=50)
    assert (group.value.details["existing_qty"], group.value.details["held_for_orders"]) == ("0", "0")
    with pytest.raises(RefusalError, match=r"insufficient balance for BTC \(requested: 0.1, available: 0\)"):
        send(exchange, "sell", "market", "gtc", "0.1", symbol="BTC/USD")


def test_exits_of_what_was_sold_short_reserve_nothing_and_may_be_moved_up_without_means() -> None:
    exchange = Exchange(TinyMarket(), ny(THU, "10:00"), ExchangeOptions(margin_multiplier_ratio=2, cancel_latency_s=0))
    send(exchange, "sell", "market", "day", 10)
    exchange.advance(ny(THU, "10:30"))
    before_usd = power(exchange)
    target = send(exchange, "buy", "limit", "gtc", 10, order_class="oco", take_profit_usd=90, stop_loss_usd=150)
    assert power(exchange) == before_usd
    send(exchange, "buy", "limit", "day", 1_980, symbol="WIDE", limit_price_usd=100)
    assert power(exchange) < 1_000
    assert exchange.replace(target.legs[0].venue_order_id, Replacement(stop_price_usd=Decimal(300))).is_open


def test_a_short_sale_that_waits_may_grow() -> None:
    exchange = Exchange(TinyMarket(), ny(THU, "10:00"), ExchangeOptions(margin_multiplier_ratio=2))
    sale = send(exchange, "sell", "limit", "gtc", 5, limit_price_usd=200)
    assert exchange.replace(sale.venue_order_id, Replacement(quantity_shares=Decimal(8))).is_open


def test_an_order_may_grow_by_what_is_left_and_no_further() -> None:
    """The order that is replaced gives back what it held: what it needs more has to be there, of money or of shares."""
    exchange = Exchange(TinyMarket(), ny(THU, "10:00"))
    buy = send(exchange, "buy", "limit", "gtc", 1_000, limit_price_usd=90)
    assert power(exchange) == 10_000
    with pytest.raises(RefusalError, match="insufficient buying power"):
        exchange.replace(buy.venue_order_id, Replacement(quantity_shares=Decimal(1_112)))
    assert exchange.replace(buy.venue_order_id, Replacement(quantity_shares=Decimal(1_111))).is_open
    owner = Exchange(TinyMarket(), ny(THU, "10:00"))
    own(owner, 10)
    sale = send(owner, "sell", "limit", "gtc", 6, limit_price_usd=500)
    with pytest.raises(RefusalError, match=r"insufficient qty available for order \(requested: 11, available: 4\)"):
        owner.replace(sale.venue_order_id, Replacement(quantity_shares=Decimal(11)))
    assert owner.replace(sale.venue_order_id, Replacement(quantity_shares=Decimal(10))).is_open


def test_last_equity_is_that_of_the_trading_day_before() -> None:
    exchange = Exchange(TinyMarket(), ny(WED, "12:30"))
    own(exchange, 100)
    exchange.advance(ny(WED, "17:00"))
    assert exchange.last_equity_usd() == 100_000
    exchange.advance(ny(THU, "09:00"))
    assert exchange.last_equity_usd() == exchange.equity_points[0].equity_usd == Decimal(100_000) + 150
    assert [point.session for point in exchange.equity_points] == [WED]


def test_ending_a_sale_of_what_is_no_longer_there_leaves_no_short() -> None:
    exchange = Exchange(TinyMarket(), ny(MON, "12:30"))
    own(exchange, 10)
    order = send(exchange, "sell", "market", "day", 10)
    exchange.floor.book.trade(order.market, "ACME", Side.SELL, Decimal(10), Decimal(1))
    exchange.advance(ny(MON, "16:00"))
    assert [order.status, exchange.floor.book.shares("ACME")] == ["canceled", 0]


def test_the_rest_of_a_coin_order_that_takes_pays_as_a_taker() -> None:
    tapes = {"BTC/USD": {THU: [("06:00", 60000, "0.05"), ("07:00", 60000, "0.05")], FRI: [("06:00", 60000, "0.05")]}}
    exchange = Exchange(TinyMarket(tapes), utc(THU, "06:30"))
    order = send(exchange, "buy", "limit", "gtc", "0.1", symbol="BTC/USD", limit_price_usd=60100)
    exchange.advance(utc(FRI, "07:00"))
    assert (order.filled_shares, order.filled_average_price_usd) == (Decimal("0.1"), Decimal(60000))
    assert order.commission_usd == Decimal("0.0025") * 6000


def test_an_order_is_charged_once_however_many_parts_it_trades_in() -> None:
    costs = ExchangeOptions(commission_an_order_usd=Decimal(2), commission_a_share_usd=Decimal("0.0015"))
    exchange = Exchange(TinyMarket(), ny(THU, "09:00"), costs)
    order = send(exchange, "buy", "market", shares=15, symbol="THIN")
    exchange.advance(ny(THU, "16:00"))
    assert len([line for line in exchange.floor.book.activities if line.code == "FILL"]) == 2
    assert (order.commission_usd, -sum(paid(exchange))) == (Decimal("2.02"), Decimal("2.02"))


def test_a_round_trip_costs_the_same_in_one_order_or_in_many() -> None:
    trip = ExchangeOptions(commission_a_round_trip_usd=Decimal("5.01"))
    exchange = Exchange(TinyMarket(), ny(THU, "09:00"), trip)
    send(exchange, "buy", "market", shares=8, symbol="THIN")
    exchange.advance(ny(THU, "10:00"))
    send(exchange, "buy", "market", shares=4, symbol="THIN")
    exchange.advance(ny(FRI, "09:00"))
    assert exchange.floor.book.shares("THIN") == 12
    assert paid(exchange) == [Decimal("-2.51")]
    send(exchange, "sell", "market", shares=5, symbol="THIN")
    send(exchange, "sell", "market", shares=7, symbol="THIN")
    exchange.advance(ny(FRI, "16:00"))
    assert exchange.floor.book.shares("THIN") == 0
    assert paid(exchange) == [Decimal("-2.51"), Decimal("-2.50")]


def paid(exchange: Exchange) -> list[Decimal]:
    return [activity.amount_usd for activity in exchange.floor.book.activities if activity.code == "FEE"]


def test_what_a_limit_has_bought_before_a_split_is_split_with_the_rest() -> None:
    tapes = {"SPLT": {MON: [("09:30", 210, 100), ("10:00", 200, 4)], SPLIT_DAY: [("10:00", 110, 100), ("11:00", 100, 100)]}}
    exchange = Exchange(TinyMarket(tapes), ny(MON, "09:45"))
    order = send(exchange, "buy", "limit", "gtc", 10, symbol="SPLT", limit_price_usd=200)
    exchange.advance(ny(SPLIT_DAY, "09:00"))
    assert [order.filled_shares, order.quantity_shares, order.limit_price_usd] == [8, 20, 100]
    exchange.advance(ny(SPLIT_DAY, "12:00"))
    assert exchange.floor.book.shares("SPLT") == 20


def test_an_order_of_the_minimum_is_taken() -> None:
    exchange = Exchange(TinyMarket(), ny(THU, "10:00"))
    assert send(exchange, "buy", "limit", "gtc", 1, limit_price_usd=1).status == "new"


def test_a_sale_in_part_leaves_the_average_price_of_the_rest() -> None:
    exchange = Exchange(TinyMarket(), ny(THU, "10:00"))
    own(exchange, 10)
    bought_usd = exchange.floor.book.holdings["ACME"].average_price_usd
    exchange.advance(ny(THU, "12:30"))
    exchange.trade_manually("ACME", Side.SELL, Decimal(4))
    assert exchange.floor.book.holdings["ACME"].average_price_usd == bought_usd == 101


def test_an_execution_that_is_corrected_to_a_lower_price_gives_money_back() -> None:
    exchange = Exchange(TinyMarket(), ny(THU, "10:00"))
    own(exchange, 10)
    book, cash_usd = exchange.floor.book, exchange.floor.book.cash_usd
    book.correct(book.activities[0].activity_id, Decimal(100), exchange.now)
    assert book.cash_usd == cash_usd + 10
    assert [book.holdings["ACME"].average_price_usd, book.activities[-1].amount_usd] == [100, 10]
