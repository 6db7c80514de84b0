"""One seed: a desk, its market and its days, run by the schedule with everything that can go wrong.

The real use cases run through faulty ports in one thread on the exchange's virtual clock. When the sessions are played, the
faults are switched off and one more session is played in peace: then everything must be in order.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from heapq import heappop, heappush
from random import Random
from typing import NamedTuple

from closebell.app.control import store_parameters
from closebell.app.generate_signals import GenerateSignals
from closebell.app.place_orders import PlaceOrders
from closebell.app.reconcile import Reconcile
from closebell.app.review_performance import ReviewPerformance
from closebell.app.runs import RunLog
from closebell.app.send_newsletter import SendNewsletter
from closebell.app.trading_room import TradingRoom
from closebell.app.watch_schedule import WatchSchedule
from closebell.model.books import Position, Trade
from closebell.model.errors import ClosebellError, RunRefused
from closebell.model.instruments import Market
from closebell.model.operations import RunRecord, RunState, Trigger
from closebell.model.orders import OrderRecord
from closebell.model.parameters import ExitTerms, ParameterSet
from closebell.model.schedule import ScheduledRun
from closebell.rehearsal.faulty_broker import FaultyBroker
from closebell.rehearsal.faulty_feeds import FaultyFeeds
from closebell.rehearsal.faulty_stores import FaultyArchive, FaultyJournal, OwnersMailbox, OwnersPager
from closebell.rehearsal.invariants import Checker
from closebell.rehearsal.market import INDEX, RehearsalCalendar, RehearsalMarket, new_york
from closebell.rehearsal.stage import KilledError, Stage, Violation
from closebell.rehearsal.watched_journal import WatchedJournal
from closebell.rehearsal.world_events import WorldEvents
from closebell.simulation.exchange import Exchange
from closebell.simulation.trading_floor import ExchangeOptions

VERSION = "rehearsal"
MORNING = "morning"
DAY: tuple[tuple[str, str], ...] = (
    ("08:40", MORNING),
    ("09:00", "place_orders"), ("09:05", "reconcile"), ("09:10", "reconcile"), ("09:15", "watch_schedule"),
    ("09:35", "reconcile"), ("10:00", "reconcile"), ("12:00", "reconcile"), ("15:55", "reconcile"),
    ("16:00", "reconcile"), ("16:05", "review_performance"), ("16:05", "reconcile"), ("16:10", "reconcile"),
    ("16:20", "generate_signals"), ("16:45", "send_newsletter"), ("17:15", "watch_schedule"),
)  # fmt: skip
"""The schedule of a session, thinned to the reconciliations in which something can happen (New York time)."""

EVENING = ("reconcile", "generate_signals", "watch_schedule")
NEWSLETTER_EVERY_SESSIONS = 20
RETRIES = {"place_orders": 0, "reconcile": 0}
RETRIES_OTHERWISE = 2


class Delivery(NamedTuple):
    """An invocation that is on its way: when it arrives, and the instant it was meant for."""

    at: datetime
    number: int
    function: str
    scheduled_at: datetime
    attempt_count: int = 1
    is_copy: bool = False


@dataclass(frozen=True)
class Rehearsal:
    """What to play: how many sessions of one seed, with which faults; `newsletters` renders the mail now and then."""

    seed: int
    sessions_count: int
    faults: frozenset[str]
    newsletters: bool = False


class FinalBook(NamedTuple):
    """What a rehearsal leaves: orders and holdings at the exchange, cash, positions and trades in our books."""

    orders: tuple[str, ...]
    holdings: tuple[tuple[str, Decimal], ...]
    cash_usd: Decimal
    positions: tuple[tuple[str, Decimal, str], ...]
    trades: tuple[tuple[str, Decimal], ...]


class ExchangeClock:
    """Implements Clock and Firings: the virtual clock, and the once-a-session schedules of a market."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange

    def now(self) -> datetime:
        return self._exchange.now

    def between(self, schedule: ScheduledRun, after: datetime, until: datetime) -> list[datetime]:
        if not schedule.once_a_session:
            return []  # the rehearsal thins these out: none is due at a time that is known before
        minute, hour, *_ = schedule.cron.split()
        day, last = schedule.market.date_of(after), schedule.market.date_of(until)
        found = []
        while day <= last:
            due = new_york(day, time(int(hour), int(minute)))
            if day.weekday() < 5 and after < due <= until:
                found.append(due)
            day += timedelta(days=1)
        return found


