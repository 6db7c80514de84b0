"""`python -m infra.local.conformance`: does a broker behave as closebell believes Alpaca does?

The checks run against Alpaca paper with the keys in ALPACA_KEY_ID and ALPACA_SECRET_KEY (other origins: ALPACA_TRADING_URL,
ALPACA_DATA_URL), and in the test suite against the simulated exchange: it is one list. They refuse every account that is not
a paper account, place only limit orders far below the market for a few dollars, and cancel what they place.

A simulated exchange whose clock nobody moves passes when it is started with `--cancel-latency 0`.
"""

import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count
from json import JSONDecodeError, loads
from typing import Any, NamedTuple

import requests
from alpaca.common.exceptions import APIError
from alpaca.data.historical import CryptoHistoricalDataClient, NewsClient, StockHistoricalDataClient
from alpaca.trading.client import TradingClient

PAPER_TRADING_URL = "https://paper-api.alpaca.markets"
DATA_URL = "https://data.alpaca.markets"
TIMEOUT_S = 10.0
SETTLE_TIMEOUT_S = 20.0
_FAR_BELOW = 0.5
_TERMINAL = ("filled", "canceled", "expired", "rejected", "replaced")


class BoundedAdapter(requests.adapters.HTTPAdapter):
    """Gives every request a time limit: alpaca-py sets none."""

    def send(self, request: requests.PreparedRequest, **options: Any) -> requests.Response:  # type: ignore[override]  # passes all on
        return super().send(request, **(options | {"timeout": TIMEOUT_S}))


def bounded(client: Any) -> Any:
    """An alpaca-py client with a time limit and without its own retries, which send an order again."""
    client._retry = 0
    client._session.mount("http://", BoundedAdapter())
    client._session.mount("https://", BoundedAdapter())
    return client


@dataclass
class BrokerUnderTest:
    """Raw clients of one paper account. `settle` gives the broker time; `symbol` and `coin` are what is ordered."""

    trading_url: str
    data_url: str
    key_id: str
    secret_key: str
    settle: Callable[[], None]
    symbol: str = "SPY"
    coin: str = "BTC/USD"
    trading: Any = field(init=False)
    stocks: Any = field(init=False)
    coins: Any = field(init=False)
    news: Any = field(init=False)

    def __post_init__(self) -> None:
        keys = (self.key_id, self.secret_key)
        data: dict[str, Any] = {"raw_data": True, "url_override": self.data_url}
        self.trading = bounded(TradingClient(*keys, paper=True, raw_data=True, url_override=self.trading_url))
        self.stocks = bounded(StockHistoricalDataClient(*keys, **data))
        self.coins = bounded(CryptoHistoricalDataClient(*keys, **data))
        self.news = bounded(NewsClient(*keys, **data))
        self._ids = (f"conformance-{datetime.now(UTC):%Y%m%d%H%M%S%f}-{number}" for number in count())

    def now(self) -> datetime:
        """The broker's clock."""
        return datetime.fromisoformat(self.trading.get("/clock")["timestamp"])

    def far_limit(self) -> float:
        """A buying price nobody sells at, in cents."""
        quotes = self.stocks.get("/stocks/quotes/latest", {"symbols": self.symbol})["quotes"]
        return round(float(quotes[self.symbol]["bp"]) * _FAR_BELOW, 2)

    def order(self, **terms: Any) -> dict[str, Any]:
        """A far limit order for one share, with some terms changed."""
        facts = {
            "symbol": self.symbol,
            "qty": 1,
            "side": "buy",
            "type": "limit",
            "time_in_force": "gtc",
            "client_order_id": next(self._ids),
        }
        if terms.get("type", "limit") == "limit" and "limit_price" not in terms:
            facts["limit_price"] = self.far_limit()
        return {name: value for name, value in (facts | terms).items() if value is not None}

    def placed(self, **terms: Any) -> dict[str, Any]:
        """The reply to such an order."""
        reply: dict[str, Any] = self.trading.post("/orders", self.order(**terms))
        return reply

    def ended(self, order_id: str) -> str:
        """Cancel an order (finished is fine) and wait until it is over; returns its last status."""
        try:
            self.trading.delete(f"/orders/{order_id}")
        except APIError as error:
            if error.status_code != 422:
                raise
        deadline = time.monotonic() + SETTLE_TIMEOUT_S
        while (status := str(self.trading.get(f"/orders/{order_id}")["status"])) not in _TERMINAL and time.monotonic() < deadline:
            self.settle()
        return status


