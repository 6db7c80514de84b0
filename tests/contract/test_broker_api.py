"""alpaca-py, with its models and raw, trading on the simulated exchange."""

import json
from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from alpaca.common.exceptions import APIError
from alpaca.trading.client import TradingClient
from alpaca.trading.enums import OrderClass, OrderSide, OrderStatus, OrderType, QueryOrderStatus, TimeInForce
from alpaca.trading.requests import (
    ClosePositionRequest,
    GetCalendarRequest,
    GetOptionContractsRequest,
    GetOrderByIdRequest,
    GetOrdersRequest,
    GetPortfolioHistoryRequest,
    LimitOrderRequest,
    MarketOrderRequest,
    ReplaceOrderRequest,
    StopLimitOrderRequest,
    StopLossRequest,
    StopOrderRequest,
    TakeProfitRequest,
    TrailingStopOrderRequest,
)

from tests.contract.conftest import ExchangeSite, OpenExchange, http
from tests.contract.tiny_market import FRI, HALF_DAY, MON, THU, TUE, WED, ny, utc

BUY, SELL = OrderSide.BUY, OrderSide.SELL
DAY, GTC = TimeInForce.DAY, TimeInForce.GTC


def market(
    side: OrderSide = BUY, qty: float = 10, symbol: str = "ACME", tif: TimeInForce = DAY, **more: Any
) -> MarketOrderRequest:
    return MarketOrderRequest(symbol=symbol, qty=qty, side=side, time_in_force=tif, **more)


def limit(price: float, side: OrderSide = BUY, qty: float = 10, tif: TimeInForce = GTC, **more: Any) -> LimitOrderRequest:
    return LimitOrderRequest(symbol="ACME", qty=qty, side=side, time_in_force=tif, limit_price=price, **more)


def error_of(error: APIError) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(str(error))
    return body


def test_account_clock_and_calendar_fit_the_models(site: ExchangeSite) -> None:
    account = site.trading.get_account()
    assert (account.cash, account.buying_power, account.multiplier, account.daytrade_count) == ("100000", "100000", "1", None)
    clock = site.trading.get_clock()
    assert clock.is_open
    assert (clock.timestamp, clock.next_open, clock.next_close) == (ny(THU, "10:00"), ny(FRI, "09:30"), ny(THU, "16:00"))
    assert clock.timestamp.utcoffset() == timedelta(hours=-5)
    days = site.trading.get_calendar(GetCalendarRequest(start=TUE, end=HALF_DAY))
    assert [f"{day.open:%H:%M}-{day.close:%H:%M}" for day in days] == ["09:30-16:00", "09:30-13:00"]
    assert not site.trading.get_account_configurations().suspend_trade


def test_assets_are_found_by_symbol_and_id_in_either_spelling(site: ExchangeSite) -> None:
    assets = {asset.symbol: asset for asset in site.trading.get_all_assets()}
    assert not assets["INDX"].tradable
    assert site.trading.get_asset("BTC/USD").id == site.trading.get_asset("BTCUSD").id == assets["BTC/USD"].id
    assert site.trading.get_asset(assets["ACME"].id).symbol == "ACME"
    assert (assets["BTC/USD"].min_trade_increment, assets["BTC/USD"].asset_class) == (1e-9, "crypto")


@pytest.mark.parametrize(
    ("request_", "order_type"),
    [
        (market(), OrderType.MARKET),
        (limit(50), OrderType.LIMIT),
        (StopOrderRequest(symbol="ACME", qty=1, side=BUY, time_in_force=GTC, stop_price=150), OrderType.STOP),
        (StopLimitOrderRequest(symbol="ACME", qty=1, side=BUY, time_in_force=DAY, stop_price=5, limit_price=6), "stop_limit"),
        (TrailingStopOrderRequest(symbol="ACME", qty=1, side=BUY, time_in_force=GTC, trail_percent=10), OrderType.TRAILING_STOP),
        (market(tif=TimeInForce.CLS), OrderType.MARKET),
        (market(tif=TimeInForce.IOC), OrderType.MARKET),
        (market(tif=TimeInForce.FOK), OrderType.MARKET),
    ],
)  # fmt: skip
def test_every_order_type_is_taken_and_reads_the_same_by_either_id(
    request_: MarketOrderRequest, order_type: OrderType, site: ExchangeSite
) -> None:
    request_ = request_.model_copy(update={"client_order_id": "ours"})
    sent = site.trading.submit_order(request_)
    assert (sent.type, sent.status, sent.order_class, sent.client_order_id) == (
        order_type,
        OrderStatus.NEW,
        OrderClass.SIMPLE,
        "ours",
    )
    assert site.trading.get_order_by_id(sent.id) == site.trading.get_order_by_client_id("ours") == sent


