"""The broker's contract over the simulated exchange: through AlpacaBroker and HTTP, and in process. Both must tell the same.

Then what only the wire can do: faults, the data interface, and the news.
"""

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any, NamedTuple

import numpy as np
import pytest

from closebell.adapters.alpaca_broker import AlpacaBroker
from closebell.adapters.alpaca_data import AlpacaMarketData
from closebell.adapters.alpaca_http import Timeouts
from closebell.adapters.alpaca_news import AlpacaNews
from closebell.model.broker import (
    CashActivity,
    OrderClass,
    OrderRequest,
    OrderType,
    Side,
    TimeInForce,
    VenueFill,
    VenueStatus,
)
from closebell.model.errors import (
    BrokerKeyRefused,
    BrokerUnavailable,
    ClosebellError,
    DuplicateOrderId,
    InsufficientBuyingPower,
    InsufficientQuantity,
    OrderRejected,
    OutcomeUnknown,
    RateLimited,
    WashTrade,
)
from closebell.model.instruments import Market
from closebell.ports.broker import Broker
from closebell.simulation.exchange.simulated_broker import SimulatedBroker, as_sent
from closebell.simulation.exchange.venue_orders import FORBIDDEN, INVALID
from tests.contract.conftest import KEY_ID, SECRET_KEY, ExchangeSite, OpenExchange
from tests.contract.tiny_market import COIN_DAYS, FRI, MON, SPLIT_DAY, THU, WED, TinyMarket, ny, utc

EQUITY, CRYPTO = Market.US_EQUITY, Market.CRYPTO
NAMES = ("ACME", "SPLT", "THIN", "WIDE")


class Access(NamedTuple):
    """A broker and the exchange behind it."""

    broker: Broker
    site: ExchangeSite


def over_http(site: ExchangeSite, read_s: float = 5.0) -> AlpacaBroker:
    return AlpacaBroker(KEY_ID, SECRET_KEY, site.url, site.url, paper=True, timeouts=Timeouts(5, read_s))


@pytest.fixture(params=["http", "in process"])
def access(request: pytest.FixtureRequest, site: ExchangeSite) -> Access:
    return Access(over_http(site) if request.param == "http" else SimulatedBroker(site.venue.exchange), site)


def order(name: str, **changes: Any) -> OrderRequest:
    fields: dict[str, Any] = {
        "client_order_id": name, "market": EQUITY, "symbol": "ACME", "side": Side.BUY, "order_type": OrderType.MARKET,
        "time_in_force": TimeInForce.DAY, "quantity_shares": Decimal(10),
    }
    return OrderRequest(**{**fields, **changes})


def oco(name: str, shares: int = 10) -> OrderRequest:
    return order(
        name, side=Side.SELL, order_type=OrderType.LIMIT, time_in_force=TimeInForce.GTC, order_class=OrderClass.OCO,
        quantity_shares=Decimal(shares), limit_price_usd=Decimal("150.00"), stop_price_usd=Decimal("50.00"),
    )


def coin(name: str, **changes: Any) -> OrderRequest:
    terms = {"market": CRYPTO, "symbol": "BTC/USD", "time_in_force": TimeInForce.GTC, "quantity_shares": Decimal("0.1")}
    return order(name, **{**terms, **changes})


def later(site: ExchangeSite, minutes: int = 40) -> None:
    site.advance(site.venue.exchange.now + timedelta(minutes=minutes))


def everything(broker: Broker) -> dict[str, object]:
    """All that a broker can be asked, by the names of its methods."""
    orders = [broker.order(fill.venue_order_id) for fill in broker.activities("") if isinstance(fill, VenueFill)]
    ids = sorted({shown.client_order_id for shown in orders if shown is not None})
    return {
        "clock": broker.clock(),
        "calendar": broker.calendar(WED, MON),
        "account": broker.account(),
        "assets": [broker.asset(name) for name in ("SPLT", "GONE")],
        "coin": broker.asset("BTC/USD"),
        "positions": sorted(broker.positions(), key=lambda position: position.symbol),
        "open_orders": broker.open_orders(),
        "every_order": broker.every_order(),
        "orders": orders,
        "by_client_id": [broker.order_by_client_id(name) for name in ids],
        "activities": broker.activities(""),
        "quotes": broker.quotes(NAMES, EQUITY),
        "coin_quotes": broker.quotes(["BTC/USD"], CRYPTO),
    }


