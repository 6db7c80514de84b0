"""The desk through a span of sessions: the deployed functions' use cases, at the schedule's instants, on the simulated exchange.

Nothing here decides or trades. What differs from the deployed desk is what stands behind the ports: the journal lies in memory,
the broker is the simulated exchange in the same process, and evidence is computed once for all sessions. A reconciliation in
which nothing can be found is not run: the exchange's orders, fills and prices tell when something can.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from decimal import Decimal

from closebell.app.control import confirm_resume, read_halt, request_resume, store_parameters
from closebell.app.evidence import EvidenceReader
from closebell.app.generate_signals import DecisionKeeper, GenerateSignals
from closebell.app.place_orders import PlaceOrders
from closebell.app.protection import stop_price_usd, target_price_usd
from closebell.app.reconcile import Reconcile
from closebell.app.review_performance import ReviewPerformance
from closebell.app.runs import RunLog
from closebell.app.trading_room import TradingRoom
from closebell.backtest.desk_day import DESK_DAYS, LOOKS_AFTER_SALE
from closebell.model.books import Position, PositionState
from closebell.model.broker import OrderClass, Side
from closebell.model.decision import Decision
from closebell.model.decision_document import DecisionDocument
from closebell.model.errors import ConfigurationError
from closebell.model.instruments import Market, SessionHours
from closebell.model.operations import Alert, NewsItem, RunRecord, Trigger
from closebell.model.panel import BarPanel
from closebell.model.parameters import ParameterSet
from closebell.model.record import Key
from closebell.simulation.bar_market import BarMarket
from closebell.simulation.exchange import Exchange
from closebell.simulation.memory_journal import MemoryJournal
from closebell.simulation.simulated_broker import SimulatedBroker
from closebell.simulation.trading_floor import ExchangeOptions

OWNER = "the owner, the morning after"
PRICE_SPARE_FRAC = Decimal("1e-9")

Progress = Callable[[int, int], None]
"""Told how many sessions of how many are done."""


@dataclass
class ExchangeClock:
    """Implements `ports.operations.Clock`: the exchange's own time."""

    exchange: Exchange

    def now(self) -> datetime:
        return self.exchange.now


@dataclass
class AlertBook:
    """Implements `ports.operations.Notifier`: keeps what the owner would have been told."""

    alerts: list[Alert] = field(default_factory=list)

    def publish(self, alert: Alert) -> None:
        self.alerts.append(alert)


class NoNews:
    """Implements `ports.market_data.News`: bars come without headlines."""

    def headlines(self, symbols: Sequence[str], since: datetime) -> list[NewsItem]:
        return []


class MarketCalendar:
    """Implements `ports.market_data.Calendar`: the sessions of a simulated market."""

    def __init__(self, market: BarMarket) -> None:
        self._hours = {name: market.sessions(name) for name in Market}
        self._dates = {name: [day.session for day in hours] for name, hours in self._hours.items()}

    def sessions(self, market: Market, first: date, last: date) -> list[SessionHours]:
        dates = self._dates[market]
        return list(self._hours[market][bisect_left(dates, first) : bisect_right(dates, last)])


class PlansOnly:
    """Implements `DecisionKeeper`: the plans say what was done and why; why the rest was not done is not written down."""

    def keep(self, panel: BarPanel, document: Callable[[], DecisionDocument]) -> str:
        return "not kept"


@dataclass
class EveryDecision:
    """Implements `DecisionKeeper`: every symbol's decision, which takes longer than all the rest of a backtest."""

    decisions: list[Decision] = field(default_factory=list)

    def keep(self, panel: BarPanel, document: Callable[[], DecisionDocument]) -> str:
        self.decisions += document().decisions
        return "kept"


