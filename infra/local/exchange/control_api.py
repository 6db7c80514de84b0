"""`/_control`: the hand that moves the clock and breaks things. No key; loopback only."""

from collections import Counter
from datetime import datetime
from decimal import Decimal

from closebell.simulation.exchange.account_checks import plain
from infra.local.exchange.api import ApiCall, Reply, Route
from infra.local.exchange.venue import Venue
from infra.local.exchange.wire import activity_json, instant, order_json


def set_clock(venue: Venue, call: ApiCall) -> Reply:
    now = datetime.fromisoformat(str(call.body["now"]))
    if now.tzinfo is None:
        raise ValueError("the clock needs an instant with its time zone")
    venue.execute({"do": "advance", "now": now.isoformat()})
    return read_state(venue, call)


def read_state(venue: Venue, call: ApiCall) -> Reply:
    exchange = venue.exchange
    orders, activities = exchange.floor.orders.orders.values(), exchange.floor.book.activities
    market = exchange.tape.market
    return Reply(
        body={
            "now": instant(exchange.now),
            "label": market.label,
            "is_synthetic": market.is_synthetic,
            "equity_usd": plain(exchange.equity_usd()),
            "cash_usd": plain(exchange.floor.book.cash_usd),
            "orders": len(orders),
            "open_orders": sum(order.is_open for order in orders),
            "orders_by_status": Counter(str(order.status) for order in orders),
            "fills": sum(activity.code == "FILL" for activity in activities),
            "rejections": sum(exchange.refusals.values()) + sum(order.status == "rejected" for order in orders),
            "refusals": exchange.refusals,
            "submissions_by_client_order_id": exchange.submissions,
            "restriction": exchange.restriction,
            "halted": sorted(exchange.tape.stopped_at),
            "faults": [{"name": switch.name, "times_left": switch.times_left} for switch in venue.faults.switches],
        }
    )


def read_book(venue: Venue, call: ApiCall) -> Reply:
    book = venue.exchange.floor.book
    return Reply(
        body={
            "cash_usd": plain(book.cash_usd),
            "positions": {
                symbol: {"qty": plain(holding.shares), "cost_usd": plain(holding.cost_usd)}
                for symbol, holding in sorted(book.holdings.items())
            },
            "orders": [order_json(order, with_legs=False) for order in venue.exchange.floor.orders.orders.values()],
            "activities": [activity_json(activity) for activity in book.activities],
        }
    )


def set_faults(venue: Venue, call: ApiCall) -> Reply:
    faults = call.body.get("faults")
    for fault in faults if isinstance(faults, list) else [dict(call.body)]:
        venue.execute({"do": "set_fault", "fault": fault})
    return read_state(venue, call)


def clear_faults(venue: Venue, call: ApiCall) -> Reply:
    venue.execute({"do": "clear_faults"})
    return read_state(venue, call)


def set_tradable(venue: Venue, call: ApiCall) -> Reply:
    venue.execute({"do": "tradable", "symbol": call.parts["symbol"], "tradable": bool(call.body["tradable"])})
    return Reply(body={"symbol": call.parts["symbol"], "tradable": bool(call.body["tradable"])})


def transfer(venue: Venue, call: ApiCall) -> Reply:
    venue.execute({"do": "transfer", "amount_usd": str(Decimal(str(call.body["amount_usd"])))})
    return read_state(venue, call)


def trade(venue: Venue, call: ApiCall) -> Reply:
    order = venue.execute({"do": "trade", **{name: str(call.body[name]) for name in ("symbol", "side", "qty")}})
    return Reply(body=order_json(order, with_legs=False))


def restrict(venue: Venue, call: ApiCall) -> Reply:
    venue.execute({"do": "restrict", "restriction": str(call.body.get("restriction", "closing_only"))})
    return read_state(venue, call)


def halt(venue: Venue, call: ApiCall) -> Reply:
    venue.execute({"do": "halt", "symbol": call.parts["symbol"], "halted": bool(call.body.get("halted", True))})
    return read_state(venue, call)


ROUTES: tuple[Route, ...] = (
    ("POST", "/_control/clock", set_clock),
    ("GET", "/_control/state", read_state),
    ("GET", "/_control/book", read_book),
    ("POST", "/_control/faults", set_faults),
    ("DELETE", "/_control/faults", clear_faults),
    ("POST", "/_control/assets/{symbol:path}", set_tradable),
    ("POST", "/_control/transfers", transfer),
    ("POST", "/_control/trades", trade),
    ("POST", "/_control/restrict", restrict),
    ("POST", "/_control/halt/{symbol:path}", halt),
)