def test_the_wire_changes_nothing_of_what_the_exchange_says(site: ExchangeSite) -> None:
    """After a day with fills, a fee in coins, an OCO, a partial fill, a deposit and a cancel."""
    http, direct = over_http(site), SimulatedBroker(site.venue.exchange)
    http.submit(order("buy"))
    http.submit(order("thin", symbol="THIN", quantity_shares=Decimal(15)))
    http.submit(coin("coin", order_type=OrderType.LIMIT, limit_price_usd=Decimal(70_000)))
    later(site)
    http.submit(coin("low", order_type=OrderType.LIMIT, limit_price_usd=Decimal("500.50")))
    http.submit(oco("protect"))
    rests = order("rest", order_type=OrderType.LIMIT, limit_price_usd=Decimal(1), symbol="WIDE")
    http.cancel(http.submit(rests).venue_order_id)
    http.submit(rests.model_copy(update={"client_order_id": "rest-2"}))
    site.control("POST", "/transfers", {"amount_usd": "500"})
    site.control("POST", "/assets/SPLT", {"tradable": False})
    site.control("POST", "/restrict", {"restriction": "closing_only"})
    later(site, 24 * 60)
    told, known = everything(http), everything(direct)
    assert {type(activity) for activity in http.activities("")} == {VenueFill, CashActivity}
    assert [shown.client_order_id for shown in http.open_orders()] == ["low", "protect"], "oldest first"
    for name, said in told.items():
        assert said == known[name], name
        assert "quotes" in name or repr(said) == repr(known[name]), f"{name}, to the last zero; quotes are sent as floats"


def test_a_symbol_that_has_never_traded_has_no_quote(open_exchange: OpenExchange) -> None:
    site = open_exchange(market=TinyMarket({"ACME": {WED: [("16:00", 100, 10)]}, "NEWLY": {MON: [("16:00", 20, 10)]}}))
    for broker in (over_http(site), SimulatedBroker(site.venue.exchange)):
        assert broker.quotes(["ACME", "NEWLY", "GONE"], EQUITY).keys() == {"ACME"}


def test_an_average_price_of_many_digits_is_rounded_alike(open_exchange: OpenExchange) -> None:
    """One share at 10 and two at 11 cost 32 / 3 each."""
    path = [("10:30", 10, 1), ("12:00", 11, 2), ("16:00", 11, 2)]
    site = open_exchange(market=TinyMarket({"ACME": dict.fromkeys((WED, THU, FRI), path)}))
    http, direct = over_http(site), SimulatedBroker(site.venue.exchange)
    bought = http.submit(order("thirds", quantity_shares=Decimal(3)))
    later(site, 4 * 60)
    for broker in (http, direct):
        (held,), shown = broker.positions(), broker.order(bought.venue_order_id)
        assert shown is not None
        assert f"{held.average_entry_price_usd} {shown.filled_average_price_usd}" == "10.666666667 10.666666667"


@pytest.mark.parametrize(("number", "arrives"), [
    ("100", "100"), ("1E+2", "100"), ("0E-9", "0"), ("10.50", "10.5"), ("5.000", "5"), ("0.1234567891", "0.123456789"),
])  # fmt: skip
def test_a_number_arrives_in_plain_digits_to_nine_decimals(number: str, arrives: str) -> None:
    assert str(as_sent(Decimal(number))) == arrives


def test_the_wire_and_the_process_round_what_coins_are_worth_alike(open_exchange: OpenExchange) -> None:
    """Nine decimals of a coin times nine of a price have eighteen; as text, for that is how they are stored."""
    site = open_exchange(market=TinyMarket({"BTC/USD": {day: [("16:00", "60000.123456789", 2)] for day in COIN_DAYS}}))
    http, direct = over_http(site), SimulatedBroker(site.venue.exchange)
    http.submit(coin("odd", quantity_shares=Decimal("0.123456789")))
    later(site, 24 * 60)
    http.submit(coin("more", quantity_shares=Decimal("0.111111117")))
    later(site, 24 * 60)
    cash_usd = site.venue.exchange.floor.book.cash_usd
    assert cash_usd != direct.account().cash_usd == round(cash_usd, 9)
    assert repr(everything(http)) == repr(everything(direct))


