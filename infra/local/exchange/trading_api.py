"""`/v2`: account, clock, calendar, assets, orders, positions, history and activities."""

from datetime import datetime, timedelta
from typing import Any

from closebell.model.instruments import Market
from closebell.simulation.exchange.faults import FaultyRequest
from closebell.simulation.exchange.order_book import OrderFilter
from closebell.simulation.exchange.venue_orders import MALFORMED, NOT_FOUND, ExchangeOrder, RefusalError
from infra.local.exchange.api import NEW_YORK, ApiCall, Reply, Route
from infra.local.exchange.venue import Venue
from infra.local.exchange.wire import account_json, activity_json, asset_id, asset_json, order_json, position_json

_ORDERS_MAX, _ORDERS_DEFAULT = 500, 50
_ACTIVITIES_MAX = 100
_STATUSES = ("open", "closed", "all")


def read_account(venue: Venue, call: ApiCall) -> Reply:
    return Reply(body=account_json(venue.exchange))


def read_configurations(venue: Venue, call: ApiCall) -> Reply:
    return Reply(
        body={
            "fractional_trading": True,
            "max_margin_multiplier": str(venue.exchange.options.margin_multiplier_ratio),
            "no_shorting": not venue.exchange.floor.may_short,
            "suspend_trade": venue.exchange.restriction == "blocked",
            "trade_confirm_email": "none",
            "ptp_no_exception_entry": False,
            "max_options_trading_level": 0,
        }
    )


def read_clock(venue: Venue, call: ApiCall) -> Reply:
    now, calendar = venue.exchange.now, venue.exchange.tape.calendars[Market.US_EQUITY]
    opening, closing = calendar.next_to_open(now), calendar.next_to_close(now)
    return Reply(
        body={
            "timestamp": _eastern(now),
            "is_open": calendar.is_open(now),
            "next_open": _eastern(opening.opens_at) if opening else None,
            "next_close": _eastern(closing.closes_at) if closing else None,
        }
    )


def read_calendar(venue: Venue, call: ApiCall) -> Reply:
    calendar = venue.exchange.tape.calendars[Market.US_EQUITY]
    first = call.day("start", calendar.sessions[0].session if calendar.sessions else venue.exchange.now.date())
    last = call.day("end", calendar.sessions[-1].session if calendar.sessions else venue.exchange.now.date())
    return Reply(
        body=[
            {
                "date": hours.session.isoformat(),
                "open": f"{hours.opens_at.astimezone(NEW_YORK):%H:%M}",
                "close": f"{hours.closes_at.astimezone(NEW_YORK):%H:%M}",
                "session_open": "0400",
                "session_close": "2000",
                "settlement_date": (hours.session + timedelta(days=1)).isoformat(),
            }
            for hours in calendar.between(first, last)
        ]
    )


def list_assets(venue: Venue, call: ApiCall) -> Reply:
    wanted_class, wanted_exchange, status = (call.query.get(name) for name in ("asset_class", "exchange", "status"))
    return Reply(
        body=[
            asset_json(asset)
            for asset in venue.exchange.assets()
            if wanted_class in (None, str(asset.market))
            and wanted_exchange in (None, asset.exchange)
            and status in (None, "active", "all")
        ]
    )


def read_asset(venue: Venue, call: ApiCall) -> Reply:
    name = _symbol_of(venue, call.parts["symbol"])
    asset = venue.exchange.asset(name)
    if asset is None:
        raise RefusalError(404, NOT_FOUND, f"asset not found for {name}")
    return Reply(body=asset_json(asset))


def submit_order(venue: Venue, call: ApiCall) -> Reply:
    place = venue.faults.find(("reject_after_accept",), _fault_request(venue, call, str(call.body.get("symbol"))))
    if place is not None:
        venue.execute({"do": "use_fault", "place": place})
    order = venue.execute({"do": "submit", "body": dict(call.body), "reject_later": place is not None})
    return Reply(body=order_json(order, with_legs=True))


