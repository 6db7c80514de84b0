"""The desk's clock in a rehearsal, which may be wrong, and the times at which the schedule fires, which may not."""

from datetime import datetime, time, timedelta

from closebell.model.schedule import ScheduledRun
from closebell.rehearsal.market import new_york
from closebell.simulation.exchange.exchange import Exchange


class DeskClock:
    """Implements Clock and Firings: the exchange's time plus `skew`, and the once-a-session schedules of a market."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self.skew = timedelta(0)

    def now(self) -> datetime:
        return self._exchange.now + self.skew

    def between(self, schedule: ScheduledRun, after: datetime, until: datetime) -> list[datetime]:
        if not schedule.once_a_session:
            return []  # the rehearsal thins these out: none is due at a time that is known before
        minute, hour, *_ = schedule.cron.split()
        day, last = schedule.market.date_of(after), schedule.market.date_of(until)
        found = []
        while day <= last:
            due = new_york(day, time(int(hour), int(minute)))
            if day.weekday() < 5 and after < due <= until:
                found.append(due)
            day += timedelta(days=1)
        return found
