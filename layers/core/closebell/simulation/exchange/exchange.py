"""The simulated exchange: one account on a `SimulatedMarket`, moved only by `advance`.

It is a deterministic function of its market, its options, its seed and the commands it was given: the same commands give
the same orders, ids, fills and equity. Reads change nothing. It has a book of its own and knows nothing of closebell's.
"""

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from datetime import date, datetime, timedelta
from decimal import Decimal
from operator import attrgetter
from random import Random
from typing import NamedTuple

from closebell.model.broker import Side, VenueStatus
from closebell.model.instruments import Market
from closebell.simulation.exchange import account_checks as checks
from closebell.simulation.exchange.matching import Execution, market_limit_usd
from closebell.simulation.exchange.order_checks import check_form, check_hour, check_legs, check_price
from closebell.simulation.exchange.order_factory import legs_of, order_of, quantity_of, replacement_of
from closebell.simulation.exchange.tape import ExchangeTape, SeenPrint, midnight
from closebell.simulation.exchange.trading_floor import ExchangeOptions, TradingFloor
from closebell.simulation.exchange.venue_account import AccountActivity
from closebell.simulation.exchange.venue_orders import (
    FORBIDDEN,
    INVALID,
    MALFORMED,
    NOT_FOUND,
    ExchangeOrder,
    OrderTicket,
    RefusalError,
)
from closebell.simulation.market import ListedAsset, SimulatedMarket

_RESTRICTIONS = ("none", "closing_only", "blocked")
_MICROSECOND = timedelta(microseconds=1)
_SPLIT, _OPEN, _PRINT, _DUE, _CLOSE = range(5)


class _Milestone(NamedTuple):
    """Something the calendar has in store: a session's opening or close, or a split."""

    at: datetime
    rank: int
    session: date
    symbol: str
    ratio: Decimal


class _Due(NamedTuple):
    """A request that completes a little later: cancel, replace (with the new order) or reject."""

    at: datetime
    action: str
    order: ExchangeOrder
    new: ExchangeOrder | None


class Replacement(NamedTuple):
    """What a replace changes; None leaves a field as it is."""

    quantity_shares: Decimal | None = None
    limit_price_usd: Decimal | None = None
    stop_price_usd: Decimal | None = None
    trail: Decimal | None = None
    time_in_force: str | None = None
    client_order_id: str | None = None


class EquityPoint(NamedTuple):
    """The account's equity (USD) at the close of a session."""

    session: date
    at: datetime
    equity_usd: Decimal


