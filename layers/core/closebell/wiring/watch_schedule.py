"""Builds `watch_schedule`."""

from functools import cache

from closebell.adapters.cron import CronFirings
from closebell.adapters.exchange_calendar import ExchangeCalendar
from closebell.app.watch_schedule import WatchSchedule
from closebell.wiring.desk import run_log


@cache
def build_watch_schedule() -> WatchSchedule:
    """The use case over AWS, as the environment names it. Raises ConfigurationError."""
    return WatchSchedule(run_log("watch_schedule"), ExchangeCalendar(), CronFirings())
