"""Alpaca as our broker, through alpaca-py in raw mode: complete reads or an error, each write sent once."""

from collections.abc import Sequence
from datetime import date, timedelta
from decimal import Decimal
from typing import Any
from urllib.parse import quote, urlsplit

from alpaca.data.historical.crypto import CryptoHistoricalDataClient
from alpaca.data.historical.stock import StockHistoricalDataClient
from alpaca.trading.client import TradingClient

from closebell.adapters.alpaca_errors import UnreadableReplyError
from closebell.adapters.alpaca_http import AlpacaHttp, Credentials, Timeouts, bare_origin
from closebell.adapters.alpaca_replies import (
    account_of,
    activity_of,
    asset_of,
    clock_of,
    fields_of,
    items_of,
    order_of,
    position_of,
    quote_of,
    session_of,
)
from closebell.model.broker import (
    Account,
    Asset,
    CashActivity,
    MarketClock,
    OrderClass,
    OrderRequest,
    Quote,
    VenueFill,
    VenueOrder,
    VenuePosition,
)
from closebell.model.errors import BrokerUnavailable, ConfigurationError, OrderDenied, OrderRejected
from closebell.model.instruments import Market, SessionHours

LIVE_HOST = "api.alpaca.markets"
PAPER_HOST = "paper-api.alpaca.markets"
ORDERS_A_PAGE = 500
ACTIVITIES_A_PAGE = 100
QUOTES_A_REQUEST = 100
PAGES_MAX = 1000


class AlpacaBroker:
    """`ports.broker.Broker` over Alpaca's REST interface.

    Parameters
    ----------
    key_id, secret_key
        The key of the one account this broker is.
    trading_url, data_url
        Bare origins, such as https://paper-api.alpaca.markets and https://data.alpaca.markets.
    paper
        What the caller believes the account to be; Alpaca's host for the other kind is refused.
    timeouts
        Per connection and per read of a reply.
    quote_feed
        "iex", "sip" or None for the best feed of the data plan.

    Raises
    ------
    ConfigurationError
        An address or a key that cannot be right.
    """

    def __init__(
        self, key_id: str, secret_key: str, trading_url: str, data_url: str, *, paper: bool, timeouts: Timeouts | None = None,
        quote_feed: str | None = None,
    ) -> None:
        credentials = Credentials(key_id, secret_key)
        trading_origin, data_origin = bare_origin(trading_url, "the trading URL"), bare_origin(data_url, "the data URL")
        _require_host_of_mode(trading_origin, paper)
        timeouts = timeouts or Timeouts()
        self._trading = AlpacaHttp(
            TradingClient(key_id, secret_key, paper=paper, raw_data=True, url_override=trading_origin), credentials, timeouts
        )
        self._stocks = AlpacaHttp(
            StockHistoricalDataClient(key_id, secret_key, raw_data=True, url_override=data_origin), credentials, timeouts
        )
        self._crypto = AlpacaHttp(
            CryptoHistoricalDataClient(key_id, secret_key, raw_data=True, url_override=data_origin), credentials, timeouts
        )
        self._quote_feed = quote_feed

    def clock(self) -> MarketClock:
        return self._trading.read("/clock", {}, lambda reply: clock_of(fields_of(reply)))

    def calendar(self, first: date, last: date) -> list[SessionHours]:
        query = {"start": first.isoformat(), "end": last.isoformat()}
        sessions = self._trading.read("/calendar", query, lambda reply: items_of(reply, session_of))
        return [hours for hours in sessions if first <= hours.session <= last]

    def account(self) -> Account:
        return self._trading.read("/account", {}, lambda reply: account_of(fields_of(reply)))

    def asset(self, symbol: str) -> Asset | None:
        return self._trading.read_if_found(f"/assets/{_in_path(symbol)}", {}, lambda reply: asset_of(fields_of(reply)))

    def positions(self) -> list[VenuePosition]:
        return self._trading.read("/positions", {}, lambda reply: items_of(reply, position_of))

    def open_orders(self) -> list[VenueOrder]:
        return [order for order in self._orders("open") if order.is_open or any(leg.is_open for leg in order.legs)]

    def every_order(self) -> list[VenueOrder]:
        return self._orders("all")

    def _orders(self, status: str) -> list[VenueOrder]:
        """Pages by submission time. `after` excludes its instant, and orders may share one: each page therefore asks again for
        the last instant of the one before, and what was seen already is dropped."""
        found: dict[str, VenueOrder] = {}
        query: dict[str, str | int] = {"status": status, "limit": ORDERS_A_PAGE, "direction": "asc", "nested": "true"}
        for _ in range(PAGES_MAX):
            page = self._trading.read("/orders", query, lambda reply: items_of(_single_symbol(reply), order_of))
            fresh = {order.venue_order_id: order for order in page if order.venue_order_id not in found}
            found |= fresh
            if len(page) < ORDERS_A_PAGE:
                return sorted(found.values(), key=lambda order: order.submitted_at)
            if not fresh:
                break
            query["after"] = (max(order.submitted_at for order in page) - timedelta(microseconds=1)).isoformat()
        raise BrokerUnavailable("GET /orders: the pages do not come to an end, so the list of orders is not known")

    def order(self, venue_order_id: str) -> VenueOrder | None:
        path = f"/orders/{_in_path(venue_order_id)}"
        return self._trading.read_if_found(path, {"nested": "true"}, lambda reply: order_of(fields_of(reply)))

    def order_by_client_id(self, client_order_id: str) -> VenueOrder | None:
        def parse(reply: Any) -> VenueOrder:
            return _require_id(order_of(fields_of(reply)), client_order_id)

        found = self._trading.read_if_found("/orders:by_client_order_id", {"client_order_id": client_order_id}, parse)
        if found is None or found.order_class == OrderClass.SIMPLE or found.legs:
            return found
        return self.order(found.venue_order_id)  # this endpoint is not documented to nest legs

    def activities(self, after_activity_id: str) -> list[VenueFill | CashActivity]:
        found: dict[str, VenueFill | CashActivity] = {}
        query: dict[str, str | int] = {"direction": "asc", "page_size": ACTIVITIES_A_PAGE}
        token = after_activity_id
        for _ in range(PAGES_MAX):
            if token:
                query["page_token"] = token
            page = self._trading.read("/account/activities", query, lambda reply: items_of(reply, activity_of))
            fresh = {activity.activity_id: activity for activity in page if activity.activity_id not in found}
            fresh.pop(after_activity_id, None)
            found |= fresh
            if len(page) < ACTIVITIES_A_PAGE:
                return list(found.values())
            if not fresh:
                break
            token = page[-1].activity_id
        raise BrokerUnavailable("GET /account/activities: the pages do not come to an end, so the activities are not known")

    def quotes(self, symbols: Sequence[str], market: Market) -> dict[str, Quote]:
        found: dict[str, Quote] = {}
        for start in range(0, len(symbols), QUOTES_A_REQUEST):
            query: dict[str, str | int] = {"symbols": ",".join(symbols[start : start + QUOTES_A_REQUEST])}
            if market is Market.CRYPTO:
                found |= self._crypto.read("/crypto/us/latest/quotes", query, _quotes_of)
                continue
            if self._quote_feed is not None:
                query["feed"] = self._quote_feed
            found |= self._stocks.read("/stocks/quotes/latest", query, _quotes_of)
        return {symbol: found[symbol] for symbol in symbols if symbol in found}

    def submit(self, request: OrderRequest) -> VenueOrder:
        def parse(reply: Any) -> VenueOrder:
            return _require_id(order_of(fields_of(reply)), request.client_order_id)

        return self._trading.post("/orders", order_body(request), parse)

    def cancel(self, venue_order_id: str) -> None:
        try:
            self._trading.delete(f"/orders/{_in_path(venue_order_id)}")
        except OrderRejected as refusal:
            # 42210000 'order is already in "filled" state' and 40410000 'order not found': nothing is left to cancel
            if refusal.code not in {42210000, 40410000}:
                raise


