"""Small seeded markets of daily bars, on NYSE's sessions."""

from datetime import date
from decimal import Decimal

import numpy as np

from closebell.adapters.exchange_calendar import ExchangeCalendar
from closebell.model.instruments import Instrument, Market
from closebell.model.panel import BarPanel
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


def market_of(panel: BarPanel, spread_frac: str = "0") -> BarMarket:
    """The market over a panel."""
    return BarMarket(panel, hours_of(CALENDAR, panel), spread_frac=Decimal(spread_frac))


def parameters_of(
    panel: BarPanel, *strategies: str, limits: RiskLimits | None = None, exits: ExitTerms | None = None
) -> ParameterSet:
    """A desk that trades every symbol of a panel by some strategies, one vote enough."""
    return ParameterSet(
        universe=tuple(Instrument(symbol=symbol, sector=f"sector {place % 4}") for place, symbol in enumerate(panel.symbols)),
        regime_symbol=panel.symbols[0],
        strategies=strategies,
        votes_to_act_count_min=1,
        limits=limits or RiskLimits(),
        exits=exits or ExitTerms(),
    )
