"""Builds `run_backtest`."""

from functools import cache

from closebell.adapters.exchange_calendar import ExchangeCalendar
from closebell.app.run_backtest import RunBacktest
from closebell.backtest.sweeps.archive import ArchivedSweeps
from closebell.wiring.desk import archive


@cache
def build_run_backtest() -> RunBacktest:
    """The use case over the archive bucket, as the environment names it. Raises ConfigurationError."""
    return RunBacktest(archive(), ArchivedSweeps(archive(), ExchangeCalendar()))
