"""The synthetic market's daily bars, for the exchange process and for a backtest alike."""

from closebell.adapters.exchange_calendar import ExchangeCalendar
from closebell.backtest.markets import panel_of
from closebell.model.parameters import ParameterSet
from closebell.simulation.bar_market import BarMarket, hours_of
from closebell.simulation.synthetic_listing import instruments
from closebell.simulation.synthetic_market import synthetic_market_on

SYMBOLS_COUNT = 24
REGIME_SYMBOL = "IDX0"


class InventedDays(BarMarket):
    """A part of the synthetic market as daily bars."""

    def __init__(self) -> None:
        calendar = ExchangeCalendar()
        invented = synthetic_market_on(calendar)
        panel = panel_of(invented, (*(instrument.symbol for instrument in invented_parameters().universe), REGIME_SYMBOL))
        super().__init__(panel, hours_of(calendar, panel), volatility_closes=invented.volatility_index(), label=invented.label)


def invented_parameters() -> ParameterSet:
    """A desk that trades that part."""
    return ParameterSet(universe=instruments()[:SYMBOLS_COUNT], regime_symbol=REGIME_SYMBOL)
