"""What a run may ask of the broker: how often, with which key, and of which account."""

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from closebell.app.control import read_halt
from closebell.app.guarded_broker import KEPT_COUNT, REQUESTS_COUNT_MAX, GuardedBroker, RequestBudget
from closebell.app.place_orders import PlaceOrders
from closebell.app.runs import RunLog
from closebell.app.trading_room import TradingRoom
from closebell.model.broker import OrderRequest, OrderType, Side, TimeInForce
from closebell.model.decision import Denial
from closebell.model.errors import BrokerKeyRefused, RateLimited, RunRefused, StoreUnavailable
from closebell.model.instruments import Market
from closebell.model.operations import LEASE_KEY, Lease, RunRecord, Trigger
from closebell.model.orders import OrderRecord
from closebell.ports.broker import Broker
from closebell.ports.journal import Create, Replace
from closebell.simulation.exchange.simulated_broker import SimulatedBroker
from closebell.simulation.exchange.trading_floor import ExchangeOptions
from tests.unit.app.small_desk import VERSION, FixedClock, SmallDesk, entry, leave, new_york

TUESDAY, WEDNESDAY = date(2018, 10, 2), date(2018, 10, 3)
START = datetime(2026, 1, 1, tzinfo=UTC)


class Counted:
    """Counts what the broker behind it is asked; without one it answers nothing."""

    def __init__(self, broker: Any = None) -> None:
        self._broker = broker
        self.calls: list[str] = []

    def __getattr__(self, name: str) -> Any:
        def call(*arguments: Any) -> Any:
            self.calls.append(name)
            return getattr(self._broker, name)(*arguments) if self._broker else None

        return call


def order(side: Side) -> OrderRequest:
    return OrderRequest(
        client_order_id="id", market=Market.US_EQUITY, symbol="AAA", side=side, order_type=OrderType.MARKET,
        time_in_force=TimeInForce.DAY, quantity_shares=Decimal(1),
    )  # fmt: skip


def after(seconds: int) -> Callable[[], datetime]:
    return lambda: START + timedelta(seconds=seconds)


def test_the_request_above_the_minutes_budget_is_not_made_and_says_when_it_may_be() -> None:
    broker, budget = Counted(), RequestBudget()
    for _ in range(REQUESTS_COUNT_MAX):
        GuardedBroker(broker, budget, after(0)).clock()
    with pytest.raises(RateLimited, match="150 requests were made in the last 60 s") as raised:
        GuardedBroker(broker, budget, after(59)).positions()
    assert (len(broker.calls), raised.value.reset_at) == (REQUESTS_COUNT_MAX, START + timedelta(seconds=60))
    GuardedBroker(broker, budget, after(60)).positions()
    assert broker.calls[-1] == "positions"


def test_the_last_requests_are_kept_for_exits() -> None:
    broker, budget = Counted(), RequestBudget()
    guarded = GuardedBroker(broker, budget, after(0))
    for _ in range(REQUESTS_COUNT_MAX - KEPT_COUNT - 1):
        guarded.clock()
    guarded.submit(order(Side.BUY))
    with pytest.raises(RateLimited, match="kept for exits"):
        guarded.submit(order(Side.BUY))
    guarded.cancel("resting")
    guarded.submit(order(Side.SELL))
    assert broker.calls[-3:] == ["submit", "cancel", "submit"]


def with_requests_before(desk: SmallDesk, count: int, released_at: datetime) -> None:
    """As if a run had ended at an instant with so many requests."""
    lease = Lease(
        owner="reconcile|us_equity|before", taken_at=released_at, expires_at=released_at + timedelta(minutes=4),
        released_at=released_at, requests_count=count,
    )  # fmt: skip
    stored = desk.memory.read(LEASE_KEY, Lease)
    desk.memory.commit([Replace(lease, stored.version) if stored else Create(lease)])


def denials(desk: SmallDesk) -> list[str]:
    found = desk.memory.query("journal", f"DENIAL#us_equity#{WEDNESDAY}")
    return [f"{item.record.symbol}: {item.record.reason}" for item in found if isinstance(item.record, Denial)]


def orders(desk: SmallDesk, session: date) -> list[OrderRecord]:
    found = desk.memory.query("journal", f"ORDER#us_equity#{session}")
    return [item.record for item in found if isinstance(item.record, OrderRecord)]


def test_an_entry_for_which_no_request_is_left_is_denied_before_it_is_meant_and_the_exit_goes_out() -> None:
    desk = SmallDesk({"AAA": ["100", "100", "100"], "BBB": ["50", "50", "50"]})
    desk.plan(TUESDAY, entry(TUESDAY, "AAA"))
    desk.day(TUESDAY)
    desk.plan(WEDNESDAY, leave(WEDNESDAY, "AAA"), entry(WEDNESDAY, "BBB", reference="50"))
    with_requests_before(desk, 120, new_york(WEDNESDAY, "08:59:30"))
    assert desk.place(WEDNESDAY).counts["denied"] == 1
    desk.reconcile(WEDNESDAY, "09:05")
    assert desk.sent()[-1] == "sell 10 AAA accepted"
    assert denials(desk) == ["BBB: rate budget: the requests that the broker still takes are kept for exits and stops"]
    assert [intent.symbol for intent in orders(desk, WEDNESDAY)] == ["AAA"]