def test_a_market_order_fills_and_shows_in_every_place(access: Access) -> None:
    broker, site = access
    sent = broker.submit(order("buy"))
    later(site)
    shown = broker.order(sent.venue_order_id)
    assert shown is not None
    assert shown.status is VenueStatus.FILLED
    assert shown.filled_quantity_shares == 10
    assert broker.order_by_client_id("buy") == shown
    (position,) = broker.positions()
    assert (position.symbol, position.quantity_shares, position.available_shares) == ("ACME", Decimal(10), Decimal(10))
    (fill,) = broker.activities("")
    assert isinstance(fill, VenueFill)
    assert (fill.venue_order_id, fill.quantity_shares) == (sent.venue_order_id, Decimal(10))
    assert fill.price_usd == shown.filled_average_price_usd
    assert broker.open_orders() == []
    assert broker.account().cash_usd == 100_000 - 10 * fill.price_usd


def test_an_order_id_is_taken_for_good(access: Access) -> None:
    broker, site = access
    broker.submit(order("once"))
    with pytest.raises(DuplicateOrderId):
        broker.submit(order("once"))
    later(site)
    with pytest.raises(DuplicateOrderId):
        broker.submit(order("once", symbol="SPLT"))
    assert len(broker.activities("")) == 1


def test_an_order_for_the_opening_waits_accepted_and_fills_at_the_open(access: Access) -> None:
    broker, site = access
    site.advance(ny(FRI, "08:00"))
    sent = broker.submit(order("open", time_in_force=TimeInForce.OPG))
    assert sent.status is VenueStatus.ACCEPTED
    assert [one.client_order_id for one in broker.open_orders()] == ["open"]
    site.advance(ny(FRI, "09:31"))
    (fill,) = broker.activities("")
    assert isinstance(fill, VenueFill)
    assert (fill.price_usd, fill.occurred_at) == (Decimal(102), ny(FRI, "09:30"))


def test_an_oco_rests_with_its_stop_under_it_and_holds_the_shares(access: Access) -> None:
    broker, site = access
    broker.submit(order("buy"))
    later(site)
    sent = broker.submit(oco("protect"))
    (resting,) = broker.open_orders()
    for shown in (sent, resting, broker.order(sent.venue_order_id), broker.order_by_client_id("protect")):
        assert shown is not None
        assert (shown.limit_price_usd, shown.order_class) == (Decimal(150), "oco")
        assert [(leg.stop_price_usd, leg.side, leg.is_open) for leg in shown.legs] == [(Decimal(50), Side.SELL, True)]
    (position,) = broker.positions()
    assert (position.quantity_shares, position.available_shares) == (Decimal(10), Decimal(0))
    with pytest.raises(InsufficientQuantity):
        broker.submit(order("sell", side=Side.SELL))
    broker.cancel(sent.venue_order_id)
    later(site, 1)
    assert broker.open_orders() == []
    assert broker.positions()[0].available_shares == 10


def test_cancelling_twice_or_too_late_is_no_error(access: Access) -> None:
    broker, site = access
    resting = broker.submit(order("rest", order_type=OrderType.LIMIT, limit_price_usd=Decimal(1)))
    filled = broker.submit(order("buy"))
    later(site)
    for venue_order_id in (resting.venue_order_id, filled.venue_order_id, resting.venue_order_id):
        broker.cancel(venue_order_id)
        later(site, 1)
    shown = broker.order(resting.venue_order_id)
    assert shown is not None
    assert shown.status is VenueStatus.CANCELED


@pytest.mark.parametrize(("refused", "expected"), [
    (order("big", quantity_shares=Decimal(5_000)), InsufficientBuyingPower),
    (order("none", side=Side.SELL, symbol="SPLT"), ClosebellError),
    (order("gone", symbol="GONE"), OrderRejected),
    (order("index", symbol="INDX"), OrderRejected),
    (order("half", quantity_shares=Decimal("0.5"), time_in_force=TimeInForce.GTC), OrderRejected),
    (order("penny", order_type=OrderType.LIMIT, limit_price_usd=Decimal("100.001")), OrderRejected),
    (coin("day", time_in_force=TimeInForce.DAY), OrderRejected),
    (coin("short", side=Side.SELL), InsufficientQuantity),
], ids=lambda part: part.client_order_id if isinstance(part, OrderRequest) else "")
def test_a_refused_order_leaves_nothing_behind(access: Access, refused: OrderRequest, expected: type[ClosebellError]) -> None:
    broker, site = access
    before = site.control("GET", "/state")["orders"]
    with pytest.raises(expected) as caught:
        broker.submit(refused)
    assert getattr(caught.value, "code", None) in {FORBIDDEN, INVALID}
    assert broker.order_by_client_id(refused.client_order_id) is None
    assert site.control("GET", "/state")["orders"] == before


