"""Every way a call to the broker can go wrong, and what it must mean: for a write, for a read, and for the key's secrecy."""

import io
import json
import logging
import time
import traceback
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from decimal import Decimal

import pytest
import requests
import urllib3
from alpaca.common import exceptions as alpaca_exceptions
from alpaca.common.exceptions import APIError
from requests.models import Response

from closebell.adapters.alpaca_broker import AlpacaBroker
from closebell.adapters.alpaca_data import AlpacaMarketData
from closebell.adapters.alpaca_errors import FAILURES, failure_of, read_error, send_error
from closebell.adapters.alpaca_http import Credentials, Timeouts
from closebell.adapters.alpaca_news import AlpacaNews
from closebell.model.broker import OrderClass, OrderRequest, OrderType, Side, TimeInForce
from closebell.model.errors import (
    AccessRefused,
    BrokerKeyRefused,
    BrokerUnavailable,
    ClosebellError,
    ConfigurationError,
    DataError,
    DuplicateOrderId,
    InsufficientBuyingPower,
    InsufficientQuantity,
    OrderDenied,
    OrderRejected,
    OutcomeUnknown,
    RateLimited,
    RequestRefused,
    WashTrade,
)
from closebell.model.instruments import Market
from tests.contract.scripted_venue import KEY_ID, SECRET_KEY, CannedReply, ScriptedVenue, ok, refused, scripted_venue
from tests.contract.venue_payloads import CLIENT_ID, ORDER_ID, account, order, without

TIMEOUTS = Timeouts(connect_s=5.0, read_s=2.0)
IMPATIENT = Timeouts(connect_s=5.0, read_s=0.5)
"""For replies that never come."""
REQUEST = OrderRequest(
    client_order_id=CLIENT_ID, market=Market.US_EQUITY, symbol="AAPL", side=Side.BUY, order_type=OrderType.LIMIT,
    time_in_force=TimeInForce.DAY, quantity_shares=Decimal(15), limit_price_usd=Decimal("228.00"),
)
RESET_S = 1_538_400_000


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
    return AlpacaBroker(KEY_ID, SECRET_KEY, venue.url, venue.url, paper=True, timeouts=TIMEOUTS)


Read = Callable[[AlpacaBroker], object]
READS: dict[str, Read] = {
    "clock": lambda broker: broker.clock(),
    "calendar": lambda broker: broker.calendar(date(2018, 10, 1), date(2018, 10, 2)),
    "account": lambda broker: broker.account(),
    "asset": lambda broker: broker.asset("AAPL"),
    "positions": lambda broker: broker.positions(),
    "open_orders": lambda broker: broker.open_orders(),
    "order": lambda broker: broker.order(ORDER_ID),
    "order_by_client_id": lambda broker: broker.order_by_client_id(CLIENT_ID),
    "activities": lambda broker: broker.activities(""),
    "quotes": lambda broker: broker.quotes(["AAPL"], Market.US_EQUITY),
    "crypto_quotes": lambda broker: broker.quotes(["BTC/USD"], Market.CRYPTO),
}

NO_ANSWER = {
    "504 after the order was taken": CannedReply(504, "upstream request timeout"),
    "502 with HTML": CannedReply(502, "<html><h1>502 Bad Gateway</h1></html>"),
    "500 with a code": refused(500, "internal server error", 50010000),
    "408 with a code": refused(408, "request timeout", 40810000),
    "200 with HTML": CannedReply(200, "<html>maintenance</html>"),
    "empty 200": CannedReply(200, ""),
    "204": CannedReply(204),
    "body cut short": CannedReply(200, json.dumps(order()), cut_chars=20),
    "JSON cut short, of the promised length": CannedReply(200, json.dumps(order())[:-20]),
    "hang": CannedReply(hangs=True),
    "307 elsewhere": CannedReply(307, "", (("Location", "http://127.0.0.1:9/v2/orders"),)),
    "302 with a good body": CannedReply(302, json.dumps(order()), (("Location", "http://127.0.0.1:9/"),)),
    "null": CannedReply(200, "null"),
    "a number": CannedReply(200, "7"),
    "a text": CannedReply(200, '"ok"'),
    "404 with HTML": CannedReply(404, "<html>no such page</html>"),
    "404 of an unknown endpoint": refused(404, "endpoint not found.", None),
    "422 without a code": refused(422, "unprocessable"),
    "400 with a code that is no number": refused(400, "bad", "E_BAD"),
    "an unknown charset": CannedReply(200, "{", (("Content-Type", "application/json; charset=klingon"),)),
    "a compressed body that is none": CannedReply(200, "{}", (("Content-Encoding", "gzip"),)),
}