def test_an_order_is_accepted_new_filled_and_becomes_a_position(open_exchange: OpenExchange) -> None:
    site = open_exchange(ny(THU, "09:00"))
    sent = site.trading.submit_order(market())
    assert sent.status is OrderStatus.ACCEPTED
    site.advance(ny(THU, "09:30"))
    filled = site.trading.get_order_by_id(sent.id)
    assert (filled.status, filled.filled_qty, filled.filled_avg_price, filled.filled_at) == (
        OrderStatus.FILLED,
        "10",
        "101",
        ny(THU, "09:30"),
    )
    site.advance(ny(THU, "10:30"))
    position = site.trading.get_open_position("ACME")
    assert (position.qty, position.qty_available, position.avg_entry_price, position.market_value) == ("10", "10", "101", "1020")
    assert (position.unrealized_pl, position.cost_basis, position.lastday_price) == ("10", "1010", "100.5")
    assert site.trading.get_account().equity == "100010"


def test_a_cancel_is_asynchronous_and_still_open_meanwhile(site: ExchangeSite) -> None:
    sent = site.trading.submit_order(limit(50))
    site.trading.cancel_order_by_id(sent.id)
    assert [order.status for order in site.trading.get_orders()] == [OrderStatus.PENDING_CANCEL]
    site.advance(ny(THU, "10:01"))
    assert site.trading.get_orders() == []
    assert site.trading.get_order_by_id(sent.id).status is OrderStatus.CANCELED
    site.trading.cancel_order_by_id(sent.id)


def test_canceling_a_filled_order_is_refused(site: ExchangeSite) -> None:
    sent = site.trading.submit_order(market())
    site.advance(ny(THU, "10:30"))
    with pytest.raises(APIError) as error:
        site.trading.cancel_order_by_id(sent.id)
    assert (error.value.status_code, error.value.code, error.value.message) == (
        422,
        42210000,
        'order is already in "filled" state',
    )


def test_cancel_all_answers_for_each_order(site: ExchangeSite) -> None:
    sent = {site.trading.submit_order(limit(price)).id for price in (50, 51)}
    answers = site.trading.cancel_orders()
    assert ({answer.id for answer in answers}, {answer.status for answer in answers}) == (sent, {200})


def test_a_replace_gives_a_new_id_and_is_not_final(site: ExchangeSite) -> None:
    old = site.trading.submit_order(limit(50))
    new = site.trading.replace_order_by_id(old.id, ReplaceOrderRequest(qty=4, limit_price=51))
    assert (new.replaces, new.qty, new.limit_price, new.status) == (old.id, "4", "51", OrderStatus.PENDING_NEW)
    assert site.trading.get_order_by_id(old.id).status is OrderStatus.PENDING_REPLACE
    site.advance(ny(THU, "10:01"))
    old = site.trading.get_order_by_id(old.id)
    assert (old.status, old.replaced_by, site.trading.get_order_by_id(new.id).status) == (
        OrderStatus.REPLACED,
        new.id,
        OrderStatus.NEW,
    )


def test_a_bracket_shows_its_legs_nested_and_alone(site: ExchangeSite) -> None:
    exits: dict[str, Any] = {"take_profit": TakeProfitRequest(limit_price=120), "stop_loss": StopLossRequest(stop_price=90)}
    sent = site.trading.submit_order(market(order_class=OrderClass.BRACKET, tif=GTC, **exits))
    assert [(leg.type, leg.status) for leg in sent.legs or []] == [
        (OrderType.LIMIT, OrderStatus.HELD),
        (OrderType.STOP, OrderStatus.HELD),
    ]
    assert len(site.trading.get_orders(GetOrdersRequest(status=QueryOrderStatus.OPEN))) == 3
    nested = site.trading.get_orders(GetOrdersRequest(status=QueryOrderStatus.OPEN, nested=True))
    assert [len(order.legs or []) for order in nested] == [2]
    site.advance(ny(THU, "10:30"))
    after = site.trading.get_order_by_id(sent.id, GetOrderByIdRequest(nested=True))
    assert [leg.status for leg in after.legs or []] == [OrderStatus.NEW, OrderStatus.HELD]
    assert site.trading.get_open_position("ACME").qty_available == "0"
    assert len(site.trading.get_orders(GetOrdersRequest(status=QueryOrderStatus.OPEN, nested=True))) == 2


