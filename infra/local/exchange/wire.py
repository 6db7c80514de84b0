"""The exchange's records as Alpaca's JSON: money and quantities are strings, instants RFC 3339, unknown fields null."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from closebell.model.broker import Quote
from closebell.model.instruments import Market
from closebell.simulation.exchange.account_checks import available_shares, buying_power_usd, plain, value_usd
from closebell.simulation.exchange.exchange import Exchange
from closebell.simulation.exchange.market_view import VendorBar
from closebell.simulation.exchange.venue_account import AccountActivity, derived_id
from closebell.simulation.exchange.venue_orders import ExchangeOrder
from closebell.simulation.market import ListedAsset, Print

Json = dict[str, Any]
_QUOTE_SIZE_SHARES = 100


def instant(at: datetime) -> str:
    """`2018-10-01T13:30:00Z`, with a fraction only where there is one."""
    return at.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _instant(at: datetime | None) -> str | None:
    return None if at is None else instant(at)


def money(number: Decimal | None) -> str | None:
    """A number as string; null when unknown."""
    return None if number is None else plain(number)


def number(value: Decimal | None) -> float | None:
    """A market data number; null when unknown."""
    return None if value is None else float(value)


def asset_id(symbol: str) -> str:
    """The asset's UUID."""
    return derived_id(f"asset/{symbol}")


def order_json(order: ExchangeOrder, with_legs: bool) -> Json:
    """An order; its legs only when asked for, else null."""
    return {
        "id": order.venue_order_id,
        "client_order_id": order.client_order_id,
        "created_at": instant(order.submitted_at),
        "updated_at": instant(order.updated_at),
        "submitted_at": instant(order.submitted_at),
        "filled_at": _instant(order.filled_at),
        "expired_at": _instant(order.expired_at),
        "canceled_at": _instant(order.canceled_at),
        "failed_at": _instant(order.failed_at),
        "replaced_at": _instant(order.replaced_at),
        "replaced_by": order.replaced_by.venue_order_id if order.replaced_by else None,
        "replaces": order.replaces.venue_order_id if order.replaces else None,
        "asset_id": asset_id(order.symbol),
        "symbol": order.symbol,
        "asset_class": str(order.market),
        "notional": money(order.notional_usd),
        "qty": money(order.quantity_shares),
        "filled_qty": plain(order.filled_shares),
        "filled_avg_price": money(order.filled_average_price_usd),
        "order_class": "" if order.order_class == "simple" else order.order_class,
        "order_type": order.order_type,
        "type": order.order_type,
        "side": str(order.side),
        "time_in_force": order.time_in_force,
        "limit_price": None if order.order_type == "market" else money(order.limit_price_usd),
        "stop_price": money(order.stop_price_usd),
        "status": str(order.status),
        "extended_hours": order.extended_hours,
        "legs": [order_json(leg, with_legs=False) for leg in order.legs] if with_legs and order.legs else None,
        "trail_percent": None if order.trail_frac is None else plain(order.trail_frac * 100),
        "trail_price": money(order.trail_usd),
        "hwm": money(order.water_mark_usd),
        "subtag": None,
        "source": None,
    }


def account_json(exchange: Exchange) -> Json:
    """`/v2/account`, without the fields that left it in 2026."""
    floor, book = exchange.floor, exchange.floor.book
    values = [value_usd(floor, symbol, exchange.now) for symbol in book.holdings]
    long_usd = sum((value for value in values if value > 0), Decimal(0))
    short_usd = sum((value for value in values if value < 0), Decimal(0))
    equity = book.cash_usd + long_usd + short_usd
    power = plain(buying_power_usd(floor, exchange.now))
    blocked = exchange.restriction == "blocked"
    return {
        "id": derived_id("account"),
        "account_number": exchange.options.account_number,
        "status": "ACTIVE",
        "crypto_status": "ACTIVE",
        "currency": "USD",
        "cash": plain(book.cash_usd),
        "equity": plain(equity),
        "portfolio_value": plain(equity),
        "last_equity": plain(exchange.last_equity_usd()),
        "buying_power": power,
        "regt_buying_power": power,
        "non_marginable_buying_power": plain(buying_power_usd(floor, exchange.now, Market.CRYPTO)),
        "multiplier": str(exchange.options.margin_multiplier_ratio),
        "long_market_value": plain(long_usd),
        "short_market_value": plain(short_usd),
        "position_market_value": plain(long_usd + short_usd),
        "initial_margin": plain((long_usd - short_usd) / exchange.options.margin_multiplier_ratio),
        "maintenance_margin": "0",
        "last_maintenance_margin": "0",
        "sma": "0",
        "accrued_fees": "0",
        "pending_transfer_in": "0",
        "pending_transfer_out": "0",
        "trading_blocked": blocked,
        "account_blocked": False,
        "transfers_blocked": False,
        "trade_suspended_by_user": False,
        "shorting_enabled": floor.may_short,
        "created_at": "2017-01-01T00:00:00Z",
    }