class Finding(NamedTuple):
    """What a check expected and what it saw."""

    expected: str
    seen: str

    @property
    def passed(self) -> bool:
        return self.expected == self.seen


Check = Callable[[BrokerUnderTest], Finding]


def refusal(call: Callable[[], Any]) -> str:
    """How a call is refused: status, numeric code and message; `no refusal` when it is not."""
    try:
        call()
    except APIError as error:
        try:
            body = loads(str(error))
        except JSONDecodeError:
            return f"{error.status_code} without JSON"
        return f"{error.status_code} {body.get('code', 'no code')} {body.get('message')}"
    return "no refusal"


def _lacking(facts: dict[str, Any], *names: str) -> Finding:
    return Finding("no field missing", ", ".join(name for name in names if name not in facts) or "no field missing")


def account_is_paper_and_money_is_text(broker: BrokerUnderTest) -> Finding:
    account = broker.trading.get("/account")
    money = all(isinstance(account[name], str) for name in ("cash", "equity", "last_equity", "buying_power", "multiplier"))
    return Finding("PA, ACTIVE, text", f"{account['account_number'][:2]}, {account['status']}, {'text' if money else 'numbers'}")


def account_has_the_fields_we_read(broker: BrokerUnderTest) -> Finding:
    blocks = ("trading_blocked", "account_blocked", "transfers_blocked", "trade_suspended_by_user")
    return _lacking(broker.trading.get("/account"), "id", "account_number", "status", "equity", "last_equity", "cash", *blocks)


def clock_has_offsets_and_closes_in_the_future(broker: BrokerUnderTest) -> Finding:
    clock = broker.trading.get("/clock")
    times = [datetime.fromisoformat(clock[name]) for name in ("timestamp", "next_open", "next_close")]
    return Finding(
        "aware, ahead",
        f"{'aware' if all(at.tzinfo for at in times) else 'naive'}, {'ahead' if min(times[1:]) > times[0] else 'past'}",
    )


def calendar_gives_naive_new_york_hours(broker: BrokerUnderTest) -> Finding:
    today = broker.now().date()
    days = broker.trading.get("/calendar", {"start": str(today), "end": str(today + timedelta(days=7))})
    return Finding("True 09:30", f"{[day['date'] for day in days] == sorted(day['date'] for day in days)} {days[0]['open']}")


def asset_has_the_fields_we_read(broker: BrokerUnderTest) -> Finding:
    return _lacking(
        broker.trading.get(f"/assets/{broker.symbol}"), "id", "class", "exchange", "symbol", "status", "tradable", "fractionable"
    )


def unknown_asset_is_not_found(broker: BrokerUnderTest) -> Finding:
    return Finding("404 40410000", refusal(lambda: broker.trading.get("/assets/NOSUCHASSET"))[:12])


def unknown_order_is_not_found(broker: BrokerUnderTest) -> Finding:
    order_id = "00000000-0000-4000-8000-000000000000"
    return Finding(f"404 40410000 order not found for {order_id}", refusal(lambda: broker.trading.get(f"/orders/{order_id}")))


def coin_position_with_a_slash_is_not_found(broker: BrokerUnderTest) -> Finding:
    return Finding("404", refusal(lambda: broker.trading.get(f"/positions/{broker.coin}"))[:3])


def wrong_key_is_unauthorized_without_a_code(broker: BrokerUnderTest) -> Finding:
    stranger = bounded(TradingClient("wrong", "wrong", paper=True, raw_data=True, url_override=broker.trading_url))
    return Finding("401 no code unauthorized.", refusal(lambda: stranger.get("/account")))


