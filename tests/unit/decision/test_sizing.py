"""How much, and what bound it."""

from decimal import Decimal

import pytest

from closebell.decision.exposure import exposure_of
from closebell.decision.sizing import allocate, risk_budget_frac
from closebell.model.broker import BrokerSnapshot
from closebell.model.decision import Allocation, Regime, Trend, Volatility
from closebell.model.instruments import Market
from closebell.model.parameters import RiskLimits
from tests.unit.decision.desks import account, candidate, desk, snapshot, venue_position


def sized(truth: BrokerSnapshot | None = None, budget_frac: str = "0.02", **changes: object) -> Allocation:
    exposure = exposure_of(desk(truth))
    assert exposure is not None
    return allocate(candidate("AAA", **changes), exposure, RiskLimits(), Decimal(budget_frac))


@pytest.mark.parametrize(
    ("allocation", "shares", "binding"),
    [
        (sized(), 190, "position_weight"),
        (sized(stop_loss_frac=Decimal("0.15")), 126, "risk_per_trade"),
        (sized(budget_frac="0.01", stop_loss_frac=Decimal("0.15")), 63, "risk_per_trade"),
        (sized(snapshot(venue_position("BBB", 50_000))), 95, "sector_exposure"),
        (sized(snapshot(venue_position("CCC", 90_000))), 95, "gross_exposure"),
        (sized(snapshot(broker_account=account(buying_power_usd=1_000))), 9, "buying_power"),
        (sized(average_volume_shares=Decimal(5_099)), 50, "volume_share"),
        (sized(average_volume_shares=Decimal(10_000_000)), 190, "position_weight"),
        (sized(snapshot(venue_position("BBB", 70_000))), 0, "sector_exposure"),
        (sized(snapshot(broker_account=account(buying_power_usd=-500))), 0, "buying_power"),
        (sized(snapshot(broker_account=account(0))), 0, "risk_per_trade"),
    ],
)
def test_the_smallest_room_binds(allocation: Allocation, shares: int, binding: str) -> None:
    assert (allocation.quantity_shares, allocation.binding) == (Decimal(shares), binding)


def test_an_allocation_says_what_it_is_worth_at_the_reference_price() -> None:
    found = sized(reference_price_usd=Decimal("100.5"), commitment_price_usd=Decimal("105.525"))
    assert found == Allocation(
        quantity_shares=Decimal(189), notional_usd=Decimal("18994.50"), weight_frac=Decimal("0.1899"), risk_usd=Decimal("569.84"),
        binding="position_weight",
    )


def test_coins_are_cut_to_nine_decimals() -> None:
    found = sized(market=Market.CRYPTO, reference_price_usd=Decimal(6_600), commitment_price_usd=Decimal(7_000))
    assert found.quantity_shares == Decimal("2.857142857")


@pytest.mark.parametrize(
    ("trend", "volatility", "budget"),
    [
        (Trend.BULL, Volatility.LOW, "0.02"), (Trend.BULL, Volatility.NORMAL, "0.015"), (Trend.SIDEWAYS, Volatility.LOW, "0.015"),
        (Trend.BULL, Volatility.HIGH, "0.01"), (Trend.BEAR, Volatility.LOW, "0.01"), (Trend.UNKNOWN, Volatility.LOW, "0.01"),
        (Trend.BULL, Volatility.UNKNOWN, "0.01"), (Trend.SIDEWAYS, Volatility.NORMAL, "0.015"),
    ],
)
def test_the_risk_budget_follows_the_regime(trend: Trend, volatility: Volatility, budget: str) -> None:
    regime = Regime(trend=trend, volatility=volatility, volatility_index_score=None, volatility_source="none")
    assert risk_budget_frac(regime, RiskLimits()) == Decimal(budget)