def position_json(exchange: Exchange, symbol: str) -> Json:
    """A position; a coin pair is spelled without its slash."""
    floor = exchange.floor
    holding = floor.book.holdings[symbol]
    asset = exchange.tape.assets[symbol]
    value = value_usd(floor, symbol, exchange.now)
    gain = value - holding.cost_usd
    price = value / holding.shares
    before = _previous_close_usd(exchange, symbol)
    change = price / before - 1 if before else Decimal(0)
    intraday = (price - before) * holding.shares if before else Decimal(0)
    return {
        "asset_id": asset_id(symbol),
        "symbol": symbol.replace("/", ""),
        "exchange": asset.exchange,
        "asset_class": str(asset.market),
        "asset_marginable": asset.market is Market.US_EQUITY,
        "qty": plain(holding.shares),
        "qty_available": plain(available_shares(floor, symbol).copy_sign(holding.shares)),
        "avg_entry_price": plain(holding.average_price_usd),
        "side": "long" if holding.shares > 0 else "short",
        "market_value": plain(value),
        "cost_basis": plain(holding.cost_usd),
        "unrealized_pl": plain(gain),
        "unrealized_plpc": plain(gain / abs(holding.cost_usd)),
        "unrealized_intraday_pl": plain(intraday),
        "unrealized_intraday_plpc": plain(change),
        "current_price": plain(price),
        "lastday_price": money(before),
        "change_today": plain(change),
    }


def _previous_close_usd(exchange: Exchange, symbol: str) -> Decimal | None:
    """The close before the session that runs, or before the last one that ran."""
    hours = exchange.tape.calendar(symbol).last_started(exchange.now)
    before = None if hours is None else exchange.tape.calendar(symbol).last_closed(hours.opens_at)
    if before is None:
        return None
    found = exchange.tape.last_print(symbol, before.closes_at)
    return None if found is None else found[1].price_usd / exchange.tape.split_factor(symbol, found[0], exchange.now)


def asset_json(asset: ListedAsset) -> Json:
    """An asset."""
    is_crypto = asset.market is Market.CRYPTO
    facts: Json = {
        "id": asset_id(asset.symbol),
        "class": str(asset.market),
        "exchange": asset.exchange,
        "symbol": asset.symbol,
        "name": asset.name,
        "status": "active",
        "tradable": asset.tradable,
        "marginable": not is_crypto,
        "shortable": asset.shortable,
        "easy_to_borrow": asset.shortable,
        "fractionable": asset.fractionable,
        "maintenance_margin_requirement": 100 if is_crypto else 30,
        "attributes": [],
    }
    if is_crypto:
        facts |= {
            "min_order_size": plain(asset.increment_shares),
            "min_trade_increment": plain(asset.increment_shares),
            "price_increment": "0.000000001",
        }
    return facts


def activity_json(activity: AccountActivity) -> Json:
    """A line of the account's history: fills have one shape, everything else another."""
    facts: Json = {"id": activity.activity_id, "activity_type": activity.code}
    if activity.code == "FILL":
        return facts | {
            "transaction_time": instant(activity.at),
            "type": activity.description,
            "price": money(activity.price_usd),
            "qty": plain(activity.quantity_shares),
            "side": str(activity.side),
            "symbol": activity.symbol,
            "order_id": activity.order_id,
            "leaves_qty": plain(activity.leaves_shares),
            "cum_qty": plain(activity.cumulative_shares),
            "order_status": "filled" if activity.description == "fill" else "partially_filled",
        }
    return facts | {
        "date": activity.day.isoformat(),
        "created_at": instant(activity.at),
        "net_amount": plain(activity.amount_usd),
        "description": activity.description,
        "symbol": None if activity.symbol is None else activity.symbol.replace("/", ""),
        "qty": plain(activity.quantity_shares),
        "price": money(activity.price_usd),
        "status": "executed",
    }


def bar_json(bar: VendorBar) -> Json:
    """A bar; what the source does not know is null."""
    return {
        "t": instant(bar.starts_at),
        "o": float(bar.traded.open_usd),
        "h": float(bar.traded.high_usd),
        "l": float(bar.traded.low_usd),
        "c": float(bar.traded.close_usd),
        "v": number(bar.traded.volume_shares),
        "n": None,
        "vw": None,
    }


def quote_json(quote: Quote) -> Json:
    """A quote; sizes are round lots, for the exchange does not limit them."""
    return {
        "t": instant(quote.quoted_at),
        "bp": float(quote.bid_usd),
        "bs": _QUOTE_SIZE_SHARES,
        "ap": float(quote.ask_usd),
        "as": _QUOTE_SIZE_SHARES,
        "bx": "V",
        "ax": "V",
        "c": ["R"],
        "z": "C",
    }


def trade_json(one: Print) -> Json:
    """A print."""
    return {"t": instant(one.at), "p": float(one.price_usd), "s": number(one.size_shares), "x": "V", "c": ["@"], "z": "C"}
