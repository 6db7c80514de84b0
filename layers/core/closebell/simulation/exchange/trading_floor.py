"""What happens to orders as time passes: prints, openings, closes, splits, and the cancels and replaces under way.

A fill beats a cancel or a replace that has not completed. Of a group's exits one cancels the others; a partly filled exit
shrinks them; a group's legs are held until its entry is completely filled; one member's end is the end of the group.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from decimal import ROUND_HALF_UP, Decimal
from functools import partial
from random import Random

from closebell.model.broker import VenueStatus
from closebell.model.instruments import Market
from closebell.simulation.exchange.matching import Execution, execution, meets, resting_between_usd
from closebell.simulation.exchange.order_book import OrderBook
from closebell.simulation.exchange.tape import ExchangeTape, SeenPrint
from closebell.simulation.exchange.venue_account import NINE_PLACES, AccountActivity, HiddenBook, truncated
from closebell.simulation.exchange.venue_orders import ExchangeOrder

TAKER_FEE_FRAC = Decimal("0.0025")
MAKER_FEE_FRAC = Decimal("0.0015")
_CENTS = Decimal("0.01")
_PARTIAL_FRAC = Decimal("0.5")


@dataclass(frozen=True)
class ExchangeOptions:
    """How the exchange behaves.

    `margin_multiplier_ratio` 1 is a cash account; 2 may borrow and short. `print_share_frac` is the part of a print's size
    one can trade. `partial_fill_frac` is the chance that a fill is only half of what it could be (Alpaca paper: 0.1).
    Cancels and replaces complete after `cancel_latency_s` of the virtual clock; with 0 they do at once. Of equities every
    share costs `commission_a_share_usd`, every order that trades `commission_an_order_usd`, and every holding
    `commission_a_round_trip_usd`, half when it begins and the rest when it ends; Alpaca asks for none of them.
    """

    cash_usd: Decimal = Decimal(100_000)
    margin_multiplier_ratio: int = 1
    print_share_frac: Decimal = Decimal(1)
    partial_fill_frac: float = 0.0
    cancel_latency_s: float = 1.0
    commission_a_share_usd: Decimal = Decimal(0)
    commission_an_order_usd: Decimal = Decimal(0)
    commission_a_round_trip_usd: Decimal = Decimal(0)
    account_number: str = "PA3SIMULATED"


class TradingFloor:
    """The orders, the hidden book and the tape they trade on. It never looks past the instant it is given.

    `changes_count` grows with everything that happens to an order or splits a holding: a client that saw it and sees it again has
    missed nothing but prices. `stirred` are the orders that something has happened to, for a client that follows them: it takes
    out what it has seen.
    """

    def __init__(self, tape: ExchangeTape, options: ExchangeOptions, generator: Random) -> None:
        self.tape = tape
        self.options = options
        self.orders = OrderBook()
        self.book = HiddenBook(options.cash_usd)
        self.changes_count = 0
        self.stirred: dict[str, ExchangeOrder] = {}
        self._generator = generator

    @property
    def may_short(self) -> bool:
        return self.options.margin_multiplier_ratio > 1

    def on_print(self, symbol: str, seen: SeenPrint) -> None:
        """Let every order of the symbol meet a print, oldest first; together they trade at most a share of its size."""
        size = seen.print.size_shares
        capacity = None if size is None else size * self.options.print_share_frac
        for order in self.orders.live(symbol):
            if not meets(order, seen):
                continue
            deal = execution(order, seen, partial(self.tape.half_spread_usd, symbol))
            if deal is not None:
                shares = self._tradable_shares(order, deal, capacity, seen.print.at)
                if shares > 0:
                    self.fill(order, shares, deal, seen.print.at)
                    capacity = None if capacity is None else capacity - shares
            if order.time_in_force in ("ioc", "fok", "opg", "cls") and order.is_open:
                self.end(order, VenueStatus.CANCELED, seen.print.at)

    def on_open(self, at: datetime) -> None:
        """Queued equity orders start to work."""
        for order in self._awake(at):
            if order.status is VenueStatus.ACCEPTED and order.market is Market.US_EQUITY:
                self._move(order, VenueStatus.NEW, at)
            elif order.status is VenueStatus.DONE_FOR_DAY:
                self._move(order, VenueStatus.PARTIALLY_FILLED, at)

    def on_close(self, at: datetime) -> None:
        """Day orders expire, auction orders that found no auction are canceled, what is half filled rests until the next open."""
        for order in self._awake(at):
            if order.market is not Market.US_EQUITY or not order.is_open:
                continue
            if order.time_in_force == "gtc":
                if order.status is VenueStatus.PARTIALLY_FILLED:
                    self._move(order, VenueStatus.DONE_FOR_DAY, at)
            else:
                self.end(order, VenueStatus.EXPIRED if order.time_in_force == "day" else VenueStatus.CANCELED, at)
        self._put_to_sleep(at)

    def _awake(self, at: datetime) -> Iterator[ExchangeOrder]:
        for symbol in self.orders.awake_symbols(at.date()):
            yield from self.orders.live(symbol)

    def _put_to_sleep(self, at: datetime) -> None:
        """Leave alone, where the market can be searched, resting orders that no price reaches for some sessions."""
        today = at.date()
        for symbol in self.orders.awake_symbols(today):
            band = resting_between_usd(self.orders.live(symbol))
            session = self.tape.first_session_outside(symbol, today, band) if band else today
            if session > today:
                self.orders.sleep(symbol, session)

    def on_split(self, symbol: str, ratio: Decimal, at: datetime) -> None:
        """Positions are multiplied; simple GTC limits are adjusted, brackets, OCOs and stops are not (as Alpaca does)."""
        change = self.book.split(symbol, ratio)
        if change:
            self.changes_count += 1
            self.book.activities.append(
                AccountActivity(
                    activity_id=self.book.next_activity_id(at),
                    code="SPLIT",
                    at=at,
                    day=Market.US_EQUITY.date_of(at),
                    symbol=symbol,
                    quantity_shares=change,
                    description=f"{ratio:f} for 1 split",
                )
            )
        self.orders.wake(symbol)
        for order in self.orders.live(symbol):
            if order.order_type == "limit" and order.time_in_force == "gtc" and not order.is_complex and order.limit_price_usd:
                order.limit_price_usd = (order.limit_price_usd / ratio).quantize(_CENTS)
                order.reference_price_usd /= ratio
                order.filled_shares = truncated(order.filled_shares * ratio)
                if order.quantity_shares is not None:
                    order.quantity_shares = truncated(order.quantity_shares * ratio)
                order.updated_at = at

    def fill(self, order: ExchangeOrder, shares: Decimal, deal: Execution, at: datetime) -> None:
        """Book an execution and what it does to the order and its group."""
        self._stir(order)
        was_flat = not self.book.shares(order.symbol)
        self.book.trade(order.market, order.symbol, order.side, shares, deal.price_usd)
        order.filled_shares += shares
        order.filled_value_usd += shares * deal.price_usd
        order.spread_paid_usd += shares * deal.half_spread_usd
        done = self._is_done(order, deal.price_usd)
        order.updated_at = at
        if done:
            order.status, order.filled_at = VenueStatus.FILLED, at
        elif order.status is not VenueStatus.PENDING_CANCEL and order.status is not VenueStatus.PENDING_REPLACE:
            order.status = VenueStatus.PARTIALLY_FILLED
        self.book.activities.append(
            AccountActivity(
                activity_id=self.book.next_activity_id(at),
                code="FILL",
                at=at,
                day=order.market.date_of(at),
                symbol=order.symbol,
                quantity_shares=shares,
                price_usd=deal.price_usd,
                description="fill" if done else "partial_fill",
                order_id=order.venue_order_id,
                side=order.side,
                cumulative_shares=order.filled_shares,
                leaves_shares=Decimal(0) if done else order.remaining_shares,
                spread_usd=shares * deal.half_spread_usd,
            )
        )
        if order.market is Market.CRYPTO:
            self._charge(order, shares, deal, at)
        else:
            self._charge_commission(order, shares, was_flat, at)
        self._tell_group(order, done, at)

    def end(self, order: ExchangeOrder, status: VenueStatus, at: datetime) -> None:
        """End an order without a fill, and with it every open member of its group."""
        for member in order.family() if status is not VenueStatus.REPLACED else (order,):
            if not member.is_open:
                continue
            self._move(member, status, at)
            if status is VenueStatus.CANCELED:
                member.canceled_at = at
            elif status is VenueStatus.EXPIRED:
                member.expired_at = at
            elif status is VenueStatus.REJECTED:
                member.failed_at = at
            else:
                member.replaced_at = at

    def lose(self, order: ExchangeOrder, at: datetime) -> None:
        """End one member of a group while the others rest: no broker should do it, and some have."""
        self._move(order, VenueStatus.CANCELED, at)
        order.canceled_at = at

    def replace(self, old: ExchangeOrder, new: ExchangeOrder, at: datetime, is_open: bool) -> None:
        """Complete a replace: the new order takes the old one's place in its group, unless the old one ended first."""
        if not old.is_open:
            self.end(new, VenueStatus.REJECTED, at)
            return
        self.end(old, VenueStatus.REPLACED, at)
        new.works_after_at, new.parent = at, old.parent
        new.legs, old.legs = old.legs, []
        for leg in new.legs:
            leg.parent = new
        if old.parent is not None:
            old.parent.legs = [new if leg is old else leg for leg in old.parent.legs]
            old.parent = None
        held_before = new.parent is not None and bool(new.siblings()) and new.order_type != "limit"
        self._move(new, VenueStatus.HELD if held_before else VenueStatus.NEW if is_open else VenueStatus.ACCEPTED, at)

    def _tradable_shares(self, order: ExchangeOrder, deal: Execution, capacity: Decimal | None, at: datetime) -> Decimal:
        """How much the order trades at this print: what it wants, within the print's size and (selling) what is owned."""
        wanted = order.remaining_shares
        if order.quantity_shares is None:
            wanted = truncated(((order.notional_usd or Decimal(0)) - order.filled_value_usd) / deal.price_usd)
        if not order.is_buy and not self.may_short:
            wanted = min(wanted, max(self.book.shares(order.symbol), Decimal(0)))
        if wanted <= 0:
            self.end(order, VenueStatus.CANCELED, at)
            return Decimal(0)
        step = Decimal(1) if order.market is Market.US_EQUITY and wanted % 1 == 0 else NINE_PLACES
        shares = wanted if capacity is None else truncated(min(wanted, capacity), step)
        if order.time_in_force == "fok":
            return shares if shares == wanted else Decimal(0)
        if self.options.partial_fill_frac and self._generator.random() < self.options.partial_fill_frac:
            shares = max(truncated(shares * _PARTIAL_FRAC, step), min(step, shares))
        return shares

    def _is_done(self, order: ExchangeOrder, price_usd: Decimal) -> bool:
        if order.quantity_shares is not None:
            return order.filled_shares >= order.quantity_shares
        return (order.notional_usd or Decimal(0)) - order.filled_value_usd < NINE_PLACES * price_usd * 2

    def _charge(self, order: ExchangeOrder, shares: Decimal, deal: Execution, at: datetime) -> None:
        """The crypto fee, taken from what is received: coins when buying, USD when selling."""
        fee_frac = MAKER_FEE_FRAC if deal.is_maker else TAKER_FEE_FRAC
        coins, usd = Decimal(0), Decimal(0)
        if order.is_buy:
            coins = shares - truncated(shares * (1 - fee_frac))
            self.book.take_shares(order.symbol, coins)
        else:
            usd = (shares * deal.price_usd * fee_frac).quantize(NINE_PLACES)
            self.book.cash_usd -= usd
        order.commission_usd += usd + (coins * deal.price_usd).quantize(NINE_PLACES)
        words = "Coin Pair Transaction Fee (Non USD)" if order.is_buy else "Coin Pair Transaction Fee (USD)"
        self.book.activities.append(
            AccountActivity(
                activity_id=self.book.next_activity_id(at),
                code="CFEE",
                at=at,
                day=order.market.date_of(at),
                symbol=order.symbol,
                quantity_shares=-coins,
                price_usd=deal.price_usd,
                amount_usd=-usd,
                description=words,
                order_id=order.venue_order_id,
            )
        )

    def _charge_commission(self, order: ExchangeOrder, shares: Decimal, was_flat: bool, at: datetime) -> None:
        """What a broker with commissions takes for an execution (FEE): the order's own so far, in cents, less what was taken."""
        charged = self._commission_usd(order.filled_shares) - self._commission_usd(order.filled_shares - shares)
        trip_usd = self.options.commission_a_round_trip_usd
        if trip_usd:
            begins_usd = _in_cents(trip_usd / 2)
            charged += begins_usd if was_flat else Decimal(0)
            charged += Decimal(0) if self.book.shares(order.symbol) else _in_cents(trip_usd) - begins_usd
        if charged:
            order.commission_usd += charged
            self.book.charge(order.symbol, charged, order.venue_order_id, at)

    def _commission_usd(self, filled_shares: Decimal) -> Decimal:
        """What an order that has traded so many shares costs."""
        if not filled_shares:
            return Decimal(0)
        return _in_cents(filled_shares * self.options.commission_a_share_usd + self.options.commission_an_order_usd)

    def _tell_group(self, order: ExchangeOrder, done: bool, at: datetime) -> None:
        if order.is_exit:
            for other in order.siblings():
                if done:
                    self._move(other, VenueStatus.CANCELED, at)
                    other.canceled_at = at
                else:
                    other.quantity_shares = other.filled_shares + order.remaining_shares
        elif done:
            for leg in order.legs:
                leg.works_after_at = at
                waits = leg.order_type != "limit" and len(order.legs) > 1
                self._move(leg, VenueStatus.HELD if waits else VenueStatus.NEW, at)

    def _stir(self, order: ExchangeOrder) -> None:
        self.changes_count += 1
        self.orders.wake(order.symbol)
        head = order.parent or order
        self.stirred[head.venue_order_id] = head

    def _move(self, order: ExchangeOrder, status: VenueStatus, at: datetime) -> None:
        self._stir(order)
        order.status = status
        order.updated_at = max(at, order.updated_at)


def _in_cents(amount_usd: Decimal) -> Decimal:
    return amount_usd.quantize(_CENTS, ROUND_HALF_UP)