def order_is_taken_found_by_our_id_and_canceled(broker: BrokerUnderTest) -> Finding:
    placed = broker.placed()
    found = broker.trading.get("/orders:by_client_order_id", {"client_order_id": placed["client_order_id"]})
    listed = [order["id"] for order in broker.trading.get("/orders", {"status": "open", "symbols": broker.symbol})]
    status = broker.ended(placed["id"])
    return Finding(
        "open, found, listed, canceled",
        f"{'open' if placed['status'] in ('accepted', 'new', 'pending_new') else placed['status']}, "
        f"{'found' if found['id'] == placed['id'] else 'lost'}, {'listed' if placed['id'] in listed else 'omitted'}, {status}",
    )


def outside_hours_an_order_is_accepted_and_inside_new(broker: BrokerUnderTest) -> Finding:
    is_open = broker.trading.get("/clock")["is_open"]
    placed = broker.placed()
    broker.settle()
    status = broker.trading.get(f"/orders/{placed['id']}")["status"]
    broker.ended(placed["id"])
    return Finding("new" if is_open else "accepted", status)


def client_id_stays_taken_after_cancel(broker: BrokerUnderTest) -> Finding:
    placed = broker.placed()
    broker.ended(placed["id"])
    again = broker.order(client_order_id=placed["client_order_id"])
    return Finding("422 40010001 client_order_id must be unique", refusal(lambda: broker.trading.post("/orders", again)))


def canceling_twice_is_no_error(broker: BrokerUnderTest) -> Finding:
    placed = broker.placed()
    broker.ended(placed["id"])
    return Finding("no refusal", refusal(lambda: broker.trading.delete(f"/orders/{placed['id']}")))


def orders_page_by_until(broker: BrokerUnderTest) -> Finding:
    placed = [broker.placed()["id"] for _ in range(3)]
    page = broker.trading.get("/orders", {"status": "open", "limit": 2, "symbols": broker.symbol})
    rest = broker.trading.get(
        "/orders", {"status": "open", "limit": 2, "symbols": broker.symbol, "until": page[-1]["submitted_at"]}
    )
    seen = [order["id"] for order in page + rest][:3]
    for order_id in placed:
        broker.ended(order_id)
    return Finding("newest first, none lost", "newest first, none lost" if seen == placed[::-1] else f"{seen} of {placed}")


def bracket_legs_are_held_and_end_together(broker: BrokerUnderTest) -> Finding:
    price = broker.far_limit()
    legs = {"take_profit": {"limit_price": round(price * 1.1, 2)}, "stop_loss": {"stop_price": round(price * 0.9, 2)}}
    placed = broker.placed(order_class="bracket", limit_price=price, **legs)
    held = [leg["status"] for leg in placed["legs"]]
    broker.ended(placed["id"])
    broker.settle()
    after = broker.trading.get(f"/orders/{placed['id']}", {"nested": "true"})
    return Finding("held, held; canceled", f"{', '.join(held)}; {', '.join({leg['status'] for leg in after['legs']})}")


def replace_makes_a_new_order_or_refuses_an_accepted_one(broker: BrokerUnderTest) -> Finding:
    placed = broker.placed()
    broker.settle()
    if broker.trading.get(f"/orders/{placed['id']}")["status"] == "accepted":
        seen = refusal(lambda: broker.trading.patch(f"/orders/{placed['id']}", {"qty": "2"}))
        broker.ended(placed["id"])
        return Finding("422 42210000 cannot replace order in accepted status", seen)
    new = broker.trading.patch(f"/orders/{placed['id']}", {"qty": "2"})
    broker.settle()
    old = broker.trading.get(f"/orders/{placed['id']}")
    broker.ended(new["id"])
    return Finding(
        "replaced, linked", f"{old['status']}, {'linked' if old['replaced_by'] == new['id'] != placed['id'] else 'not linked'}"
    )


def _refused_order(expected: str, **terms: Any) -> Check:
    def check(broker: BrokerUnderTest) -> Finding:
        order = broker.order(**terms)
        seen = refusal(lambda: broker.trading.post("/orders", order))
        return Finding(expected, seen[: len(expected)])

    return check