class Exchange:
    """One brokerage account. Commands raise RefusalError; `now` is the virtual clock.

    Parameters
    ----------
    market
        What is traded; read only up to `now`.
    start
        The clock's first instant, aware UTC.
    options
        How it behaves.
    generator
        For `partial_fill_frac` only.
    """

    def __init__(
        self, market: SimulatedMarket, start: datetime, options: ExchangeOptions | None = None, generator: Random | None = None
    ) -> None:
        self.now = start
        self.options = options or ExchangeOptions()
        self.tape = ExchangeTape(market)
        self.floor = TradingFloor(self.tape, self.options, generator or Random(0))  # noqa: S311 - a simulation's seeded draw
        self.restriction = "none"
        self.refusals: Counter[str] = Counter()
        self.submissions: Counter[str] = Counter()
        self.equity_points: list[EquityPoint] = []
        self._tradable: dict[str, bool] = {}
        self._due: list[_Due] = []
        self._last_stamp = start - _MICROSECOND
        self._milestones = _milestones(self.tape)
        self._next_milestone = bisect_right(self._milestones, start, key=attrgetter("at"))
        self._spellings = {symbol.replace("/", ""): symbol for symbol in self.tape.assets}

    # --- the clock

    def advance(self, to: datetime) -> None:
        """Move the clock to `to`, letting everything of the time between happen in order. Raises ValueError backwards."""
        if to < self.now:
            raise ValueError(f"the clock only moves forwards: it is {self.now.isoformat()}, not after {to.isoformat()}")
        awake = self.floor.orders.awake_symbols(to.date())
        if not awake and not self._due and not self._has_milestone(to):
            self.now = to
            return
        events: list[tuple[datetime, int, int, _Milestone | _Due | tuple[str, SeenPrint]]] = []
        while self._has_milestone(to):
            milestone = self._milestones[self._next_milestone]
            events.append((milestone.at, milestone.rank, len(events), milestone))
            self._next_milestone += 1
        for symbol, seen in self.tape.seen(awake, self.now, to):
            events.append((seen.print.at, _PRINT, len(events), (symbol, seen)))
        for due in [due for due in self._due if due.at <= to]:
            self._due.remove(due)
            events.append((due.at, _DUE, len(events), due))
        for _, _, _, event in sorted(events, key=lambda entry: entry[:3]):
            self._happen(event)
        self.now = to

    # --- orders

    def submit(self, ticket: OrderTicket, reject_later: bool = False) -> ExchangeOrder:
        """Take an order, or refuse it. With `reject_later` it is taken and rejected when the clock next moves."""
        if ticket.client_order_id is not None:
            self.submissions[ticket.client_order_id] += 1
        try:
            order = self._checked_order(ticket)
        except RefusalError as refusal:
            self.refusals[str(refusal)] += 1
            raise
        for member in order.family():
            self.floor.orders.add(member)
        if reject_later:
            order.works_after_at = None
            self._due.append(_Due(self.now, "reject", order, None))
        return order

    def cancel(self, venue_order_id: str, delay_s: float | None = None) -> None:
        """Ask for a cancel; it completes after the latency (`delay_s` overrides it). Canceled already is no error."""
        order = self.order(venue_order_id)
        if order.status in (VenueStatus.CANCELED, VenueStatus.PENDING_CANCEL):
            return
        if not order.is_open:
            raise RefusalError(422, INVALID, f'order is already in "{order.status}" state')
        order.status, order.updated_at = VenueStatus.PENDING_CANCEL, self._stamp()
        self.floor.orders.wake(order.symbol)
        self._schedule(_Due(self._later(delay_s), "cancel", order, None))

    def cancel_all(self) -> list[ExchangeOrder]:
        """Ask for a cancel of every open order."""
        orders = list(self.floor.orders.all_live())
        for order in orders:
            self.cancel(order.venue_order_id)
        return orders

    def replace(self, venue_order_id: str, change: Replacement) -> ExchangeOrder:
        """Ask for a replace; returns the new order, which takes over when the replace completes."""
        old = self.order(venue_order_id)
        if not old.is_open:
            raise RefusalError(422, INVALID, "order is not open")
        working = old.status in (VenueStatus.NEW, VenueStatus.PARTIALLY_FILLED, VenueStatus.HELD, VenueStatus.DONE_FOR_DAY)
        if not working or old.works_after_at is None:
            raise RefusalError(422, INVALID, f"cannot replace order in {old.status} status")
        if old.quantity_shares is None or old.quantity_shares % 1 and old.market is Market.US_EQUITY:
            raise RefusalError(422, INVALID, "fractional orders cannot be replaced")
        self._check_client_id(change.client_order_id)
        check_price("limit_price", change.limit_price_usd, old.market)
        check_price("stop_price", change.stop_price_usd, old.market)
        new = replacement_of(old, change._asdict(), len(self.floor.orders.orders), self._stamp())
        checks.check_growth(self.floor, old, new, self.now)
        old.status, old.updated_at = VenueStatus.PENDING_REPLACE, new.submitted_at
        old.replaced_by, new.replaces = new, old
        self.floor.orders.add(new)
        self._schedule(_Due(self._later(None), "replace", old, new))
        return new

    def close_position(self, symbol: str, shares: Decimal | None = None, part_frac: Decimal | None = None) -> ExchangeOrder:
        """Sell (or buy back) a position at the market: all of it, some shares or a part."""
        holding = self.floor.book.holdings.get(self.spelled(symbol))
        if holding is None:
            raise RefusalError(404, NOT_FOUND, f"position does not exist: {symbol}")
        is_crypto = holding.market is Market.CRYPTO
        return self.submit(
            OrderTicket(
                symbol=self.spelled(symbol),
                side="sell" if holding.shares > 0 else "buy",
                order_type="market",
                time_in_force="gtc" if is_crypto else "day",
                quantity_shares=quantity_of(holding.shares, shares, part_frac),
            )
        )

    # --- the owner, the broker's staff and the world

    def trade_manually(self, symbol: str, side: Side, shares: Decimal) -> ExchangeOrder:
        """The user trades by hand, at the quote, at once; resting sells in the way are canceled first."""
        symbol = self.spelled(symbol)
        owned = self.floor.book.shares(symbol)
        if side is Side.SELL and shares > owned:
            raise RefusalError(403, FORBIDDEN, f"insufficient qty available for order (requested: {shares}, available: {owned})")
        if side is Side.SELL and shares > checks.available_shares(self.floor, symbol):
            for order in self.floor.orders.live(symbol):
                self.floor.end(order, VenueStatus.CANCELED, self.now)
        is_crypto = self._asset(symbol).market is Market.CRYPTO
        ticket = OrderTicket(symbol, side, "market", "gtc" if is_crypto else "day", quantity_shares=shares)
        order = self._new_order(ticket)
        self.floor.orders.add(order)
        quote = self.tape.quote(symbol, self.now)
        price = order.reference_price_usd if quote is None else quote.ask_usd if side is Side.BUY else quote.bid_usd
        half_spread = abs(quote.ask_usd - quote.mid_usd) if quote else Decimal(0)
        self.floor.fill(order, shares, Execution(price, is_maker=False, half_spread_usd=half_spread), self.now)
        return order

    def transfer(self, amount_usd: Decimal) -> None:
        """Money in (CSD) or, negative, out (CSW)."""
        self.floor.book.cash_usd += amount_usd
        self.floor.book.activities.append(
            AccountActivity(
                activity_id=self.floor.book.next_activity_id(self.now),
                code="CSD" if amount_usd > 0 else "CSW",
                at=self.now,
                day=Market.US_EQUITY.date_of(self.now),
                amount_usd=amount_usd,
                description="transfer",
            )
        )

    def bust_fill(self, activity_id: str) -> None:
        """Take an execution back: shares and money return, the account's history keeps both lines (TRADE_BUST)."""
        self.floor.book.bust(activity_id, self.now)

    def correct_fill(self, activity_id: str, price_usd: Decimal) -> None:
        """Change an execution's price afterwards: the difference moves in cash (TRADE_CORRECT)."""
        self.floor.book.correct(activity_id, price_usd, self.now)

    def pay_dividend(self, symbol: str, a_share_usd: Decimal) -> None:
        """Pay a dividend on what is held (DIV); nothing when nothing is."""
        self.floor.book.pay_dividend(self.spelled(symbol), a_share_usd, self.now)

    def restrict(self, restriction: str) -> None:
        """`none`, `closing_only` (nothing may be opened) or `blocked` (nothing may be traded)."""
        if restriction not in _RESTRICTIONS:
            raise ValueError(f"restriction is one of {', '.join(_RESTRICTIONS)}, not {restriction!r}")
        self.restriction = restriction

    def set_tradable(self, symbol: str, tradable: bool) -> None:
        """List an asset as tradable or not."""
        self._tradable[self._asset(symbol).symbol] = tradable

    def halt(self, symbol: str, halted: bool) -> None:
        """Stop or resume a symbol's trading: while halted it does not print and its orders queue."""
        symbol = self._asset(symbol).symbol
        if halted:
            self.tape.stop(symbol, self.now)
        else:
            self.tape.go_on(symbol)

    # --- reads

    def order(self, venue_order_id: str) -> ExchangeOrder:
        """One order. Raises RefusalError (404)."""
        order = self.floor.orders.orders.get(venue_order_id)
        if order is None:
            raise RefusalError(404, NOT_FOUND, f"order not found for {venue_order_id}")
        return order

    def spelled(self, symbol: str) -> str:
        """The symbol as the order book spells it (`BTC/USD` for `BTCUSD`); unknown ones unchanged."""
        return symbol if symbol in self.tape.assets else self._spellings.get(symbol, symbol)

    def assets(self) -> list[ListedAsset]:
        """Every asset as listed now."""
        return [self._listed(asset) for asset in self.tape.assets.values()]

    def asset(self, symbol: str) -> ListedAsset | None:
        """One asset as listed now, in either spelling."""
        asset = self.tape.assets.get(self.spelled(symbol))
        return None if asset is None else self._listed(asset)

    def equity_usd(self) -> Decimal:
        """Cash and positions at the last prices."""
        return checks.equity_usd(self.floor, self.now)

    def last_equity_usd(self) -> Decimal:
        """Equity at the close of the trading day before today."""
        today = Market.US_EQUITY.date_of(self.now)
        past = (point.equity_usd for point in reversed(self.equity_points) if point.session < today)
        return next(past, self.options.cash_usd)

    @property
    def has_pending(self) -> bool:
        """Whether a request of the account (a cancel, a replace) is still to be carried out."""
        return bool(self._due)

    # --- inside

    def _has_milestone(self, until: datetime) -> bool:
        return self._next_milestone < len(self._milestones) and self._milestones[self._next_milestone].at <= until

    def _happen(self, event: "_Milestone | _Due | tuple[str, SeenPrint]") -> None:
        if isinstance(event, _Milestone):
            self._pass(event)
        elif isinstance(event, _Due):
            self._complete(event)
        else:
            self.floor.on_print(*event)

    def _pass(self, milestone: _Milestone) -> None:
        if milestone.rank == _OPEN:
            self.floor.on_open(milestone.at)
        elif milestone.rank == _SPLIT:
            self.floor.on_split(milestone.symbol, milestone.ratio, milestone.at)
        else:
            self.floor.on_close(milestone.at)
            self.equity_points.append(EquityPoint(milestone.session, milestone.at, checks.equity_usd(self.floor, milestone.at)))

    def _schedule(self, due: _Due) -> None:
        """Let a request complete when the clock gets there: at once when it has no latency."""
        if due.at <= self.now:
            self._complete(due)
        else:
            self._due.append(due)

    def _complete(self, due: _Due) -> None:
        if due.new is not None:
            self.floor.replace(due.order, due.new, due.at, self._is_working_time(due.new.market, due.at))
        elif due.order.is_open:
            self.floor.end(due.order, VenueStatus.CANCELED if due.action == "cancel" else VenueStatus.REJECTED, due.at)

    def _checked_order(self, ticket: OrderTicket) -> ExchangeOrder:
        if not ticket.symbol:
            raise RefusalError(422, MALFORMED, "symbol is required")
        asset = self._asset(ticket.symbol)
        ticket = ticket if ticket.symbol == asset.symbol else replace(ticket, symbol=asset.symbol)
        check_form(ticket, asset)
        self._check_client_id(ticket.client_order_id)
        if asset.market is Market.US_EQUITY:
            check_hour(ticket.time_in_force, self.tape.calendars[Market.US_EQUITY], self.now)
        if not self._listed(asset).tradable:
            raise RefusalError(422, INVALID, f"asset {asset.symbol} is not tradable")
        order = self._new_order(ticket)
        if order.is_complex:
            check_legs(ticket, order.reference_price_usd)
            order.legs = legs_of(order, ticket, len(self.floor.orders.orders) + 1)
        self._check_restriction(order)
        checks.check_wash(self.floor, order)
        checks.check_means(self.floor, order, checks.check_cost(order), self.now)
        return order

    def _new_order(self, ticket: OrderTicket) -> ExchangeOrder:
        asset = self._asset(ticket.symbol)
        price = self.tape.last_price_usd(asset.symbol, self.now)
        if price is None:
            raise RefusalError(422, INVALID, f"asset {asset.symbol} has no price")
        order = order_of(
            ticket,
            asset.market,
            price,
            number=len(self.floor.orders.orders),
            at=self._stamp(),
            works_after_at=self.now,
            status=VenueStatus.NEW if self._is_working_time(asset.market, self.now) else VenueStatus.ACCEPTED,
        )
        order.limit_price_usd = order.limit_price_usd or market_limit_usd(asset.market, ticket.order_type, order.is_buy, price)
        return order

    def _is_working_time(self, market: Market, at: datetime) -> bool:
        return market is Market.CRYPTO or self.tape.calendars[market].is_open(at)

    def _check_client_id(self, client_order_id: str | None) -> None:
        if client_order_id is not None and self.floor.orders.by_client_id(client_order_id) is not None:
            raise RefusalError(422, MALFORMED, "client_order_id must be unique")

    def _check_restriction(self, order: ExchangeOrder) -> None:
        owned = self.floor.book.shares(order.symbol)
        closes = owned != 0 and (owned < 0) == order.is_buy
        if self.restriction == "blocked":
            raise RefusalError(403, FORBIDDEN, "account is not allowed to trade")
        if self.restriction == "closing_only" and not closes:
            raise RefusalError(403, FORBIDDEN, "account is restricted to liquidation only")

    def _asset(self, symbol: str) -> ListedAsset:
        asset = self.tape.assets.get(self.spelled(symbol))
        if asset is None:
            raise RefusalError(422, INVALID, f'asset "{symbol}" not found')
        return asset

    def _listed(self, asset: ListedAsset) -> ListedAsset:
        return asset._replace(tradable=self._tradable.get(asset.symbol, asset.tradable))

    def _later(self, delay_s: float | None) -> datetime:
        return self.now + timedelta(seconds=self.options.cancel_latency_s if delay_s is None else delay_s)

    def _stamp(self) -> datetime:
        """An instant for the next order: now, plus a microsecond for each one already sent at it, so instants are unique."""
        self._last_stamp = max(self.now, self._last_stamp + _MICROSECOND)
        return self._last_stamp


def _milestones(tape: ExchangeTape) -> list[_Milestone]:
    equity = tape.calendars[Market.US_EQUITY]
    closing = equity if equity.sessions else tape.calendars[Market.CRYPTO]
    found = [_Milestone(hours.opens_at, _OPEN, hours.session, "", Decimal(1)) for hours in equity.sessions]
    found += [_Milestone(hours.closes_at, _CLOSE, hours.session, "", Decimal(1)) for hours in closing.sessions]
    found += _splits(tape, tape.assets.values())
    return sorted(found, key=lambda milestone: (milestone.at, milestone.rank, milestone.symbol))


def _splits(tape: ExchangeTape, assets: Iterable[ListedAsset]) -> list[_Milestone]:
    """Splits happen at midnight of their ex-session, in the market's zone."""
    return [
        _Milestone(midnight(split.ex_session, asset.market), _SPLIT, split.ex_session, asset.symbol, split.ratio)
        for asset in assets
        for split in tape.market.splits(asset.symbol)
    ]