@pytest.mark.parametrize(("released", "sent"), [("08:59:01", 0), ("08:59:00", 1)])
def test_a_run_starts_from_what_the_one_before_used_in_the_same_minute(released: str, sent: int) -> None:
    desk = SmallDesk({"AAA": ["100", "100"]})
    desk.plan(TUESDAY, entry(TUESDAY, "AAA"))
    with_requests_before(desk, REQUESTS_COUNT_MAX - KEPT_COUNT, new_york(TUESDAY, released))
    desk.place(TUESDAY)
    assert len(desk.sent()) == sent


def test_a_run_writes_down_what_it_used() -> None:
    desk = SmallDesk({"AAA": ["100", "100"]}, Counted)
    desk.plan(TUESDAY, entry(TUESDAY, "AAA"))
    desk.place(TUESDAY)
    stored = desk.memory.read(LEASE_KEY, Lease)
    assert stored is not None
    assert stored.record.requests_count == len(desk.broker.calls) > 5


class OldKey:
    """A broker that no longer accepts the key from its n-th request on."""

    def __init__(self, broker: Any, accepts_count: int = 0) -> None:
        self._broker, self._left_count = broker, accepts_count
        self.refused: list[str] = []

    def __getattr__(self, name: str) -> Any:
        def call(*arguments: Any) -> Any:
            if self._left_count <= 0:
                self.refused.append(name)
                raise BrokerKeyRefused("401: unauthorized")
            self._left_count -= 1
            return getattr(self._broker, name)(*arguments)

        return call


def place_with(desk: SmallDesk, reopen: Callable[[], Broker | None]) -> RunRecord:
    log = RunLog("place_orders", VERSION, desk.journal, FixedClock(), desk.inbox)
    desk.exchange.advance(new_york(TUESDAY, "09:00"))
    trigger = Trigger(market=Market.US_EQUITY, scheduled_at=desk.exchange.now)
    return PlaceOrders(TradingRoom(log, desk.broker, "paper", reopen))(trigger)


@pytest.mark.parametrize("accepts_count", range(12))
def test_a_key_that_is_rotated_in_a_run_is_read_again_and_the_run_goes_on(accepts_count: int) -> None:
    desk = SmallDesk({"AAA": ["100", "100"]}, lambda broker: OldKey(broker, accepts_count))
    desk.plan(TUESDAY, entry(TUESDAY, "AAA"))
    run = place_with(desk, lambda: SimulatedBroker(desk.exchange))
    assert (run.counts["orders"], desk.sent()) == (1, ["buy 10 AAA accepted"])
    assert read_halt(desk.memory) is None


def unreadable() -> Broker | None:
    raise StoreUnavailable("the parameter store is down")


@pytest.mark.parametrize("reopen", [lambda: None, unreadable])
def test_a_refused_key_that_was_not_changed_halts_the_desk(reopen: Callable[[], Broker | None]) -> None:
    desk = SmallDesk({"AAA": ["100", "100"]}, lambda broker: OldKey(broker, 4))
    desk.plan(TUESDAY, entry(TUESDAY, "AAA"))
    with pytest.raises(BrokerKeyRefused):
        place_with(desk, reopen)
    halt = read_halt(desk.memory)
    assert halt is not None
    assert halt.record.is_halted


def test_the_key_is_read_again_once_a_run() -> None:
    read: list[str] = []
    broker = OldKey(Counted())

    def also_old() -> Any:
        read.append("key")
        return broker

    guarded = GuardedBroker(broker, RequestBudget(), after(0), also_old)
    for _ in range(2):
        with pytest.raises(BrokerKeyRefused):
            guarded.account()
    assert (read, broker.refused) == (["key"], ["account"] * 3)


@pytest.mark.parametrize(("environment", "number"), [("live", "PA3SIMULATED"), ("paper", "123456789"), ("local", "123456789")])
def test_an_account_of_the_other_kind_is_refused_before_anything_is_sent(environment: str, number: str) -> None:
    desk = SmallDesk({"AAA": ["100", "100"]}, options=ExchangeOptions(account_number=number))
    desk.plan(TUESDAY, entry(TUESDAY, "AAA"))
    log = RunLog("place_orders", VERSION, desk.journal, FixedClock(), desk.inbox)
    desk.exchange.advance(new_york(TUESDAY, "09:00"))
    with pytest.raises(RunRefused, match=f"this desk is {environment}, but .* {number}"):
        PlaceOrders(TradingRoom(log, desk.broker, environment))(Trigger(market=Market.US_EQUITY, scheduled_at=desk.exchange.now))
    assert (desk.sent(), desk.inbox.alerts[0].subject) == ([], "place_orders refused to run")
