"""What the owner, the broker's staff and the exchange do between two runs, and how the next morning mends it."""

from contextlib import suppress
from datetime import time
from decimal import Decimal

from closebell.app.control import confirm_resume, halt_desk, read_halt, request_resume
from closebell.model.broker import Side, VenueStatus
from closebell.model.instruments import Market
from closebell.model.orders import OrderLeg, derive_client_order_id, is_our_order_id
from closebell.rehearsal.faulty_broker import FaultyBroker
from closebell.rehearsal.market import SECTOR_OF, new_york
from closebell.rehearsal.stage import Stage
from closebell.rehearsal.true_book import head_of
from closebell.rehearsal.watched_journal import WatchedJournal
from closebell.simulation.exchange.exchange import Replacement
from closebell.simulation.exchange.venue_account import AccountActivity
from closebell.simulation.exchange.venue_orders import STOP_TYPES, ExchangeOrder, OrderTicket, RefusalError

CENT = Decimal("0.01")
GAP_FRAC = Decimal("0.99")
"""A stop filled this far below its price was jumped over."""


class WorldEvents:
    """`pause` is called between runs, `morning` before each session, `mend` when the faults end."""

    def __init__(self, stage: Stage, raw: WatchedJournal, broker: FaultyBroker) -> None:
        self._stage, self._raw, self._broker = stage, raw, broker
        self._stopped_symbols: set[str] = set()
        self._seen_lines_count = 0
        stage.halt_now = self.halt

    def morning(self) -> None:
        """The owner resumes the desk, the broker lifts its restrictions, and the session's own faults are drawn."""
        self.mend()
        if self._stage.strikes("rate_limited_all_day"):
            today = self._stage.now.date()
            self._broker.limited_until = new_york(today, time(18, 0))
        if self._stage.strikes("account_restricted"):
            self._stage.exchange.restrict(self._stage.generator.choice(["closing_only", "blocked"]))

    def mend(self) -> None:
        """Everything that somebody has to undo is undone."""
        exchange = self._stage.exchange
        self._cancel_strays()
        exchange.restrict("none")
        self._broker.limited_until = None
        for symbol in self._stopped_symbols:
            exchange.halt(symbol, halted=False)
        self._stopped_symbols.clear()
        halt = read_halt(self._raw)
        if halt is not None and halt.record.is_halted:
            self._stage.note(f"the owner resumes; it was halted because: {halt.record.reason}")
            request_resume(self._raw, "code", self._stage.now)
            confirm_resume(self._raw, "code", "owner", self._stage.now)

    def halt(self) -> None:
        """The owner pulls the switch."""
        self._stage.note("the owner halts")
        halt_desk(self._raw, "the owner wants it", "owner", self._stage.now)

    def pause(self) -> None:
        """Whatever somebody does by hand before the next run."""
        strikes, draw = self._stage.strikes, self._stage.generator
        self._count_gaps()
        if strikes("owner_halts"):
            self.halt()
        if strikes("symbol_halted"):
            symbol = draw.choice(list(SECTOR_OF))
            self._stopped_symbols.add(symbol)
            self._stage.exchange.halt(symbol, halted=True)
        for name, act in (
            ("owner_buys", self._buy), ("owner_sells", self._sell), ("owner_cancels_stop", self._cancel_stop),
            ("stop_vanished", self._lose_stop), ("replaced_by_owner", self._replace), ("second_stack", self._another_stack),
            ("fill_busted", self._bust), ("fill_corrected", self._correct), ("dividend", self._pay_dividend),
        ):  # fmt: skip
            if strikes(name):
                act()
        for name, act in (("deposit", self._deposit), ("withdrawal", self._withdraw)):
            if strikes(name):
                self._stage.later(1.0, act)  # never at the very instant of a close

    def _buy(self) -> None:
        symbol, shares = self._stage.generator.choice(list(SECTOR_OF)), Decimal(self._stage.generator.randint(1, 20))
        price = self._stage.exchange.tape.last_price_usd(symbol, self._stage.now) or Decimal(0)
        floor = self._stage.exchange.floor
        if shares * price * 2 < floor.book.cash_usd - floor.orders.reserved_usd():
            self._stage.note(f"the owner buys {shares} {symbol}")
            self._stage.exchange.trade_manually(symbol, Side.BUY, shares)

    def _sell(self) -> None:
        holdings = self._stage.exchange.floor.book.holdings
        if not holdings:
            return
        symbol = self._stage.generator.choice(sorted(holdings))
        held = holdings[symbol].shares
        shares = held if self._stage.generator.random() < 0.5 else Decimal(self._stage.generator.randint(1, int(held)))
        self._stage.note(f"the owner sells {shares} of {held} {symbol}")
        self._stage.exchange.trade_manually(symbol, Side.SELL, shares)

    def _our_stops(self) -> list[ExchangeOrder]:
        return [
            order
            for order in self._stage.exchange.floor.orders.all_live()
            if order.order_type in STOP_TYPES and is_our_order_id(head_of(order).client_order_id)
        ]

    def _cancel_stop(self) -> None:
        if stops := self._our_stops():
            stop = self._stage.generator.choice(stops)
            self._stage.note(f"the owner cancels the stop of {stop.symbol}")
            self._stage.exchange.floor.end(stop, VenueStatus.CANCELED, self._stage.now)

    def _lose_stop(self) -> None:
        """The stop leg of an OCO goes and its target stays, or the whole group goes."""
        if stops := self._our_stops():
            stop = self._stage.generator.choice(stops)
            self._stage.note(f"the stop of {stop.symbol} vanishes")
            if stop.parent is not None and self._stage.generator.random() < 0.5:
                self._stage.exchange.floor.lose(stop, self._stage.now)
            else:
                self._stage.exchange.floor.end(stop, VenueStatus.CANCELED, self._stage.now)

    def _replace(self) -> None:
        """The owner moves the limit of a resting order of ours, or makes it smaller, in the broker's own window."""
        resting = [
            order
            for order in self._stage.exchange.floor.orders.all_live()
            if order.parent is None and order.limit_price_usd and is_our_order_id(head_of(order).client_order_id)
        ]
        if not resting:
            return
        order, draw = self._stage.generator.choice(resting), self._stage.generator
        price = (order.limit_price_usd or Decimal(1)) * Decimal(draw.choice(["1.01", "1.05"]))
        smaller = Decimal(int(order.remaining_shares / 2)) if order.remaining_shares >= 2 and draw.random() < 0.3 else None
        with suppress(RefusalError):  # an order that waits for the open cannot be replaced
            self._stage.exchange.replace(order.venue_order_id, Replacement(smaller, price.quantize(CENT)))
            self._stage.note(f"the owner replaces our {order.side} of {order.symbol}: {smaller or 'as many'} at {price:.2f}")

    def _another_stack(self) -> None:
        """Another deployment on the same account: its orders carry our prefix, and nobody here meant them."""
        symbol, now = self._stage.generator.choice(list(SECTOR_OF)), self._stage.now
        day = Market.US_EQUITY.date_of(now)
        order_id = derive_client_order_id("another stack", f"{now}", OrderLeg.ENTRY, 1, Market.US_EQUITY, day)
        ticket = OrderTicket(
            symbol, "buy", "limit", "gtc", quantity_shares=Decimal(1), limit_price_usd=Decimal(1), client_order_id=order_id
        )
        with suppress(RefusalError):
            self._stage.exchange.submit(ticket)
            self._stage.strays.add(order_id)
            self._stage.note(f"another stack orders {symbol}")

    def _single_fills(self) -> list[AccountActivity]:
        """Buys of ours that made a whole position which nobody has touched since."""
        book = self._stage.exchange.floor.book
        by_symbol: dict[str, list[AccountActivity]] = {}
        for line in book.activities:
            by_symbol.setdefault(line.symbol or "", []).append(line)
        orders = self._stage.exchange.floor.orders.orders
        return [
            lines[-1]
            for symbol, lines in by_symbol.items()
            if symbol in book.holdings and lines[-1].code == "FILL" and lines[-1].side is Side.BUY
            and lines[-1].quantity_shares == book.shares(symbol)
            and is_our_order_id(head_of(orders[lines[-1].order_id or ""]).client_order_id)
        ]  # fmt: skip

    def _count_gaps(self) -> None:
        """Every market here has nights in which a price jumps over a stop: such fills are counted as they happen."""
        lines = self._stage.exchange.floor.book.activities
        for line in lines[self._seen_lines_count :]:
            order = self._stage.exchange.floor.orders.orders.get(line.order_id or "")
            stop = order.stop_price_usd if order is not None and line.side is Side.SELL else None
            if stop is not None and (line.price_usd or stop) < stop * GAP_FRAC:
                self._stage.met("gap_through_stop")
        self._seen_lines_count = len(lines)

    def _bust(self) -> None:
        if fills := self._single_fills():
            fill = self._stage.generator.choice(fills)
            self._stage.note(f"the exchange takes the buy of {fill.symbol} back")
            self._stage.exchange.bust_fill(fill.activity_id)

    def _correct(self) -> None:
        if fills := self._single_fills():
            fill = self._stage.generator.choice(fills)
            price = (fill.price_usd or Decimal(1)) + CENT
            self._stage.note(f"the exchange corrects the price of {fill.symbol}")
            self._stage.exchange.correct_fill(fill.activity_id, price)

    def _pay_dividend(self) -> None:
        if holdings := sorted(self._stage.exchange.floor.book.holdings):
            symbol = self._stage.generator.choice(holdings)
            self._stage.later(1.0, lambda: self._stage.exchange.pay_dividend(symbol, Decimal("0.25")))

    def _cancel_strays(self) -> None:
        """The owner stops the other stack."""
        floor = self._stage.exchange.floor
        for order_id in self._stage.strays:
            stray = floor.orders.by_client_id(order_id)
            if stray is not None and stray.is_open:
                floor.end(stray, VenueStatus.CANCELED, self._stage.now)

    def _deposit(self) -> None:
        self._stage.exchange.transfer(Decimal(self._stage.generator.randint(500, 20_000)))

    def _withdraw(self) -> None:
        floor = self._stage.exchange.floor
        spare = floor.book.cash_usd - floor.orders.reserved_usd()
        amount = (spare * Decimal(self._stage.generator.randint(1, 20)) / 100).quantize(CENT)
        if amount > 0:
            self._stage.note(f"the owner withdraws {amount}")
            self._stage.exchange.transfer(-amount)
