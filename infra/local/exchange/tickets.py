"""Reads Alpaca's order bodies into tickets."""

from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Any

from closebell.simulation.exchange.venue_orders import MALFORMED, OrderTicket, RefusalError


def decimal_or_none(body: Mapping[str, Any], name: str) -> Decimal | None:
    """A number given as JSON number or string. Raises RefusalError when it is neither."""
    value = body.get(name)
    if value is None or value == "":
        return None
    try:
        number = Decimal(str(value))
    except InvalidOperation:
        number = Decimal("NaN")
    if not number.is_finite():
        raise RefusalError(422, MALFORMED, f"request body format is invalid: {name}")
    return number


def ticket_of(body: Mapping[str, Any]) -> OrderTicket:
    """An order from a POST body. Raises RefusalError on numbers that are none; everything else the engine judges."""
    target, stop = _part(body, "take_profit"), _part(body, "stop_loss")
    percent = decimal_or_none(body, "trail_percent")
    return OrderTicket(
        symbol=str(body.get("symbol") or ""),
        side=str(body.get("side") or ""),
        order_type=str(body.get("type") or ""),
        time_in_force=str(body.get("time_in_force") or ""),
        order_class=str(body.get("order_class") or "simple"),
        quantity_shares=decimal_or_none(body, "qty"),
        notional_usd=decimal_or_none(body, "notional"),
        limit_price_usd=decimal_or_none(body, "limit_price"),
        stop_price_usd=decimal_or_none(body, "stop_price"),
        trail_usd=decimal_or_none(body, "trail_price"),
        trail_frac=None if percent is None else percent / 100,
        take_profit_usd=decimal_or_none(target, "limit_price"),
        stop_loss_usd=decimal_or_none(stop, "stop_price"),
        stop_loss_limit_usd=decimal_or_none(stop, "limit_price"),
        extended_hours=bool(body.get("extended_hours")),
        client_order_id=str(body.get("client_order_id") or "") or None,
    )


def _part(body: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    part = body.get(name) or {}
    if not isinstance(part, Mapping):
        raise RefusalError(422, MALFORMED, f"request body format is invalid: {name}")
    return part
