"""Alpaca's JSON into our records. Whatever is missing or impossible is an UnreadableReplyError, never a guess.

Tolerated, because the venue really does it: fields that left the account in 2026 (pattern day trading, `easy_to_borrow`), numbers
instead of strings, nanoseconds, an empty `order_class`, `BTCUSD` for `BTC/USD`, and statuses this version does not know.
"""

from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, time
from decimal import Decimal, InvalidOperation
from typing import Any, TypeVar

from closebell.adapters.alpaca_errors import UnreadableReplyError
from closebell.model.broker import (
    Account,
    Asset,
    CashActivity,
    MarketClock,
    Quote,
    Side,
    VenueFill,
    VenueOrder,
    VenuePosition,
    VenueStatus,
)
from closebell.model.instruments import Market, SessionHours

T = TypeVar("T")
Fields = Mapping[str, Any]

FRACTION_INCREMENT_SHARES = Decimal("0.000000001")
"""Fractional equities and crypto step in 1e-9."""

_QUOTE_CURRENCIES = ("USDT", "USDC", "USD", "BTC")
_EQUITY_LETTERS_MAX = 5
_SIDES = {"buy": Side.BUY, "sell": Side.SELL, "sell_short": Side.SELL}
_CASH_ONLY_PREFIXES = ("DIV", "INT", "CSD", "CSW", "FEE")
"""Activities whose `qty`, if any, tells what the cash was paid for: the position does not change."""


def fields_of(reply: object) -> Fields:
    """A JSON object."""
    if not isinstance(reply, dict):
        raise UnreadableReplyError(f"a JSON object was due, {_kind(reply)} came")
    return reply


def items_of(reply: object, parse: Callable[[Fields], T]) -> list[T]:
    """A bare JSON array of objects. Null is no empty array."""
    if not isinstance(reply, list):
        raise UnreadableReplyError(f"a JSON array was due, {_kind(reply)} came")
    return [parse(fields_of(item)) for item in reply]


def clock_of(fields: Fields) -> MarketClock:
    """`/v2/clock`."""
    return MarketClock(
        now_at=_instant(fields, "timestamp"), is_open=_flag(fields, "is_open"), next_open_at=_instant(fields, "next_open"),
        next_close_at=_instant(fields, "next_close"),
    )


def session_of(fields: Fields) -> SessionHours:
    """One day of the calendar: its clock times are New York's."""
    session = _date(fields, "date")
    return SessionHours(
        session=session, opens_at=_new_york_instant(session, _text(fields, "open")),
        closes_at=_new_york_instant(session, _text(fields, "close")),
    )


def account_of(fields: Fields) -> Account:
    """`/v2/account`; any of the venue's blocks counts as blocked."""
    return Account(
        account_number=_text(fields, "account_number"), status=_text(fields, "status"), equity_usd=_decimal(fields, "equity"),
        last_equity_usd=_decimal(fields, "last_equity"), cash_usd=_decimal(fields, "cash"),
        buying_power_usd=_decimal(fields, "buying_power"),
        trading_blocked=any(_flag(fields, block) for block in ("trading_blocked", "account_blocked", "trade_suspended_by_user")),
    )


def asset_of(fields: Fields) -> Asset:
    """One of `/v2/assets`."""
    market = _market(_text(fields, "class"))
    fractionable = _flag(fields, "fractionable")
    step = _optional_decimal(fields, "min_trade_increment")
    if step is None:
        step = FRACTION_INCREMENT_SHARES if fractionable else Decimal(1)
    return Asset(
        symbol=our_symbol(_text(fields, "symbol"), market), market=market, fractionable=fractionable,
        quantity_increment_shares=step, tradable=_flag(fields, "tradable") and _text(fields, "status") == "active",
    )