def list_orders(venue: Venue, call: ApiCall) -> Reply:
    status = call.query.get("status", "open")
    if status not in _STATUSES:
        raise RefusalError(422, MALFORMED, f"invalid status: {status}")
    wanted = OrderFilter(
        status=status,
        limit=call.whole("limit", _ORDERS_DEFAULT, _ORDERS_MAX),
        after=call.instant("after"),
        until=call.instant("until"),
        ascending=call.query.get("direction") == "asc",
        side=call.query.get("side"),
        symbols=frozenset(venue.exchange.spelled(symbol) for symbol in call.words("symbols")),
    )
    nested = call.flag("nested")
    orders = venue.exchange.floor.orders.matching(wanted)
    if nested:
        heads = {order.venue_order_id for order in orders}
        orders = [order for order in orders if order.parent is None or order.parent.venue_order_id not in heads]
    return Reply(body=[order_json(order, nested) for order in orders])


def read_order(venue: Venue, call: ApiCall) -> Reply:
    return Reply(body=order_json(_visible(venue, call, venue.exchange.order(call.parts["id"])), call.flag("nested")))


def read_order_by_client_id(venue: Venue, call: ApiCall) -> Reply:
    client_order_id = call.query.get("client_order_id", "")
    order = venue.exchange.floor.orders.by_client_id(client_order_id)
    if order is None:
        raise RefusalError(404, NOT_FOUND, f"order not found for {client_order_id}")
    return Reply(body=order_json(_visible(venue, call, order), with_legs=True))


def replace_order(venue: Venue, call: ApiCall) -> Reply:
    return Reply(
        body=order_json(venue.execute({"do": "replace", "id": call.parts["id"], "body": dict(call.body)}), with_legs=False)
    )


def cancel_order(venue: Venue, call: ApiCall) -> Reply:
    order = venue.exchange.order(call.parts["id"])
    command: dict[str, Any] = {"do": "cancel", "id": order.venue_order_id}
    place = venue.faults.find(("slow_cancel",), _fault_request(venue, call, order.symbol))
    if place is not None:
        command["delay_s"] = venue.execute({"do": "use_fault", "place": place}).seconds
    venue.execute(command)
    return Reply(status=204)


def cancel_all_orders(venue: Venue, call: ApiCall) -> Reply:
    orders = venue.execute({"do": "cancel_all"})
    return Reply(status=207, body=[{"id": order.venue_order_id, "status": 200} for order in orders])


def list_positions(venue: Venue, call: ApiCall) -> Reply:
    return Reply(body=[position_json(venue.exchange, symbol) for symbol in sorted(venue.exchange.floor.book.holdings)])


def read_position(venue: Venue, call: ApiCall) -> Reply:
    symbol = venue.exchange.spelled(_symbol_of(venue, call.parts["symbol"]))
    if symbol not in venue.exchange.floor.book.holdings:
        raise RefusalError(404, NOT_FOUND, "position does not exist")
    return Reply(body=position_json(venue.exchange, symbol))


def close_position(venue: Venue, call: ApiCall) -> Reply:
    symbol = _symbol_of(venue, call.parts["symbol"])
    command = {"do": "close_position", "symbol": symbol, "qty": call.query.get("qty"), "percentage": call.query.get("percentage")}
    return Reply(body=order_json(venue.execute(command), with_legs=False))


def close_all_positions(venue: Venue, call: ApiCall) -> Reply:
    if call.flag("cancel_orders"):
        venue.execute({"do": "cancel_all"})
    results = []
    for symbol in sorted(venue.exchange.floor.book.holdings):
        try:
            order = venue.execute({"do": "close_position", "symbol": symbol})
            results.append({"symbol": symbol.replace("/", ""), "status": 200, "body": order_json(order, with_legs=False)})
        except RefusalError as refusal:
            results.append({"symbol": symbol.replace("/", ""), "status": refusal.http_status, "body": refusal.body()})
    return Reply(status=207, body=results)


def read_portfolio_history(venue: Venue, call: ApiCall) -> Reply:
    """Daily points only, whatever timeframe is asked for: the equity at each close, and now when it is a later day."""
    exchange = venue.exchange
    start, end = call.instant("start"), call.instant("end", ends_day=True)
    points = [(point.at, point.equity_usd) for point in exchange.equity_points]
    points = [(at, equity) for at, equity in points if (start is None or at >= start) and (end is None or at <= end)]
    base = exchange.options.cash_usd
    gains = [equity - base for _, equity in points]
    return Reply(
        body={
            "timestamp": [int(at.timestamp()) for at, _ in points],
            "equity": [float(equity) for _, equity in points],
            "profit_loss": [float(gain) for gain in gains],
            "profit_loss_pct": [float(gain / base) if base else None for gain in gains],
            "base_value": float(base),
            "timeframe": "1D",
        }
    )


