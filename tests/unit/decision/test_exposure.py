"""What counts against the limits: the broker's word, and what it cannot show yet."""

from decimal import Decimal
from typing import Any

import pytest

from closebell.decision.exposure import Exposure, exposure_of
from closebell.model.books import PositionState
from closebell.model.broker import BrokerSnapshot, Side
from closebell.model.instruments import Market
from closebell.model.orders import DayCounters, OrderLeg, OrderState
from tests.unit.decision.desks import (
    NEXT_SESSION,
    NO_SNAPSHOT,
    NOW,
    desk,
    order,
    position,
    snapshot,
    venue_order,
    venue_position,
)


def exposure(truth: BrokerSnapshot, **changes: Any) -> Exposure:
    found = exposure_of(desk(truth, **changes))
    assert found is not None
    return found


def test_48_phantom_positions_are_no_exposure() -> None:
    phantoms = [position(f"P{number}") for number in range(48)]
    found = exposure(snapshot(), positions=phantoms)
    assert (found.gross_usd, found.slots, dict(found.blocked)) == (Decimal(0), frozenset(), {})


def test_without_a_snapshot_nobody_knows() -> None:
    assert exposure_of(desk(NO_SNAPSHOT, positions=[position("AAA")])) is None


def test_positions_count_at_the_brokers_value_whosever_they_are() -> None:
    found = exposure(snapshot(venue_position("AAA", 1_500), venue_position("ZZZ", -700, -7)))
    assert found.values_usd == {"AAA": Decimal(1500), "ZZZ": Decimal(700)}
    assert found.slots == {"AAA", "ZZZ"}
    assert found.sector_usd("tech") == 1500
    assert found.sector_usd("unknown") == 700
    assert dict(found.blocked) == {"AAA": "held", "ZZZ": "held"}


def test_dust_is_value_but_neither_a_slot_nor_in_the_way() -> None:
    found = exposure(snapshot(venue_position("AAA", 3)), positions=[position("AAA", PositionState.DUST)])
    assert (found.gross_usd, found.slots, dict(found.blocked)) == (Decimal(3), frozenset(), {})


def test_every_buy_that_the_broker_does_not_show_is_out_of_its_buying_power() -> None:
    found = exposure(snapshot(), orders=[order("AAA"), order("CCC", reserved_usd=2_500), order("BBB", side=Side.SELL)])
    assert found.buying_power_usd == 100_000 - 1_000 - 2_500
    assert found.slots == {"AAA", "CCC"}


def test_what_is_disputed_is_blocked_even_if_the_broker_has_none() -> None:
    assert exposure(snapshot(), positions=[position("AAA", PositionState.DISPUTED)]).blocked == {"AAA": "disputed"}


@pytest.mark.parametrize("state", [state for state in OrderState if not state.is_terminal])
def test_an_order_the_broker_does_not_show_counts_in_full(state: OrderState) -> None:
    found = exposure(snapshot(), orders=[order("AAA", state)])
    assert found.values_usd == {"AAA": Decimal(1000)}
    assert found.buying_power_usd == 99_000
    assert found.slots == {"AAA"}
    assert found.blocked == {"AAA": "its entry order is out"}


def test_an_open_order_counts_for_its_unfilled_part_and_the_brokers_buying_power_knows_it() -> None:
    shown = venue_order("AAA", "cb-AAA", filled_quantity_shares=4)
    found = exposure(snapshot(venue_position("AAA", 400, 4), orders=[shown]), orders=[order("AAA")])
    assert found.values_usd == {"AAA": Decimal(400) + Decimal(600)}
    assert found.buying_power_usd == 100_000


def test_an_order_that_ended_before_the_snapshot_counts_nothing() -> None:
    done = order("AAA", OrderState.FILLED, filled_quantity_shares=10)
    assert exposure(snapshot(venue_position("AAA", 990)), orders=[done]).values_usd == {"AAA": Decimal(990)}


def test_an_order_that_filled_after_the_snapshot_counts_in_full() -> None:
    done = order("AAA", OrderState.FILLED, filled_quantity_shares=10, updated_at=NOW)
    assert exposure(snapshot(), orders=[done]).values_usd == {"AAA": Decimal(1000)}


def test_an_order_that_was_rejected_after_the_snapshot_counts_nothing() -> None:
    assert exposure(snapshot(), orders=[order("AAA", OrderState.REJECTED, updated_at=NOW)]).gross_usd == 0


def test_a_sell_of_ours_blocks_its_symbol_and_claims_nothing() -> None:
    found = exposure(snapshot(), orders=[order("AAA", side=Side.SELL, leg=OrderLeg.EXIT)])
    assert (found.gross_usd, found.slots, found.blocked) == (Decimal(0), frozenset(), {"AAA": "its exit order is out"})


