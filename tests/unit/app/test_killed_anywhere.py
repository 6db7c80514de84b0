"""The process is killed at every single read and write of the day, before and after it takes effect; then the schedule goes on.

Whatever the moment: the exchange ends with the same orders, the books with the same trades, nothing is sent twice.
"""

from collections.abc import Callable
from datetime import date
from decimal import Decimal
from functools import partial
from typing import Any

import pytest

from closebell.app.desk import load_desk
from closebell.model.errors import OutcomeUnknown
from closebell.simulation.exchange.simulated_broker import SimulatedBroker
from closebell.simulation.memory_journal import MemoryJournal
from tests.unit.app.small_desk import SmallDesk, entry, leave

TUESDAY, WEDNESDAY, THURSDAY = (date(2018, 10, day) for day in (2, 3, 4))
PRICES = {"AAA": ["100", "100", "101", "101"], "BBB": ["50", "50", "40", "40"]}
PORT_METHODS = {
    "clock", "calendar", "account", "asset", "positions", "open_orders", "order", "order_by_client_id", "activities", "quotes",
    "submit", "cancel", "read", "read_many", "query", "commit",
}  # fmt: skip


class ProcessGoneError(BaseException):
    """The process is gone: nothing may catch this."""


class Fuse:
    """Counts every call through a port and blows at one of them, once."""

    def __init__(self, blows_at: int, after: bool) -> None:
        self.calls_count = 0
        self.blows_at, self.after = blows_at, after

    def through(self, call: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        self.calls_count += 1
        blown = self.calls_count == self.blows_at
        if blown and not self.after:
            raise ProcessGoneError
        result = call(*args, **kwargs)
        if blown:
            raise ProcessGoneError
        return result


class Fused:
    """A port whose every method burns through the fuse."""

    def __init__(self, port: object, fuse: Fuse) -> None:
        self._port, self._fuse = port, fuse

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._port, name)
        if name not in PORT_METHODS:
            return found
        return lambda *args, **kwargs: self._fuse.through(found, *args, **kwargs)


def three_days(blows_at: int, after: bool) -> tuple[SmallDesk, Fuse]:
    """Buy two, be stopped out of one, leave the other by plan; a run that dies is sent once more, as Lambda would."""
    fuse = Fuse(blows_at, after)
    desk = SmallDesk(PRICES, lambda broker: Fused(broker, fuse), lambda journal: Fused(journal, fuse))
    desk.plan(TUESDAY, entry(TUESDAY, "AAA"), entry(TUESDAY, "BBB", reference="50"))
    desk.plan(WEDNESDAY)
    desk.plan(THURSDAY, leave(THURSDAY, "AAA"))
    for day in (TUESDAY, WEDNESDAY, THURSDAY):
        steps: list[Callable[[], object]] = [partial(desk.place, day)]
        steps += [partial(desk.reconcile, day, at) for at in ("09:05", "09:10", "16:00", "16:05")]
        for step in steps:
            try:
                step()
            except ProcessGoneError:
                step()
    return desk, fuse


def trades(desk: SmallDesk) -> list[tuple[str, object]]:
    found = desk.memory.query("journal", "TRADE#us_equity")
    return [(item.record.key.sort, getattr(item.record, "pnl_usd", None)) for item in found]


def outcome(desk: SmallDesk) -> tuple[object, ...]:
    return (
        sorted(desk.sent()),
        sorted(desk.exchange.floor.book.holdings),
        desk.exchange.floor.book.cash_usd,
        [
            (item.record.key.sort, getattr(item.record, "pnl_usd", None))
            for item in desk.memory.query("journal", "TRADE#us_equity")
        ],
        dict(load_desk(desk.memory).positions),
        dict(load_desk(desk.memory).orders),
        [alert.subject for alert in desk.inbox.alerts],
    )


@pytest.mark.parametrize("after", [False, True], ids=["before-it-takes-effect", "after-it-took-effect"])
def test_the_day_ends_the_same_wherever_the_process_is_killed(after: bool) -> None:
    whole, fuse = three_days(0, after)
    expected = outcome(whole)
    assert fuse.calls_count > 100, "the day has enough reads and writes to be killed at"
    assert len(trades(whole)) == 2, "both positions are closed in the whole day"
    for moment in range(1, fuse.calls_count + 1):
        killed, _ = three_days(moment, after)
        assert outcome(killed) == expected, f"killed {'after' if after else 'before'} call {moment}"


class LosesAnswers(SimulatedBroker):
    """A broker that accepts every order and whose answer is lost `lost_count` times an order."""

    def __init__(self, inner: SimulatedBroker, lost_count: int) -> None:
        super().__init__(inner.exchange)
        self._left: dict[str, int] = {}
        self._lost_count = lost_count

    def submit(self, request: Any) -> Any:
        left = self._left.setdefault(request.client_order_id, self._lost_count)
        self._left[request.client_order_id] = left - 1
        accepted = super().submit(request)
        if left > 0:
            raise OutcomeUnknown("504 Gateway Timeout")
        return accepted


@pytest.mark.parametrize("lost_count", [1, 2, 99])
def test_a_timeout_after_acceptance_never_makes_a_second_order(lost_count: int) -> None:
    """The forerunner's bug: a new id, or the SDK's own retry, after every timeout."""
    desk = SmallDesk({"AAA": ["100", "100", "100"]}, lambda broker: LosesAnswers(broker, lost_count))
    desk.plan(TUESDAY, entry(TUESDAY, "AAA"))
    desk.day(TUESDAY)
    assert desk.shares("AAA") == Decimal(10)
    buys = [line for line in desk.sent() if line.startswith("buy")]
    assert buys == ["buy 10 AAA filled"]
    protections = [line for line in desk.sent() if line.startswith("sell")]
    assert len(protections) == 2, "one OCO: its target and its stop"


def test_an_order_that_never_arrived_is_sent_again_under_its_own_id() -> None:
    class NeverArrives(SimulatedBroker):
        tried = 0

        def submit(self, request: Any) -> Any:
            NeverArrives.tried += 1
            if NeverArrives.tried == 1:
                raise OutcomeUnknown("connect timeout")
            return super().submit(request)

    desk = SmallDesk({"AAA": ["100", "100"]}, lambda broker: NeverArrives(broker.exchange))
    desk.plan(TUESDAY, entry(TUESDAY, "AAA"))
    desk.place(TUESDAY)
    assert desk.sent() == []
    desk.reconcile(TUESDAY, "09:05")
    assert desk.sent() == ["buy 10 AAA accepted"]


def test_past_its_deadline_an_unknown_order_is_only_read_and_given_up_next_session() -> None:
    class Deaf(SimulatedBroker):
        def submit(self, request: Any) -> Any:
            raise OutcomeUnknown("connect timeout")

    desk = SmallDesk({"AAA": ["100", "100", "100"]}, lambda broker: Deaf(broker.exchange))
    desk.plan(TUESDAY, entry(TUESDAY, "AAA"))
    desk.place(TUESDAY)
    run = desk.reconcile(TUESDAY, "09:10")
    assert run.counts["unknown"] == 1, "an alarm watches this count"
    (order,) = load_desk(desk.memory).orders.values()
    assert (order.record.state, order.record.sent_count) == ("quarantined", 1)
    desk.reconcile(WEDNESDAY, "09:05")
    assert load_desk(desk.memory).orders == {}
    assert isinstance(desk.memory, MemoryJournal)