def test_an_oco_protects_a_position_and_one_leg_cancels_the_other(site: ExchangeSite) -> None:
    site.control("POST", "/trades", {"symbol": "ACME", "side": "buy", "qty": "10"})
    exits = {"take_profit": TakeProfitRequest(limit_price=120), "stop_loss": StopLossRequest(stop_price=100.5)}
    sent = site.trading.submit_order(
        LimitOrderRequest(symbol="ACME", qty=10, side=SELL, time_in_force=GTC, order_class=OrderClass.OCO, **exits)
    )
    assert (sent.status, sent.limit_price, [leg.status for leg in sent.legs or []]) == (
        OrderStatus.NEW,
        "120",
        [OrderStatus.HELD],
    )
    site.advance(ny(THU, "12:00"))
    after = site.trading.get_order_by_id(sent.id, GetOrderByIdRequest(nested=True))
    stop = (after.legs or [])[0]
    assert (after.status, stop.status, stop.filled_avg_price) == (OrderStatus.CANCELED, OrderStatus.FILLED, "100")


def test_an_oto_takes_one_exit(site: ExchangeSite) -> None:
    sent = site.trading.submit_order(market(order_class=OrderClass.OTO, stop_loss=StopLossRequest(stop_price=90)))
    assert [leg.type for leg in sent.legs or []] == [OrderType.STOP]


def test_refusals_carry_alpacas_fields(site: ExchangeSite) -> None:
    site.control("POST", "/trades", {"symbol": "ACME", "side": "buy", "qty": "4"})
    resting = site.trading.submit_order(StopOrderRequest(symbol="ACME", qty=4, side=SELL, time_in_force=GTC, stop_price=50))
    with pytest.raises(APIError) as shares:
        site.trading.submit_order(limit(200, SELL, 4))
    assert error_of(shares.value) == {
        "code": 40310000, "message": "insufficient qty available for order (requested: 4, available: 0)", "available": "0",
        "existing_qty": "4", "held_for_orders": "4", "symbol": "ACME",
    }  # fmt: skip
    with pytest.raises(APIError) as wash:
        site.trading.submit_order(market())
    assert error_of(wash.value)["existing_order_id"] == str(resting.id)
    assert error_of(wash.value)["reject_reason"] == "opposite side market/stop order exists"
    with pytest.raises(APIError) as funds:
        site.trading.submit_order(market(qty=5000, symbol="WIDE"))
    assert (funds.value.status_code, error_of(funds.value)["buying_power"]) == (403, "99596.00")


def test_the_sdk_lets_nonsense_through_and_the_exchange_does_not(site: ExchangeSite) -> None:
    for request_ in (market(qty=0), market(qty=-1), market(client_order_id="x" * 200), market(qty=0.1 + 0.2 + 1e-13, tif=DAY)):
        with pytest.raises(APIError) as error:
            site.trading.submit_order(request_)
        assert error.value.status_code == 422
    assert site.control("GET", "/state")["orders"] == 0


@pytest.mark.parametrize(
    "order",
    [
        "just a text",
        {"symbol": "ACME", "qty": "ten"},
        {"symbol": "ACME", "take_profit": 5},
        {"symbol": 5},
        {"qty": {}},
        {"client_order_id": 5},
    ],
)
def test_a_body_that_makes_no_sense_is_refused(order: object, site: ExchangeSite) -> None:
    keys = {"APCA-API-KEY-ID": "TEST-KEY", "APCA-API-SECRET-KEY": "TEST-SECRET"}
    status, body = http(site.port, "POST", "/v2/orders", order, keys)
    assert status == 422
    assert json.loads(body)["code"] in (40010001, 42210000)


def test_orders_page_by_until_and_filter_by_symbol_side_and_status(site: ExchangeSite) -> None:
    sent = [site.trading.submit_order(limit(50 + number)).id for number in range(5)]
    other = site.trading.submit_order(market(symbol="WIDE"))
    pages: list[UUID] = []
    until = None
    while page := site.trading.get_orders(GetOrdersRequest(limit=2, until=until, symbols=["ACME"])):
        pages += [order.id for order in page]
        until = page[-1].submitted_at
    assert pages == sent[::-1]
    site.advance(ny(THU, "10:30"))
    assert [order.id for order in site.trading.get_orders(GetOrdersRequest(status=QueryOrderStatus.CLOSED))] == [other.id]
    assert site.trading.get_orders(GetOrdersRequest(status=QueryOrderStatus.ALL, side=SELL)) == []


