"""The real prices of the local stack, on NYSE's sessions."""

from closebell.adapters.exchange_calendar import ExchangeCalendar
from closebell.simulation.real_prices import RealPrices


def build_real_market() -> RealPrices:
    """Twenty stocks and two indices, 1999-2018. Raises ConfigurationError when a package that ships them is missing."""
    return RealPrices(ExchangeCalendar())
