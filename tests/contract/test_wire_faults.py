"""Faults on the wire, with the required reaction of each: real alpaca-py, HTTP, the simulated exchange, the real use cases.

The desk buys ten shares on Friday's open, rests a stop, and sells them on Monday. Whatever the wire does, there is never a
second order for one purpose; where the fault only hides an answer, the final book is that of the same days without it.
"""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from closebell.adapters.alpaca_broker import AlpacaBroker
from closebell.app.control import read_halt
from closebell.app.desk import load_desk
from closebell.model.books import PositionState
from closebell.model.orders import OrderLeg, OrderState
from tests.contract.conftest import running_exchange
from tests.contract.tiny_market import FRI, MON, THU, ny
from tests.contract.wire_desk import READ_TIMEOUT_S, Book, WireDesk

S = OrderState
HANG_S = READ_TIMEOUT_S * 1.6


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[WireDesk]:
    with running_exchange(tmp_path / "exchange", ny(THU, "16:30")) as site:
        yield WireDesk(site)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Book:
    """The same two days with nothing in the way."""
    with running_exchange(tmp_path_factory.mktemp("calm"), ny(THU, "16:30")) as site:
        calm = WireDesk(site)
        calm.day(FRI)
        calm.day(MON)
        assert calm.failures == []
        return calm.book()


def test_the_undisturbed_days_buy_protect_and_sell_once(undisturbed: Book) -> None:
    assert undisturbed.orders == ("buy 10 simple filled", "sell 10 oco canceled", "sell 10 simple filled")
    assert (int(undisturbed.shares), len(undisturbed.positions), len(undisturbed.trades)) == (0, 0, 1)


HIDDEN_ANSWERS = {
    "timeout_before": {"seconds": HANG_S},
    "timeout_after": {"seconds": HANG_S},
    "gateway_timeout_after_accept": {},
    "garbage_html": {},
    "truncated_body": {},
    "empty_200": {},
    "server_error": {},
    "rate_limited": {},
}
"""What hides from the sender what became of an order, with how."""

STRUCK_AT = {OrderLeg.ENTRY: (FRI, "09:00"), OrderLeg.PROTECT: (FRI, "09:35"), OrderLeg.EXIT: (MON, "09:05")}
"""When each kind of order is sent."""


@pytest.mark.parametrize("leg", STRUCK_AT)
@pytest.mark.parametrize("fault", HIDDEN_ANSWERS)
def test_an_order_whose_answer_is_lost_is_unknown_then_found_or_sent_again_under_its_own_id(
    fault: str, leg: OrderLeg, desk: WireDesk, undisturbed: Book
) -> None:
    for session in (FRI, MON):
        for at in ("09:00", "09:05", "09:10", "09:35", "09:40", "09:45", "10:00", "16:05"):
            strikes = (session, at) == STRUCK_AT[leg]
            if strikes:
                desk.site.fault(fault, method="POST", path="/v2/orders", **HIDDEN_ANSWERS[fault])
            desk.run(session, at)
            if strikes:
                (order,) = [one for one in desk.orders(session) if one.leg is leg]
                assert order.state is S.UNKNOWN
                assert order.client_order_id in load_desk(desk.journal).orders, "it stays live, its symbol blocked"
                assert order.reserved_usd > 0 or leg is not OrderLeg.ENTRY
    (order,) = [one for one in desk.orders(STRUCK_AT[leg][0]) if one.leg is leg]
    assert desk.path_of(order)[:3] == [S.INTENT, S.SUBMITTING, S.UNKNOWN]
    assert desk.book() == undisturbed
    assert desk.doubled() == []


@pytest.mark.parametrize(("is_listed", "sent_count"), [(True, 1), (False, 2)])
def test_an_order_that_cannot_be_found_for_a_while_is_adopted(
    desk: WireDesk, undisturbed: Book, is_listed: bool, sent_count: int
) -> None:
    """The look-up by our id lags, and 404 proves nothing. What the list shows is not sent again; where the list lacks it too, the
    same id again is a duplicate, and the order is adopted."""
    desk.site.fault("timeout_after", method="POST", path="/v2/orders", seconds=HANG_S)
    desk.site.fault("not_found_lag", path="/v2/orders:by_client_order_id", seconds=400, times=1)
    if not is_listed:
        desk.site.fault("list_omits_order", times=4)
    desk.day(FRI)
    desk.day(MON)
    (entry,) = [one for one in desk.orders(FRI) if one.leg is OrderLeg.ENTRY]
    assert desk.site.venue.exchange.submissions[entry.client_order_id] == sent_count
    assert desk.book() == undisturbed