@pytest.mark.parametrize("reply", NO_ANSWER.values(), ids=NO_ANSWER.keys())
def test_a_submit_without_a_trustworthy_answer_is_unknown_and_sent_once(
    venue: ScriptedVenue, broker: AlpacaBroker, reply: CannedReply
) -> None:
    venue.will_answer(reply)
    with pytest.raises(OutcomeUnknown, match="it may have been accepted"):
        broker.submit(REQUEST)
    assert [request.method for request in venue.requests] == ["POST"]


def test_a_venue_that_hangs_is_given_up_after_the_read_timeout(venue: ScriptedVenue) -> None:
    """The scripted venue holds on for ten seconds."""
    broker = AlpacaBroker(KEY_ID, SECRET_KEY, venue.url, venue.url, paper=True, timeouts=IMPATIENT)
    venue.will_answer(CannedReply(hangs=True))
    before = time.perf_counter()
    with pytest.raises(OutcomeUnknown, match="timed out"):
        broker.submit(REQUEST)
    assert IMPATIENT.read_s <= time.perf_counter() - before < 5


@pytest.mark.parametrize("broken", [
    order(client_order_id="cbe20181001-zzzzzzzzzzzzzzzzzzzz"),
    [order()],
    {"code": 40010001, "message": "client_order_id must be unique"},
    *(without(order(), name) for name in ("id", "client_order_id", "status", "symbol", "side", "filled_qty", "created_at")),
    without(order(), "type"),
    *(order(**{name: value}) for name, value in [
        ("qty", "many"), ("qty", None), ("qty", "NaN"), ("filled_qty", True), ("side", "hold"), ("status", ""), ("id", 7),
        ("submitted_at", "yesterday"), ("submitted_at", "2018-10-01T13:00:00"), ("asset_class", "us_future"), ("legs", "none"),
    ]),
], ids=str)
def test_a_submit_reply_that_makes_no_sense_is_unknown(venue: ScriptedVenue, broker: AlpacaBroker, broken: object) -> None:
    venue.will_answer(ok(broken))
    with pytest.raises(OutcomeUnknown):
        broker.submit(REQUEST)


@pytest.mark.parametrize("read", READS.values(), ids=READS.keys())
@pytest.mark.parametrize("reply", NO_ANSWER.values(), ids=NO_ANSWER.keys())
def test_a_failed_read_is_never_an_empty_answer(
    venue: ScriptedVenue, broker: AlpacaBroker, reply: CannedReply, read: Read
) -> None:
    if reply.hangs:
        broker = AlpacaBroker(KEY_ID, SECRET_KEY, venue.url, venue.url, paper=True, timeouts=IMPATIENT)
    venue.will_answer(reply)
    with pytest.raises(BrokerUnavailable):
        read(broker)
    assert len(venue.requests) == 1


@pytest.mark.parametrize("read", READS.values(), ids=READS.keys())
def test_a_list_where_an_object_is_due_or_the_reverse_fails_the_read(
    venue: ScriptedVenue, broker: AlpacaBroker, read: Read
) -> None:
    venue.will_answer(ok({"positions": []}))
    with pytest.raises(BrokerUnavailable):
        read(broker)
    venue.will_answer(ok([[]]))
    with pytest.raises(BrokerUnavailable):
        read(broker)