def test_a_sale_against_an_own_resting_buy_is_a_wash_trade(access: Access) -> None:
    broker, site = access
    broker.submit(order("buy"))
    later(site)
    broker.submit(order("rest", order_type=OrderType.LIMIT, limit_price_usd=Decimal(1)))
    with pytest.raises(WashTrade):
        broker.submit(order("sell", side=Side.SELL))


def test_a_coin_costs_its_fee_in_coins(access: Access) -> None:
    broker, site = access
    sent = broker.submit(coin("coin"))
    later(site, 24 * 60 + 60)
    shown = broker.order(sent.venue_order_id)
    assert shown is not None
    assert (shown.symbol, shown.filled_quantity_shares) == ("BTC/USD", Decimal("0.1"))
    (position,) = broker.positions()
    assert (position.symbol, position.market, position.quantity_shares) == ("BTC/USD", CRYPTO, Decimal("0.09975"))
    moved = Decimal(0)
    for activity in broker.activities(""):
        assert activity.symbol == "BTC/USD"
        assert not (isinstance(activity, CashActivity) and activity.code != "CFEE")
        moved += activity.quantity_shares
    assert moved == position.quantity_shares


def test_activities_after_any_one_are_the_rest(access: Access) -> None:
    broker, site = access
    for number in range(4):
        broker.submit(order(f"buy-{number}", symbol="WIDE" if number % 2 else "ACME"))
    later(site)
    broker.submit(order("buy-4"))
    later(site, 6 * 60)
    whole = broker.activities("")
    assert len(whole) == 5
    for place, activity in enumerate(whole):
        assert broker.activities(activity.activity_id) == whole[place + 1 :]


# --- faults ------------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("fault", [
    "timeout_after", "timeout_before", "gateway_timeout_after_accept", "garbage_html", "truncated_body", "empty_200",
    "server_error",
])
def test_an_unknown_submit_is_settled_by_sending_the_same_id_again(site: ExchangeSite, fault: str) -> None:
    """Whether it arrived or not: at most one order results, and the look-up agrees."""
    broker = over_http(site, read_s=0.3)
    site.fault(fault, method="POST", seconds=1.0)
    with pytest.raises(OutcomeUnknown):
        broker.submit(order("once"))
    found = broker.order_by_client_id("once")
    if found is None:
        broker.submit(order("once"))
    else:
        with pytest.raises(DuplicateOrderId):
            broker.submit(order("once"))
    assert sum(site.control("GET", "/state")["orders_by_status"].values()) == 1


@pytest.mark.parametrize(("fault", "expected"), [
    ("garbage_html", BrokerUnavailable), ("truncated_body", BrokerUnavailable), ("empty_200", BrokerUnavailable),
    ("server_error", BrokerUnavailable), ("rate_limited", RateLimited), ("unauthorized", BrokerKeyRefused),
    ("timeout_before", BrokerUnavailable),
])
@pytest.mark.parametrize("read", [
    lambda broker: broker.account(), lambda broker: broker.positions(), lambda broker: broker.open_orders(),
    lambda broker: broker.activities(""), lambda broker: broker.quotes(["ACME"], EQUITY),
], ids=["account", "positions", "open_orders", "activities", "quotes"])
def test_a_fault_in_a_read_is_an_error_and_the_next_read_is_right(
    site: ExchangeSite, fault: str, expected: type[ClosebellError], read: Callable[[Broker], object]
) -> None:
    broker = over_http(site, read_s=0.3)
    site.fault(fault, seconds=1.0)
    with pytest.raises(expected) as raised:
        read(broker)
    assert type(raised.value) is expected
    assert read(over_http(site)) == read(SimulatedBroker(site.venue.exchange))


def test_a_rejection_after_acceptance_and_a_status_of_tomorrow_are_shown(site: ExchangeSite) -> None:
    broker = over_http(site)
    site.fault("reject_after_accept")
    sent = broker.submit(order("later"))
    later(site, 1)
    shown = broker.order(sent.venue_order_id)
    assert shown is not None
    assert shown.status is VenueStatus.REJECTED
    site.fault("unknown_enum")
    assert broker.submit(order("strange")).status is VenueStatus.UNRECOGNISED