def test_closing_a_position_sells_what_is_available(site: ExchangeSite) -> None:
    site.control("POST", "/trades", {"symbol": "ACME", "side": "buy", "qty": "10"})
    half = site.trading.close_position("ACME", ClosePositionRequest(percentage="40"))
    assert (half.qty, half.side, half.type) == ("4", SELL, OrderType.MARKET)
    with pytest.raises(APIError, match="insufficient qty available for order"):
        site.trading.close_position("ACME")
    site.advance(ny(THU, "10:30"))
    assert site.trading.close_position("ACME").qty == "6"
    site.advance(ny(THU, "12:00"))
    with pytest.raises(APIError) as error:
        site.trading.get_open_position("ACME")
    assert (error.value.status_code, error.value.code, error.value.message) == (404, 40410000, "position does not exist")


def test_closing_everything_answers_for_each_position(site: ExchangeSite) -> None:
    for symbol in ("ACME", "WIDE"):
        site.control("POST", "/trades", {"symbol": symbol, "side": "buy", "qty": "10"})
    site.trading.submit_order(limit(200, SELL, 10))
    answers = {answer.symbol: answer for answer in site.trading.close_all_positions()}
    assert (answers["WIDE"].status, answers["ACME"].status) == (200, 403)
    assert answers["ACME"].body.held_for_orders == 10


def test_coins_are_spelled_differently_in_orders_and_positions(open_exchange: OpenExchange) -> None:
    site = open_exchange(utc(THU, "05:00"))
    sent = site.trading.submit_order(market(symbol="BTCUSD", qty=0.1, tif=GTC))
    assert sent.symbol == "BTC/USD"
    site.advance(utc(THU, "06:00"))
    assert site.trading.get_order_by_id(sent.id).filled_qty == "0.1"
    position = site.trading.get_all_positions()[0]
    assert (position.symbol, position.qty, position.qty_available) == ("BTCUSD", "0.09975", "0.09975")
    assert site.trading.get_open_position("BTCUSD").asset_id == position.asset_id
    with pytest.raises(APIError) as error:
        site.raw_trading.get("/positions/BTC/USD")
    assert error.value.status_code == 404


def test_activities_page_by_token_in_both_directions_and_never_repeat(open_exchange: OpenExchange) -> None:
    site = open_exchange(utc(THU, "05:00"))
    site.control("POST", "/transfers", {"amount_usd": "1000"})
    site.trading.submit_order(market(symbol="BTC/USD", qty=0.1, tif=GTC))
    site.advance(ny(THU, "10:00"))
    site.trading.submit_order(market())
    site.advance(ny(THU, "10:30"))
    for direction in ("asc", "desc"):
        token, seen = "", []
        while page := site.raw_trading.get("/account/activities", {"direction": direction, "page_size": 2, "page_token": token}):
            seen += page
            token = page[-1]["id"]
        ids = [activity["id"] for activity in seen]
        assert ids == sorted(ids, reverse=direction == "desc")
        assert sorted(activity["activity_type"] for activity in seen) == ["CFEE", "CSD", "FILL", "FILL"]
    fee = next(activity for activity in seen if activity["activity_type"] == "CFEE")
    assert (fee["symbol"], fee["qty"], fee["net_amount"]) == ("BTCUSD", "-0.00025", "0")
    fills = site.raw_trading.get("/account/activities/FILL", {"after": ny(THU, "10:00").isoformat()})
    assert [
        (fill["symbol"], fill["qty"], fill["price"], fill["type"], fill["cum_qty"], fill["leaves_qty"]) for fill in fills
    ] == [("ACME", "10", "102", "fill", "10", "0")]


def test_portfolio_history_has_a_point_at_each_close(open_exchange: OpenExchange) -> None:
    site = open_exchange(ny(WED, "12:30"))
    site.control("POST", "/trades", {"symbol": "ACME", "side": "buy", "qty": "100"})
    site.advance(ny(FRI, "10:00"))
    history = site.trading.get_portfolio_history(GetPortfolioHistoryRequest(period="1M", timeframe="1D"))
    assert history.timestamp == [int(ny(day, "16:00").timestamp()) for day in (WED, THU)]
    assert (history.equity, history.profit_loss) == ([100150.0, 100250.0], [150.0, 250.0])


def test_a_split_shows_in_position_and_activities(open_exchange: OpenExchange) -> None:
    site = open_exchange(ny(MON, "15:00"))
    site.control("POST", "/trades", {"symbol": "SPLT", "side": "buy", "qty": "10"})
    site.advance(ny(TUE, "09:00"))
    assert (site.trading.get_open_position("SPLT").qty, site.trading.get_open_position("SPLT").avg_entry_price) == ("20", "100")
    split = site.raw_trading.get("/account/activities/SPLIT")[0]
    assert (split["symbol"], split["qty"], split["net_amount"], split["date"]) == ("SPLT", "10", "0", TUE.isoformat())