@pytest.mark.parametrize("name", ["equity", "cash", "buying_power", "last_equity", "account_number", "trading_blocked"])
def test_an_account_without_a_field_we_need_fails_the_read(venue: ScriptedVenue, broker: AlpacaBroker, name: str) -> None:
    venue.will_answer(ok(without(account(), name)))
    with pytest.raises(BrokerUnavailable, match=name):
        broker.account()


REFUSALS: list[tuple[CannedReply, type[ClosebellError]]] = [
    (refused(403, "insufficient buying power", 40310000, buying_power="10", cost_basis="3000"), InsufficientBuyingPower),
    (refused(403, "insufficient day trading buying power", 40310000), InsufficientBuyingPower),
    (refused(403, "insufficient balance for USD (requested: 10, available: 1)", 40310000), InsufficientBuyingPower),
    (refused(403, "insufficient balance for ETH (requested: 1, available: 0.9975)", 40310000), InsufficientQuantity),
    (
        refused(
            403, "insufficient qty available for order (requested: 4, available: 0)", 40310000,
            available="0", existing_qty="4", held_for_orders="4", symbol="AAPL",
        ),
        InsufficientQuantity,
    ),
    (
        refused(
            403, "potential wash trade detected. use complex orders", 40310000, existing_order_id=ORDER_ID,
            reject_reason="opposite side market/stop order exists",
        ),
        WashTrade,
    ),
    (refused(403, "cost basis must be >= minimal amount of order 10", 40310000), OrderRejected),
    (refused(403, "opg orders must be submitted after 7:00pm and before 9:28am", 40310000), OrderRejected),
    (refused(403, "account is restricted to liquidation only", "40310000"), OrderRejected),
    (refused(422, "client_order_id must be unique", 40010001), DuplicateOrderId),
    (refused(422, "client_order_id must be unique", 42210000), DuplicateOrderId),
    (refused(422, 'asset "X" not found', 42210000), OrderRejected),
    (refused(422, "fractional orders must be DAY orders", 42210000), OrderRejected),
    (refused(400, "invalid request", 40010000), OrderRejected),
    (refused(401, "unauthorized."), BrokerKeyRefused),
    (refused(401, "unauthorized.", 40110000), BrokerKeyRefused),
    (refused(403, "forbidden."), BrokerKeyRefused),
    (CannedReply(403, "<html>Forbidden</html>"), BrokerKeyRefused),
]


@pytest.mark.parametrize(("reply", "expected"), REFUSALS, ids=lambda part: part.body if isinstance(part, CannedReply) else "")
def test_a_refusal_is_told_apart_by_code_message_and_fields(
    venue: ScriptedVenue, broker: AlpacaBroker, reply: CannedReply, expected: type[ClosebellError]
) -> None:
    venue.will_answer(reply)
    with pytest.raises(expected) as raised:
        broker.submit(REQUEST)
    assert type(raised.value) is expected
    assert len(venue.requests) == 1
    if isinstance(raised.value, OrderRejected):
        assert raised.value.code == int(json.loads(reply.body)["code"])
        assert str(raised.value) == json.loads(reply.body)["message"]


@pytest.mark.parametrize(("headers", "reset_at"), [
    ((("X-Ratelimit-Reset", str(RESET_S)), ("X-Ratelimit-Remaining", "0")), datetime.fromtimestamp(RESET_S, UTC)),
    ((("X-Ratelimit-Reset", "soon"),), None),
    ((("X-Ratelimit-Reset", "1e400"),), None),
    ((), None),
])
def test_a_rate_limit_says_when_it_ends_and_is_not_sent_again(
    venue: ScriptedVenue, broker: AlpacaBroker, headers: tuple[tuple[str, str], ...], reset_at: datetime | None
) -> None:
    for call in (broker.account, lambda: broker.submit(REQUEST), lambda: broker.cancel(ORDER_ID), broker.open_orders):
        venue.will_answer(refused(429, "rate limit exceeded", 42910000)._replace(headers=headers))
        with pytest.raises(RateLimited) as raised:
            call()
        assert raised.value.reset_at == reset_at
        assert len(venue.requests) == 1


