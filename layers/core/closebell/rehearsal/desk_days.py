"""One seed: a desk, its market and its days, run by the schedule with everything that can go wrong.

The real use cases run through faulty ports in one thread on the exchange's virtual clock. When the sessions are played, the
faults are switched off and one more session is played in peace: then everything must be in order.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from random import Random
from typing import NamedTuple

from closebell.app.control import store_parameters
from closebell.app.evidence import MarketEvidence
from closebell.app.generate_signals import GenerateSignals
from closebell.app.guarded_broker import REQUESTS_COUNT_MAX
from closebell.app.place_orders import PlaceOrders
from closebell.app.reconcile import Reconcile
from closebell.app.review_performance import ReviewPerformance
from closebell.app.runs import RunLog, RunOutcome
from closebell.app.send_newsletter import SendNewsletter
from closebell.app.trading_room import LEFT_TO_ANOTHER, TradingRoom
from closebell.app.watch_schedule import WatchSchedule
from closebell.model.books import Position, Trade
from closebell.model.broker import MarketClock
from closebell.model.errors import ClosebellError, RunRefused
from closebell.model.instruments import Market
from closebell.model.operations import RunRecord, RunState, Trigger
from closebell.model.orders import OrderRecord
from closebell.model.parameters import EntryTerms, ExitTerms, ParameterSet
from closebell.rehearsal.deliveries import DAY, EVE, MORNING, Deliveries, Delivery
from closebell.rehearsal.desk_clock import DeskClock
from closebell.rehearsal.faulty_broker import FaultyBroker
from closebell.rehearsal.faulty_feeds import FaultyFeeds
from closebell.rehearsal.faulty_stores import FaultyArchive, FaultyJournal, OwnersMailbox, OwnersPager
from closebell.rehearsal.invariants import Checker
from closebell.rehearsal.limits import limits_of
from closebell.rehearsal.market import INDEX, OddChances, RehearsalCalendar, RehearsalMarket, new_york
from closebell.rehearsal.owners_slips import OwnersSlips
from closebell.rehearsal.stage import KilledError, Stage, Violation, chance_frac
from closebell.rehearsal.table_events import TableEvents
from closebell.rehearsal.watched_journal import WatchedJournal
from closebell.rehearsal.world_events import WorldEvents
from closebell.simulation.exchange.exchange import Exchange
from closebell.simulation.exchange.trading_floor import ExchangeOptions

VERSION = "rehearsal"
OLDER_VERSION = "rehearsal before"
NEWSLETTER_EVERY_SESSIONS = 20
SKEW = timedelta(minutes=5)


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


class DeskDays:
    """The director of one rehearsal."""

    def __init__(self, rehearsal: Rehearsal) -> None:
        self.rehearsal = rehearsal
        self.market = RehearsalMarket(rehearsal.seed, rehearsal.sessions_count, _odd_chances(rehearsal.faults))
        generator = Random(f"{rehearsal.seed}/faults")  # noqa: S311 - a simulation's seeded draw
        self._own = Random(f"{rehearsal.seed}/desk")  # noqa: S311 - as above; its draws shift nobody else's
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
                limits=limits_of(rehearsal.seed),
                exits=ExitTerms(time_stop_sessions=3, minimum_hold_sessions=1),
                entries=EntryTerms(use_limit=self._draws("limit_entries")),
            ),
        )
        self.pager, self.mailbox = OwnersPager(self.stage), OwnersMailbox(self.stage)
        self.archive = FaultyArchive(self.stage)
        self.checker = Checker(self.stage, self.raw, self.market, self.parameters, self.pager, self.archive)
        self.broker = FaultyBroker(self.stage, self.checker.on_submit, self.checker.on_call)
        self.world = WorldEvents(self.stage, self.raw, self.broker)
        self._journal = FaultyJournal(self.stage, self.raw)
        self._feeds = FaultyFeeds(self.stage, self.market)
        self._clock = DeskClock(self.exchange)
        self._calendar = RehearsalCalendar(self.market)
        self.deliveries = Deliveries(self.stage)
        self.owner = OwnersSlips(self.stage, self.raw)
        self.tables = TableEvents(self.stage, self.raw, self._journal, self.checker)
        self._current: Delivery | None = None
        self.outcomes: Counter[str] = Counter()
        self.stage.interrupt = self._overlap

    def _draws(self, name: str) -> bool:
        """Whether this rehearsal's owner, or this morning, is of another kind."""
        is_drawn = self._own.random() < chance_frac(name, self.rehearsal.faults) and not self.stage.is_calm
        if is_drawn:
            self.stage.happens(name)
        return is_drawn

    # --- the days

    def play(self) -> list[Violation]:
        """Play every session, then one in peace; the violations found."""
        self.stage.session, self.stage.is_calm = f"{self.market.eve}", True
        self._run_day(self.market.eve, EVE)
        self.checker.on_first_session()
        self.stage.is_calm = False
        for number, day in enumerate(self.market.weekdays):
            self._meet(day)
            self._day(day, with_mail=self.rehearsal.newsletters and number % NEWSLETTER_EVERY_SESSIONS == 3)
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

    def _meet(self, day: date) -> None:
        """Count what the market has in store for a date."""
        happens, offset = self.stage.happens, Market.US_EQUITY.zone.utcoffset
        if day in self.market.half_days:
            happens("half_day")
        if day in self.market.differing:
            happens("wrong_calendar")
        if day == self.market.falls_on:
            happens("sharp_down_day")
        if any(split.ex_session == day for split in self.market.split_of.values()):
            happens("share_split")
        if offset(datetime.combine(day, time(12))) != offset(datetime.combine(day - timedelta(days=3), time(12))):
            happens("clock_change")

    def _day(self, session: date, with_mail: bool) -> None:
        self.stage.session = f"{session}"
        self._run_day(session, [run for run in DAY if with_mail or run[1] != "send_newsletter"])
        self.checker.after_session()

    def _run_day(self, day: date, runs: Sequence[tuple[str, str]]) -> None:
        for at, function in runs:
            self.deliveries.schedule(day, at, function)
        self._run_until_empty(new_york(day, time(23, 59)))

    def _run_until_empty(self, until: datetime) -> None:
        while delivery := self.deliveries.next_until(until):
            self.stage.step = "pause"
            self.stage.advance(delivery.at)
            if delivery.function == MORNING:
                self._morning()
                continue
            self.world.pause()
            if delivery.function == "place_orders" and self._draws("busy_minute"):
                self._use_up_the_minute()
            self._invoke(delivery)
            self._follow_up()

    def _morning(self) -> None:
        """Before a session: the world's events, the tables', the process's clock, the owner at the keyboard."""
        self.world.morning()
        self.tables.morning()
        self._clock.skew = SKEW * self.stage.generator.choice([-1, 1]) if self.stage.strikes("skewed_clock") else timedelta(0)
        if self.stage.strikes("limits_typo"):
            self.owner.write()

    def _use_up_the_minute(self) -> None:
        """A run with much to read ends well, and leaves little of the minute's requests to the next one."""
        left_count, now = self._own.randint(1, 70), self.stage.now

        def read_much(room: TradingRoom, clock: MarketClock) -> RunOutcome:
            for _ in range(REQUESTS_COUNT_MAX - room.budget.asked_count(now) - left_count):
                room.broker.open_orders()
            return RunOutcome("read much")

        was_calm, self.stage.is_calm = self.stage.is_calm, True
        room = TradingRoom(self._log("reconcile"), self.broker, "paper", self.broker.reopen)
        trigger = Trigger(market=Market.US_EQUITY, scheduled_at=now - timedelta(seconds=1))  # no run of the schedule's
        room.run_alone(trigger, read_much)
        self.stage.is_calm = was_calm
        self.stage.note(f"{left_count} requests are left in this minute")

    def _follow_up(self) -> None:
        """The reconciliations and the watch that the thinned schedule leaves out, where something can happen in them."""
        now = self.stage.now
        local = now.astimezone(Market.US_EQUITY.zone).time()
        if not time(9) <= local < time(16, 50) or not self._is_unsettled(now):
            return
        self.deliveries.ensure("reconcile", every_s=300)
        self.deliveries.ensure("watch_schedule", every_s=900)

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
        """Run it: again at once after a kill that is repeated, a minute later when it fails and is one that is repeated."""
        trigger = Trigger(market=Market.US_EQUITY, scheduled_at=delivery.scheduled_at)
        while True:
            try:
                record = self._use_case(delivery.function)(trigger)
            except KilledError as killed:
                self.outcomes["killed"] += 1
                if killed.is_repeated:
                    continue
                return False
            except ClosebellError as error:
                self._failed(delivery, error)
                return False
            except Exception as error:  # noqa: BLE001 - whatever is none of our errors is a finding
                self.stage.violated(0, f"{type(error).__name__} left {delivery.function}: {error}")
                return False
            self.outcomes[f"{delivery.function} {record.state}"] += 1
            self.stage.note(f"{record.state}: {record.outcome}")
            return record.state is RunState.COMPLETED and LEFT_TO_ANOTHER not in record.counts

    def _failed(self, delivery: Delivery, error: ClosebellError) -> None:
        self.outcomes[f"{delivery.function} {type(error).__name__}"] += 1
        self.stage.note(f"failed: {type(error).__name__}: {error}")
        if self.stage.is_calm and not isinstance(error, RunRefused):
            self.stage.violated(26, f"{delivery.function} fails with all faults off: {type(error).__name__}: {error}")
        self.deliveries.repeat(delivery)

    def _overlap(self) -> None:
        """Another run, from its beginning to its end, inside a call of the current one."""
        current = self._current
        if current is None:
            return
        draw = self.stage.generator.random()
        function = current.function if draw < 0.6 else "reconcile"
        self.stage.note(f"{function} starts in the middle of it")
        self._invoke(Delivery(self.stage.now, 0, function, current.scheduled_at))

    def _log(self, function: str, version: str = VERSION) -> RunLog:
        return RunLog(function, version, self._journal, self._clock, self.pager)

    def _use_case(self, function: str) -> Callable[[Trigger], RunRecord]:
        version = OLDER_VERSION if self.stage.strikes("old_version_running") else VERSION
        log = self._log(function, version)
        match function:
            case "place_orders":
                return PlaceOrders(TradingRoom(log, self.broker, "paper", self.broker.reopen))
            case "reconcile":
                return Reconcile(TradingRoom(log, self.broker, "paper", self.broker.reopen))
            case "generate_signals":
                feeds = self._feeds
                evidence = MarketEvidence(feeds, feeds)
                return GenerateSignals(log, self._journal, self.archive, evidence, feeds, self._calendar, version)
            case "review_performance":
                return ReviewPerformance(log, self._journal, self._calendar)
            case "send_newsletter":
                return SendNewsletter(
                    log, self._journal, self.archive, self.mailbox, self._calendar, "paper", "a rehearsal", version
                )
            case "watch_schedule":
                return WatchSchedule(log, self._calendar, self._clock)
        raise ValueError(f"no function is called {function}")


def _odd_chances(faults: frozenset[str]) -> OddChances:
    names = ("half_day", "share_split", "wrong_calendar", "sharp_down_day")
    return OddChances(*(chance_frac(name, faults) for name in names))


def _options(faults: frozenset[str]) -> ExchangeOptions:
    return ExchangeOptions(partial_fill_frac=0.5 if "partial_then_cancel" in faults else 0.0)
