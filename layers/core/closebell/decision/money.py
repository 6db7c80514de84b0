"""Where research's floats become money, and how prices and quantities are rounded."""

import math
from decimal import ROUND_DOWN, ROUND_HALF_EVEN, Decimal

from closebell.model.errors import DataError
from closebell.model.instruments import Market

_USD_STEP = Decimal("0.0001")
_COIN_STEP = Decimal("0.000000001")
_CENT = Decimal("0.01")


def usd_from_float(price: float) -> Decimal:
    """A bar's price as money: to 0.0001 USD, below one dollar to nine decimals (coins). DataError unless positive and finite."""
    if not (math.isfinite(price) and price > 0.0):
        raise DataError(f"{price!r} is no price")
    return Decimal(repr(float(price))).quantize(_USD_STEP if price >= 1.0 else _COIN_STEP, ROUND_HALF_EVEN)


def quantity_step_shares(market: Market) -> Decimal:
    """What closebell trades in: whole shares, so that a stop can rest overnight; coins to nine decimals."""
    return Decimal(1) if market is Market.US_EQUITY else _COIN_STEP


def limit_price_usd(price_usd: Decimal, market: Market) -> Decimal:
    """A buy limit on the broker's price grid, never above `price_usd`: cents, below one dollar 0.0001; coins to nine decimals."""
    if market is Market.CRYPTO:
        return price_usd.quantize(_COIN_STEP, ROUND_DOWN)
    return price_usd.quantize(_CENT if price_usd >= 1 else _USD_STEP, ROUND_DOWN)


def cents(amount_usd: Decimal) -> Decimal:
    """An amount to the cent, for what is shown."""
    return amount_usd.quantize(_CENT, ROUND_HALF_EVEN)
