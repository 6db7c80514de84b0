"""The desk through a span of sessions: what the deployed functions decide, at the schedule's instants, on the simulated exchange.

Nothing here decides or trades: plans, orders, protection, exits, booking and halts are those of the use cases (`decision`,
`Morning`, `Cycle`). Left out is what a desk needs whose broker and tables can be in doubt: run records, leases, and reading and
comparing everything in every run (ADR 0015). A reconciliation in which nothing can be found is not made: the exchange's orders,
fills and prices tell when something can.
"""

import gc
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from decimal import Decimal
from operator import attrgetter

from closebell.app.breaks import name_trades_by_hand
from closebell.app.control import confirm_resume, is_halted, request_resume, store_parameters
from closebell.app.evidence import EvidenceReader, SessionPair
from closebell.app.generate_signals import session_inputs
from closebell.app.place_orders import Morning
from closebell.app.protection import stop_price_usd, target_price_usd
from closebell.app.reconcile import Cycle
from closebell.app.runs import RunLog
from closebell.backtest.desk.desk_day import DESK_DAYS, LOOKS_AFTER_SALE
from closebell.backtest.desk.followed_venue import FollowedVenue
from closebell.books.performance import TradeTotals, snapshot_equity
from closebell.decision.board import SessionInputs
from closebell.decision.session import decide_session, is_settled, plan_session
from closebell.model.books import EquitySnapshot, PositionState
from closebell.model.broker import Side
from closebell.model.decision import Decision, PlanAction, TradePlan
from closebell.model.errors import ConfigurationError
from closebell.model.instruments import Market
from closebell.model.operations import Alert, Trigger
from closebell.model.parameters import ParameterSet
from closebell.ports.journal import Create
from closebell.ports.progress import Progress, untold
from closebell.simulation.bar_market import BarMarket
from closebell.simulation.exchange.exchange import Exchange
from closebell.simulation.exchange.trading_floor import ExchangeOptions
from closebell.simulation.memory_journal import MemoryJournal

