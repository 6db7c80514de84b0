"""What a run knows of its orders and positions: what was executed and is not booked, and what a share is worth."""

from decimal import Decimal
from typing import Any

import pytest

from closebell.model.broker import VenuePosition, VenueStatus
from closebell.model.orders import OrderLeg, OrderRecord, OrderState
from closebell.ports.journal import Stored
from tests.unit.app.executor_bench import shown
from tests.unit.app.test_exit_desk import Closing

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


class ShowsNoShares:
    """A broker that lists the positions with the shares of a moment later: none."""

    def __init__(self, broker: Any) -> None:
        self._broker = broker

    def __getattr__(self, name: str) -> Any:
        return getattr(self._broker, name)

    def positions(self) -> list[VenuePosition]:
        nothing = {"quantity_shares": D(0), "market_value_usd": D(0)}
        return [held.model_copy(update=nothing) for held in self._broker.positions()]


def test_a_position_of_no_shares_has_no_price() -> None:
    assert Closing(ShowsNoShares).sync.price_usd("AAA") is None


def test_only_an_order_in_flight_or_not_booked_is_settling() -> None:
    closing = Closing()
    order = known(closing, "0")
    assert not closing.sync.is_settling("AAA")
    closing.sync.keeper.orders[order.client_order_id] = Stored(order.model_copy(update={"state": OrderState.UNKNOWN}), 1)
    assert closing.sync.is_settling("AAA")
    assert not closing.sync.is_settling("BBB")
