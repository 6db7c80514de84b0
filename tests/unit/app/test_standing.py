"""What a run knows of its orders and positions: what was executed and is not booked, and what a share is worth."""

from decimal import Decimal

import pytest

from closebell.app.control import halt_desk
from closebell.app.desk import load_desk
from closebell.model.broker import VenuePosition, VenueStatus
from closebell.model.instruments import Market
from closebell.model.orders import OrderLeg, OrderRecord, OrderState
from closebell.ports.journal import Stored
from closebell.simulation.exchange.exchange import Exchange
from closebell.simulation.exchange.simulated_broker import SimulatedBroker
from tests.unit.app.executor_bench import shown
from tests.unit.app.test_exit_desk import WEDNESDAY, Closing

D = Decimal


def known(closing: Closing, executed: str, **changes: object) -> OrderRecord:
    """An order of ours for 10 AAA that works, of which the broker shows some shares as executed."""
    order = closing.also(OrderLeg.EXIT, OrderState.ACCEPTED, quantity_shares=D(10), **changes)
    status = VenueStatus.PARTIALLY_FILLED if D(executed) else VenueStatus.NEW
    closing.sync.executor.shown[order.client_order_id] = shown(order, status, executed)
    return order


@pytest.mark.parametrize(
    ("executed", "former", "booked", "unbooked"),
    [
        ("0", "0", "0", "0"), ("4", "0", "0", "4"), ("4", "0", "4", "0"),
        ("0", "3", "0", "3"),  # executed before the owner replaced it: what is shown now says nothing of it
        ("2", "3", "3", "2"), ("2", "3", "5", "0"),
    ],
)  # fmt: skip
def test_what_was_executed_before_and_after_a_replace_is_unbooked_until_the_ledger_has_it(
    executed: str, former: str, booked: str, unbooked: str
) -> None:
    closing = Closing()
    order = known(closing, executed, former_executed_shares=D(former), filled_quantity_shares=D(booked))
    assert closing.sync.unbooked_shares(order) == D(unbooked)
    assert closing.sync.is_settling("AAA") == (D(unbooked) > 0)


def test_an_order_that_the_broker_has_not_shown_has_nothing_unbooked() -> None:
    closing = Closing()
    order = known(closing, "4")
    del closing.sync.executor.shown[order.client_order_id]
    assert closing.sync.unbooked_shares(order) == 0


def test_a_share_is_worth_what_the_broker_values_it_at() -> None:
    closing = Closing()
    assert closing.sync.price_usd("AAA") == D(100)
    assert closing.sync.price_usd("ZZZ") is None


class ShowsAnother(SimulatedBroker):
    """A broker that lists its positions with another quantity and value."""

    def __init__(self, exchange: Exchange, shares: str, value_usd: str) -> None:
        super().__init__(exchange)
        self._other = {"quantity_shares": D(shares), "market_value_usd": D(value_usd)}

    def positions(self) -> list[VenuePosition]:
        return [held.model_copy(update=self._other) for held in super().positions()]


@pytest.mark.parametrize(
    ("shares", "value_usd", "price"), [("0", "0", None), ("3", "100", "33.3333333"), ("0.000000003", "0.0002", "66666.6667")]
)
def test_a_price_has_as_many_digits_as_a_rounded_value_tells(shares: str, value_usd: str, price: str | None) -> None:
    found = Closing(lambda broker: ShowsAnother(broker.exchange, shares, value_usd)).sync.price_usd("AAA")
    assert (found if found is None else str(found)) == price


def test_only_an_order_in_flight_or_not_booked_is_settling() -> None:
    closing = Closing()
    order = known(closing, "0")
    assert not closing.sync.is_settling("AAA")
    closing.sync.keeper.orders[order.client_order_id] = Stored(order.model_copy(update={"state": OrderState.UNKNOWN}), 1)
    assert closing.sync.is_settling("AAA")
    assert not closing.sync.is_settling("BBB")


def test_the_risk_checks_see_the_orders_that_live_and_whether_the_desk_is_halted() -> None:
    closing = Closing()
    entry = closing.also(OrderLeg.ENTRY, OrderState.ACCEPTED)
    view = closing.sync.view(Market.US_EQUITY, WEDNESDAY)
    assert entry in view.live_orders
    assert entry not in closing.sync.view(Market.US_EQUITY, WEDNESDAY, entry.client_order_id).live_orders
    assert not view.is_halted
    ended = closing.also(OrderLeg.ENTRY, OrderState.FILLED)
    assert ended not in closing.sync.view(Market.US_EQUITY, WEDNESDAY).live_orders
    halt_desk(closing.desk.memory, "a test", "the owner", closing.sync.now)
    closing.sync.desk = load_desk(closing.desk.memory)
    assert closing.sync.view(Market.US_EQUITY, WEDNESDAY).is_halted
