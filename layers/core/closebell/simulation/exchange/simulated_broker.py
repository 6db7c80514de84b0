"""The simulated exchange as a Broker in the same process: what the HTTP server shows to alpaca-py, without the wire."""

from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from operator import attrgetter

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
from closebell.model.errors import DuplicateOrderId, InsufficientBuyingPower, InsufficientQuantity, OrderRejected, WashTrade
from closebell.model.instruments import Market, SessionHours
from closebell.simulation.exchange.account_checks import (
    SHOWN_DECIMALS_COUNT,
    available_shares,
    buying_power_usd,
    plain,
    value_usd,
)
from closebell.simulation.exchange.exchange import Exchange
from closebell.simulation.exchange.venue_account import AccountActivity
from closebell.simulation.exchange.venue_orders import ExchangeOrder, OrderTicket, RefusalError

_REFUSALS = (
    ("insufficient buying power", InsufficientBuyingPower),
    ("insufficient qty", InsufficientQuantity),
    ("insufficient balance", InsufficientQuantity),
    ("potential wash trade", WashTrade),
)


ZERO = Decimal(0)


class SimulatedBroker:
    """Implements `ports.broker.Broker` over an `Exchange`."""

    def __init__(self, exchange: Exchange) -> None:
        self.exchange = exchange
        self._sent: dict[str, VenueFill | CashActivity] = {}
        self._shown: dict[str, tuple[int, list[VenueOrder]]] = {}
        self._shares: dict[str, tuple[int, Decimal, Decimal]] = {}

    def clock(self) -> MarketClock:
        calendar, now = self.exchange.tape.calendars[Market.US_EQUITY], self.exchange.now
        opening, closing = calendar.next_to_open(now), calendar.next_to_close(now)
        return MarketClock(
            now_at=now,
            is_open=calendar.is_open(now),
            next_open_at=opening.opens_at if opening else now,
            next_close_at=closing.closes_at if closing else now,
        )

    def calendar(self, first: date, last: date) -> list[SessionHours]:
        return list(self.exchange.tape.calendars[Market.US_EQUITY].between(first, last))

    def account(self) -> Account:
        floor, now = self.exchange.floor, self.exchange.now
        return Account(
            account_number=self.exchange.options.account_number,
            status="ACTIVE",
            equity_usd=as_sent(self.exchange.equity_usd()),
            last_equity_usd=as_sent(self.exchange.last_equity_usd()),
            cash_usd=as_sent(floor.book.cash_usd),
            buying_power_usd=as_sent(buying_power_usd(floor, now)),
            trading_blocked=self.exchange.restriction == "blocked",
        )

    def asset(self, symbol: str) -> Asset | None:
        listed = self.exchange.asset(symbol)
        if listed is None:
            return None
        return Asset(
            symbol=listed.symbol,
            market=listed.market,
            tradable=listed.tradable,
            fractionable=listed.fractionable,
            quantity_increment_shares=listed.increment_shares,
        )

    def positions(self) -> list[VenuePosition]:
        found = (self.position(symbol) for symbol in self.exchange.floor.book.holdings)
        return [position for position in found if position is not None]

    def position(self, symbol: str) -> VenuePosition | None:
        """One of the positions; None when nothing is held."""
        floor = self.exchange.floor
        holding = floor.book.holdings.get(symbol)
        if holding is None:
            return None
        changes_count = floor.orders.changes_counts[symbol]
        known_count, shares, available = self._shares.get(symbol, (-1, ZERO, ZERO))
        if known_count != changes_count or shares != holding.shares:
            shares, available = as_sent(holding.shares), as_sent(available_shares(floor, symbol))
            self._shares[symbol] = (changes_count, shares, available)
        return VenuePosition(
            symbol=symbol,
            market=holding.market,
            quantity_shares=shares,
            available_shares=available,
            average_entry_price_usd=as_sent(holding.average_price_usd),
            market_value_usd=as_sent(value_usd(floor, symbol, self.exchange.now)),
        )

    def open_orders(self) -> list[VenueOrder]:
        orders = self.exchange.floor.orders
        shown = [order for symbol in orders.live_symbols() for order in self._open_orders(symbol, orders.changes_counts[symbol])]
        return sorted(shown, key=attrgetter("submitted_at"))

    def _open_orders(self, symbol: str, changes_count: int) -> list[VenueOrder]:
        """A symbol's orders rest for long and are read in every run: they are shown as before until something has changed."""
        known_count, shown = self._shown.get(symbol, (-1, []))
        if known_count != changes_count:
            live = self.exchange.floor.orders.live(symbol)
            heads = {id(head): head for head in (order.parent or order for order in live)}
            shown = [shown_order(head) for head in heads.values()]
            self._shown[symbol] = (changes_count, shown)
        return shown

    def every_order(self) -> list[VenueOrder]:
        return [shown_order(order) for order in self.exchange.floor.orders.orders.values() if order.parent is None]

    def order(self, venue_order_id: str) -> VenueOrder | None:
        found = self.exchange.floor.orders.orders.get(venue_order_id)
        return shown_order(found) if found else None

    def order_by_client_id(self, client_order_id: str) -> VenueOrder | None:
        found = self.exchange.floor.orders.by_client_id(client_order_id)
        return shown_order(found) if found else None

    def activities(self, after_activity_id: str) -> list[VenueFill | CashActivity]:
        return [self.sent(activity) for activity in self.exchange.floor.book.activities_after(after_activity_id)]

    def sent(self, activity: AccountActivity) -> VenueFill | CashActivity:
        """A line of the account's history as it is shown. It never changes, and is read in every run of the next days."""
        if activity.activity_id not in self._sent:
            listed = self.exchange.tape.assets.get(activity.symbol or "")
            self._sent[activity.activity_id] = _activity(activity, listed.market if listed else Market.US_EQUITY)
        return self._sent[activity.activity_id]

    def quotes(self, symbols: Sequence[str], market: Market) -> dict[str, Quote]:
        listed = [symbol for symbol in symbols if symbol in self.exchange.tape.assets]
        found = {symbol: self.exchange.tape.quote(symbol, self.exchange.now) for symbol in listed}
        return {symbol: quote for symbol, quote in found.items() if quote is not None}

    def submit(self, request: OrderRequest) -> VenueOrder:
        try:
            return shown_order(self.exchange.submit(_ticket(request)))
        except RefusalError as refusal:
            message = str(refusal)
            if "client_order_id must be unique" in message:
                raise DuplicateOrderId(message) from refusal
            kind = next((kind for words, kind in _REFUSALS if words in message), OrderRejected)
            raise kind(message, refusal.code) from refusal

    def cancel(self, venue_order_id: str) -> None:
        try:
            self.exchange.cancel(venue_order_id)
        except RefusalError:
            return  # finished already: the order itself tells how