def buying_beyond_the_account_is_refused(broker: BrokerUnderTest) -> Finding:
    shares = int(float(broker.trading.get("/account")["buying_power"]) / broker.far_limit()) + 1000
    return Finding(
        "403 40310000 insufficient buying power", refusal(lambda: broker.trading.post("/orders", broker.order(qty=shares)))
    )


def selling_a_coin_one_does_not_own_is_refused(broker: BrokerUnderTest) -> Finding:
    order = broker.order(symbol=broker.coin, side="sell", type="market", qty=1000, limit_price=None)
    expected = f"403 40310000 insufficient balance for {broker.coin.split('/')[0]}"
    return Finding(expected, refusal(lambda: broker.trading.post("/orders", order))[: len(expected)])


def opg_order_is_refused_by_day(broker: BrokerUnderTest) -> Finding:
    clock = broker.trading.get("/clock")
    seen = "no refusal"
    try:
        broker.ended(broker.placed(time_in_force="opg")["id"])
    except APIError as error:
        seen = f"{error.status_code} {loads(str(error))['message']}"
    message = "403 opg orders must be submitted after 7:00pm and before 9:28am"
    return Finding(message if clock["is_open"] else seen, seen)


def daily_bars_have_the_fields_we_read(broker: BrokerUnderTest) -> Finding:
    start = broker.now().date() - timedelta(days=10)
    query = {"symbols": broker.symbol, "timeframe": "1Day", "start": str(start), "adjustment": "all", "feed": "iex"}
    bars = broker.stocks.get("/stocks/bars", query)["bars"].get(broker.symbol, [{}])
    return _lacking(bars[-1], "t", "o", "h", "l", "c", "v", "n", "vw")


def a_symbol_without_bars_is_left_out(broker: BrokerUnderTest) -> Finding:
    query = {"symbols": "ZVZZT", "timeframe": "1Day", "start": "2001-01-02", "end": "2001-01-03"}
    return Finding("{}", str(broker.stocks.get("/stocks/bars", query)["bars"]))


def recent_sip_data_needs_a_subscription(broker: BrokerUnderTest) -> Finding:
    query = {
        "symbols": broker.symbol,
        "timeframe": "1Day",
        "start": str(broker.now().date()),
        "end": broker.now().isoformat(),
        "feed": "sip",
    }
    return Finding(
        "403 no code subscription does not permit querying recent SIP data",
        refusal(lambda: broker.stocks.get("/stocks/bars", query)),
    )


def stock_snapshots_are_not_wrapped(broker: BrokerUnderTest) -> Finding:
    reply = broker.stocks.get("/stocks/snapshots", {"symbols": broker.symbol})
    return _lacking(reply.get(broker.symbol, {}), "latestTrade", "latestQuote", "minuteBar", "dailyBar", "prevDailyBar")


def coin_bars_want_the_slash_and_serve_the_forming_day(broker: BrokerUnderTest) -> Finding:
    today = broker.now().astimezone(UTC).date()
    bars = broker.coins.get("/crypto/us/bars", {"symbols": broker.coin, "timeframe": "1Day", "start": str(today)})["bars"]
    return Finding(str(today), bars[broker.coin][-1]["t"][:10] if bars.get(broker.coin) else "no bar")


def coin_without_slash_is_refused_by_the_data_api(broker: BrokerUnderTest) -> Finding:
    query = {"symbols": broker.coin.replace("/", ""), "timeframe": "1Day"}
    return Finding("400", refusal(lambda: broker.coins.get("/crypto/us/bars", query))[:3])


def news_has_the_fields_we_read(broker: BrokerUnderTest) -> Finding:
    start = (broker.now() - timedelta(days=14)).isoformat()
    items = broker.news.get("/news", {"symbols": broker.symbol, "limit": 1, "start": start})["news"]
    return _lacking(
        items[0], "id", "headline", "source", "url", "summary", "created_at", "updated_at", "symbols", "author", "content"
    )


