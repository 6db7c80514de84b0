"""EventBridge cron expressions, read with cronsim."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from cronsim import CronSim

from closebell.model.schedule import ScheduledRun


class CronFirings:
    """Implements `ports.schedule.Firings`.

    EventBridge's `?` (no value) is cron's `*`; its year field is not part of a ScheduledRun. Local times that a
    daylight-saving change removes are skipped, repeated ones run once, as EventBridge Scheduler does.
    """

    def between(self, schedule: ScheduledRun, after: datetime, until: datetime) -> list[datetime]:
        zone = ZoneInfo(schedule.zone)
        expression = " ".join(_standard(field) for field in schedule.cron.split())
        firings = []
        for local in CronSim(expression, after.astimezone(zone)):
            instant = local.astimezone(UTC)
            if instant > until:
                break
            firings.append(instant)
        return firings


def _standard(field: str) -> str:
    """EventBridge writes `0/5` where cron writes `0-59/5`, and `?` for any day."""
    if field == "?":
        return "*"
    start, slash, step = field.partition("/")
    return f"{start}-59/{step}" if slash and start.isdigit() else field