def test_a_broker_that_is_down_is_unavailable_to_reads_and_leaves_writes_unknown() -> None:
    with scripted_venue() as closed:
        pass
    broker = AlpacaBroker(KEY_ID, SECRET_KEY, closed.url, closed.url, paper=True, timeouts=TIMEOUTS)
    with pytest.raises(BrokerUnavailable):
        broker.account()
    with pytest.raises(OutcomeUnknown):
        broker.submit(REQUEST)
    with pytest.raises(OutcomeUnknown):
        broker.cancel(ORDER_ID)


@pytest.mark.parametrize("find", [READS["asset"], READS["order"], READS["order_by_client_id"]])
def test_only_the_venue_itself_can_say_that_something_is_not_there(
    venue: ScriptedVenue, broker: AlpacaBroker, find: Read
) -> None:
    venue.will_answer(refused(404, f"order not found for {ORDER_ID}", 40410000))
    assert find(broker) is None
    for reply in (refused(404, "not found"), CannedReply(404, ""), refused(404, "endpoint not found.", 40410000)):
        venue.will_answer(reply)
        with pytest.raises(BrokerUnavailable):
            find(broker)


def test_a_cancel_of_what_is_finished_or_gone_is_no_error(venue: ScriptedVenue, broker: AlpacaBroker) -> None:
    for reply in (
        CannedReply(204), refused(422, 'order is already in "filled" state', 42210000),
        refused(422, 'order is already in "pending_cancel" state', 42210000), refused(404, "order not found", 40410000),
    ):
        venue.will_answer(reply)
        broker.cancel(ORDER_ID)
        assert [(request.method, request.path) for request in venue.requests] == [("DELETE", f"/v2/orders/{ORDER_ID}")]


def test_a_cancel_that_is_refused_or_unanswered_says_so(venue: ScriptedVenue, broker: AlpacaBroker) -> None:
    venue.will_answer(refused(403, "account is blocked", 40310000))
    with pytest.raises(OrderRejected):
        broker.cancel(ORDER_ID)
    for reply in (CannedReply(504), CannedReply(200, ""), CannedReply(200, "{}"), CannedReply(hangs=True), CannedReply(404, "")):
        venue.will_answer(reply)
        with pytest.raises(OutcomeUnknown):
            broker.cancel(ORDER_ID)


def test_recent_sip_data_without_the_plan_is_no_key_problem(venue: ScriptedVenue) -> None:
    venue.will_answer(refused(403, "subscription does not permit querying recent SIP data"))
    data = AlpacaMarketData(KEY_ID, SECRET_KEY, venue.url, timeouts=TIMEOUTS)
    with pytest.raises(BrokerUnavailable, match="iex") as raised:
        data.daily_bars(["AAPL"], Market.US_EQUITY, date(2018, 10, 1), date(2018, 10, 2))
    assert not isinstance(raised.value, BrokerKeyRefused)


@pytest.mark.parametrize(("reply", "kind"), [
    (refused(400, "invalid symbol: ZZ"), RequestRefused), (refused(422, "invalid limit", 42210000), RequestRefused),
    (refused(403, "forbidden."), AccessRefused), (CannedReply(403, "<html>Forbidden</html>"), AccessRefused),
    (refused(422, "your subscription does not permit querying data from the past 15 minutes"), AccessRefused),
    (refused(401, "unauthorized."), BrokerKeyRefused), (refused(404, "not found"), BrokerUnavailable),
    (refused(500, "internal server error"), BrokerUnavailable),
])
def test_a_read_that_is_refused_says_whether_the_request_or_the_key_is_at_fault(
    venue: ScriptedVenue, reply: CannedReply, kind: type[BrokerUnavailable]
) -> None:
    venue.will_answer(reply)
    data = AlpacaMarketData(KEY_ID, SECRET_KEY, venue.url, timeouts=TIMEOUTS)
    with pytest.raises(kind) as raised:
        data.daily_bars(["ZZ"], Market.US_EQUITY, date(2018, 10, 1), date(2018, 10, 2))
    assert type(raised.value) is kind


