"""The price grid of the synthetic venue: cents from one dollar on, finer below."""

from decimal import Decimal

import numpy as np

from closebell.model.instruments import Market
from closebell.model.panel import Matrix

# US venues quote 0.0001 below one dollar; a coin of six cents needs more.
_DECIMALS_BELOW_ONE = {Market.US_EQUITY: 4, Market.CRYPTO: 6}


def on_grid(prices_usd: Matrix, market: Market) -> Matrix:
    """Prices rounded to the grid; rounding keeps their order."""
    return np.where(prices_usd >= 1, np.round(prices_usd, 2), np.round(prices_usd, _DECIMALS_BELOW_ONE[market]))


def price(value_usd: float, market: Market) -> Decimal:
    """One price as a Decimal on the grid."""
    return Decimal(f"{value_usd:.{2 if value_usd >= 1 else _DECIMALS_BELOW_ONE[market]}f}")
