"""The synthetic market's daily bars, for the exchange process and for a backtest alike."""

from decimal import Decimal

from closebell.adapters.exchange_calendar import ExchangeCalendar
from closebell.backtest.markets import panel_of, synthetic_days
from closebell.model.instruments import Market
from closebell.model.parameters import ExitTerms, ParameterSet, RiskLimits
from closebell.simulation.bar_market import BarMarket, hours_of
from closebell.simulation.synthetic.listing import instruments
from closebell.simulation.synthetic.market import synthetic_market_on
from tests.unit.backtest.panel_events import gapping

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


class InventedCoinDays(BarMarket):
    """The synthetic market's coins as daily bars that open away from the last close, so that some entries are held back."""

    def __init__(self) -> None:
        calendar = ExchangeCalendar()
        invented = synthetic_days(calendar, market=Market.CRYPTO).market
        panel = gapping(invented.panel, 0.008, decimals=4)
        super().__init__(
            panel, hours_of(calendar, panel, Market.CRYPTO), spread_frac=Decimal("0.0008"), asset_class=Market.CRYPTO,
            account_hours=hours_of(calendar, panel), label=invented.label,
        )  # fmt: skip


def invented_coin_parameters() -> ParameterSet:
    """A desk that trades those coins, in and out within a few days."""
    exits = ExitTerms(
        stop_loss_frac=Decimal("0.03"), take_profit_frac=Decimal("0.05"), time_stop_sessions=3, minimum_hold_sessions=1
    )
    coins = tuple(instrument for instrument in instruments() if instrument.market is Market.CRYPTO)
    return ParameterSet(universe=coins, exits=exits, limits=RiskLimits(price_collar_frac=Decimal("0.01")))
