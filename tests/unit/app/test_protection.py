"""Where stops and targets lie: on a step that the broker takes, and that is fine enough for the price."""

from decimal import Decimal

import pytest

from closebell.app.protection import round_price, stop_price_usd, target_price_usd
from closebell.model.books import Lot, Position, PositionState
from closebell.model.instruments import Market
from tests.unit.app.small_desk import FIRST, new_york

D = Decimal


@pytest.mark.parametrize(
    ("market", "price", "rounded"),
    [
        (Market.US_EQUITY, "123.4567", "123.45"),
        (Market.US_EQUITY, "1.009", "1.00"),
        (Market.US_EQUITY, "0.99999", "0.9999"),
        (Market.CRYPTO, "64123.45678", "64123.45"),
        (Market.CRYPTO, "1.2345678", "1.2345"),
        (Market.CRYPTO, "0.123456789", "0.12345"),
        (Market.CRYPTO, "0.0014567891", "0.0014567"),
        (Market.CRYPTO, "0.00001234567", "0.000012345"),
    ],
)
def test_prices_are_rounded_down_to_a_step_that_fits_them(market: Market, price: str, rounded: str) -> None:
    assert round_price(D(price), market) == D(rounded)


@pytest.mark.parametrize("price", ["64000", "1.5", "0.0014", "0.00001"])
def test_a_coin_at_any_price_has_its_stop_and_target_where_they_were_meant(price: str) -> None:
    position = Position(
        symbol="ABC/USD", market=Market.CRYPTO, sector="crypto", state=PositionState.OPEN, plan_id="p", opened_session=FIRST,
        lots=(Lot(activity_id="a", quantity_shares=D(10), price_usd=D(price), opened_at=new_york(FIRST, "10:00")),),
        stop_loss_frac=D("0.03"), take_profit_frac=D("0.08"),
    )  # fmt: skip
    assert float(stop_price_usd(position) / D(price)) == pytest.approx(0.97, abs=2e-4)
    assert float(target_price_usd(position) / D(price)) == pytest.approx(1.08, abs=2e-4)