def position_of(fields: Fields) -> VenuePosition:
    """A position; without a price (a long halt) the broker shows no market value, and it counts at cost."""
    market = _market(_text(fields, "asset_class"))
    sign = -1 if _text(fields, "side") == "short" else 1
    value = _optional_decimal(fields, "market_value")
    return VenuePosition(
        symbol=our_symbol(_text(fields, "symbol"), market), market=market, quantity_shares=sign * abs(_decimal(fields, "qty")),
        # without it nothing is known to be free, and nothing is sold
        available_shares=sign * abs(_optional_decimal(fields, "qty_available") or Decimal(0)),
        average_entry_price_usd=_decimal(fields, "avg_entry_price"),
        market_value_usd=value if value is not None else _decimal(fields, "cost_basis"),
    )


def order_of(fields: Fields) -> VenueOrder:
    """An order with its legs. One for an amount of money has no quantity: what it filled so far stands for it."""
    market = _market_of_order(fields)
    filled = _decimal(fields, "filled_qty")
    quantity = _optional_decimal(fields, "qty")
    if quantity is None and _optional_decimal(fields, "notional") is None:
        raise UnreadableReplyError("an order has neither qty nor notional")
    created_at = _instant(fields, "created_at")
    return VenueOrder(
        venue_order_id=_text(fields, "id"), client_order_id=_text(fields, "client_order_id"), market=market,
        symbol=our_symbol(_text(fields, "symbol"), market), side=_side(fields), order_type=_text(fields, "type"),
        time_in_force=_text(fields, "time_in_force"), order_class=fields.get("order_class") or "simple",
        status=_status(_text(fields, "status")), quantity_shares=filled if quantity is None else quantity,
        filled_quantity_shares=filled, filled_average_price_usd=_optional_decimal(fields, "filled_avg_price"),
        limit_price_usd=_optional_decimal(fields, "limit_price"), stop_price_usd=_optional_decimal(fields, "stop_price"),
        submitted_at=_optional_instant(fields, "submitted_at") or created_at,
        updated_at=_optional_instant(fields, "updated_at") or created_at,
        replaced_by_venue_order_id=fields.get("replaced_by"), legs=tuple(items_of(fields.get("legs") or [], order_of)),
    )


def activity_of(fields: Fields) -> VenueFill | CashActivity:
    """One of `/v2/account/activities`: a fill, or anything else that moved cash or shares."""
    code = _text(fields, "activity_type")
    if code == "FILL":
        market = _market_of_symbol(_text(fields, "symbol"))
        return VenueFill(
            activity_id=_text(fields, "id"), venue_order_id=_text(fields, "order_id"), market=market,
            symbol=our_symbol(_text(fields, "symbol"), market), side=_side(fields), quantity_shares=abs(_decimal(fields, "qty")),
            price_usd=_decimal(fields, "price"), occurred_at=_instant(fields, "transaction_time"),
        )
    symbol = fields.get("symbol")
    moves_cash_only = code.startswith(_CASH_ONLY_PREFIXES)
    return CashActivity(
        activity_id=_text(fields, "id"), code=code, symbol=our_symbol(symbol, _market_of_symbol(symbol)) if symbol else None,
        quantity_shares=Decimal(0) if moves_cash_only else _optional_decimal(fields, "qty") or Decimal(0),
        amount_usd=_optional_decimal(fields, "net_amount") or Decimal(0),
        occurred_at=_cash_instant(fields),
    )


def _cash_instant(fields: Fields) -> datetime:
    """Such an activity may have nothing but its date."""
    for name in ("transaction_time", "created_at"):
        if (at := _optional_instant(fields, name)) is not None:
            return at
    if fields.get("date"):
        return _new_york_instant(_date(fields, "date"), "00:00")
    activity_id = _text(fields, "id")  # it begins with its date
    try:
        return _new_york_instant(date.fromisoformat(activity_id[:8]), "00:00")
    except ValueError:
        raise UnreadableReplyError(f"activity {activity_id!r} has no date") from None


def quote_of(symbol: str, fields: Fields) -> Quote | None:
    """A two-sided quote; None when a side is missing (0 on the wire)."""
    bid, ask = _optional_decimal(fields, "bp"), _optional_decimal(fields, "ap")
    if not bid or not ask:
        return None
    return Quote(symbol=symbol, bid_usd=bid, ask_usd=ask, quoted_at=_instant(fields, "t"))