class BacktestDesk:
    """A desk over a market of daily bars.

    Parameters
    ----------
    market
        What is traded; its asset class says on which instants of the day.
    parameters
        The desk's configuration, as a deployed desk has it.
    evidence
        Where the evidence comes from.
    options
        The account's cash and the broker's costs.
    decisions
        Where decisions are kept.
    code_version
        What plans and runs are marked with.
    """

    def __init__(
        self, market: BarMarket, parameters: ParameterSet, evidence: EvidenceReader, options: ExchangeOptions,
        decisions: DecisionKeeper | None = None, code_version: str = "backtest",
    ) -> None:
        self.market, self.calendar, self.alerts = market, MarketCalendar(market), AlertBook()
        self.day = DESK_DAYS[market.asset_class]
        self.journal = MemoryJournal()
        self.parameters = store_parameters(self.journal, parameters)
        self._options, self._evidence, self._version = options, evidence, code_version
        self.decisions = decisions or PlansOnly()
        self.halts_count = 0
        self._seen_count = -1
        self._sells_out_at: datetime | None = None
        self.sessions: list[date] = []
        self.delisted: set[tuple[str, date]] = set()

    def play(self, first: date, last: date, progress: Progress = lambda done, total: None) -> None:
        """Trade the sessions `first`..`last`, then sell what is left. Raises as `trade` does."""
        self.trade(first, last, progress, sells_out=True)

    def trade(
        self, first: date, last: date, progress: Progress = lambda done, total: None, *, sells_out: bool = False
    ) -> None:
        """Trade the sessions `first`..`last`; the desk is put up after the one before the first.

        Raises ConfigurationError when the market has no session in that span, or none before it.
        """
        hours = self.market.sessions(self.day.market)
        span = [day.session for day in hours if first <= day.session <= last]
        before = [day for day in hours if day.session < first]
        if not span or not before:
            raise ConfigurationError(
                f"no session from {first} to {last} can be traded: the market has sessions from {hours[0].session} to "
                f"{hours[-1].session}, and the first one is needed to decide on"
            )
        self._open(before[-1].session)
        self._sells_out_at = self.day.at(span[-1], self.day.sells_out_at) if sells_out else None
        for done, session in enumerate(span):
            self._delist(session)
            self._day(session, decides=session != span[-1])
            self.sessions.append(session)
            progress(done + 1, len(span))

    def _open(self, eve: date) -> None:
        """Put the desk up after the session before the first: read the broker once, decide."""
        self.exchange = Exchange(self.market, self.day.at(eve, self.day.reviews_at), self._options)
        self.broker = SimulatedBroker(self.exchange)
        clock = ExchangeClock(self.exchange)

        def log(function: str) -> RunLog:
            return RunLog(function, self._version, self.journal, clock, self.alerts)

        self._place_orders = PlaceOrders(TradingRoom(log("place_orders"), self.broker, "paper"))
        self._reconcile = Reconcile(TradingRoom(log("reconcile"), self.broker, "paper"))
        self._review = ReviewPerformance(log("review_performance"), self.journal, self.calendar)
        self._generate = GenerateSignals(
            log("generate_signals"), self.journal, self.decisions, self._evidence, NoNews(), self.calendar, self._version
        )
        self._run(self._reconcile, self.day.at(eve, self.day.puts_up_at))
        self._run(self._generate, self.day.at(eve, self.day.decides_at))

    def _day(self, session: date, decides: bool) -> None:
        self._resume(self.day.at(session, self.day.resumes_at))
        self._run(self._place_orders, self.day.at(session, self.day.places_at))
        for at in self._reconcile_instants(session):
            self._run(self._reconcile, at)
        self._sell_out(self.day.at(session, self.day.sells_out_at))
        if decides:
            self._run(self._generate, self.day.at(session, self.day.decides_at))

    def _reconcile_instants(self, session: date) -> Iterator[datetime]:
        """The schedule's instants at which something can be found; the review takes place on its way, after the close."""
        every, until = self.day.looks_every, self.day.at(session, self.day.looks_until)
        closing = self.day.at(session, self.day.last_look_before_review)
        prints = self.market.print_instants(session)
        at = self.day.at(session, self.day.looks_from)
        while at <= until:
            self._sell_out(at)
            self.exchange.advance(at)
            if at == closing or self._must_look():
                self._seen_count = self.exchange.floor.changes_count
                yield at
            if at == closing:
                self._run(self._review, self.day.at(session, self.day.reviews_at))
            is_settled = self._seen_count == self.exchange.floor.changes_count and not self.exchange.has_pending
            at += every
            if is_settled:
                at = min(max(at, _next_tick(prints, at, every)), closing) if at <= closing else until + every

    def _must_look(self) -> bool:
        """Whether a reconciliation can find something to do: an order or a holding has changed, or prices alone call for it.

        They do where the day's loss has reached its limit, and where the desk itself watches a position's target because no
        group of orders does.
        """
        floor = self.exchange.floor
        if floor.changes_count != self._seen_count:
            return True
        lowest_usd = self.exchange.last_equity_usd() * (1 - self.parameters.limits.daily_loss_frac_max)
        return self.exchange.equity_usd() <= lowest_usd or any(self._must_watch(symbol) for symbol in floor.book.holdings)

    def _must_watch(self, symbol: str) -> bool:
        """Whether the desk has to see a holding's price because no order at the exchange does: it is at the stop or the target.

        Prices are compared with a little to spare: a reconciliation too many changes nothing.
        """
        if any(order.order_class == OrderClass.OCO for order in self.exchange.floor.orders.live(symbol)):
            return False
        stored = self.journal.read(Key("book", "DESK", f"POSITION#{symbol}"), Position)
        price_usd = self.exchange.tape.last_price_usd(symbol, self.exchange.now)
        if stored is None or stored.record.state is not PositionState.PROTECTED or price_usd is None:
            return True
        stop_usd, target_usd = stop_price_usd(stored.record), target_price_usd(stored.record)
        return not stop_usd * (1 + PRICE_SPARE_FRAC) < price_usd < target_usd * (1 - PRICE_SPARE_FRAC)

    def _delist(self, session: date) -> None:
        """Pay out, at their last price, the shares of what has traded for the last time; the desk finds them sold."""
        for symbol in sorted(self.exchange.floor.book.holdings):
            last = self.market.last_session_of(symbol)
            if last is not None and last < session:
                self._sell_all(symbol, self.day.at(session, self.day.pays_out_at))
                self.delisted.add((symbol, session))

    def _sell_out(self, now: datetime) -> None:
        """Once the backtest's end has come, sell what is still held at its close: nothing is counted that was not paid for."""
        at = self._sells_out_at
        if at is None or now < at:
            return
        self._sells_out_at = None
        for symbol in sorted(self.exchange.floor.book.holdings):
            self._sell_all(symbol, at)
        self._run(self._reconcile, at + LOOKS_AFTER_SALE)

    def _sell_all(self, symbol: str, at: datetime) -> None:
        if at > self.exchange.now:
            self.exchange.advance(at)
        self.exchange.trade_manually(symbol, Side.SELL, self.exchange.floor.book.shares(symbol))

    def _resume(self, at: datetime) -> None:
        """A desk that halted on its loss limit is resumed by its owner before the next session, in the two steps."""
        halt = read_halt(self.journal)
        if halt is None or not halt.record.is_halted:
            return
        self.halts_count += 1
        request_resume(self.journal, "resume", at)
        confirm_resume(self.journal, "resume", OWNER, at)

    def _run(self, use_case: Callable[[Trigger], RunRecord], at: datetime) -> RunRecord:
        if at > self.exchange.now:
            self.exchange.advance(at)
        return use_case(Trigger(market=self.day.market, scheduled_at=at))


def _next_tick(prints: Sequence[datetime], at: datetime, every: timedelta) -> datetime:
    """The first instant of the schedule at or after the next print; the far end when none is left."""
    following = next((instant for instant in prints if instant >= at - every + timedelta(microseconds=1)), None)
    if following is None:
        return datetime.max.replace(tzinfo=at.tzinfo)
    late = (following - at) % every
    return following if not late else following + (every - late)
