"""The synthetic market of the local stack."""

from datetime import date

from closebell.adapters.exchange_calendar import ExchangeCalendar
from closebell.model.instruments import Market
from closebell.simulation.synthetic_market import SyntheticMarket

# Two weeks after the start come Thanksgiving and a half-day.
HISTORY_FROM, START, LAST_SESSION = date(2021, 11, 1), date(2023, 11, 13), date(2024, 7, 31)


def build_synthetic_market(seed: int = 7, start: date = START) -> SyntheticMarket:
    """NYSE's sessions with two years of history before `START` and eight months after it."""
    return SyntheticMarket(seed, ExchangeCalendar().sessions(Market.US_EQUITY, HISTORY_FROM, LAST_SESSION), start)
