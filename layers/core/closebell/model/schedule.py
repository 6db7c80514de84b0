"""The desk's day: when each function runs. The template repeats these expressions; a test holds the two equal."""

from typing import NamedTuple

from closebell.model.instruments import Market


class ScheduledRun(NamedTuple):
    """One schedule: EventBridge's cron fields without the year, read in `zone`. `once_a_session` runs must exist for
    every session; the others repeat inside it."""

    function: str
    market: Market
    cron: str
    zone: str
    once_a_session: bool


_NEW_YORK = "America/New_York"

SCHEDULES: tuple[ScheduledRun, ...] = (
    ScheduledRun("place_orders", Market.US_EQUITY, "0 9 ? * MON-FRI", _NEW_YORK, True),
    ScheduledRun("reconcile", Market.US_EQUITY, "0/5 9-16 ? * MON-FRI", _NEW_YORK, False),
    ScheduledRun("review_performance", Market.US_EQUITY, "5 16 ? * MON-FRI", _NEW_YORK, True),
    ScheduledRun("generate_signals", Market.US_EQUITY, "20 16 ? * MON-FRI", _NEW_YORK, True),
    ScheduledRun("send_newsletter", Market.US_EQUITY, "45 16 ? * MON-FRI", _NEW_YORK, True),
    ScheduledRun("watch_schedule", Market.US_EQUITY, "0/15 9-17 ? * MON-FRI", _NEW_YORK, False),
    ScheduledRun("review_performance", Market.CRYPTO, "1 0 * * ?", "UTC", True),
    ScheduledRun("generate_signals", Market.CRYPTO, "5 0 * * ?", "UTC", True),
    ScheduledRun("place_orders", Market.CRYPTO, "10 0 * * ?", "UTC", True),
    ScheduledRun("reconcile", Market.CRYPTO, "0/30 * * * ?", "UTC", False),
    ScheduledRun("send_newsletter", Market.CRYPTO, "20 0 * * ?", "UTC", True),
    ScheduledRun("watch_schedule", Market.CRYPTO, "0/15 * * * ?", "UTC", False),
)
