"""Alpaca's replies as its documents show them, for the scripted venue; each call gives a fresh one with changes."""

from typing import Any

Payload = dict[str, Any]

ORDER_ID = "61e69015-8549-4bfd-b9c3-01e75843f47d"
CLIENT_ID = "cbe20181001-abcdefghij234567abcd"


def without(payload: Payload, *names: str) -> Payload:
    return {name: value for name, value in payload.items() if name not in names}


def order(**changes: Any) -> Payload:
    return {
        "id": ORDER_ID, "client_order_id": CLIENT_ID, "created_at": "2018-10-01T13:00:00.123456789Z",
        "updated_at": "2018-10-01T13:30:01Z", "submitted_at": "2018-10-01T13:00:00.2Z", "filled_at": None, "expired_at": None,
        "canceled_at": None, "failed_at": None, "replaced_at": None, "replaced_by": None, "replaces": None,
        "asset_id": "b0b6dd9d-8b9b-48a9-ba46-b9d54906e415", "symbol": "AAPL", "asset_class": "us_equity", "notional": None,
        "qty": "15", "filled_qty": "4", "filled_avg_price": "227.3", "order_class": "", "order_type": "limit", "type": "limit",
        "side": "buy", "time_in_force": "day", "limit_price": "228.00", "stop_price": None, "status": "partially_filled",
        "extended_hours": False, "legs": None, "trail_percent": None, "trail_price": None, "hwm": None,
    } | changes


def account(**changes: Any) -> Payload:
    """As of July 2026: without the pattern-day-trader fields."""
    return {
        "id": "e6fe16f3-64a4-4921-8928-cadf02f92f98", "account_number": "010203ABCD", "status": "ACTIVE", "currency": "USD",
        "cash": "-23140.2", "buying_power": "262113.632", "equity": "103820.56", "last_equity": "103529.24", "multiplier": "2",
        "trading_blocked": False, "transfers_blocked": False, "account_blocked": False, "trade_suspended_by_user": False,
        "created_at": "2017-06-12T22:47:07.99658Z", "shorting_enabled": True,
    } | changes


def position(**changes: Any) -> Payload:
    return {
        "asset_id": "904837e3-3b76-47ec-b432-046db621571b", "symbol": "AAPL", "exchange": "NASDAQ", "asset_class": "us_equity",
        "avg_entry_price": "100.0", "qty": "5", "qty_available": "4", "side": "long", "market_value": "600.0",
        "cost_basis": "500.0", "unrealized_pl": "100.0", "current_price": "120.0", "lastday_price": "119.0",
    } | changes


def fill(**changes: Any) -> Payload:
    return {
        "id": "20181001093001123::8efc7b9a-8b2b-4000-9955-d36e7db0df74", "activity_type": "FILL", "cum_qty": "4",
        "leaves_qty": "0", "price": "227.30", "qty": "4", "side": "buy", "symbol": "AAPL",
        "transaction_time": "2018-10-01T13:30:01.123Z",
        "order_id": ORDER_ID, "type": "fill", "order_status": "filled",
    } | changes


def cash(**changes: Any) -> Payload:
    return {
        "id": "20181002000000000::045b3b8d-c566-4bef-b741-2bf598dd6ae7", "activity_type": "DIV", "date": "2018-10-02",
        "net_amount": "1.02", "symbol": "T", "qty": "2", "per_share_amount": "0.51", "status": "executed",
    } | changes


def asset(**changes: Any) -> Payload:
    """Without `easy_to_borrow`, which left in September 2026."""
    return {
        "id": "904837e3-3b76-47ec-b432-046db621571b", "class": "us_equity", "exchange": "NASDAQ", "symbol": "AAPL",
        "name": "Apple", "status": "active", "tradable": True, "marginable": True, "shortable": True, "fractionable": True,
    } | changes


def clock(**changes: Any) -> Payload:
    return {
        "timestamp": "2018-10-01T09:00:00.123456789-04:00", "is_open": False, "next_open": "2018-10-01T09:30:00-04:00",
        "next_close": "2018-10-01T16:00:00-04:00",
    } | changes


def bar(stamp: str, close: float | None = 10.0, **changes: Any) -> Payload:
    return {"t": stamp, "o": 9.0, "h": 11.0, "l": 8.0, "c": close, "v": 1000, "n": 10, "vw": 9.5} | changes


def bars(by_symbol: Any, token: str | None = None) -> Payload:
    return {"bars": by_symbol, "next_page_token": token}


def story(number: int, **changes: Any) -> Payload:
    return {
        "id": number, "headline": "A <b>headline</b>", "source": "benzinga", "url": "https://example.com/a", "summary": "",
        "author": "", "content": "", "created_at": "2018-10-01T12:00:00Z", "updated_at": "2018-10-01T12:00:00Z",
        "symbols": ["AAPL"],
    } | changes