class DeskDays:
    """The director of one rehearsal."""

    def __init__(self, rehearsal: Rehearsal) -> None:
        self.rehearsal = rehearsal
        self.market = RehearsalMarket(rehearsal.seed, rehearsal.sessions_count)
        generator = Random(f"{rehearsal.seed}/faults")  # noqa: S311 - a simulation's seeded draw
        self.exchange = Exchange(
            self.market, new_york(self.market.eve, time(16, 5)), _options(rehearsal.faults), Random(rehearsal.seed)  # noqa: S311 - as above
        )
        self.stage = Stage(rehearsal.seed, self.exchange, rehearsal.faults, generator)
        self.raw = WatchedJournal()
        self.parameters = store_parameters(
            self.raw,
            ParameterSet(
                universe=self.market.universe,
                regime_symbol=INDEX,
                strategies=("sma_cross",),
                votes_to_act_count_min=1,
                history_sessions=220,
                exits=ExitTerms(time_stop_sessions=3, minimum_hold_sessions=1),
            ),
        )
        self.pager, self.mailbox = OwnersPager(self.stage), OwnersMailbox(self.stage)
        self.checker = Checker(self.stage, self.raw, self.market, self.parameters, self.pager)
        self.broker = FaultyBroker(self.stage, self.checker.on_submit, self.checker.on_call)
        self.world = WorldEvents(self.stage, self.raw, self.broker)
        self._journal = FaultyJournal(self.stage, self.raw)
        self._archive = FaultyArchive(self.stage)
        self._feeds = FaultyFeeds(self.stage, self.market)
        self._clock = ExchangeClock(self.exchange)
        self._calendar = RehearsalCalendar(self.market)
        self._waiting: list[Delivery] = []
        self._delivered_count = 0
        self._current: Delivery | None = None
        self.outcomes: Counter[str] = Counter()
        self.stage.interrupt = self._overlap

    # --- the days

    def play(self) -> list[Violation]:
        """Play every session, then one in peace; the violations found."""
        self.stage.session, self.stage.is_calm = f"{self.market.eve}", True
        self._session(self.market.eve, EVENING, "16:10", "16:20", "17:15")
        self.stage.is_calm = False
        for number, session in enumerate(self.market.played):
            self._day(session, with_mail=self.rehearsal.newsletters and number % NEWSLETTER_EVERY_SESSIONS == 3)
        self.stage.is_calm = True
        self.world.mend()
        self._day(self.market.after(self.market.played[-1]), with_mail=False)
        self.checker.at_the_end()
        return self.stage.violations

    def final_book(self) -> FinalBook:
        """What is left at the end."""
        book, orders = self.exchange.floor.book, self.exchange.floor.orders.orders.values()
        return FinalBook(
            tuple(sorted(f"{one.client_order_id if one.parent is None else 'leg'} {one.side} {one.symbol} {one.quantity_shares} "
                         f"{one.filled_shares} {one.status}" for one in orders)),
            tuple(sorted((symbol, holding.shares) for symbol, holding in book.holdings.items())),
            book.cash_usd,
            tuple(sorted((one.symbol, one.quantity_shares, one.state) for one in self.raw.all_of(Position))),
            tuple(sorted((trade.trade_id, trade.pnl_usd) for trade in self.raw.all_of(Trade))),
        )  # fmt: skip

    def _day(self, session: date, with_mail: bool) -> None:
        self.stage.session = f"{session}"
        for at, function in DAY:
            if function != "send_newsletter" or with_mail:
                self._schedule(session, at, function)
        self._run_until_empty(new_york(session, time(23, 59)))
        self.checker.after_session()

    def _session(self, session: date, functions: tuple[str, ...], *times: str) -> None:
        for at, function in zip(times, functions, strict=True):
            self._schedule(session, at, function)
        self._run_until_empty(new_york(session, time(23, 59)))

    def _schedule(self, session: date, at: str, function: str) -> None:
        due = new_york(session, time.fromisoformat(at))
        if function == MORNING:
            self._deliver_at(due, function, due)
            return
        if self.stage.strikes("missed_schedule"):
            self.stage.note(f"{function} of {at} is never delivered")
            return
        delay = timedelta(0)
        if self.stage.strikes("delivered_late"):
            draw = self.stage.generator
            delay = timedelta(days=1) if draw.random() < 0.2 else timedelta(minutes=draw.randint(2, 90))
        self._deliver_at(due + delay, function, due)
        if self.stage.strikes("duplicate_invocation"):
            self._deliver_at(due + delay + timedelta(seconds=self.stage.generator.choice([0, 0, 30, 400])), function, due, True)

    def _deliver_at(
        self, at: datetime, function: str, scheduled_at: datetime, is_copy: bool = False, attempt_count: int = 1
    ) -> None:
        self._delivered_count += 1
        heappush(self._waiting, Delivery(at, self._delivered_count, function, scheduled_at, attempt_count, is_copy))

    def _run_until_empty(self, until: datetime) -> None:
        while self._waiting and self._waiting[0].at <= until:
            delivery = heappop(self._waiting)
            self.stage.step = "pause"
            self.stage.advance(delivery.at)
            if delivery.function == MORNING:
                self.world.morning()
                continue
            self.world.pause()
            self._invoke(delivery)
            self._follow_up()

    def _follow_up(self) -> None:
        """The reconciliations and the watch that the thinned schedule leaves out, where something can happen in them."""
        now = self.stage.now
        local = now.astimezone(Market.US_EQUITY.zone).time()
        if not time(9) <= local < time(16, 50) or not self._is_unsettled(now):
            return
        following = now + timedelta(seconds=-now.timestamp() % 300 or 300)
        if not any(waiting.at <= following and waiting.function == "reconcile" for waiting in self._waiting):
            self._deliver_at(following, "reconcile", following)
        watched = now + timedelta(seconds=-now.timestamp() % 900 or 900)
        if not any(waiting.at <= watched and waiting.function == "watch_schedule" for waiting in self._waiting):
            self._deliver_at(watched, "watch_schedule", watched)

    def _is_unsettled(self, now: datetime) -> bool:
        """Whether an order of the last half hour is in flight or a position has been without a stop for that long at most."""
        since = now - timedelta(minutes=30)
        young = any(order.state.is_in_flight and order.created_at >= since for order in self.raw.all_of(OrderRecord))
        return young or self.checker.is_bare

    # --- one invocation

    def _invoke(self, delivery: Delivery) -> None:
        before, self._current = self._current, delivery
        step, self.stage.step = self.stage.step, f"{delivery.function} {delivery.scheduled_at:%H:%M}Z"
        completed = False
        try:
            completed = self._attempt(delivery)
        finally:
            self.checker.after_run(delivery.function, delivery.scheduled_at, completed)
            self._current, self.stage.step = before, step

    def _attempt(self, delivery: Delivery) -> bool:
        """Run it, again at once when it is killed, a minute later when it fails and is one that is repeated."""
        trigger = Trigger(market=Market.US_EQUITY, scheduled_at=delivery.scheduled_at)
        while True:
            try:
                record = self._use_case(delivery.function)(trigger)
            except KilledError:
                self.outcomes["killed"] += 1
                continue
            except ClosebellError as error:
                self._failed(delivery, error)
                return False
            except Exception as error:  # noqa: BLE001 - whatever is none of our errors is a finding
                self.stage.violated(0, f"{type(error).__name__} left {delivery.function}: {error}")
                return False
            self.outcomes[f"{delivery.function} {record.state}"] += 1
            self.stage.note(f"{record.state}: {record.outcome}")
            return record.state is RunState.COMPLETED

    def _failed(self, delivery: Delivery, error: ClosebellError) -> None:
        self.outcomes[f"{delivery.function} {type(error).__name__}"] += 1
        self.stage.note(f"failed: {type(error).__name__}: {error}")
        if self.stage.is_calm and not isinstance(error, RunRefused):
            self.stage.violated(26, f"{delivery.function} fails with all faults off: {type(error).__name__}: {error}")
        repeats = RETRIES.get(delivery.function, RETRIES_OTHERWISE)
        if delivery.attempt_count <= repeats and not self.stage.depth_count:
            at = self.stage.now + timedelta(seconds=60 * delivery.attempt_count)
            self._deliver_at(at, delivery.function, delivery.scheduled_at, True, delivery.attempt_count + 1)

    def _overlap(self) -> None:
        """Another run, from its beginning to its end, inside a call of the current one."""
        current = self._current
        if current is None:
            return
        draw = self.stage.generator.random()
        function = current.function if draw < 0.6 else "reconcile"
        self.stage.note(f"{function} starts in the middle of it")
        self._invoke(Delivery(self.stage.now, 0, function, current.scheduled_at, RETRIES_OTHERWISE + 1, True))

    def _use_case(self, function: str) -> Callable[[Trigger], RunRecord]:
        log = RunLog(function, VERSION, self._journal, self._clock, self.pager)
        match function:
            case "place_orders":
                return PlaceOrders(TradingRoom(log, self.broker, "paper"))
            case "reconcile":
                return Reconcile(TradingRoom(log, self.broker, "paper"))
            case "generate_signals":
                feeds = self._feeds
                return GenerateSignals(log, self._journal, self._archive, feeds, feeds, feeds, self._calendar, VERSION)
            case "review_performance":
                return ReviewPerformance(log, self._journal, self._calendar)
            case "send_newsletter":
                return SendNewsletter(
                    log, self._journal, self._archive, self.mailbox, self._calendar, "paper", "a rehearsal", VERSION
                )
            case "watch_schedule":
                return WatchSchedule(log, self._calendar, self._clock)
        raise ValueError(f"no function is called {function}")


def _options(faults: frozenset[str]) -> ExchangeOptions:
    return ExchangeOptions(partial_fill_frac=0.5 if "partial_then_cancel" in faults else 0.0)
