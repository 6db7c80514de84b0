"""What is listed on the synthetic market: invented companies and funds, and crypto pairs under their real names.

No real US ticker contains a digit, so every equity symbol here does: `TEC1`..`TEC6` are companies of the technology sector,
`TEC0` is its fund and `IDX0` the fund of the whole market.
"""

from decimal import Decimal
from typing import NamedTuple

from closebell.model.instruments import Instrument, Market
from closebell.simulation.market import ListedAsset

INDEX_FUND = "IDX0"

# GICS sector -> symbol prefix and number of companies: 60 in all.
_SECTORS = {
    "Communication Services": ("COM", 5),
    "Consumer Discretionary": ("DIS", 6),
    "Consumer Staples": ("STA", 5),
    "Energy": ("ENE", 5),
    "Financials": ("FIN", 6),
    "Health Care": ("HEA", 6),
    "Industrials": ("IND", 6),
    "Information Technology": ("TEC", 6),
    "Materials": ("MAT", 5),
    "Real Estate": ("REA", 5),
    "Utilities": ("UTI", 5),
}


class Pair(NamedTuple):
    """A crypto pair: its price on the first day, sensitivity to the crypto factor, own standard deviation and turnover a day."""

    name: str
    first_price_usd: float
    beta: float
    noise_frac: float
    turnover_usd: float


PAIRS = {
    "BTC/USD": Pair("Bitcoin", 41_000.0, 0.9, 0.006, 4e8),
    "ETH/USD": Pair("Ethereum", 2_900.0, 1.1, 0.012, 2e8),
    "SOL/USD": Pair("Solana", 140.0, 1.5, 0.025, 8e7),
    "LTC/USD": Pair("Litecoin", 150.0, 1.0, 0.018, 2e7),
    "DOGE/USD": Pair("Dogecoin", 0.21, 1.3, 0.028, 3e7),
}

SECTORS = tuple(_SECTORS)
COMPANIES = {f"{prefix}{number}": sector for sector, (prefix, count) in _SECTORS.items() for number in range(1, count + 1)}
SECTOR_FUNDS = {f"{prefix}0": sector for sector, (prefix, _) in _SECTORS.items()}
EQUITIES = (*COMPANIES, *SECTOR_FUNDS, INDEX_FUND)


def instruments() -> tuple[Instrument, ...]:
    """Companies with their GICS sectors, then the crypto pairs: a universe for the configuration (no funds)."""
    return tuple(Instrument(symbol=symbol, sector=sector) for symbol, sector in COMPANIES.items()) + tuple(
        Instrument(symbol=symbol, sector="Crypto", market=Market.CRYPTO) for symbol in PAIRS
    )


def listed_assets() -> tuple[ListedAsset, ...]:
    """Companies, funds and pairs as an exchange lists them. Funds have the narrowest spread, pairs the widest."""
    return (
        *(_equity(symbol, f"Synthetic {sector} Company {symbol[-1]}", "NYSE", "0.0004") for symbol, sector in COMPANIES.items()),
        *(_equity(symbol, f"Synthetic {sector} Fund", "ARCA", "0.0002") for symbol, sector in SECTOR_FUNDS.items()),
        _equity(INDEX_FUND, "Synthetic Index Fund", "ARCA", "0.0001"),
        *(_pair(symbol, f"Synthetic {pair.name}") for symbol, pair in PAIRS.items()),
    )


def _equity(symbol: str, name: str, exchange: str, spread_frac: str) -> ListedAsset:
    return ListedAsset(
        symbol=symbol, name=name, market=Market.US_EQUITY, exchange=exchange, tradable=True, fractionable=True,
        shortable=True, increment_shares=Decimal("1e-9"), spread_frac=Decimal(spread_frac),
    )


def _pair(symbol: str, name: str) -> ListedAsset:
    return ListedAsset(
        symbol=symbol, name=name, market=Market.CRYPTO, exchange="CRYPTO", tradable=True, fractionable=True,
        shortable=False, increment_shares=Decimal("1e-9"), spread_frac=Decimal("0.0008"),
    )
