"""What makes an order impossible whatever the account holds: its form, its asset and the hour.

Every refusal is the one Alpaca gives: HTTP status, code and words.
"""

from datetime import datetime, time, timedelta
from decimal import Decimal

from closebell.model.instruments import Market
from closebell.simulation.exchange.tape import SessionCalendar
from closebell.simulation.exchange.venue_orders import (
    COMPLEX_CLASSES,
    FORBIDDEN,
    INVALID,
    MALFORMED,
    STOP_TYPES,
    OrderTicket,
    RefusalError,
)
from closebell.simulation.market import ListedAsset

CLIENT_ORDER_ID_LENGTH_MAX = 128
_EQUITY_TYPES = ("market", "limit", "stop", "stop_limit", "trailing_stop")
_CRYPTO_TYPES = ("market", "limit", "stop_limit")
_EQUITY_TIMES = ("day", "gtc", "opg", "cls", "ioc", "fok")
_CRYPTO_TIMES = ("gtc", "ioc")
_REQUIRED_PRICES = {"limit": "a limit price", "stop": "a stop price", "stop_limit": "both stop and limit price"}
_CLASSES = ("simple", "bracket", "oco", "oto")
_NINE_PLACES = -9
_CENT = Decimal("0.01")
_OPEN_LEAD = timedelta(minutes=2)
_CLOSE_LEAD = timedelta(minutes=10)
_EVENING = time(19, 0)


def check_form(ticket: OrderTicket, asset: ListedAsset) -> None:
    """Refuse a ticket whose fields contradict each other or the asset. Raises RefusalError."""
    _check_words(ticket, asset.market)
    _check_quantity(ticket, asset)
    _check_prices(ticket, asset.market)
    if ticket.order_class in COMPLEX_CLASSES:
        _check_complex(ticket, asset.market)
    if ticket.extended_hours and (ticket.order_type, ticket.time_in_force) != ("limit", "day"):
        raise RefusalError(422, INVALID, "extended hours order must be DAY limit orders")


def check_hour(time_in_force: str, calendar: SessionCalendar, now: datetime) -> None:
    """Auction orders are taken in a window only: `opg` 19:00-09:28, `cls` 19:00-15:50 New York. Raises RefusalError."""
    local = now.astimezone(Market.US_EQUITY.zone)
    hours = calendar.on(local.date())
    if hours is None or local.time() >= _EVENING:
        return
    if time_in_force == "opg" and now >= hours.opens_at - _OPEN_LEAD:
        raise RefusalError(403, FORBIDDEN, "opg orders must be submitted after 7:00pm and before 9:28am")
    if time_in_force == "cls" and now >= hours.closes_at - _CLOSE_LEAD:
        raise RefusalError(403, FORBIDDEN, "cls orders must be submitted after 7:00pm and before 3:50pm")


def check_legs(ticket: OrderTicket, price_usd: Decimal) -> None:
    """Exit prices must lie on the right sides of the base by a cent: the entry's limit or `price_usd`, for an OCO its target.

    Raises RefusalError.
    """
    target, stop = ticket.take_profit_usd, ticket.stop_loss_usd
    base_price_usd = (target if ticket.order_class == "oco" else ticket.limit_price_usd) or price_usd
    rising = (ticket.side == "buy") != (ticket.order_class == "oco")
    sign = 1 if rising else -1
    if target is not None and stop is not None and sign * (target - stop) <= 0:
        relation = ">" if rising else "<"
        raise RefusalError(422, INVALID, f"take_profit.limit_price must be {relation} stop_loss.stop_price")
    if stop is not None and sign * (base_price_usd - stop) < _CENT:
        bound = "<= base_price - 0.01" if rising else ">= base_price + 0.01"
        raise RefusalError(422, INVALID, f"stop_loss.stop_price must be {bound}", base_price=f"{base_price_usd:f}")
    if ticket.order_class != "oco" and target is not None and sign * (target - base_price_usd) < _CENT:
        bound = ">= base_price + 0.01" if rising else "<= base_price - 0.01"
        raise RefusalError(422, INVALID, f"take_profit.limit_price must be {bound}", base_price=f"{base_price_usd:f}")


def check_price(name: str, price_usd: Decimal | None, market: Market) -> None:
    """Prices are positive, and in cents from one dollar up, else in hundredths of a cent. Raises RefusalError."""
    if price_usd is None:
        return
    if price_usd <= 0:
        raise RefusalError(422, INVALID, f"{name} must be > 0")
    step = Decimal("1e-9") if market is Market.CRYPTO else _CENT if price_usd >= 1 else Decimal("0.0001")
    if price_usd % step:
        raise RefusalError(
            422, INVALID, f"invalid {name} {price_usd:f}. sub-penny increment does not fulfill minimum pricing criteria"
        )


