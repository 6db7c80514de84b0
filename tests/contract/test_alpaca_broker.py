"""What the broker adapter makes of good replies: fields, symbols, pages; and what it sends."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from closebell.adapters.alpaca_broker import ACTIVITIES_A_PAGE, ORDERS_A_PAGE, AlpacaBroker
from closebell.adapters.alpaca_http import Timeouts
from closebell.model.broker import (
    Account,
    CashActivity,
    OrderClass,
    OrderRequest,
    OrderType,
    Quote,
    Side,
    TimeInForce,
    VenueFill,
    VenuePosition,
    VenueStatus,
)
from closebell.model.errors import BrokerUnavailable
from closebell.model.instruments import Market, SessionHours
from tests.contract.scripted_venue import KEY_ID, SECRET_KEY, CannedReply, ScriptedVenue, ok, refused, scripted_venue
from tests.contract.venue_payloads import (
    CLIENT_ID,
    ORDER_ID,
    account,
    asset,
    cash,
    clock,
    fill,
    order,
    position,
    without,
)


@pytest.fixture(scope="module")
def running_venue() -> Iterator[ScriptedVenue]:
    with scripted_venue() as venue:
        yield venue


@pytest.fixture
def venue(running_venue: ScriptedVenue) -> ScriptedVenue:
    running_venue.will_answer(ok({}))
    return running_venue


@pytest.fixture
def broker(venue: ScriptedVenue) -> AlpacaBroker:
    return AlpacaBroker(KEY_ID, SECRET_KEY, venue.url, venue.url, paper=True, timeouts=Timeouts(5, 5))


def request(**changes: Any) -> OrderRequest:
    fields: dict[str, Any] = {
        "client_order_id": CLIENT_ID, "market": Market.US_EQUITY, "symbol": "AAPL", "side": Side.BUY,
        "order_type": OrderType.MARKET, "time_in_force": TimeInForce.OPG, "quantity_shares": Decimal(15),
    }
    return OrderRequest(**{**fields, **changes})


# --- fields ------------------------------------------------------------------------------------------------------------------

def test_the_clock_is_in_utc(venue: ScriptedVenue, broker: AlpacaBroker) -> None:
    venue.will_answer(ok(clock()))
    read = broker.clock()
    assert read.now_at == datetime(2018, 10, 1, 13, 0, 0, 123456, tzinfo=UTC)
    assert read.next_open_at.tzinfo is UTC
    assert (read.is_open, read.next_close_at) == (False, datetime(2018, 10, 1, 20, tzinfo=UTC))


def test_the_calendar_turns_new_york_times_into_utc_on_both_sides_of_daylight_saving(
    venue: ScriptedVenue, broker: AlpacaBroker
) -> None:
    days = [("2018-11-02", "09:30", "16:00"), ("2018-11-05", "09:30", "16:00"), ("2018-11-23", "09:30", "13:00")]
    venue.will_answer(ok([{"date": day, "open": opens, "close": closes, "settlement_date": day} for day, opens, closes in days]))
    assert broker.calendar(date(2018, 11, 2), date(2018, 11, 23)) == [
        SessionHours(session=date(2018, 11, 2), opens_at=utc(11, 2, 13, 30), closes_at=utc(11, 2, 20)),
        SessionHours(session=date(2018, 11, 5), opens_at=utc(11, 5, 14, 30), closes_at=utc(11, 5, 21)),
        SessionHours(session=date(2018, 11, 23), opens_at=utc(11, 23, 14, 30), closes_at=utc(11, 23, 18)),
    ]
    assert venue.requests[0].query == {"start": "2018-11-02", "end": "2018-11-23"}


def utc(month: int, day: int, hour: int, minute: int = 0) -> datetime:
    return datetime(2018, month, day, hour, minute, tzinfo=UTC)


@pytest.mark.parametrize("old_fields", [{}, {"pattern_day_trader": False, "daytrade_count": 0, "daytrading_buying_power": "0"}])
def test_an_account_with_and_without_the_day_trading_fields(
    venue: ScriptedVenue, broker: AlpacaBroker, old_fields: dict[str, object]
) -> None:
    venue.will_answer(ok(account(**old_fields)))
    assert broker.account() == Account(
        account_number="010203ABCD", status="ACTIVE", equity_usd=Decimal("103820.56"), last_equity_usd=Decimal("103529.24"),
        cash_usd=Decimal("-23140.2"), buying_power_usd=Decimal("262113.632"), trading_blocked=False,
    )


@pytest.mark.parametrize("block", ["trading_blocked", "account_blocked", "trade_suspended_by_user"])
def test_any_block_counts_as_blocked(venue: ScriptedVenue, broker: AlpacaBroker, block: str) -> None:
    venue.will_answer(ok(account(**{block: True})))
    assert broker.account().trading_blocked


@pytest.mark.parametrize(("facts", "increment", "tradable"), [
    (asset(), "0.000000001", True),
    (asset(easy_to_borrow=True, fractionable=False), "1", True),
    (asset(status="inactive"), "0.000000001", False),
    (asset(tradable=False), "0.000000001", False),
    (asset(**{"class": "crypto", "symbol": "BTC/USD", "min_trade_increment": "0.0001"}), "0.0001", True),
    (asset(**{"class": "crypto", "symbol": "BTCUSD"}), "0.000000001", True),
])
def test_an_asset(
    venue: ScriptedVenue, broker: AlpacaBroker, facts: dict[str, object], increment: str, tradable: bool
) -> None:
    venue.will_answer(ok(facts))
    read = broker.asset("BTC/USD" if facts["class"] == "crypto" else "AAPL")
    assert read is not None
    assert (read.quantity_increment_shares, read.tradable) == (Decimal(increment), tradable)
    if facts["class"] == "crypto":
        assert (read.symbol, read.market) == ("BTC/USD", Market.CRYPTO)
        assert venue.requests[0].path == "/v2/assets/BTC%2FUSD"


def test_positions_are_signed_and_spelled_our_way(venue: ScriptedVenue, broker: AlpacaBroker) -> None:
    venue.will_answer(ok([
        position(),
        position(symbol="TSLA", side="short", qty="-3", qty_available="-3", market_value="-900"),
        position(symbol="F", side="short", qty="3", qty_available="3", market_value="-30"),
        position(symbol="BTCUSD", asset_class="crypto", qty="0.099750001", qty_available="0.09975", market_value="650.1"),
        position(symbol="ETHBTC", asset_class="crypto"),
        position(symbol="USDTUSD", asset_class="crypto"),
        position(symbol="HALT", market_value=None),
    ]))
    read = broker.positions()
    assert [(one.symbol, one.quantity_shares, one.available_shares) for one in read] == [
        ("AAPL", 5, 4), ("TSLA", -3, -3), ("F", -3, -3), ("BTC/USD", Decimal("0.099750001"), Decimal("0.09975")),
        ("ETH/BTC", 5, 4), ("USDT/USD", 5, 4), ("HALT", 5, 4),
    ]
    assert read[3].market is Market.CRYPTO
    assert read[0] == VenuePosition(
        symbol="AAPL", market=Market.US_EQUITY, quantity_shares=Decimal(5), available_shares=Decimal(4),
        average_entry_price_usd=Decimal("100.0"), market_value_usd=Decimal("600.0"),
    )
    assert read[6].market_value_usd == 500  # at cost: the venue has no price for it


def test_no_positions_is_an_empty_list_only_when_the_venue_says_so(venue: ScriptedVenue, broker: AlpacaBroker) -> None:
    venue.will_answer(ok([]))
    assert broker.positions() == []


def test_an_option_in_the_account_is_refused_by_name(venue: ScriptedVenue, broker: AlpacaBroker) -> None:
    venue.will_answer(ok([position(), position(symbol="AAPL240119C00100000", asset_class="us_option")]))
    with pytest.raises(BrokerUnavailable, match="us_option"):
        broker.positions()


def test_an_order(venue: ScriptedVenue, broker: AlpacaBroker) -> None:
    venue.will_answer(ok(order(replaced_by="next")))
    read = broker.order(ORDER_ID)
    assert read is not None
    assert read.model_dump() == {
        "venue_order_id": ORDER_ID, "client_order_id": CLIENT_ID, "market": Market.US_EQUITY, "symbol": "AAPL", "side": Side.BUY,
        "order_type": "limit", "time_in_force": "day", "order_class": "simple", "status": VenueStatus.PARTIALLY_FILLED,
        "quantity_shares": Decimal(15), "filled_quantity_shares": Decimal(4), "filled_average_price_usd": Decimal("227.3"),
        "limit_price_usd": Decimal("228.00"), "stop_price_usd": None,
        "submitted_at": datetime(2018, 10, 1, 13, 0, 0, 200000, UTC),
        "updated_at": datetime(2018, 10, 1, 13, 30, 1, tzinfo=UTC), "replaced_by_venue_order_id": "next", "legs": (),
    }
    assert venue.requests[0].query == {"nested": "true"}


@pytest.mark.parametrize("status", [status.value for status in VenueStatus if status is not VenueStatus.UNRECOGNISED])
def test_every_known_status_is_itself(venue: ScriptedVenue, broker: AlpacaBroker, status: str) -> None:
    venue.will_answer(ok(order(status=status)))
    read = broker.order(ORDER_ID)
    assert read is not None
    assert read.status == status


def test_a_status_of_tomorrow_is_unrecognised_and_open(venue: ScriptedVenue, broker: AlpacaBroker) -> None:
    venue.will_answer(ok(order(status="pending_blessing", legs=[order(id="leg", status="blessed")])))
    read = broker.submit(request())
    assert (read.status, read.legs[0].status, read.is_open) == (VenueStatus.UNRECOGNISED, VenueStatus.UNRECOGNISED, True)


@pytest.mark.parametrize("changes", [{"symbol": "BTCUSD", "asset_class": "crypto"}, {"symbol": "BTC/USD", "asset_class": ""}])
def test_a_crypto_order_is_spelled_our_way(venue: ScriptedVenue, broker: AlpacaBroker, changes: dict[str, str]) -> None:
    venue.will_answer(ok(order(**changes)))
    read = broker.order(ORDER_ID)
    assert read is not None
    assert (read.symbol, read.market) == ("BTC/USD", Market.CRYPTO)


def test_numbers_that_are_no_strings_keep_their_digits(venue: ScriptedVenue, broker: AlpacaBroker) -> None:
    venue.will_answer(ok(order(qty=0.1, filled_qty=0, limit_price=228.05)))
    read = broker.order(ORDER_ID)
    assert read is not None
    assert (read.quantity_shares, read.limit_price_usd) == (Decimal("0.1"), Decimal("228.05"))


def test_an_order_for_an_amount_of_money_counts_what_it_filled(venue: ScriptedVenue, broker: AlpacaBroker) -> None:
    venue.will_answer(ok(order(qty=None, notional="100", filled_qty="0.43")))
    read = broker.order(ORDER_ID)
    assert read is not None
    assert read.quantity_shares == Decimal("0.43")


@pytest.mark.parametrize("legs", [None, []])
def test_an_oco_found_by_our_id_is_read_again_with_its_legs(
    venue: ScriptedVenue, broker: AlpacaBroker, legs: list[object] | None
) -> None:
    stop = order(id="leg", client_order_id="theirs", type="stop", stop_price="97", limit_price=None, status="held", side="sell")
    venue.will_answer(ok(order(order_class="oco", legs=legs)), ok(order(order_class="oco", legs=[stop])))
    read = broker.order_by_client_id(CLIENT_ID)
    assert read is not None
    assert [(leg.venue_order_id, leg.status, leg.stop_price_usd) for leg in read.legs] == [("leg", VenueStatus.HELD, Decimal(97))]
    assert [one.path for one in venue.requests] == ["/v2/orders:by_client_order_id", f"/v2/orders/{ORDER_ID}"]


def test_another_order_than_the_one_asked_for_is_no_answer(venue: ScriptedVenue, broker: AlpacaBroker) -> None:
    venue.will_answer(ok(order(client_order_id="other")))
    with pytest.raises(BrokerUnavailable):
        broker.order_by_client_id(CLIENT_ID)


# --- activities --------------------------------------------------------------------------------------------------------------

def test_fills_and_cash_keep_the_venues_order(venue: ScriptedVenue, broker: AlpacaBroker) -> None:
    fee = cash(id="c", activity_type="CFEE", symbol="BTCUSD", qty="-0.00025", net_amount="0", created_at="2018-10-02T05:00:00Z")
    venue.will_answer(ok([
        fill(), fill(id="b", side="sell_short", symbol="BTCUSD", qty="0.1", price="6500"), cash(), fee,
        cash(id="d", activity_type="CSD", symbol=None, qty=None, net_amount="50000"),
        cash(id="e", activity_type="SPLIT", symbol="AAPL", qty="15", net_amount="0"),
    ]))
    read = broker.activities("")
    assert read[0] == VenueFill(
        activity_id=fill()["id"], venue_order_id=ORDER_ID, symbol="AAPL", market=Market.US_EQUITY, side=Side.BUY,
        quantity_shares=Decimal(4), price_usd=Decimal("227.30"), occurred_at=datetime(2018, 10, 1, 13, 30, 1, 123000, UTC),
    )
    assert isinstance(read[1], VenueFill)
    assert (read[1].side, read[1].symbol, read[1].market) == (Side.SELL, "BTC/USD", Market.CRYPTO)
    assert read[2] == CashActivity(
        activity_id=cash()["id"], code="DIV", symbol="T", quantity_shares=Decimal(0), amount_usd=Decimal("1.02"),
        occurred_at=datetime(2018, 10, 2, 4, tzinfo=UTC),
    )  # a dividend's qty is what it was paid for: the position does not change
    rest = [(one.code, one.symbol, one.quantity_shares, one.amount_usd) for one in read[3:] if isinstance(one, CashActivity)]
    assert rest == [
        ("CFEE", "BTC/USD", Decimal("-0.00025"), Decimal(0)), ("CSD", None, Decimal(0), Decimal(50000)),
        ("SPLIT", "AAPL", Decimal(15), Decimal(0)),
    ]
    assert read[3].occurred_at == datetime(2018, 10, 2, 5, tzinfo=UTC)


def test_activities_come_page_by_page_after_the_given_one(venue: ScriptedVenue, broker: AlpacaBroker) -> None:
    everything = [fill(id=f"{number:05d}") for number in range(1, 2 * ACTIVITIES_A_PAGE + 31)]
    pages = [everything[start : start + ACTIVITIES_A_PAGE] for start in range(0, len(everything), ACTIVITIES_A_PAGE)]
    venue.will_answer(*map(ok, pages))
    assert [one.activity_id for one in broker.activities("00000")] == [one["id"] for one in everything]
    assert [one.query["page_token"] for one in venue.requests] == ["00000", "00100", "00200"]
    assert {(one.query["direction"], one.path) for one in venue.requests} == {("asc", "/v2/account/activities")}


def test_a_page_token_that_is_part_of_its_page_is_not_read_twice(venue: ScriptedVenue, broker: AlpacaBroker) -> None:
    venue.will_answer(ok([fill(id="7"), fill(id="8")]))
    assert [one.activity_id for one in broker.activities("7")] == ["8"]


def test_pages_that_do_not_end_are_an_error_not_a_loop(venue: ScriptedVenue, broker: AlpacaBroker) -> None:
    venue.will_answer(ok([fill(id=f"{number:05d}") for number in range(ACTIVITIES_A_PAGE)]))
    with pytest.raises(BrokerUnavailable, match="do not come to an end"):
        broker.activities("")
    venue.will_answer(ok([order(id=f"{number}", status="new") for number in range(ORDERS_A_PAGE)]))
    with pytest.raises(BrokerUnavailable, match="do not come to an end"):
        broker.open_orders()


@pytest.mark.parametrize(
    "broken", [without(fill(), "id"), fill(price=None), fill(side="?"), without(cash(id="undated"), "date")], ids=str
)
def test_one_unreadable_activity_fails_the_whole_reading(
    venue: ScriptedVenue, broker: AlpacaBroker, broken: dict[str, object]
) -> None:
    venue.will_answer(ok([fill(), broken]))
    with pytest.raises(BrokerUnavailable):
        broker.activities("")


# --- open orders -------------------------------------------------------------------------------------------------------------

class PagingVenue:
    """Answers `/v2/orders` from a list, as Alpaca pages: `after` is exclusive, oldest first, at most `limit`."""

    def __init__(self, orders: list[dict[str, Any]]) -> None:
        self._orders = sorted(orders, key=lambda one: one["submitted_at"])
        self.pages = 0

    def reply(self, query: dict[str, str]) -> CannedReply:
        self.pages += 1
        after = datetime.fromisoformat(query.get("after", "2000-01-01T00:00:00+00:00"))
        later = [one for one in self._orders if datetime.fromisoformat(one["submitted_at"]) > after]
        return ok(later[: int(query["limit"])])


@pytest.mark.parametrize("alike", [1, 3, 400], ids=lambda count: f"{count} in one instant")
def test_open_orders_are_complete_however_many_share_an_instant(
    venue: ScriptedVenue, broker: AlpacaBroker, alike: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = datetime(2018, 10, 1, 13, tzinfo=UTC)
    orders = [
        order(id=f"{number}", status="new", submitted_at=(start + timedelta(seconds=number // alike)).isoformat())
        for number in range(1203)
    ]
    paging = PagingVenue(orders)
    monkeypatch.setattr(venue, "next_reply", lambda: paging.reply(venue.requests[-1].query))
    assert sorted(int(one.venue_order_id) for one in broker.open_orders()) == list(range(1203))
    assert paging.pages <= 6
    assert venue.requests[0].query == {"status": "open", "limit": "500", "direction": "asc", "nested": "true"}


def test_open_orders_are_oldest_first_and_without_what_has_just_ended(venue: ScriptedVenue, broker: AlpacaBroker) -> None:
    venue.will_answer(ok([
        order(id="late", submitted_at="2018-10-01T14:00:00Z"), order(id="early", submitted_at="2018-10-01T13:00:00Z"),
        order(id="done", status="canceled"),
        order(id="entry", status="filled", legs=[order(id="stop", status="new")], submitted_at="2018-10-01T15:00:00Z"),
    ]))
    assert [one.venue_order_id for one in broker.open_orders()] == ["early", "late", "entry"]


# --- quotes ------------------------------------------------------------------------------------------------------------------

def quote(bid: float | None, ask: float | None) -> dict[str, object]:
    return {"t": "2018-10-01T13:00:00.5Z", "bp": bid, "bs": 1, "ap": ask, "as": 1}


def test_only_two_sided_quotes_of_known_symbols_count(venue: ScriptedVenue, broker: AlpacaBroker) -> None:
    venue.will_answer(ok({"quotes": {
        "AAPL": quote(227.1, 227.3), "F": quote(0, 9.1), "T": quote(33.1, 0), "X": quote(None, None), "Y": None, "Z": quote(1, 2),
    }}))
    read = broker.quotes(["AAPL", "F", "T", "X", "Y", "GONE"], Market.US_EQUITY)
    assert read == {"AAPL": Quote(
        symbol="AAPL", bid_usd=Decimal("227.1"), ask_usd=Decimal("227.3"), quoted_at=datetime(2018, 10, 1, 13, 0, 0, 500000, UTC),
    )}


def test_quotes_are_asked_for_by_market_feed_and_at_most_a_hundred_at_once(venue: ScriptedVenue) -> None:
    broker = AlpacaBroker(KEY_ID, SECRET_KEY, venue.url, venue.url, paper=True, quote_feed="iex")
    venue.will_answer(ok({"quotes": {}}))
    assert broker.quotes([f"S{number}" for number in range(201)], Market.US_EQUITY) == {}
    assert [one.query["symbols"].count(",") + 1 for one in venue.requests] == [100, 100, 1]
    assert {(one.path, one.query["feed"]) for one in venue.requests} == {("/v2/stocks/quotes/latest", "iex")}
    venue.will_answer(ok({"quotes": {"BTC/USD": quote(6500, 6501)}}))
    assert broker.quotes(["BTC/USD"], Market.CRYPTO)["BTC/USD"].ask_usd == 6501
    assert (venue.requests[0].path, venue.requests[0].query) == ("/v1beta3/crypto/us/latest/quotes", {"symbols": "BTC/USD"})
    venue.will_answer(refused(500, "never asked"))
    assert broker.quotes([], Market.CRYPTO) == {}


# --- what is sent ------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize(("sent", "body"), [
    (request(), {"type": "market", "time_in_force": "opg"}),
    (
        request(order_type=OrderType.LIMIT, time_in_force=TimeInForce.DAY, limit_price_usd=Decimal("0.1") + Decimal("0.2")),
        {"type": "limit", "time_in_force": "day", "limit_price": "0.3"},
    ),
    (
        request(side=Side.SELL, order_type=OrderType.STOP, time_in_force=TimeInForce.GTC, stop_price_usd=Decimal("97.50")),
        {"side": "sell", "type": "stop", "time_in_force": "gtc", "stop_price": "97.50"},
    ),
    (
        request(
            symbol="BTC/USD", market=Market.CRYPTO, side=Side.SELL, order_type=OrderType.STOP_LIMIT,
            time_in_force=TimeInForce.GTC, quantity_shares=Decimal("1E-9"), stop_price_usd=Decimal("6E+3"),
            limit_price_usd=Decimal("5999.5"),
        ),
        {
            "symbol": "BTC/USD", "side": "sell", "type": "stop_limit", "time_in_force": "gtc", "qty": "0.000000001",
            "stop_price": "6000", "limit_price": "5999.5",
        },
    ),
    (
        request(
            side=Side.SELL, order_type=OrderType.LIMIT, time_in_force=TimeInForce.GTC, order_class=OrderClass.OCO,
            limit_price_usd=Decimal("108.00"), stop_price_usd=Decimal("97.00"),
        ),
        {
            "side": "sell", "type": "limit", "time_in_force": "gtc", "order_class": "oco",
            "take_profit": {"limit_price": "108.00"}, "stop_loss": {"stop_price": "97.00"},
        },
    ),
])
def test_an_order_goes_out_once_with_every_number_a_string(
    venue: ScriptedVenue, broker: AlpacaBroker, sent: OrderRequest, body: dict[str, object]
) -> None:
    venue.will_answer(ok(order()))
    broker.submit(sent)
    assert [(one.method, one.path, one.key) for one in venue.requests] == [("POST", "/v2/orders", (KEY_ID, SECRET_KEY))]
    assert venue.requests[0].body == {"client_order_id": CLIENT_ID, "symbol": "AAPL", "side": "buy", "qty": "15"} | body


@pytest.mark.parametrize(("idle_s", "connections_count"), [(60.0, 1), (0.0, 3)])
def test_a_connection_is_used_again_unless_it_was_idle_for_too_long(
    venue: ScriptedVenue, idle_s: float, connections_count: int
) -> None:
    broker = AlpacaBroker(KEY_ID, SECRET_KEY, venue.url, venue.url, paper=True, timeouts=Timeouts(5, 5, idle_s))
    venue.will_answer(ok(clock()))
    for _ in range(3):
        broker.clock()
    assert len({one.client_port for one in venue.requests}) == connections_count


def test_an_order_that_is_rejected_after_all_comes_back_as_the_venue_shows_it(
    venue: ScriptedVenue, broker: AlpacaBroker
) -> None:
    venue.will_answer(ok(order(status="rejected", filled_qty="0", filled_avg_price=None)))
    assert broker.submit(request()).status is VenueStatus.REJECTED
