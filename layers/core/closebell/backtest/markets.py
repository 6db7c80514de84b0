"""The markets that a backtest can trade without files of the user's: the demo's real prices, and the synthetic market's days."""

from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from typing import NamedTuple

import numpy as np

from closebell.configuration import read_parameters
from closebell.model.instruments import Market
from closebell.model.panel import FIELDS, BarPanel
from closebell.model.parameters import ParameterSet
from closebell.ports.market_data import Calendar
from closebell.simulation.bar_market import BarMarket, hours_of
from closebell.simulation.market import SimulatedMarket
from closebell.simulation.real_prices import RealPrices, real_desk_toml
from closebell.simulation.synthetic.market import synthetic_market_on
from closebell.strategies import STRATEGIES

SYNTHETIC_REGIME_SYMBOL = "IDX0"


class NamedMarket(NamedTuple):
    """A market to trade, the configuration that fits it, and sentences about where its bars come from."""

    market: BarMarket
    parameters: ParameterSet
    notes: tuple[str, ...] = ()


def demo_market(calendar: Calendar, spread_frac: Decimal = Decimal(0)) -> NamedMarket:
    """Closes of twenty stocks 1999-2018, as the demo trades them. Raises ConfigurationError when they are not installed."""
    real = RealPrices(calendar)
    panel = real.panel()
    market = BarMarket(
        panel, hours_of(calendar, panel), spread_frac=spread_frac, volatility_closes=real.volatility_index(), label=real.label
    )
    return NamedMarket(market, read_parameters(real_desk_toml(), STRATEGIES))


def synthetic_days(
    calendar: Calendar, spread_frac: Decimal = Decimal(0), seed: int = 7, market: Market = Market.US_EQUITY
) -> NamedMarket:
    """The daily bars of the synthetic market's shares, with their splits, or those of its coins."""
    invented = synthetic_market_on(calendar, seed)
    symbols = tuple(asset.symbol for asset in invented.assets() if asset.market is market)
    panel = panel_of(invented, symbols, market)
    splits: Mapping[str, Mapping[date, float]] = {
        symbol: {split.ex_session: float(split.ratio) for split in invented.splits(symbol)} for symbol in symbols
    }
    found = BarMarket(
        panel, hours_of(calendar, panel, market), splits=splits, spread_frac=spread_frac, asset_class=market,
        account_hours=hours_of(calendar, panel), volatility_closes=invented.volatility_index(), label=invented.label,
    )  # fmt: skip
    universe = tuple(instrument for instrument in invented.instruments() if instrument.market is market)
    return NamedMarket(found, ParameterSet(universe=universe, regime_symbol=SYNTHETIC_REGIME_SYMBOL))


def panel_of(market: SimulatedMarket, symbols: tuple[str, ...], asset_class: Market = Market.US_EQUITY) -> BarPanel:
    """A simulated market's daily bars, as traded, as float64."""
    days = [hours.session for hours in market.sessions(asset_class)]
    row_of = {day: row for row, day in enumerate(days)}
    fields = {field: np.full((len(days), len(symbols)), np.nan) for field in FIELDS}
    for column, symbol in enumerate(symbols):
        for bar in market.day_bars(symbol, days[0], days[-1]):
            values = (bar.open_usd, bar.high_usd, bar.low_usd, bar.close_usd, bar.volume_shares)
            for field, value in zip(FIELDS, values, strict=True):
                fields[field][row_of[bar.session], column] = np.nan if value is None else float(value)
    return BarPanel(np.array(days, dtype="datetime64[D]"), symbols, **fields)