def test_a_missing_easy_to_borrow_is_no_matter(site: ExchangeSite) -> None:
    site.fault("easy_to_borrow_absent")
    asset = over_http(site).asset("ACME")
    assert asset is not None
    assert asset.tradable


def test_the_rate_limit_says_when_it_ends(open_exchange: OpenExchange) -> None:
    site = open_exchange(rate_limit=5)
    broker = over_http(site)
    for _ in range(5):
        broker.clock()
    with pytest.raises(RateLimited) as raised:
        broker.submit(order("late"))
    assert raised.value.reset_at is not None
    assert timedelta(0) < raised.value.reset_at - site.venue.exchange.now <= timedelta(minutes=1)


def test_a_wrong_key_is_refused(site: ExchangeSite) -> None:
    broker = AlpacaBroker("WRONG", SECRET_KEY, site.url, site.url, paper=True)
    with pytest.raises(BrokerKeyRefused):
        broker.account()
    with pytest.raises(BrokerKeyRefused):
        broker.submit(order("never"))


# --- data and news -----------------------------------------------------------------------------------------------------------

def market_data(site: ExchangeSite) -> AlpacaMarketData:
    return AlpacaMarketData(KEY_ID, SECRET_KEY, site.url)


def test_bars_are_split_adjusted_and_unknown_volume_is_nan(open_exchange: OpenExchange) -> None:
    site = open_exchange(ny(SPLIT_DAY, "16:20"))
    panel = market_data(site).daily_bars(["SPLT", "ACME", "GONE", "ONCE"], EQUITY, FRI, SPLIT_DAY)
    assert [session.item() for session in panel.sessions] == [FRI, MON, SPLIT_DAY]
    np.testing.assert_array_equal(panel.close[:, 0], [100.0, 100.0, 100.0])
    np.testing.assert_array_equal(panel.close[:, 1], [102.5, 103.5, 104.5])
    np.testing.assert_array_equal(panel.high[:, 1], [103.0, 104.0, 105.0])
    assert np.isnan(panel.close[:, 2]).all()
    assert np.isnan(panel.volume[:, 3]).all()
    assert market_data(site).split_dates(["SPLT", "ACME", "BTC/USD"], WED, SPLIT_DAY) == {"SPLT": {SPLIT_DAY: 2.0}}
    assert market_data(site).split_dates(["SPLT"], WED, MON) == {}


def test_the_days_bars_are_there_twenty_minutes_after_the_close_on_the_free_plan(open_exchange: OpenExchange) -> None:
    panel = market_data(open_exchange(ny(THU, "16:20"))).daily_bars(["ACME"], EQUITY, WED, THU)
    np.testing.assert_array_equal(panel.close[:, 0], [100.5, 101.5])


def test_a_coins_forming_bar_is_left_out(open_exchange: OpenExchange) -> None:
    site = open_exchange(utc(date(2024, 3, 8), "00:05"))
    panel = market_data(site).daily_bars(["BTC/USD"], CRYPTO, date(2024, 3, 5), date(2024, 3, 7))
    assert [session.item() for session in panel.sessions] == [date(2024, 3, 5), date(2024, 3, 6), date(2024, 3, 7)]


@pytest.mark.parametrize(("fault", "value"), [("nan_bars", np.nan), ("negative_bars", -101.5), ("x100_bars", 10150.0)])
def test_spoiled_prices_reach_the_validation_as_they_are(open_exchange: OpenExchange, fault: str, value: float) -> None:
    site = open_exchange(ny(THU, "16:20"))
    site.fault(fault, symbol="ACME")
    panel = market_data(site).daily_bars(["ACME", "WIDE"], EQUITY, WED, THU)
    np.testing.assert_array_equal(panel.close, [[100.5, 100.5], [value, 101.5]])


def test_headlines_come_newest_first(site: ExchangeSite) -> None:
    news = AlpacaNews(KEY_ID, SECRET_KEY, site.url)
    read = news.headlines(["ACME"], ny(WED, "08:01"))
    assert [item.published_at for item in read] == [
        ny(THU, "08:02"), ny(THU, "08:01"), ny(THU, "08:00"), ny(WED, "08:02"), ny(WED, "08:01"),
    ]
    assert {item.symbols for item in read} == {("ACME",)}
    assert news.headlines(["WIDE"], datetime(2024, 3, 1, tzinfo=UTC)) == []