def as_sent(number: Decimal) -> Decimal:
    """A number as it arrives when it is sent as text, so that what is stored is the same."""
    text = str(number)
    _, point, decimals = text.partition(".")
    is_plain = "E" not in text and (not point or (len(decimals) <= SHOWN_DECIMALS_COUNT and decimals[-1] != "0"))
    return number if is_plain else Decimal(plain(number))  # most are plain already, and are asked for in every look


def _price_as_sent(price_usd: Decimal | None) -> Decimal | None:
    return None if price_usd is None else as_sent(price_usd)


def _ticket(request: OrderRequest) -> OrderTicket:
    is_oco = request.order_class is OrderClass.OCO
    return OrderTicket(
        symbol=request.symbol,
        side=request.side,
        order_type=request.order_type,
        time_in_force=request.time_in_force,
        order_class=request.order_class,
        quantity_shares=request.quantity_shares,
        limit_price_usd=None if is_oco else request.limit_price_usd,
        stop_price_usd=None if is_oco else request.stop_price_usd,
        take_profit_usd=request.limit_price_usd if is_oco else None,
        stop_loss_usd=request.stop_price_usd if is_oco else None,
        client_order_id=request.client_order_id,
    )


def shown_order(order: ExchangeOrder) -> VenueOrder:
    """An order and its legs as the broker shows them."""
    return VenueOrder(
        venue_order_id=order.venue_order_id,
        client_order_id=order.client_order_id,
        market=order.market,
        symbol=order.symbol,
        side=order.side,
        order_type=order.order_type,
        time_in_force=order.time_in_force,
        order_class=order.order_class,
        status=order.status,
        quantity_shares=as_sent(order.quantity_shares or Decimal(0)),
        filled_quantity_shares=as_sent(order.filled_shares),
        filled_average_price_usd=_price_as_sent(order.filled_average_price_usd),
        limit_price_usd=_price_as_sent(order.shown_limit_usd),
        stop_price_usd=_price_as_sent(order.stop_price_usd),
        submitted_at=order.submitted_at,
        updated_at=order.updated_at,
        replaced_by_venue_order_id=order.replaced_by.venue_order_id if order.replaced_by else None,
        legs=tuple(shown_order(leg) for leg in order.legs),
    )


def _activity(activity: AccountActivity, market: Market) -> VenueFill | CashActivity:
    if activity.side is not None and activity.price_usd is not None and activity.symbol is not None:
        return VenueFill(
            activity_id=activity.activity_id,
            venue_order_id=activity.order_id or "",
            symbol=activity.symbol,
            market=market,
            side=activity.side,
            quantity_shares=as_sent(activity.quantity_shares),
            price_usd=as_sent(activity.price_usd),
            occurred_at=activity.at,
        )
    return CashActivity(
        activity_id=activity.activity_id,
        code=activity.code,
        symbol=activity.symbol,
        quantity_shares=as_sent(activity.quantity_shares),
        amount_usd=as_sent(activity.amount_usd),
        occurred_at=activity.at,
    )
