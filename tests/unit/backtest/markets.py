"""Small seeded markets of daily bars: shares on NYSE's sessions, coins on every day."""

from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path

import numpy as np

from closebell.adapters.exchange_calendar import ExchangeCalendar
from closebell.model.instruments import Instrument, Market
from closebell.model.panel import FIELDS, BarPanel
from closebell.model.parameters import ExitTerms, ParameterSet, RiskLimits
from closebell.simulation.bar_market import BarMarket, hours_of

CALENDAR = ExchangeCalendar()


def seeded_panel(seed: int, sessions_count: int, symbols_count: int, volatility_frac: float = 0.015) -> BarPanel:
    """Random walks with overnight gaps, in cents; volumes around a million."""
    generator = np.random.default_rng(seed)
    hours = CALENDAR.sessions(Market.US_EQUITY, date(2012, 1, 3), date(2021, 12, 31))[:sessions_count]
    shape = (sessions_count, symbols_count)
    closes = 60.0 * np.exp(np.cumsum(generator.normal(0.0005, volatility_frac, shape), axis=0))
    before = np.vstack([closes[:1], closes[:-1]])
    opens = before * np.exp(generator.normal(0.0, volatility_frac / 2, shape))
    highs = np.maximum(opens, closes) * (1 + np.abs(generator.normal(0.0, volatility_frac / 2, shape)))
    lows = np.minimum(opens, closes) * (1 - np.abs(generator.normal(0.0, volatility_frac / 2, shape)))
    days = np.array([hour.session for hour in hours], dtype="datetime64[D]")
    symbols = tuple(f"S{number:02d}" for number in range(symbols_count))
    opens, highs, lows, closes = (np.round(prices, 2) for prices in (opens, highs, lows, closes))
    return BarPanel(days, symbols, opens, highs, lows, closes, np.round(generator.uniform(5e5, 2e6, shape)))


def with_another_future(panel: BarPanel, cut: int) -> BarPanel:
    """The panel with every price from row `cut` on replaced."""
    shape = (len(panel.sessions) - cut, len(panel.symbols))
    factor = np.exp(np.random.default_rng(9).normal(0.0, 0.05, shape))
    changed = {field: getattr(panel, field).copy() for field in FIELDS[:4]}
    for prices in changed.values():
        prices[cut:] = np.round(prices[cut:] * factor, 2)
    return replace(panel, **changed)


def market_of(panel: BarPanel, spread_frac: str = "0") -> BarMarket:
    """The market over a panel."""
    return BarMarket(panel, hours_of(CALENDAR, panel), spread_frac=Decimal(spread_frac))


def coin_panel(seed: int, days_count: int, symbols: tuple[str, ...] = ("BTC/USD", "ETH/USD", "SOL/USD")) -> BarPanel:
    """Random walks that rise, in cents; a day opens about where the last one closed."""
    generator = np.random.default_rng(seed)
    shape = (days_count, len(symbols))
    closes = 900.0 * np.exp(np.cumsum(generator.normal(0.004, 0.025, shape), axis=0))
    before = np.vstack([closes[:1], closes[:-1]])
    opens = before * np.exp(np.clip(generator.normal(0.0, 0.002, shape), -0.005, 0.005))
    highs = np.maximum(opens, closes) * (1 + np.abs(generator.normal(0.0, 0.015, shape)))
    lows = np.minimum(opens, closes) * (1 - np.abs(generator.normal(0.0, 0.01, shape)))
    days = np.array([date(2020, 1, 1) + timedelta(days=place) for place in range(days_count)], dtype="datetime64[D]")
    opens, highs, lows, closes = (np.round(prices, 2) for prices in (opens, highs, lows, closes))
    return BarPanel(days, symbols, opens, highs, lows, closes, generator.uniform(1e5, 2e5, shape))


def coin_market(panel: BarPanel, spread_frac: str = "0") -> BarMarket:
    """The market over a panel of coins."""
    hours = hours_of(CALENDAR, panel, Market.CRYPTO)
    return BarMarket(
        panel, hours, spread_frac=Decimal(spread_frac), asset_class=Market.CRYPTO, account_hours=hours_of(CALENDAR, panel)
    )


def parameters_of(
    panel: BarPanel, *strategies: str, limits: RiskLimits | None = None, exits: ExitTerms | None = None,
    market: Market = Market.US_EQUITY,
) -> ParameterSet:
    """A desk that trades every symbol of a panel by some strategies, one vote enough."""
    return ParameterSet(
        universe=tuple(
            Instrument(symbol=symbol, sector=f"sector {place % 4}", market=market) for place, symbol in enumerate(panel.symbols)
        ),
        regime_symbol=panel.symbols[0],
        crypto_regime_symbol=panel.symbols[0],
        strategies=strategies,
        votes_to_act_count_min=1,
        limits=limits or RiskLimits(),
        exits=exits or ExitTerms(),
    )


def write_bars(folder: Path, panel: BarPanel) -> Path:
    """A file a symbol; BTC/USD is BTCUSD.csv."""
    for column, symbol in enumerate(panel.symbols):
        rows = [
            f"{day},{panel.open[row, column]},{panel.high[row, column]},{panel.low[row, column]},{panel.close[row, column]},"
            f"{panel.volume[row, column]:.0f}"
            for row, day in enumerate(panel.sessions)
        ]
        (folder / f"{symbol.replace('/', '')}.csv").write_text("\n".join(["date,open,high,low,close,volume", *rows]) + "\n")
    return folder
