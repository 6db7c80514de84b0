"""One test for each fault switch: what the client sees, and what really happened behind it."""

import json
from typing import Any

import pytest
import requests
from alpaca.common.exceptions import APIError
from alpaca.data.historical import StockHistoricalDataClient
from alpaca.trading.client import TradingClient
from alpaca.trading.enums import OrderSide, TimeInForce
from alpaca.trading.requests import LimitOrderRequest
from pydantic import ValidationError

from tests.contract.conftest import ExchangeSite, OpenExchange
from tests.contract.tiny_market import FRI, THU, WED, ny

ORDER = {"symbol": "ACME", "qty": "10", "side": "buy", "type": "market", "time_in_force": "day", "client_order_id": "ours"}
BARS = {"symbols": "ACME,WIDE", "timeframe": "1Day", "start": WED.isoformat()}
HANG_S = 0.4


class ImpatientAdapter(requests.adapters.HTTPAdapter):
    """Gives up after a tenth of a second."""

    def send(self, request: requests.PreparedRequest, **options: Any) -> requests.Response:  # type: ignore[override]  # passes all on
        return super().send(request, **(options | {"timeout": 0.1}))


def taken(site: ExchangeSite) -> int:
    """Orders that reached the exchange."""
    return int(site.control("GET", "/state")["orders"])


def bars(site: ExchangeSite) -> dict[str, list[dict[str, Any]]]:
    reply: dict[str, list[dict[str, Any]]] = site.client(StockHistoricalDataClient, raw=True).get("/stocks/bars", BARS)["bars"]
    return reply


@pytest.mark.parametrize(("name", "orders"), [("timeout_before", 0), ("timeout_after", 1)])
def test_a_timeout_hides_whether_the_order_was_taken(name: str, orders: int, site: ExchangeSite) -> None:
    site.fault(name, path="/v2/orders", method="POST", seconds=HANG_S)
    client = site.raw_trading
    client._session.mount("http://", ImpatientAdapter())
    with pytest.raises(requests.exceptions.ReadTimeout):
        client.post("/orders", ORDER)
    assert taken(site) == orders


def test_a_504_may_follow_an_accepted_order_and_the_sdk_would_send_it_again(site: ExchangeSite) -> None:
    site.fault("gateway_timeout_after_accept")
    with pytest.raises(APIError) as error:
        site.raw_trading.post("/orders", ORDER)
    assert (error.value.status_code, taken(site)) == (504, 1)
    with pytest.raises(APIError, match="client_order_id must be unique"):
        site.raw_trading.post("/orders", ORDER)
    site.fault("gateway_timeout_after_accept", times=1)
    with pytest.raises(APIError, match="client_order_id must be unique"):
        site.raw_trading.post("/orders", ORDER)  # refused, so the switch waits
    retrying = TradingClient("TEST-KEY", "TEST-SECRET", raw_data=True, url_override=site.url)
    retrying._retry_wait = 0
    retrying.post("/orders", {name: value for name, value in ORDER.items() if name != "client_order_id"})
    assert taken(site) == 3


def test_a_429_takes_no_order_and_tells_the_reset(site: ExchangeSite) -> None:
    site.fault("rate_limited")
    with pytest.raises(APIError) as error:
        site.raw_trading.post("/orders", ORDER)
    headers = error.value.response.headers
    assert (error.value.status_code, headers["X-Ratelimit-Remaining"], taken(site)) == (429, "0", 0)
    site.raw_trading.post("/orders", ORDER)


@pytest.mark.parametrize(("name", "status"), [("unauthorized", 401), ("server_error", 500)])
def test_a_key_that_fails_and_a_server_that_fails_take_no_order(name: str, status: int, site: ExchangeSite) -> None:
    site.fault(name, method="POST")
    with pytest.raises(APIError) as error:
        site.raw_trading.post("/orders", ORDER)
    assert (error.value.status_code, taken(site)) == (status, 0)


def test_a_page_of_html_hides_an_accepted_order(site: ExchangeSite) -> None:
    site.fault("garbage_html", path="/v2/orders", method="POST")
    with pytest.raises(APIError) as error:
        site.raw_trading.post("/orders", ORDER)
    assert (error.value.status_code, str(error.value)[:6], taken(site)) == (502, "<html>", 1)
    with pytest.raises(json.JSONDecodeError):
        assert error.value.code


def test_half_a_body_hides_an_accepted_order(site: ExchangeSite) -> None:
    site.fault("truncated_body", path="/v2/orders", method="POST")
    with pytest.raises(requests.exceptions.JSONDecodeError):
        site.raw_trading.post("/orders", ORDER)
    assert taken(site) == 1


def test_an_empty_200_hides_an_accepted_order(site: ExchangeSite) -> None:
    site.fault("empty_200", path="/v2/orders", method="POST")
    assert site.raw_trading.post("/orders", ORDER) is None
    assert taken(site) == 1


def test_an_unknown_status_breaks_the_models_and_not_the_raw_client(site: ExchangeSite) -> None:
    site.fault("unknown_enum", times=2, status="held_for_review")
    assert site.raw_trading.post("/orders", ORDER)["status"] == "held_for_review"
    with pytest.raises(ValidationError, match="held_for_review"):
        site.trading.get_order_by_client_id("ours")
    assert site.trading.get_order_by_client_id("ours").status == "new"