def order_body(request: OrderRequest) -> dict[str, Any]:
    """The JSON of an order: every number a string, so that no float comes near it. Raises OrderDenied."""
    body: dict[str, Any] = {
        "symbol": request.symbol, "qty": _plain(request.quantity_shares), "side": request.side.value,
        "type": request.order_type.value, "time_in_force": request.time_in_force.value,
        "client_order_id": request.client_order_id,
    }
    if request.order_class is OrderClass.OCO:
        if request.limit_price_usd is None or request.stop_price_usd is None:
            raise OrderDenied(f"order {request.client_order_id}: an OCO needs a target (limit price) and a stop price")
        body |= {
            "order_class": "oco", "type": "limit", "take_profit": {"limit_price": _plain(request.limit_price_usd)},
            "stop_loss": {"stop_price": _plain(request.stop_price_usd)},
        }
        return body
    if request.limit_price_usd is not None:
        body["limit_price"] = _plain(request.limit_price_usd)
    if request.stop_price_usd is not None:
        body["stop_price"] = _plain(request.stop_price_usd)
    return body


def _plain(number: Decimal) -> str:
    return format(number, "f")


def _quotes_of(reply: Any) -> dict[str, Quote]:
    by_symbol = fields_of(fields_of(reply).get("quotes"))
    quotes = (quote_of(symbol, fields_of(fields)) for symbol, fields in by_symbol.items() if fields is not None)
    return {quote.symbol: quote for quote in quotes if quote is not None}


def _require_id(order: VenueOrder, client_order_id: str) -> VenueOrder:
    if order.client_order_id != client_order_id:
        raise UnreadableReplyError(f"order {client_order_id} was asked for, {order.client_order_id} came")
    return order


def _in_path(part: str) -> str:
    """`BTC/USD` as one segment of a path."""
    return quote(part, safe="")


def _require_host_of_mode(trading_origin: str, paper: bool) -> None:
    host = (urlsplit(trading_origin).hostname or "").rstrip(".")
    if paper and host == LIVE_HOST:
        raise ConfigurationError(f"this desk is set to paper, but its trading URL is the live one ({trading_origin}); use https://{PAPER_HOST}")
    if not paper and host == PAPER_HOST:
        raise ConfigurationError(f"this desk is set to live, but its trading URL is the paper one ({trading_origin}); use https://{LIVE_HOST}")


def _single_symbol(reply: Any) -> Any:
    """The list without multi-leg option orders: they name no symbol, and closebell sends none."""
    if not isinstance(reply, list):
        return reply
    return [row for row in reply if not (isinstance(row, dict) and row.get("order_class") == "mleg")]