OWNER = "the owner, the morning after"
PRICE_SPARE_FRAC = Decimal("1e-8")
LOSS_SPARE_FRAC = 1e-9


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
        Where every symbol's decision is added, which takes longer than all the rest of a backtest; None to write down plans only.
    """

    def __init__(
        self, market: BarMarket, parameters: ParameterSet, evidence: EvidenceReader, options: ExchangeOptions,
        decisions: list[Decision] | None = None,
    ) -> None:
        self.market, self.alerts, self.journal = market, AlertBook(), MemoryJournal()
        self.day = DESK_DAYS[market.asset_class]
        self.parameters = store_parameters(self.journal, parameters)
        self.decisions = decisions
        self.halts_count = 0
        self.sessions: list[date] = []
        self.delisted: set[tuple[str, date]] = set()
        self._options, self._evidence = options, evidence
        self._hours = market.sessions(market.asset_class)
        self._dates = tuple(day.session for day in self._hours)
        self._place_of = {day: place for place, day in enumerate(self._dates)}
        self._plans: tuple[TradePlan, ...] = ()
        self._earned = TradeTotals()
        self._equity: EquitySnapshot | None = None
        self._seen_count, self._counted_trades_count = -1, 0
        self._risky: tuple[tuple[date, int, int] | None, bool] = (None, True)
        self._sells_out_at: datetime | None = None

    def play(self, first: date, last: date, progress: Progress = untold) -> None:
        """Trade the sessions `first`..`last`, then sell what is left. Raises as `trade` does."""
        self.trade(first, last, progress, sells_out=True)

    def trade(self, first: date, last: date, progress: Progress = untold, *, sells_out: bool = False) -> None:
        """Trade the sessions `first`..`last`; the desk is put up after the one before the first.

        Raises ConfigurationError when the market has no session in that span, or none before it.
        """
        span = [day for day in self._dates if first <= day <= last]
        before = [day for day in self._dates if day < first]
        if not span or not before:
            raise ConfigurationError(
                f"no session from {first} to {last} can be traded: the market has bars of {self.market.panel.sessions[0]} to "
                f"{self.market.panel.sessions[-1]}, and the first one is needed to decide on"
            )
        self._open(before[-1])
        self._sells_out_at = self.day.at(span[-1], self.day.sells_out_at) if sells_out else None
        with _uncollected():
            for done, session in enumerate(span):
                self._delist(session)
                self._trade_session(session)
                if session != span[-1]:
                    self._plan_after(session)
                self.sessions.append(session)
                progress(done + 1, len(span))

    def _open(self, eve: date) -> None:
        """Put the desk up after the session before the first: look at the exchange once, decide."""
        self.exchange = Exchange(self.market, self.day.at(eve, self.day.reviews_at), self._options)
        runs = RunLog("backtest", "backtest", self.journal, ExchangeClock(self.exchange), self.alerts)
        self.venue = FollowedVenue(self.exchange, self.day.market, self.parameters, runs)
        self._look(self.day.at(eve, self.day.puts_up_at))
        self._plan_after(eve)

    def _trade_session(self, session: date) -> None:
        self._resume(self.day.at(session, self.day.resumes_at))
        self._place(session)
        self._watch(session)
        self._sell_out(self.day.at(session, self.day.sells_out_at))
        self.halts_count += is_halted(self.journal)

    def _plan_after(self, session: date) -> None:
        """Decide after a session, on what was seen of the exchange in the last look."""
        self._advance(self.day.at(session, self.day.decides_at))
        pair = self._pair(session)
        evidence = self._evidence.read(self.day.market, self.parameters, pair)
        if self.decisions is None and is_settled(session_inputs(evidence, self.venue.desk_as_known(), self.day.market, pair)):
            self._plans = ()
            return
        inputs = session_inputs(evidence, self.venue.desk_as_read(), self.day.market, pair)
        self._plans = plan_session(inputs)
        for plan in self._plans:
            self.journal.commit([Create(plan)])
        if self.decisions is not None:
            self.decisions += decide_session(inputs).decisions

    def inputs_after(self, session: date) -> SessionInputs:
        """What a decision after a session of the market depends on, by the desk and the account as they are now."""
        pair = self._pair(session)
        evidence = self._evidence.read(self.day.market, self.parameters, pair)
        return session_inputs(evidence, self.venue.desk_as_read(), self.day.market, pair)

    def _pair(self, session: date) -> SessionPair:
        place = self._place_of[session]
        first = max(place + 1 - self.parameters.history_sessions, 0)
        return SessionPair(self._hours[place], self._hours[place + 1], self._dates[first : place + 1], self._dates)

    def _place(self, session: date) -> None:
        """Send the session's orders."""
        self._advance(self.day.at(session, self.day.places_at))
        if not self._plans and not self._has_changed:
            return
        self.venue.follow(reads=bool(self._plans))
        if name_trades_by_hand(self.venue, session):
            self.venue.room.runs.deliver_alerts()
        if self.day.market is Market.US_EQUITY:  # whose calendar a deployed run asks for
            self.venue.room.budget.spend(self.venue.now)
        morning = Morning(self.venue, self.day.market, session)
        morning.exit([plan for plan in self._plans if plan.action is PlanAction.EXIT])
        morning.enter([plan for plan in self._plans if plan.action is PlanAction.ENTER])

    def _look(self, at: datetime, *, reads: bool = True) -> None:
        """Reconcile: what has happened is booked, what has to be done about it is done. `reads`: the account, to go by later."""
        self._advance(at)
        venue = self.venue
        venue.follow(reads=reads)
        venue.settle()
        may_lose = self._may_lose_too_much(self.day.market.date_of(at))
        if may_lose or not venue.needs_nothing():
            cycle = Cycle(venue, Trigger(market=self.day.market, scheduled_at=at))
            cycle.care()
            if may_lose:
                cycle.guard_daily_loss()
        if venue.counts["alerts"]:
            venue.room.runs.deliver_alerts()
        venue.rest()

    def _review(self, session: date) -> None:
        """Write down what the account was worth in the last look."""
        at = self.day.at(session, self.day.reviews_at)
        self._advance(at)
        trades = self.venue.keeper.trades
        for trade in sorted(trades[self._counted_trades_count :], key=attrgetter("key")):  # as the deployed desk reads them
            self._earned.add(trade)
        self._counted_trades_count = len(trades)
        snapshot = self.venue.snapshot(self.day.market).model_copy(update={"session": session})
        positions = [held.record for held in self.venue.keeper.positions.values()]
        equity = snapshot_equity(self.day.market, snapshot, positions, self._earned, self._equity, at)
        self.journal.commit([Create(equity)])
        self._equity = equity

    def _watch(self, session: date) -> None:
        """Look at the schedule's instants at which something can be found; review on the way, after the close."""
        every, until = self.day.looks_every, self.day.at(session, self.day.looks_until)
        closing = self.day.at(session, self.day.last_look_before_review)
        prints = self.market.print_instants(session)
        at = self.day.at(session, self.day.looks_from)
        while at <= until:
            self._sell_out(at)
            self._advance(at)
            if at == closing or self._must_look(session):
                self._seen_count = self.exchange.floor.changes_count
                self._look(at, reads=at >= closing)
            if at == closing:
                self._review(session)
            is_calm = not (self._has_changed or self.exchange.has_pending or self.venue.has_work_left)
            at += every
            if is_calm and at > closing:
                return
            if is_calm:
                at = closing if self._is_quiet(session) else min(max(at, _next_tick(prints, at, every)), closing)

    def _is_quiet(self, session: date) -> bool:
        """Whether no price of the session can call for anything: no order can trade, and the desk has nothing to watch."""
        awake = self.exchange.floor.orders.awake_symbols(session)
        return not awake and not self.venue.unguarded_symbols() and not self._may_lose_too_much(session)

    def _must_look(self, session: date) -> bool:
        """Whether a reconciliation can find something to do: an order or a holding has changed, something was left for it, or
        prices alone call for it.

        They do where the day's loss has reached its limit, and where the desk itself watches a position's target because no
        group of orders does.
        """
        if self._has_changed or self.venue.has_work_left:
            return True
        has_lost = self._may_lose_too_much(session) and self.exchange.equity_usd() <= self._lowest_equity_usd
        return has_lost or any(self._must_watch(symbol) for symbol in self.venue.unguarded_symbols())

    @property
    def _has_changed(self) -> bool:
        """Whether something has happened to an order or a holding since the last look."""
        return self.exchange.floor.changes_count != self._seen_count

    @property
    def _lowest_equity_usd(self) -> Decimal:
        """What the account is worth where the day's loss reaches its limit; to spare, as the broker shows it to nine decimals."""
        return self.exchange.last_equity_usd() * (1 - self.parameters.limits.daily_loss_frac_max) * (1 + PRICE_SPARE_FRAC)

    def _may_lose_too_much(self, session: date) -> bool:
        """Whether the loss could reach its limit if every holding were at the lowest price of its day; in float64, to spare.

        The loss is reckoned from the close before New York's day, which begins within a day of coins: the higher close counts.
        """
        exchange, floor = self.exchange, self.exchange.floor
        key = (session, len(floor.book.activities), len(exchange.equity_points))
        if self._risky[0] != key:
            holdings, worst_usd = floor.book.holdings, float(floor.book.cash_usd)
            lowest = self.market.lowest_prices_usd(list(holdings), session) if holdings else []
            for holding, price_usd in zip(holdings.values(), lowest, strict=True):
                worst_usd += float(holding.shares) * price_usd
            closes = [self.exchange.last_equity_usd(), *(point.equity_usd for point in exchange.equity_points[-1:])]
            kept_frac = 1 - float(self.parameters.limits.daily_loss_frac_max)
            self._risky = (key, not worst_usd > float(max(closes)) * kept_frac * (1 + LOSS_SPARE_FRAC))
        return self._risky[1]

    def _must_watch(self, symbol: str) -> bool:
        """Whether the desk has to see the price of a position that no group of orders watches: it is at the stop or the target.

        Prices are compared with a little to spare: a reconciliation too many changes nothing.
        """
        position = self.venue.keeper.positions[symbol].record
        price_usd = self.exchange.tape.last_price_usd(symbol, self.exchange.now)
        if position.state is not PositionState.PROTECTED or price_usd is None:
            return True
        stop_usd, target_usd = stop_price_usd(position), target_price_usd(position)
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
        self._look(at)  # what was bought a moment ago is booked, with its fee, before it is sold
        for symbol in sorted(self.exchange.floor.book.holdings):
            self._sell_all(symbol, at)
        self._look(at + LOOKS_AFTER_SALE)

    def _sell_all(self, symbol: str, at: datetime) -> None:
        self._advance(at)
        self.exchange.trade_manually(symbol, Side.SELL, self.exchange.floor.book.shares(symbol))

    def _resume(self, at: datetime) -> None:
        """A desk that halted on its loss limit is resumed by its owner before the next session, in the two steps."""
        if not is_halted(self.journal):
            return
        request_resume(self.journal, "resume", at)
        confirm_resume(self.journal, "resume", OWNER, at)

    def _advance(self, at: datetime) -> None:
        if at > self.exchange.now:
            self.exchange.advance(at)


@contextmanager
def _uncollected() -> Iterator[None]:
    """Without the cycle collector, which would look through a backtest's records again and again: they are kept to its end."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _next_tick(prints: Sequence[datetime], at: datetime, every: timedelta) -> datetime:
    """The first instant of the schedule at or after the next print; the far end when none is left."""
    following = next((instant for instant in prints if instant >= at - every + timedelta(microseconds=1)), None)
    if following is None:
        return datetime.max.replace(tzinfo=at.tzinfo)
    late = (following - at) % every
    return following if not late else following + (every - late)