def test_a_reject_may_follow_a_200(site: ExchangeSite) -> None:
    site.fault("reject_after_accept", symbol="ACME")
    assert site.raw_trading.post("/orders", ORDER)["status"] == "new"
    site.advance(ny(THU, "10:30"))
    order = site.trading.get_order_by_client_id("ours")
    assert (order.status, order.filled_qty) == ("rejected", "0")


def test_a_slow_cancel_stays_pending_and_may_be_overtaken_by_a_fill(site: ExchangeSite) -> None:
    site.fault("slow_cancel", seconds=3600)
    order = site.trading.submit_order(
        LimitOrderRequest(symbol="ACME", qty=1, side=OrderSide.BUY, time_in_force=TimeInForce.GTC, limit_price=50)
    )
    site.trading.cancel_order_by_id(order.id)
    site.advance(ny(THU, "10:59"))
    assert site.trading.get_order_by_id(order.id).status == "pending_cancel"
    site.advance(ny(THU, "11:00"))
    assert site.trading.get_order_by_id(order.id).status == "canceled"


def test_look_ups_may_lag_behind_an_accepted_order(site: ExchangeSite) -> None:
    site.fault("not_found_lag", times=None, seconds=20)
    site.raw_trading.post("/orders", ORDER)
    with pytest.raises(APIError, match="order not found for ours"):
        site.raw_trading.get("/orders:by_client_order_id", {"client_order_id": "ours"})
    site.advance(ny(THU, "10:00:20"))
    assert site.trading.get_order_by_client_id("ours").client_order_id == "ours"


def test_a_list_may_omit_an_order(site: ExchangeSite) -> None:
    site.raw_trading.post("/orders", ORDER)
    site.fault("list_omits_order", symbol="WIDE")
    assert [order.symbol for order in site.trading.get_orders()] == ["ACME"]
    site.raw_trading.post("/orders", ORDER | {"symbol": "WIDE", "client_order_id": "other"})
    assert [[order.symbol for order in site.trading.get_orders()] for _ in range(2)] == [["ACME"], ["WIDE", "ACME"]]


def test_positions_may_fail_or_be_empty_though_there_are_some(site: ExchangeSite) -> None:
    site.control("POST", "/trades", {"symbol": "ACME", "side": "buy", "qty": "10"})
    site.fault("positions_error")
    with pytest.raises(APIError) as error:
        site.trading.get_all_positions()
    assert error.value.status_code == 500
    site.fault("positions_empty")
    assert [len(site.trading.get_all_positions()) for _ in range(2)] == [0, 1]


def test_easy_to_borrow_may_be_absent(site: ExchangeSite) -> None:
    site.fault("easy_to_borrow_absent", times=2)
    assert "easy_to_borrow" not in site.raw_trading.get("/assets/ACME")
    with pytest.raises(ValidationError, match="easy_to_borrow"):
        site.trading.get_asset("ACME")


@pytest.mark.parametrize(
    ("name", "session", "wide", "acme"),
    [
        ("missing_bars", None, [100.5], [100.5, 101.5]),
        ("missing_bars", WED.isoformat(), [101.5], [100.5, 101.5]),
        ("stale_bars", THU.isoformat(), [100.5], [100.5, 101.5]),
        ("negative_bars", None, [100.5, -101.5], [100.5, 101.5]),
        ("x100_bars", None, [100.5, 10150.0], [100.5, 101.5]),
    ],
)
def test_bars_may_be_missing_stale_or_impossible(
    name: str, session: str | None, wide: list[float], acme: list[float], open_exchange: OpenExchange
) -> None:
    site = open_exchange(ny(THU, "17:00"))
    site.fault(name, symbol="WIDE", session=session)
    found = bars(site)
    assert ([bar["c"] for bar in found["WIDE"]], [bar["c"] for bar in found["ACME"]]) == (wide, acme)
    assert [bar["c"] for bar in bars(site)["WIDE"]] == [100.5, 101.5]


def test_bars_may_hold_prices_that_are_no_numbers(open_exchange: OpenExchange) -> None:
    site = open_exchange(ny(THU, "17:00"))
    site.fault("nan_bars")
    assert [rows[-1]["c"] for rows in bars(site).values()] == [None, None]


def test_a_switch_strikes_in_its_span_of_virtual_time_as_often_as_it_says(site: ExchangeSite) -> None:
    site.fault(
        "server_error", path="/v2/clock", times=2, not_before=ny(THU, "11:00").isoformat(), not_after=ny(FRI, "09:00").isoformat()
    )
    client, failures = site.raw_trading, []
    for clock in ("10:30", "11:00", "11:30", "12:00"):
        site.advance(ny(THU, clock))
        try:
            client.get("/clock")
        except APIError:
            failures.append(clock)
    assert failures == ["11:00", "11:30"]


def test_switches_can_be_taken_back(site: ExchangeSite) -> None:
    site.fault("server_error", times=None)
    site.control("DELETE", "/faults")
    assert site.trading.get_clock().is_open