def test_an_order_that_is_not_ours_blocks_its_symbol_and_claims_its_price() -> None:
    foreign = venue_order("AAA", limit_price_usd=50, filled_quantity_shares=4)
    found = exposure(snapshot(orders=[foreign, venue_order("BBB", side=Side.SELL)]))
    assert found.values_usd == {"AAA": Decimal(300), "BBB": Decimal(0)}
    assert found.slots == {"AAA"}
    assert set(found.blocked.values()) == {"an order that is not ours rests"}
    assert found.unpriced == ()


def test_a_foreign_order_without_a_price_makes_the_exposure_unknown() -> None:
    assert exposure(snapshot(orders=[venue_order("AAA")])).unpriced == ("AAA",)


def test_no_order_hides_the_ones_after_it() -> None:
    """One that ended, a sale and one that is ours or nobody's: every order behind them counts all the same."""
    ours = [order("DDD", OrderState.FILLED, filled_quantity_shares=10), order("CCC", side=Side.SELL), order("AAA")]
    shown = [
        venue_order("AAA", "cb-AAA"),
        venue_order("EEE", side=Side.SELL),
        venue_order("BBB", limit_price_usd=50),
        venue_order("ZZZ", stop_price_usd=20),
    ]
    found = exposure(snapshot(orders=shown), orders=ours)
    assert {symbol: value for symbol, value in found.values_usd.items() if value} == {"AAA": 1000, "BBB": 500, "ZZZ": 200}
    assert found.slots == {"AAA", "BBB", "ZZZ"}
    assert found.blocked == {
        "AAA": "its entry order is out",
        "CCC": "its entry order is out",
        "BBB": "an order that is not ours rests",
        "EEE": "an order that is not ours rests",
        "ZZZ": "an order that is not ours rests",
    }
    assert (found.sector_usd("tech"), found.sector_usd("unknown")) == (Decimal(1500), Decimal(200))
    assert found.sector_slots("unknown") == 1
    assert found.sectors == {"AAA": "tech", "BBB": "tech", "CCC": "energy", "EEE": "tech", "ZZZ": "unknown"}
    assert found.unpriced == ()


def test_a_sale_of_ours_is_no_unknown_value() -> None:
    assert exposure(snapshot(), orders=[order("AAA", side=Side.SELL)]).unpriced == ()


def test_an_order_that_filled_as_the_snapshot_was_taken_is_in_it() -> None:
    done = order("AAA", OrderState.FILLED, filled_quantity_shares=10, updated_at=snapshot().as_of)
    assert exposure(snapshot(venue_position("AAA", 990)), orders=[done]).gross_usd == 990


def test_an_order_that_filled_in_the_snapshot_claims_nothing_more() -> None:
    shown = venue_order("AAA", "cb-AAA", filled_quantity_shares=10)
    assert exposure(snapshot(venue_position("AAA", 990), orders=[shown]), orders=[order("AAA")]).gross_usd == 990


def test_planning_an_entry_adds_to_what_its_symbol_has() -> None:
    after = exposure(snapshot(venue_position("AAA", 1_000))).with_entry("AAA", "tech", Decimal(500))
    assert (after.values_usd, after.blocked) == ({"AAA": Decimal(1500)}, {"AAA": "planned already"})


def test_planning_an_entry_takes_its_room() -> None:
    before = exposure(snapshot(venue_position("AAA", 1_000)))
    after = before.with_entry("BBB", "tech", Decimal(500))
    assert after.gross_usd == after.sector_usd("tech") == Decimal(1500)
    assert after.sector_slots("tech") == 2
    assert after.buying_power_usd == before.buying_power_usd - 500
    assert after.orders_count == before.orders_count + 1
    assert "BBB" in after.blocked
    assert before.gross_usd == 1000


def test_the_orders_of_the_session_are_counted() -> None:
    counters = DayCounters(market=Market.US_EQUITY, session=NEXT_SESSION, orders_count=7)
    assert exposure(snapshot(), counters=counters).orders_count == 7


def test_a_symbol_counts_in_the_sector_that_the_configuration_names_now() -> None:
    moved = order("AAA", sector="utilities")
    assert exposure(snapshot(), orders=[moved]).sector_usd("tech") == 1000
    assert exposure(snapshot(), orders=[moved], sectors={"BBB": "tech"}).sector_usd("utilities") == 1000


def test_a_position_of_no_shares_is_none() -> None:
    assert exposure(snapshot(venue_position("AAA", 0, 0))).values_usd == {}
