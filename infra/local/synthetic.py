"""The synthetic market of the local stack, on NYSE's sessions."""

from datetime import date

from closebell.adapters.exchange_calendar import ExchangeCalendar
from closebell.simulation.synthetic.market import START, SyntheticMarket, synthetic_market_on


def build_synthetic_market(seed: int = 7, start: date = START) -> SyntheticMarket:
    """Sixty companies, twelve funds and five crypto pairs, 2021-2024, equal for equal seeds."""
    return synthetic_market_on(ExchangeCalendar(), seed, start)