def _check_words(ticket: OrderTicket, market: Market) -> None:
    is_crypto = market is Market.CRYPTO
    if ticket.side not in ("buy", "sell"):
        raise RefusalError(422, MALFORMED, f"invalid side: {ticket.side}")
    if ticket.order_class not in _CLASSES:
        raise RefusalError(422, MALFORMED, f"invalid order_class: {ticket.order_class}")
    if ticket.order_type not in (_CRYPTO_TYPES if is_crypto else _EQUITY_TYPES):
        problem = "invalid order type for crypto order" if is_crypto else f"invalid type: {ticket.order_type}"
        raise RefusalError(422, INVALID, problem)
    if ticket.time_in_force not in (_CRYPTO_TIMES if is_crypto else _EQUITY_TIMES):
        word = "crypto " if is_crypto else ""
        raise RefusalError(422, INVALID, f"invalid {word}time_in_force")
    if ticket.time_in_force in ("opg", "cls") and ticket.order_type not in ("market", "limit"):
        raise RefusalError(422, INVALID, f"{ticket.time_in_force} orders must be market or limit orders")
    if ticket.client_order_id is not None and len(ticket.client_order_id) > CLIENT_ORDER_ID_LENGTH_MAX:
        raise RefusalError(422, MALFORMED, f"client_order_id must be no more than {CLIENT_ORDER_ID_LENGTH_MAX} characters")


def _check_quantity(ticket: OrderTicket, asset: ListedAsset) -> None:
    quantity, notional = ticket.quantity_shares, ticket.notional_usd
    if (quantity is None) == (notional is None):
        problem = "qty or notional is required" if quantity is None else "only one of qty or notional is accepted"
        raise RefusalError(422, MALFORMED, problem)
    if quantity is not None and quantity <= 0:
        raise RefusalError(422, MALFORMED, "qty must be > 0")
    if notional is not None and notional <= 0:
        raise RefusalError(422, MALFORMED, "notional must be > 0")
    if notional is not None and notional % _CENT:
        raise RefusalError(422, INVALID, "notional value must be limited to 2 decimal places")
    if quantity is not None and quantity % asset.increment_shares and asset.market is Market.CRYPTO:
        raise RefusalError(422, INVALID, f"qty increment must be a multiple of {asset.increment_shares:f}")
    if asset.market is Market.US_EQUITY and (notional is not None or quantity is not None and quantity % 1):
        _check_fractional(ticket, asset)


def _check_fractional(ticket: OrderTicket, asset: ListedAsset) -> None:
    exponent = ticket.quantity_shares.normalize().as_tuple().exponent if ticket.quantity_shares is not None else 0
    if not asset.fractionable:
        raise RefusalError(403, FORBIDDEN, f'asset "{asset.symbol}" is not fractionable')
    if isinstance(exponent, int) and exponent < _NINE_PLACES:
        raise RefusalError(422, INVALID, "qty must be limited to 9 decimal places")
    if ticket.order_class != "simple":
        raise RefusalError(422, INVALID, "fractional orders must be simple orders")
    if ticket.time_in_force != "day":
        raise RefusalError(422, INVALID, "fractional orders must be DAY orders")


def _check_prices(ticket: OrderTicket, market: Market) -> None:
    kind = ticket.order_type
    lacks_limit = kind in ("limit", "stop_limit") and ticket.limit_price_usd is None and ticket.order_class != "oco"
    lacks_stop = kind in ("stop", "stop_limit") and ticket.stop_price_usd is None
    if lacks_limit or lacks_stop:
        raise RefusalError(422, MALFORMED, f"{kind.replace('_', ' ')} orders require {_REQUIRED_PRICES[kind]}")
    if kind == "market" and (ticket.limit_price_usd is not None or ticket.stop_price_usd is not None):
        raise RefusalError(422, MALFORMED, "market orders require no stop or limit price")
    if kind == "trailing_stop":
        if (ticket.trail_usd is None) == (ticket.trail_frac is None):
            raise RefusalError(422, MALFORMED, "trailing stop orders must specify one of trail_price or trail_percent")
        if ticket.time_in_force not in ("day", "gtc"):
            raise RefusalError(422, INVALID, "trailing stop orders must be day or gtc")
    check_price("limit_price", ticket.limit_price_usd, market)
    check_price("stop_price", ticket.stop_price_usd, market)
    check_price("take_profit.limit_price", ticket.take_profit_usd, market)
    check_price("stop_loss.stop_price", ticket.stop_loss_usd, market)
    check_price("stop_loss.limit_price", ticket.stop_loss_limit_usd, market)


def _check_complex(ticket: OrderTicket, market: Market) -> None:
    name, target, stop = ticket.order_class, ticket.take_profit_usd, ticket.stop_loss_usd
    if market is Market.CRYPTO:
        raise RefusalError(422, INVALID, "crypto orders must be simple orders")
    if ticket.time_in_force not in ("day", "gtc"):
        raise RefusalError(422, INVALID, f"{name} orders must be day or gtc")
    if ticket.extended_hours:
        raise RefusalError(422, INVALID, f"{name} orders do not support extended hours")
    if name in ("bracket", "oco") and (target is None or stop is None):
        missing = "take_profit.limit_price" if target is None else "stop_loss.stop_price"
        raise RefusalError(422, MALFORMED, f"{name} orders require {missing}")
    if name == "oto" and (target is None) == (stop is None):
        raise RefusalError(422, MALFORMED, "oto orders require either take_profit or stop_loss")
    if name == "oco" and ticket.order_type != "limit":
        raise RefusalError(422, INVALID, "oco orders must be limit orders")
    if name != "oco" and ticket.order_type in STOP_TYPES:
        raise RefusalError(422, INVALID, f"{name} entry orders must be market or limit orders")