def every_reply_tells_the_rate_limit(broker: BrokerUnderTest) -> Finding:
    seen: list[dict[str, Any]] = []

    def watch(response: requests.Response, **options: Any) -> None:
        seen.append(dict(response.headers))

    broker.trading._session.hooks["response"].append(watch)
    broker.trading.get("/clock")
    broker.trading._session.hooks["response"].remove(watch)
    return _lacking(
        {name.lower(): value for name, value in seen[0].items()},
        *(f"x-ratelimit-{name}" for name in ("limit", "remaining", "reset")),
    )


CHECKS: dict[str, Check] = {
    check.__name__: check
    for check in (
        account_is_paper_and_money_is_text, account_has_the_fields_we_read, clock_has_offsets_and_closes_in_the_future,
        calendar_gives_naive_new_york_hours, asset_has_the_fields_we_read, unknown_asset_is_not_found, unknown_order_is_not_found,
        coin_position_with_a_slash_is_not_found, wrong_key_is_unauthorized_without_a_code,
        order_is_taken_found_by_our_id_and_canceled,
        outside_hours_an_order_is_accepted_and_inside_new, client_id_stays_taken_after_cancel, canceling_twice_is_no_error,
        orders_page_by_until, bracket_legs_are_held_and_end_together, replace_makes_a_new_order_or_refuses_an_accepted_one,
        buying_beyond_the_account_is_refused, selling_a_coin_one_does_not_own_is_refused, opg_order_is_refused_by_day,
        daily_bars_have_the_fields_we_read, a_symbol_without_bars_is_left_out, recent_sip_data_needs_a_subscription,
        stock_snapshots_are_not_wrapped, coin_bars_want_the_slash_and_serve_the_forming_day,
        coin_without_slash_is_refused_by_the_data_api, news_has_the_fields_we_read, every_reply_tells_the_rate_limit,
    )
} | {
    "unknown_asset_is_refused": _refused_order('422 42210000 asset "NOSUCHASSET" not found', symbol="NOSUCHASSET"),
    "sub_penny_price_is_refused": _refused_order("422 42210000 invalid limit_price 5.005. sub-penny", limit_price=5.005),
    "order_below_one_dollar_is_refused": _refused_order(
        "403 40310000 cost basis must be >= minimal amount of order 1", type="market", qty=None, notional=0.5, time_in_force="day"
    ),
    "fractional_gtc_order_is_refused": _refused_order("422 42210000 fractional orders must be DAY orders", qty=1.5),
    "coin_order_for_a_day_is_refused": _refused_order(
        "422 42210000 invalid crypto time_in_force", symbol="BTC/USD", type="market", qty=0.001, time_in_force="day"
    ),
}  # fmt: skip


def wait() -> None:
    """Give the broker a second."""
    time.sleep(1.0)


def main() -> int:
    """Run every check, print a line for each; the exit status is 0 when all hold."""
    key_id, secret_key = os.environ.get("ALPACA_KEY_ID"), os.environ.get("ALPACA_SECRET_KEY")
    if not key_id or not secret_key:
        print("set ALPACA_KEY_ID and ALPACA_SECRET_KEY to the keys of a paper account", file=sys.stderr)
        return 2
    broker = BrokerUnderTest(
        os.environ.get("ALPACA_TRADING_URL", PAPER_TRADING_URL),
        os.environ.get("ALPACA_DATA_URL", DATA_URL),
        key_id,
        secret_key,
        settle=wait,
        symbol=os.environ.get("CONFORMANCE_SYMBOL", "SPY"),
    )
    number = str(broker.trading.get("/account")["account_number"])
    if not number.startswith("PA"):
        print(f"account {number[:2]}... is not a paper account; nothing was ordered", file=sys.stderr)
        return 2
    failed = 0
    for name, check in CHECKS.items():
        try:
            finding = check(broker)
        except (APIError, requests.RequestException, LookupError, ValueError) as error:
            finding = Finding("an answer", f"{type(error).__name__}: {error}")
        failed += not finding.passed
        verdict = "ok  " if finding.passed else "FAIL"
        print(f"{verdict} {name.replace('_', ' ')}: expected {finding.expected!r}, seen {finding.seen!r}", flush=True)
    print(f"{len(CHECKS) - failed} of {len(CHECKS)} checks hold")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
