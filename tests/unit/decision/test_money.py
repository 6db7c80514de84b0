"""Floats become money in one place; prices and quantities meet the broker's grid."""

import math
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from closebell.decision.money import limit_price_usd, usd_from_float
from closebell.model.errors import DataError
from closebell.model.instruments import Market


@pytest.mark.parametrize(
    ("price", "money"),
    [
        (129.652, "129.6520"), (0.1 + 0.2, "0.300000000"), (1.00005, "1.0000"), (1.00015, "1.0002"), (3e-05, "0.000030000"),
        (7, "7.0000"),
    ],
)
def test_a_price_becomes_exact_money(price: float, money: str) -> None:
    assert str(usd_from_float(price)) == money


@pytest.mark.parametrize("price", [math.nan, math.inf, 0.0, -1.0])
def test_what_is_no_price_is_no_money(price: float) -> None:
    with pytest.raises(DataError, match="is no price"):
        usd_from_float(price)


@given(st.floats(min_value=1e-4, max_value=1e7))
def test_money_is_within_half_a_step_of_the_price(price: float) -> None:
    step = 1e-4 if price >= 1 else 1e-9
    assert abs(float(usd_from_float(price)) - price) <= step * 0.5001 + price * 1e-15


@pytest.mark.parametrize(
    ("price", "market", "limit"),
    [
        ("101.019", Market.US_EQUITY, "101.01"), ("0.98769", Market.US_EQUITY, "0.9876"),
        ("6600.1234567891", Market.CRYPTO, "6600.123456789"),
    ],
)
def test_a_buy_limit_is_never_above_what_was_meant(price: str, market: Market, limit: str) -> None:
    assert limit_price_usd(Decimal(price), market) == Decimal(limit)