@pytest.mark.parametrize(
    ("fault", "conditions"),
    [
        ("server_error", {"method": "GET", "path": "/v2/account"}),
        ("garbage_html", {"method": "GET", "path": "/v2/orders"}),
        ("truncated_body", {"method": "GET", "path": "/v2/account/activities"}),
        ("empty_200", {"method": "GET", "path": "/v2/positions"}),
        ("timeout_before", {"method": "GET", "path": "/v2/clock", "seconds": HANG_S}),
        ("rate_limited", {"method": "GET", "path": "/v2/positions"}),
        ("positions_error", {}),
        ("positions_empty", {"times": 3}),
        ("unknown_enum", {"method": "GET", "path": "/v2/orders"}),
        ("list_omits_order", {}),
    ],
)
@pytest.mark.parametrize("at", ["09:10", "09:40", "10:00"])
def test_a_reading_that_is_not_whole_changes_nothing_and_the_next_one_goes_on(
    at: str, fault: str, conditions: dict[str, object], desk: WireDesk, undisturbed: Book
) -> None:
    desk.day(FRI, last="09:05")
    for moment in ("09:10", "09:35", "09:40", "09:45", "10:00", "16:05"):
        before = desk.positions()
        if moment == at:
            desk.site.fault(fault, **conditions)
        state = desk.run(FRI, moment)
        if moment == at and state is None:
            assert desk.positions() == before
            assert desk.failures[-1].startswith(("BrokerUnavailable", "RateLimited"))
        desk.site.control("DELETE", "/faults")
    desk.day(MON)
    assert desk.book() == undisturbed
    assert not load_desk(desk.journal).is_halted


def test_a_key_that_is_refused_halts_and_names_no_secret(desk: WireDesk) -> None:
    desk.day(FRI, last="09:35")
    desk.site.fault("unauthorized", times=None)
    desk.run(FRI, "09:40")
    halt = read_halt(desk.journal)
    assert halt is not None
    assert halt.record.is_halted
    desk.site.control("DELETE", "/faults")
    desk.run(FRI, "09:45")
    assert "halted" in desk.inbox.told
    assert "TEST-SECRET" not in desk.inbox.told + "".join(desk.failures)
    assert desk.positions()[0].state is PositionState.PROTECTED, "what protects goes on while the desk is halted"


def test_an_order_rejected_after_a_200_is_over_and_nothing_is_held(desk: WireDesk) -> None:
    desk.site.fault("reject_after_accept")
    desk.day(FRI)
    (entry,) = desk.orders(FRI)
    assert entry.state is S.REJECTED
    assert desk.positions() == []
    assert desk.book().orders == ("buy 10 simple rejected",)


def test_an_exit_waits_for_a_slow_cancel_and_is_sent_once(desk: WireDesk) -> None:
    desk.day(FRI)
    desk.site.fault("slow_cancel", seconds=420, times=1)
    desk.day(MON)
    exits = [one for one in desk.orders(MON) if one.leg is OrderLeg.EXIT]
    assert [one.state for one in exits] == [S.FILLED]
    assert desk.book().shares == 0
    assert desk.doubled() == []


def test_an_id_that_somebody_else_used_for_another_order_halts(desk: WireDesk) -> None:
    """422 duplicate, and the order behind the id is not the one we meant."""
    desk.site.fault("timeout_before", method="POST", path="/v2/orders", seconds=HANG_S)
    desk.run(FRI, "09:00")
    (entry,) = desk.orders(FRI)
    other = entry.request.model_copy(update={"quantity_shares": entry.quantity_shares * 2})
    desk.broker.submit(other)
    desk.run(FRI, "09:05")
    halt = read_halt(desk.journal)
    assert halt is not None
    assert halt.record.is_halted
    assert "was meant as buy 10 ACME" in desk.inbox.told


def test_nobody_listens_at_the_brokers_address(desk: WireDesk, unused_port: int) -> None:
    """Connection refused: the run fails, nothing is written but the run and its alert."""
    working = desk.broker
    desk.broker = AlpacaBroker("k", "s", f"http://127.0.0.1:{unused_port}", f"http://127.0.0.1:{unused_port}", paper=True)
    assert desk.run(FRI, "09:00") is None
    assert desk.orders(FRI) == []
    assert "place_orders failed" in desk.inbox.told
    desk.broker = working
    assert desk.run(FRI, "09:05") is not None


@pytest.fixture
def unused_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port
