"""What the owner, the broker's staff and the exchange do between two runs, and how the next morning mends it."""

from datetime import time
from decimal import Decimal

from closebell.app.control import confirm_resume, halt_desk, read_halt, request_resume
from closebell.model.broker import Side, VenueStatus
from closebell.model.orders import is_our_order_id
from closebell.rehearsal.faulty_broker import FaultyBroker
from closebell.rehearsal.market import SECTOR_OF, new_york
from closebell.rehearsal.stage import Stage
from closebell.rehearsal.true_book import head_of
from closebell.rehearsal.watched_journal import WatchedJournal
from closebell.simulation.venue_orders import STOP_TYPES, ExchangeOrder

CENT = Decimal("0.01")


class WorldEvents:
    """`pause` is called between runs, `morning` before each session, `mend` when the faults end."""

    def __init__(self, stage: Stage, raw: WatchedJournal, broker: FaultyBroker) -> None:
        self._stage, self._raw, self._broker = stage, raw, broker
        self._stopped_symbols: set[str] = set()
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
        if strikes("owner_halts"):
            self.halt()
        if strikes("symbol_halted"):
            symbol = draw.choice(list(SECTOR_OF))
            self._stopped_symbols.add(symbol)
            self._stage.exchange.halt(symbol, halted=True)
        for name, act in (
            ("owner_buys", self._buy), ("owner_sells", self._sell), ("owner_cancels_stop", self._cancel_stop),
            ("stop_vanished", self._lose_stop),
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
                stop.status, stop.canceled_at = VenueStatus.CANCELED, self._stage.now
                stop.updated_at = self._stage.now
            else:
                self._stage.exchange.floor.end(stop, VenueStatus.CANCELED, self._stage.now)

    def _deposit(self) -> None:
        self._stage.exchange.transfer(Decimal(self._stage.generator.randint(500, 20_000)))

    def _withdraw(self) -> None:
        floor = self._stage.exchange.floor
        spare = floor.book.cash_usd - floor.orders.reserved_usd()
        amount = (spare * Decimal(self._stage.generator.randint(1, 20)) / 100).quantize(CENT)
        if amount > 0:
            self._stage.note(f"the owner withdraws {amount}")
            self._stage.exchange.transfer(-amount)