def our_symbol(symbol: str, market: Market) -> str:
    """`BTC/USD`, however the venue spells it here."""
    if market is not Market.CRYPTO or "/" in symbol:
        return symbol
    for currency in _QUOTE_CURRENCIES:
        if symbol.endswith(currency) and symbol != currency:
            return f"{symbol.removesuffix(currency)}/{currency}"
    raise UnreadableReplyError(f"{symbol!r} is said to be crypto but names no pair")


def _market(asset_class: str) -> Market:
    try:
        return Market(asset_class)
    except ValueError:
        raise UnreadableReplyError(
            f"the account has something of class {asset_class!r}, which closebell cannot count: use an account without it"
        ) from None


def _market_of_order(fields: Fields) -> Market:
    asset_class = fields.get("asset_class")
    return _market(asset_class) if asset_class else _market_of_symbol(_text(fields, "symbol"))


def _market_of_symbol(symbol: str) -> Market:
    """Activities name no class. No US ticker is as long as a pair without its slash (`BTCUSD`)."""
    is_pair = "/" in symbol or (len(symbol) > _EQUITY_LETTERS_MAX and symbol.isalnum() and symbol.endswith(_QUOTE_CURRENCIES))
    return Market.CRYPTO if is_pair else Market.US_EQUITY


def _side(fields: Fields) -> Side:
    side = _text(fields, "side")
    if side not in _SIDES:
        raise UnreadableReplyError(f"side is {side!r}")
    return _SIDES[side]


def _status(status: str) -> VenueStatus:
    try:
        return VenueStatus(status)
    except ValueError:
        return VenueStatus.UNRECOGNISED


def _present(fields: Fields, name: str) -> Any:
    value = fields.get(name)
    if value is None:
        raise UnreadableReplyError(f"{name!r} is missing")
    return value


def _text(fields: Fields, name: str) -> str:
    value = _present(fields, name)
    if not isinstance(value, str) or not value:
        raise UnreadableReplyError(f"{name!r} is {value!r}, a text was due")
    return value


def _flag(fields: Fields, name: str) -> bool:
    value = _present(fields, name)
    if not isinstance(value, bool):
        raise UnreadableReplyError(f"{name!r} is {value!r}, true or false was due")
    return value


def _decimal(fields: Fields, name: str) -> Decimal:
    value = _present(fields, name)
    try:
        number = Decimal(str(value))
    except InvalidOperation:
        raise UnreadableReplyError(f"{name!r} is {value!r}, a number was due") from None
    if isinstance(value, bool) or not number.is_finite():
        raise UnreadableReplyError(f"{name!r} is {value!r}, a finite number was due")
    return number


def _optional_decimal(fields: Fields, name: str) -> Decimal | None:
    return None if fields.get(name) is None else _decimal(fields, name)


def _instant(fields: Fields, name: str) -> datetime:
    value = _text(fields, name)
    try:
        at = datetime.fromisoformat(value)
    except ValueError:
        raise UnreadableReplyError(f"{name!r} is {value!r}, an instant was due") from None
    if at.tzinfo is None:
        raise UnreadableReplyError(f"{name!r} is {value!r}: an instant without its zone")
    return at.astimezone(UTC)


def _optional_instant(fields: Fields, name: str) -> datetime | None:
    return None if fields.get(name) is None else _instant(fields, name)


def _date(fields: Fields, name: str) -> date:
    value = _text(fields, name)
    try:
        return date.fromisoformat(value[:10])
    except ValueError:
        raise UnreadableReplyError(f"{name!r} is {value!r}, a date was due") from None


def _new_york_instant(session: date, clock_time: str) -> datetime:
    try:
        local = datetime.combine(session, time.fromisoformat(clock_time), Market.US_EQUITY.zone)
    except ValueError:
        raise UnreadableReplyError(f"{clock_time!r} is no time of day") from None
    return local.astimezone(UTC)


def _kind(reply: object) -> str:
    return "nothing" if reply is None else f"a {type(reply).__name__}"