@pytest.mark.parametrize("reply", [*NO_ANSWER.values(), refused(401, "unauthorized."), refused(429, "slow", 42910000)], ids=str)
def test_news_that_cannot_be_read_is_a_data_error(venue: ScriptedVenue, reply: CannedReply) -> None:
    venue.will_answer(reply)
    news = AlpacaNews(KEY_ID, SECRET_KEY, venue.url, timeouts=IMPATIENT)
    with pytest.raises(DataError):
        news.headlines(["AAPL"], datetime(2018, 10, 1, tzinfo=UTC))


def api_error(body: str, http_error: requests.HTTPError) -> Exception:
    make: Callable[..., APIError] = APIError
    return make(body, http_error)


def all_subclasses(root: type[BaseException]) -> set[type[BaseException]]:
    return {root}.union(*(all_subclasses(child) for child in root.__subclasses__()))


VENDOR_EXCEPTIONS = sorted(
    {
        *all_subclasses(requests.exceptions.RequestException), *all_subclasses(urllib3.exceptions.HTTPError),
        *(value for value in vars(alpaca_exceptions).values() if isinstance(value, type) and issubclass(value, Exception)),
        TypeError, ValueError, KeyError, IndexError, AttributeError, UnicodeDecodeError, ZeroDivisionError, json.JSONDecodeError,
        ConnectionResetError, TimeoutError, OSError,
    },
    key=lambda one: f"{one.__module__}.{one.__qualname__}",
)


@pytest.mark.parametrize("vendor", VENDOR_EXCEPTIONS, ids=lambda one: f"{one.__module__}.{one.__qualname__}")
def test_every_exception_that_the_vendor_can_raise_is_mapped(vendor: type[Exception]) -> None:
    """As httpx does with httpcore's: an exception class of a new release that fits no entry fails here first."""
    assert issubclass(vendor, FAILURES)
    bare = {"__init__": lambda self: None, "__str__": lambda self: "bare", "_http_error": None}  # each wants other arguments
    failure = failure_of(type(vendor.__name__, (vendor,), bare)(), ())
    assert type(read_error(failure, "GET /x")) is BrokerUnavailable
    assert type(send_error(failure, "POST /x")) is OutcomeUnknown


@pytest.mark.parametrize("body", ["", "{", "null", "[]", '"x"', '{"code": true}', '{"code": 1.5}', '{"code": "٣"}'])
def test_an_error_body_of_any_shape_is_survived(body: str) -> None:
    response = Response()
    response.status_code = 422
    failure = failure_of(api_error(body, requests.HTTPError(response=response)), ())
    assert failure.code is None
    assert isinstance(send_error(failure, "POST /x"), OutcomeUnknown)


# --- the canary --------------------------------------------------------------------------------------------------------------

def everything_said(error: BaseException) -> str:
    """The error, all it was raised from, and their attributes, as a log might show them."""
    said = ["".join(traceback.format_exception(error))]
    link: BaseException | None = error
    while link is not None:
        said.append(f"{link!r} {link.args!r} {vars(link)!r}")
        link = link.__cause__ or link.__context__
    return "".join(said)


