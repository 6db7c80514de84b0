"""Sixteen runs at once on one journal: one winner for each intent, exact counters, each alert once.

Over the journal in memory and over DynamoDB's own conditional writes.
"""

import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import TypeVar

from closebell.app.alerts import alert_changes, deliver_waiting
from closebell.app.control import confirm_resume, halt_desk, read_halt, request_resume
from closebell.app.execution import Executor
from closebell.app.order_intent import Purpose, order_intent
from closebell.app.runs import RunLog, RunOutcome
from closebell.model.broker import OrderRequest, OrderType, Side, TimeInForce, VenueOrder
from closebell.model.errors import DuplicateOrderId, JournalConflict, OutcomeUnknown
from closebell.model.instruments import Market
from closebell.model.operations import Alert, Priority, RunState, Trigger
from closebell.model.orders import DayCounters, LiveOrder, OrderLeg, OrderRecord
from closebell.ports.broker import Broker
from closebell.ports.journal import Journal
from closebell.simulation.exchange.exchange import Exchange
from closebell.simulation.exchange.simulated_broker import SimulatedBroker
from tests.contract.conftest import OpenExchange
from tests.contract.tiny_market import FRI, ny

pytest_plugins = ["tests.contract.aws_stack"]

THREADS_COUNT = 16
NOW = ny(FRI, "09:00")
T = TypeVar("T")


class SerialVenue(SimulatedBroker):
    """The exchange in process is single-threaded, its HTTP server serialises requests: so does this lock."""

    def __init__(self, exchange: Exchange) -> None:
        super().__init__(exchange)
        self._lock = threading.Lock()
        self.posted: Counter[str] = Counter()

    def submit(self, request: OrderRequest) -> VenueOrder:
        with self._lock:
            self.posted[request.client_order_id] += 1
            return super().submit(request)

    def order_by_client_id(self, client_order_id: str) -> VenueOrder | None:
        with self._lock:
            return super().order_by_client_id(client_order_id)


def at_once(work: Callable[[int], T]) -> list[T]:
    """Sixteen threads that begin at the same moment."""
    barrier = threading.Barrier(THREADS_COUNT)

    def begin(number: int) -> T:
        barrier.wait(timeout=30)
        return work(number)

    with ThreadPoolExecutor(THREADS_COUNT) as pool:
        return list(pool.map(begin, range(THREADS_COUNT)))


def entry_for(plan_id: str) -> OrderRecord:
    purpose = Purpose(plan_id, OrderLeg.ENTRY, 1, FRI)
    request = OrderRequest(
        client_order_id=purpose.order_id("paper|PA1", Market.US_EQUITY), market=Market.US_EQUITY, symbol="ACME", side=Side.BUY,
        order_type=OrderType.MARKET, time_in_force=TimeInForce.OPG, quantity_shares=Decimal(1),
    )  # fmt: skip
    return order_intent(request, purpose, "anvils", NOW, Decimal(110))


def venue_of(open_exchange: OpenExchange) -> SerialVenue:
    return SerialVenue(open_exchange(NOW).venue.exchange)


def place(journal: Journal, broker: Broker, order: OrderRecord) -> str:
    """One run that wants the order out; a lost race is repeated on what the winner wrote, as every run does."""
    for _ in range(200):
        try:
            return str(Executor(journal, broker, NOW).place(order).record.state)
        except (JournalConflict, OutcomeUnknown, DuplicateOrderId):
            continue
    return "gave up"


def test_sixteen_runs_with_one_plan_commit_one_intent_and_one_order(
    shared_journal: Journal, open_exchange: OpenExchange
) -> None:
    venue, order = venue_of(open_exchange), entry_for("one")
    ends = at_once(lambda _: place(shared_journal, venue, order))
    assert set(ends) == {"accepted"}
    assert len(venue.exchange.floor.orders.orders) == 1
    counters = shared_journal.read(DayCounters(market=Market.US_EQUITY, session=FRI).key, DayCounters)
    assert counters is not None
    assert (counters.record.orders_count, counters.record.entries_notional_usd) == (1, Decimal(110))
    assert shared_journal.read(LiveOrder(client_order_id=order.client_order_id).key, LiveOrder) is not None


