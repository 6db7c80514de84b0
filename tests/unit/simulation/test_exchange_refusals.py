"""What the exchange refuses: HTTP status, code and words of each case, and that a refusal changes nothing."""

from datetime import datetime
from decimal import Decimal
from typing import Any

import pytest

from closebell.simulation.exchange.exchange import Exchange
from closebell.simulation.exchange.venue_orders import RefusalError
from tests.contract.tiny_market import FRI, HALF_DAY, THU, WED, TinyMarket, ny, own, send

LIMIT = {"side": "buy", "order_type": "limit", "limit_price_usd": 50}
BRACKET = {"order_class": "bracket", "time_in_force": "gtc", "take_profit_usd": 200, "stop_loss_usd": 50}

CASES: dict[str, tuple[dict[str, Any], int, int, str]] = {
    "unknown asset": ({"symbol": "NOPE"}, 422, 42210000, 'asset "NOPE" not found'),
    "not tradable": ({"symbol": "INDX"}, 422, 42210000, "asset INDX is not tradable"),
    "no symbol": ({"symbol": ""}, 422, 40010001, "symbol is required"),
    "side": ({"side": "long"}, 422, 40010001, "invalid side: long"),
    "type": ({"order_type": "iceberg"}, 422, 42210000, "invalid type: iceberg"),
    "time in force": ({"time_in_force": "gtd"}, 422, 42210000, "invalid time_in_force"),
    "zero": ({"shares": 0}, 422, 40010001, "qty must be > 0"),
    "negative": ({"shares": -1}, 422, 40010001, "qty must be > 0"),
    "neither qty nor notional": ({"shares": None}, 422, 40010001, "qty or notional is required"),
    "qty and notional": ({"notional_usd": 5}, 422, 40010001, "only one of qty or notional is accepted"),
    "long id": ({"client_order_id": "x" * 129}, 422, 40010001, "client_order_id must be no more than 128 characters"),
    "limit without price": ({"order_type": "limit"}, 422, 40010001, "limit orders require a limit price"),
    "market with price": ({"limit_price_usd": 5}, 422, 40010001, "market orders require no stop or limit price"),
    "sub-penny": (
        LIMIT | {"limit_price_usd": "50.005"}, 422, 42210000,
        "invalid limit_price 50.005. sub-penny increment does not fulfill minimum pricing criteria",
    ),
    "sub-penny below a dollar": (
        LIMIT | {"limit_price_usd": "0.50005"}, 422, 42210000,
        "invalid limit_price 0.50005. sub-penny increment does not fulfill minimum pricing criteria",
    ),
    "fractional gtc": ({"shares": "1.5", "time_in_force": "gtc"}, 422, 42210000, "fractional orders must be DAY orders"),
    "fractional bracket": (BRACKET | {"shares": "1.5"}, 422, 42210000, "fractional orders must be simple orders"),
    "ten places": ({"shares": "1.0000000001"}, 422, 42210000, "qty must be limited to 9 decimal places"),
    "not fractionable": ({"symbol": "SPLT", "shares": "1.5"}, 403, 40310000, 'asset "SPLT" is not fractionable'),
    "notional in mills": (
        {"shares": None, "notional_usd": "5.001"}, 422, 42210000, "notional value must be limited to 2 decimal places",
    ),
    "coin for a day": ({"symbol": "BTC/USD", "shares": "0.1"}, 422, 42210000, "invalid crypto time_in_force"),
    "coin stop": (
        {"symbol": "BTC/USD", "order_type": "stop", "time_in_force": "gtc", "stop_price_usd": 5}, 422, 42210000,
        "invalid order type for crypto order",
    ),
    "coin bracket": (BRACKET | {"symbol": "BTC/USD", "shares": "0.1"}, 422, 42210000, "crypto orders must be simple orders"),
    "coin floor": (
        {"symbol": "BTC/USD", "shares": "0.0001", "time_in_force": "gtc"}, 403, 40310000,
        "cost basis must be >= minimal amount of order 10",
    ),
    "equity floor": ({"shares": None, "notional_usd": "0.99"}, 403, 40310000, "cost basis must be >= minimal amount of order 1"),
    "bracket opg": (BRACKET | {"time_in_force": "opg"}, 422, 42210000, "bracket orders must be day or gtc"),
    "bracket without stop": (BRACKET | {"stop_loss_usd": None}, 422, 40010001, "bracket orders require stop_loss.stop_price"),
    "stop above target": (
        BRACKET | {"stop_loss_usd": 201}, 422, 42210000, "take_profit.limit_price must be > stop_loss.stop_price",
    ),
    "stop at base": (BRACKET | {"stop_loss_usd": 101}, 422, 42210000, "stop_loss.stop_price must be <= base_price - 0.01"),
    "target at base": (BRACKET | {"take_profit_usd": 101}, 422, 42210000, "take_profit.limit_price must be >= base_price + 0.01"),
    "oto with both exits": (
        BRACKET | {"order_class": "oto"}, 422, 40010001, "oto orders require either take_profit or stop_loss",
    ),
    "trailing both": (
        {"order_type": "trailing_stop", "trail_usd": 1, "trail_frac": "0.01"}, 422, 40010001,
        "trailing stop orders must specify one of trail_price or trail_percent",
    ),
    "extended market": ({"extended_hours": True}, 422, 42210000, "extended hours order must be DAY limit orders"),
    "opg by day": ({"time_in_force": "opg"}, 403, 40310000, "opg orders must be submitted after 7:00pm and before 9:28am"),
    "funds": ({"shares": 1000}, 403, 40310000, "insufficient buying power"),
    "phantom": (
        {"side": "sell", "shares": 4}, 403, 40310000, "insufficient qty available for order (requested: 4, available: 0)",
    ),
    "phantom coin": (
        {"symbol": "BTC/USD", "side": "sell", "shares": "0.1", "time_in_force": "gtc"}, 403, 40310000,
        "insufficient balance for BTC (requested: 0.1, available: 0)",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_a_bad_order_is_refused_in_alpacas_words_and_changes_nothing(name: str) -> None:
    terms, http_status, code, message = CASES[name]
    exchange = Exchange(TinyMarket(), ny(THU, "10:00"))
    given = {"side": "buy", "order_type": "market", "time_in_force": "day"} | {
        key: value for key, value in terms.items() if value is not None or key == "shares"
    }
    with pytest.raises(RefusalError) as refusal:
        send(exchange, **given)
    assert (refusal.value.http_status, refusal.value.code, str(refusal.value)) == (http_status, code, message)
    assert (exchange.floor.orders.orders, exchange.floor.book.cash_usd) == ({}, Decimal(100_000))


@pytest.mark.parametrize(
    ("at", "time_in_force", "taken"),
    [
        (ny(THU, "18:59"), "opg", False),
        (ny(THU, "19:00"), "opg", True),
        (ny(FRI, "09:27"), "opg", True),
        (ny(FRI, "09:28"), "opg", False),
        (ny(THU, "15:49"), "cls", True),
        (ny(THU, "15:50"), "cls", False),
        (ny(HALF_DAY, "12:50"), "cls", False),
    ],
)
def test_auction_orders_are_taken_in_their_window_only(at: datetime, time_in_force: str, taken: bool) -> None:
    exchange = Exchange(TinyMarket(), at)
    if taken:
        assert send(exchange, "buy", "market", time_in_force).is_open
    else:
        with pytest.raises(RefusalError, match=f"{time_in_force} orders must be submitted after"):
            send(exchange, "buy", "market", time_in_force)


def test_funds_and_shares_come_with_their_numbers() -> None:
    exchange = Exchange(TinyMarket(), ny(THU, "10:00"))
    with pytest.raises(RefusalError) as funds:
        send(exchange, "buy", "market", shares=1000)
    assert funds.value.details == {"buying_power": "100000.00", "cost_basis": "101000.00"}
    own(exchange, 10)
    send(exchange, "sell", "stop", "gtc", 10, stop_price_usd=50)
    with pytest.raises(RefusalError) as shares:
        send(exchange, "sell", "limit", "day", 4, limit_price_usd=200)
    assert shares.value.details == {"available": "0", "existing_qty": "10", "held_for_orders": "10", "symbol": "ACME"}


@pytest.mark.parametrize(
    "terms",
    [
        BRACKET | {"side": "buy", "order_type": "market", "take_profit_usd": "101.01", "stop_loss_usd": "100.99"},
        {"side": "sell", "order_type": "limit", "order_class": "oco", "take_profit_usd": "200.01", "stop_loss_usd": 200},
    ],
    ids=["a bracket by the price now", "an OCO by its own target"],
)
def test_exits_a_cent_away_from_what_they_are_measured_by_are_taken(terms: dict[str, Any]) -> None:
    exchange = Exchange(TinyMarket(), ny(THU, "10:00"))
    own(exchange, 10)
    assert exchange.tape.last_price_usd("ACME", exchange.now) == 101
    assert send(exchange, **{"time_in_force": "gtc"} | terms).is_open


def test_a_client_id_stays_taken_after_its_order_is_gone() -> None:
    exchange = Exchange(TinyMarket(), ny(THU, "10:00"))
    order = send(exchange, "buy", "limit", "gtc", limit_price_usd=50, client_order_id="ours-1")
    exchange.cancel(order.venue_order_id)
    exchange.advance(ny(THU, "10:01"))
    with pytest.raises(RefusalError) as refusal:
        send(exchange, "buy", "market", client_order_id="ours-1")
    assert (refusal.value.http_status, refusal.value.code, str(refusal.value)) == (
        422,
        40010001,
        "client_order_id must be unique",
    )
    assert exchange.submissions["ours-1"] == 2


@pytest.mark.parametrize(
    ("terms", "refused"),
    [
        ({"order_type": "market"}, True),
        ({"order_type": "stop", "stop_price_usd": 40}, True),
        ({"order_type": "limit", "limit_price_usd": 50}, True),
        ({"order_type": "limit", "limit_price_usd": "50.01"}, False),
        ({"order_type": "limit", "order_class": "oco", "take_profit_usd": 200, "stop_loss_usd": 40}, False),
    ],
)
def test_a_sell_that_could_meet_our_own_resting_buy_is_a_wash_trade(terms: dict[str, Any], refused: bool) -> None:
    exchange = Exchange(TinyMarket(), ny(THU, "10:00"))
    own(exchange, 10)
    resting = send(exchange, "buy", "limit", "gtc", 10, limit_price_usd=50)
    if not refused:
        assert send(exchange, "sell", time_in_force="gtc", **terms).is_open
        return
    with pytest.raises(RefusalError, match="potential wash trade detected. use complex orders") as refusal:
        send(exchange, "sell", time_in_force="gtc", **terms)
    assert refusal.value.details == {
        "existing_order_id": resting.venue_order_id,
        "reject_reason": "opposite side limit order exists",
    }


def test_a_buy_at_the_limit_of_our_own_resting_sale_is_a_wash_trade_and_one_below_it_is_not() -> None:
    exchange = Exchange(TinyMarket(), ny(THU, "10:00"))
    own(exchange, 10)
    send(exchange, "sell", "limit", "gtc", 10, limit_price_usd=200)
    with pytest.raises(RefusalError, match="potential wash trade detected"):
        send(exchange, "buy", "limit", "gtc", 10, limit_price_usd=200)
    assert send(exchange, "buy", "limit", "gtc", 10, limit_price_usd="199.99").is_open


def test_a_group_may_stand_against_an_order_on_the_other_side() -> None:
    exchange = Exchange(TinyMarket(), ny(THU, "10:00"))
    own(exchange, 10)
    send(exchange, "buy", "stop", "gtc", 10, stop_price_usd=300)
    with pytest.raises(RefusalError, match="potential wash trade detected"):
        send(exchange, "sell", "limit", "gtc", 10, limit_price_usd=200)
    assert send(exchange, "sell", "limit", "gtc", 10, order_class="oco", take_profit_usd=200, stop_loss_usd=40).is_open


def test_a_restricted_account_may_close_and_a_blocked_one_may_do_nothing() -> None:
    exchange = Exchange(TinyMarket(), ny(THU, "10:00"))
    own(exchange, 10)
    exchange.restrict("closing_only")
    with pytest.raises(RefusalError, match="restricted to liquidation only"):
        send(exchange, "buy", "market")
    assert send(exchange, "sell", "market", shares=4).is_open
    exchange.restrict("blocked")
    with pytest.raises(RefusalError, match="not allowed to trade"):
        send(exchange, "sell", "market", shares=4)


def test_an_asset_can_be_delisted_and_listed_again() -> None:
    exchange = Exchange(TinyMarket(), ny(THU, "10:00"))
    exchange.set_tradable("ACME", tradable=False)
    with pytest.raises(RefusalError, match="asset ACME is not tradable"):
        send(exchange, "buy", "market")
    exchange.set_tradable("ACME", tradable=True)
    assert send(exchange, "buy", "market").is_open


def test_a_symbol_without_a_price_cannot_be_ordered() -> None:
    with pytest.raises(RefusalError, match="asset ACME has no price"):
        send(Exchange(TinyMarket(), ny(WED, "09:00")), "buy", "market")


def test_orders_and_positions_that_do_not_exist_are_not_found() -> None:
    exchange = Exchange(TinyMarket(), ny(THU, "10:00"))
    with pytest.raises(RefusalError) as order:
        exchange.cancel("no-such-order")
    with pytest.raises(RefusalError) as position:
        exchange.close_position("ACME")
    assert (order.value.http_status, order.value.code, position.value.code) == (404, 40410000, 40410000)
