"""Builds `review_performance`."""

from functools import cache

from closebell.adapters.exchange_calendar import ExchangeCalendar
from closebell.app.review_performance import ReviewPerformance
from closebell.wiring.desk import journal, run_log


@cache
def build_review_performance() -> ReviewPerformance:
    """The use case over AWS, as the environment names it. Raises ConfigurationError."""
    return ReviewPerformance(run_log("review_performance"), journal(), ExchangeCalendar())