def test_sixteen_plans_at_once_lose_no_counter_and_no_pointer(shared_journal: Journal, open_exchange: OpenExchange) -> None:
    venue = venue_of(open_exchange)
    orders = [entry_for(f"plan-{number}") for number in range(THREADS_COUNT)]
    assert set(at_once(lambda number: place(shared_journal, venue, orders[number]))) == {"accepted"}
    assert set(venue.posted.values()) == {1}
    counters = shared_journal.read(DayCounters(market=Market.US_EQUITY, session=FRI).key, DayCounters)
    assert counters is not None
    assert (counters.record.orders_count, counters.record.entries_notional_usd) == (THREADS_COUNT, Decimal(110 * THREADS_COUNT))
    pointers = [row for row in shared_journal.query("book", "DESK", "LIVE_ORDER#") if isinstance(row.record, LiveOrder)]
    assert len(pointers) == THREADS_COUNT


def test_sixteen_halts_are_one_halt_and_one_alert_and_one_resume_wins(shared_journal: Journal) -> None:
    new = at_once(lambda number: halt_desk(shared_journal, f"reason {number}", "drill", NOW + timedelta(seconds=number)))
    assert new.count(True) == 1
    alerts = [row for row in shared_journal.query("journal", f"ALERT#{NOW:%Y-%m}") if isinstance(row.record, Alert)]
    assert len(alerts) == 1
    request_resume(shared_journal, "code", NOW)

    def try_to_resume(_: int) -> bool:
        try:
            confirm_resume(shared_journal, "code", "owner", NOW)
        except JournalConflict:
            return False
        return True

    assert at_once(try_to_resume).count(True) == 1
    halt = read_halt(shared_journal)
    assert halt is not None
    assert not halt.record.is_halted


def test_sixteen_deliverers_send_each_alert_once(shared_journal: Journal) -> None:
    for number in range(5):
        alert = Alert(alert_id=f"a{number}", priority=Priority.INFO, subject="s", body="b", created_at=NOW)
        shared_journal.commit(alert_changes(shared_journal, alert))
    lock, published = threading.Lock(), Counter[str]()

    class AlertTopic:
        """Implements Notifier."""

        def publish(self, alert: Alert) -> None:
            with lock:
                published[alert.alert_id] += 1

    sent = at_once(lambda _: deliver_waiting(shared_journal, AlertTopic(), NOW))
    assert sum(sent) == 5
    assert published == Counter({f"a{number}": 1 for number in range(5)})
    assert shared_journal.query("book", "DESK", "OUTBOX#") == []


def test_sixteen_deliveries_of_one_run_leave_one_record_that_ended(shared_journal: Journal) -> None:
    class StoppedClock:
        """Implements ports.operations.Clock."""

        def now(self) -> datetime:
            return datetime(2024, 3, 8, 14, tzinfo=UTC)

    class Silence:
        """Implements Notifier."""

        def publish(self, alert: Alert) -> None:
            raise AssertionError(alert.subject)

    trigger = Trigger(market=Market.US_EQUITY, scheduled_at=NOW)
    log = RunLog("review_performance", "v", shared_journal, StoppedClock(), Silence())

    def run(_: int) -> RunState | None:
        try:
            return log.run_once(trigger, lambda: RunOutcome("done")).state
        except JournalConflict:
            return None

    ends = at_once(run)
    # one that finds its record taken over by a later delivery returns it as it then stands: perhaps not ended yet
    assert set(ends) <= {RunState.COMPLETED, RunState.STARTED, None}
    assert RunState.COMPLETED in ends
    stored = shared_journal.query("journal", f"RUN#review_performance#us_equity#{date(2024, 3, 8):%Y-%m}")
    assert len(stored) == 1