def list_activities(venue: Venue, call: ApiCall) -> Reply:
    """All activities or some types, newest first unless `direction=asc`; `page_token` is the last id already seen."""
    types = {word.upper() for word in call.words("activity_types")} | (
        {call.parts["type"].upper()} if "type" in call.parts else set()
    )
    after, until, day = call.instant("after"), call.instant("until", ends_day=True), call.query.get("date")
    found = [
        activity
        for activity in venue.exchange.floor.book.activities
        if (not types or activity.code in types)
        and (after is None or activity.at > after)
        and (until is None or activity.at <= until)
        and (not day or activity.day.isoformat() == day[:10])
    ]
    if call.query.get("direction", "desc") != "asc":
        found.reverse()
    token = call.query.get("page_token")
    if token:
        seen = next((place for place, activity in enumerate(found) if activity.activity_id == token), None)
        if seen is None:
            raise RefusalError(422, MALFORMED, f"invalid page_token: {token}")
        found = found[seen + 1 :]
    return Reply(
        body=[activity_json(activity) for activity in found[: call.whole("page_size", _ACTIVITIES_MAX, _ACTIVITIES_MAX)]]
    )


def list_option_contracts(venue: Venue, call: ApiCall) -> Reply:
    return Reply(body={"option_contracts": [], "next_page_token": None})


def _visible(venue: Venue, call: ApiCall, order: ExchangeOrder) -> ExchangeOrder:
    """The order, unless a look-up fault hides it for some seconds after it came."""
    place = venue.faults.find(("not_found_lag",), _fault_request(venue, call, order.symbol))
    if place is not None and venue.exchange.now < order.submitted_at + timedelta(seconds=venue.faults.switches[place].seconds):
        venue.execute({"do": "use_fault", "place": place})
        raise RefusalError(404, NOT_FOUND, f"order not found for {call.parts.get('id') or order.client_order_id}")
    return order


def _fault_request(venue: Venue, call: ApiCall, symbol: str) -> FaultyRequest:
    return FaultyRequest(call.method, call.path, frozenset({venue.exchange.spelled(symbol)}), venue.exchange.now)


def _symbol_of(venue: Venue, name: str) -> str:
    """A symbol given as symbol or asset id."""
    return next((symbol for symbol in venue.exchange.tape.assets if asset_id(symbol) == name), name) if len(name) == 36 else name


def _eastern(at: datetime) -> str:
    return at.astimezone(NEW_YORK).isoformat()


ROUTES: tuple[Route, ...] = (
    ("GET", "/v2/account", read_account),
    ("GET", "/v2/account/configurations", read_configurations),
    ("GET", "/v2/account/portfolio/history", read_portfolio_history),
    ("GET", "/v2/account/activities", list_activities),
    ("GET", "/v2/account/activities/{type}", list_activities),
    ("GET", "/v2/clock", read_clock),
    ("GET", "/v2/calendar", read_calendar),
    ("GET", "/v2/assets", list_assets),
    ("GET", "/v2/assets/{symbol:path}", read_asset),
    ("POST", "/v2/orders", submit_order),
    ("GET", "/v2/orders", list_orders),
    ("DELETE", "/v2/orders", cancel_all_orders),
    ("GET", "/v2/orders:by_client_order_id", read_order_by_client_id),
    ("GET", "/v2/orders/{id}", read_order),
    ("PATCH", "/v2/orders/{id}", replace_order),
    ("DELETE", "/v2/orders/{id}", cancel_order),
    ("GET", "/v2/positions", list_positions),
    ("DELETE", "/v2/positions", close_all_positions),
    ("GET", "/v2/positions/{symbol}", read_position),
    ("DELETE", "/v2/positions/{symbol}", close_position),
    ("GET", "/v2/options/contracts", list_option_contracts),
)