def test_there_are_no_options(site: ExchangeSite) -> None:
    contracts = site.trading.get_option_contracts(GetOptionContractsRequest(underlying_symbols=["ACME"]))
    assert (contracts.option_contracts, contracts.next_page_token) == ([], None)


def test_wrong_keys_and_unknown_paths_are_told_apart(site: ExchangeSite) -> None:
    stranger = TradingClient("TEST-KEY", "wrong", url_override=site.url)
    with pytest.raises(APIError) as error:
        stranger.get_account()
    assert (error.value.status_code, str(error.value)) == (401, '{"message": "unauthorized."}')
    with pytest.raises(APIError) as missing:
        site.raw_trading.get("/nothing")
    assert (missing.value.status_code, missing.value.code) == (404, 40410000)


def test_the_rate_limit_counts_on_the_virtual_clock_and_frees_with_it(open_exchange: OpenExchange) -> None:
    site = open_exchange(rate_limit=3)
    client = site.raw_trading
    headers: list[dict[str, str]] = []
    client._session.hooks["response"].append(lambda response, **options: headers.append(dict(response.headers)))
    for _ in range(3):
        client.get_clock()
    with pytest.raises(APIError) as error:
        client.get_clock()
    assert error.value.status_code == 429
    assert [seen["x-ratelimit-remaining"] for seen in headers] == ["2", "1", "0", "0"]
    assert int(headers[-1]["x-ratelimit-reset"]) == int(ny(THU, "10:01").timestamp())
    site.advance(ny(THU, "10:01"))
    client.get_clock()


def test_the_rate_limit_can_count_on_the_wall_clock(open_exchange: OpenExchange) -> None:
    site = open_exchange(rate_limit=1, counts_wall_time=True)
    client = site.raw_trading
    client.get_clock()
    site.advance(ny(FRI, "10:00"))
    with pytest.raises(APIError, match="rate limit exceeded"):  # noqa: PT012 - a minute may begin between two requests, not three
        for _ in range(2):
            client.get_clock()


def test_control_plane_shows_the_hidden_book_and_counts(site: ExchangeSite) -> None:
    site.trading.submit_order(market(client_order_id="ours"))
    for _ in range(2):
        with pytest.raises(APIError):
            site.trading.submit_order(market(client_order_id="ours"))
    site.advance(ny(THU, "10:30"))
    state = site.control("GET", "/state")
    assert (state["orders"], state["fills"], state["submissions_by_client_order_id"]) == (1, 1, {"ours": 3})
    assert state["refusals"] == {"client_order_id must be unique": 2}
    book = site.control("GET", "/book")
    assert (Decimal(book["cash_usd"]), book["positions"]["ACME"]["qty"], len(book["activities"])) == (
        Decimal(100_000) - 1020,
        "10",
        1,
    )


@pytest.mark.parametrize(
    ("method", "path", "body", "message"),
    [
        ("POST", "/clock", {"now": "2024-03-07T15:00:00"}, "time zone"),
        ("POST", "/clock", {"now": "2024-03-01T15:00:00+00:00"}, "only moves forwards"),
        ("POST", "/clock", {}, "now"),
        ("POST", "/faults", [{"name": "typo"}], "the faults are"),
        ("POST", "/faults", [{"name": "rate_limited", "tmes": 1}], "does not know"),
        ("POST", "/restrict", {"restriction": "typo"}, "closing_only"),
        ("POST", "/transfers", {"amount_usd": "much"}, "InvalidOperation"),
    ],
)
def test_the_control_plane_says_what_is_wrong(method: str, path: str, body: object, message: str, site: ExchangeSite) -> None:
    status, reply = http(site.port, method, f"/_control{path}", body)
    assert status == 400
    assert message in reply


def test_restriction_delisting_and_halt_by_the_control_plane(site: ExchangeSite) -> None:
    site.control("POST", "/assets/ACME", {"tradable": False})
    assert not site.trading.get_asset("ACME").tradable
    site.control("POST", "/assets/ACME", {"tradable": True})
    site.control("POST", "/halt/ACME", {})
    waiting = site.trading.submit_order(market())
    site.advance(ny(THU, "12:30"))
    assert site.trading.get_order_by_id(waiting.id).status is OrderStatus.NEW
    site.control("POST", "/halt/ACME", {"halted": False})
    site.control("POST", "/restrict", {"restriction": "blocked"})
    assert site.trading.get_account().trading_blocked
    with pytest.raises(APIError, match="not allowed to trade"):
        site.trading.submit_order(market())
