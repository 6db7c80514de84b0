"""The dead-man's switch inside the desk: names what should have run and did not, and what is stuck."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from closebell.app.alerts import alert_changes
from closebell.app.desk import Desk, load_desk
from closebell.app.runs import RunLog, RunOutcome, fingerprint
from closebell.model.operations import Alert, DeskOpening, Priority, RunRecord, RunState, Trigger, run_key
from closebell.model.schedule import SCHEDULES, ScheduledRun
from closebell.ports.journal import Create
from closebell.ports.market_data import Calendar
from closebell.ports.schedule import Firings

GRACE = timedelta(minutes=15)
LOOK_BACK = timedelta(hours=24)
STUCK_AFTER = timedelta(minutes=15)


@dataclass(frozen=True)
class WatchSchedule:
    """The use case. Needs neither the broker nor its key: it must be able to speak when they are what is broken."""

    runs: RunLog
    calendar: Calendar
    firings: Firings

    def __call__(self, trigger: Trigger) -> RunRecord:
        """Look once. Raises StoreUnavailable, ConfigurationError."""
        return self.runs.run_once(trigger, lambda: self._watch(trigger))

    def _watch(self, trigger: Trigger) -> RunOutcome:
        desk = load_desk(self.runs.journal)
        now = trigger.scheduled_at
        opened_at = self._opened_at(desk, now)
        alerts = [*self._missing(trigger, opened_at), *self._silent(trigger, opened_at), *_stuck(desk, now)]
        raised = 0
        for alert in alerts:
            changes = alert_changes(self.runs.journal, alert)
            if changes:
                self.runs.journal.commit(changes)
                raised += 1
        delivered = self.runs.deliver_alerts() if raised or desk.outbox else 0
        counts = {"found": len(alerts), "alerts": raised, "delivered": delivered}
        orders, outbox = [stored.record for stored in desk.orders.values()], [stored.record for stored in desk.outbox]
        return RunOutcome(f"{len(alerts)} found", counts, fingerprint([desk.parameters, *orders, *outbox, *alerts]))

    def _opened_at(self, desk: Desk, now: datetime) -> datetime:
        """When this desk was first watched; from the first look on, a run that is missing is missed."""
        if desk.opening is None:
            self.runs.journal.commit([Create(DeskOpening(opened_at=now))])
            return now
        return desk.opening.opened_at

    def _missing(self, trigger: Trigger, opened_at: datetime) -> list[Alert]:
        """Every once-a-session run that was due at least 15 minutes ago, in the last day, and has no ended record."""
        due = list(self._due(trigger, opened_at))
        keys = [run_key(schedule.function, schedule.market, due_at) for schedule, due_at in due]
        records = {stored.record.key: stored.record for stored in self.runs.journal.read_many(keys, RunRecord)} if keys else {}
        found = [(schedule, due_at, records.get(key)) for (schedule, due_at), key in zip(due, keys, strict=True)]
        return [
            _overdue(schedule, due_at, record)
            for schedule, due_at, record in found
            if record is None or record.state is RunState.STARTED
        ]

    def _silent(self, trigger: Trigger, opened_at: datetime) -> Iterator[Alert]:
        """A function that repeats inside the session and of which nothing ended although it was due 15 minutes ago and more."""
        now, date_of = trigger.scheduled_at, trigger.market.date_of
        for schedule in SCHEDULES:
            if schedule.market is not trigger.market or schedule.once_a_session or schedule.function == self.runs.function:
                continue
            firings = self.firings.between(schedule, now - 3 * GRACE, now)
            overdue = [due_at for due_at in firings if opened_at < due_at <= now - GRACE]
            if not overdue or not self.calendar.sessions(schedule.market, date_of(overdue[-1]), date_of(overdue[-1])):
                continue
            since = [run_key(schedule.function, schedule.market, due_at) for due_at in firings if due_at >= overdue[-1]]
            ended = [stored.record.state is not RunState.STARTED for stored in self.runs.journal.read_many(since, RunRecord)]
            if not any(ended):
                yield _overdue(schedule, overdue[-1], None)

    def _due(self, trigger: Trigger, opened_at: datetime) -> Iterator[tuple[ScheduledRun, datetime]]:
        since, until = max(opened_at, trigger.scheduled_at - LOOK_BACK), trigger.scheduled_at - GRACE
        date_of = trigger.market.date_of
        sessions = {hours.session for hours in self.calendar.sessions(trigger.market, date_of(since), date_of(until))}
        for schedule in SCHEDULES:
            if schedule.market is trigger.market and schedule.once_a_session:
                for due_at in self.firings.between(schedule, since, until):
                    if date_of(due_at) in sessions:
                        yield schedule, due_at


def _overdue(schedule: ScheduledRun, due_at: datetime, record: RunRecord | None) -> Alert:
    what = "did not run" if record is None else "started and never finished"
    local = due_at.astimezone(schedule.market.zone)
    return Alert(
        alert_id=f"missed-{schedule.function}-{schedule.market}-{local:%Y-%m-%d}",
        priority=Priority.URGENT,
        subject=f"{schedule.function} {what}",
        body=f"{schedule.function} ({schedule.market}) was due {local:%Y-%m-%d %H:%M %Z} and {what}.",
        created_at=due_at,  # the same run is the same alert, whenever it is looked for
        runbook="missed-run",
    )


def _stuck(desk: Desk, now: datetime) -> Iterator[Alert]:
    """Orders whose outcome is unknown for too long."""
    for stored in desk.orders.values():
        order = stored.record
        if order.state.is_in_flight and now - order.created_at > STUCK_AFTER:
            yield Alert(
                alert_id=f"stuck-{order.client_order_id}",
                priority=Priority.URGENT,
                subject=f"An order for {order.symbol} is {order.state}",
                body=f"{order.side} {order.quantity_shares} {order.symbol} ({order.client_order_id}) is {order.state} since "
                f"{order.created_at:%Y-%m-%d %H:%M}Z: {order.note}",
                created_at=order.created_at,
                runbook="unknown-order",
            )