def test_the_key_is_in_no_error_log_or_repr(venue: ScriptedVenue) -> None:
    """The venue quotes the key back in everything it says; the log is at its loudest."""
    echo = f"key {KEY_ID} with {SECRET_KEY} is not good"
    replies = [
        refused(401, echo), refused(403, echo, 40310000), refused(429, echo), refused(422, echo, 40010001),
        CannedReply(500, echo), CannedReply(200, echo), ok({"status": echo}), ok([{"status": echo}]), CannedReply(hangs=True),
        CannedReply(307, "", (("Location", f"http://127.0.0.1:9/?{SECRET_KEY}"),)),
    ]
    captured = io.StringIO()
    handler = logging.StreamHandler(captured)
    logger = logging.getLogger()
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    said = []
    try:
        broker = AlpacaBroker(KEY_ID, SECRET_KEY, venue.url, venue.url, paper=True, timeouts=IMPATIENT)
        news = AlpacaNews(KEY_ID, SECRET_KEY, venue.url, timeouts=IMPATIENT)
        calls: list[Callable[[], object]] = [
            broker.account, broker.open_orders, lambda: broker.submit(REQUEST), lambda: broker.cancel(ORDER_ID),
            lambda: news.headlines(["AAPL"], datetime(2018, 10, 1, tzinfo=UTC)),
        ]
        for reply in replies:
            for call in calls:
                venue.will_answer(reply)
                with pytest.raises(ClosebellError) as raised:
                    call()
                said.append(everything_said(raised.value))
                assert venue.requests[0].key == (KEY_ID, SECRET_KEY)
        said += [repr(broker), str(vars(broker)), repr(Credentials(KEY_ID, SECRET_KEY))]
    finally:
        logger.setLevel(level)
        logger.removeHandler(handler)
    said.append(captured.getvalue())
    for half in (KEY_ID, SECRET_KEY):
        assert half not in "".join(said)


@pytest.mark.parametrize("pasted", ["", " ", f"{SECRET_KEY}\n", f" {SECRET_KEY}", SECRET_KEY.replace("/", " "), f"{SECRET_KEY}é"])
def test_a_badly_pasted_key_is_refused_without_being_quoted(pasted: str) -> None:
    """An HTTP library would quote it in its complaint about the header."""
    for key_id, secret_key in ((pasted, SECRET_KEY), (KEY_ID, pasted)):
        with pytest.raises(ConfigurationError) as raised:
            AlpacaBroker(key_id, secret_key, "https://paper-api.alpaca.markets", "https://data.alpaca.markets", paper=True)
        assert "canary" not in everything_said(raised.value)


# --- what must not start -----------------------------------------------------------------------------------------------------

@pytest.mark.parametrize(("url", "paper"), [
    ("https://api.alpaca.markets", True), ("https://API.alpaca.markets./", True), ("https://api.alpaca.markets:443", True),
    ("https://paper-api.alpaca.markets", False), ("http://paper-api.alpaca.markets", True), ("paper-api.alpaca.markets", True),
    ("https://paper-api.alpaca.markets/v2", True), ("https://paper-api.alpaca.markets@api.alpaca.markets", True), ("", True),
    ("ftp://127.0.0.1", True), ("https://paper-api.alpaca.markets?x=1", True),
])
def test_an_address_that_cannot_be_meant_is_refused(url: str, paper: bool) -> None:
    with pytest.raises(ConfigurationError):
        AlpacaBroker(KEY_ID, SECRET_KEY, url, "https://data.alpaca.markets", paper=paper)


@pytest.mark.parametrize(("url", "paper"), [
    ("https://paper-api.alpaca.markets", True), ("https://api.alpaca.markets/", False), ("http://127.0.0.1:4000", True),
    ("http://localhost:4000/", False),
])
def test_an_address_that_can_be_meant_is_taken(url: str, paper: bool) -> None:
    AlpacaBroker(KEY_ID, SECRET_KEY, url, "https://data.alpaca.markets", paper=paper)


def test_an_oco_without_both_prices_is_denied_before_anything_is_sent(venue: ScriptedVenue, broker: AlpacaBroker) -> None:
    with pytest.raises(OrderDenied):
        broker.submit(REQUEST.model_copy(update={"order_class": OrderClass.OCO}))
    assert venue.requests == []
