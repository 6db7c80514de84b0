"""The schedule's invocations on their way to the functions: late, twice, not at all, or into the dead-letter queue."""

from datetime import date, datetime, time, timedelta
from heapq import heappop, heappush
from typing import NamedTuple

from closebell.rehearsal.market import new_york
from closebell.rehearsal.stage import Stage

MORNING = "morning"
DAY: tuple[tuple[str, str], ...] = (
    ("08:40", MORNING),
    ("09:00", "place_orders"), ("09:05", "reconcile"), ("09:10", "reconcile"), ("09:15", "watch_schedule"),
    ("09:35", "reconcile"), ("10:00", "reconcile"), ("12:00", "reconcile"), ("15:55", "reconcile"),
    ("16:00", "reconcile"), ("16:05", "review_performance"), ("16:05", "reconcile"), ("16:10", "reconcile"),
    ("16:20", "generate_signals"), ("16:45", "send_newsletter"), ("17:15", "watch_schedule"),
)  # fmt: skip
"""The schedule of a weekday, thinned to the reconciliations in which something can happen (New York time)."""

EVE: tuple[tuple[str, str], ...] = (("16:10", "reconcile"), ("16:20", "generate_signals"), ("17:15", "watch_schedule"))
"""What runs on the evening before the first session."""

REPEATS_COUNT = {"watch_schedule": 1}
REPEATS_COUNT_OTHERWISE = 2


class Delivery(NamedTuple):
    """An invocation that is on its way: when it arrives, and the instant it was meant for."""

    at: datetime
    number: int
    function: str
    scheduled_at: datetime
    attempts_count: int = 1


class Deliveries:
    """What is still to arrive, in the order of arrival. `dead_letters` are the runs whose every try failed before our code."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._waiting: list[Delivery] = []
        self._sent_count = 0
        self.dead_letters: list[tuple[str, datetime]] = []

    def schedule(self, session: date, at: str, function: str) -> None:
        """Let the schedule fire at a New York time of a date."""
        due = new_york(session, time.fromisoformat(at))
        if function == MORNING:
            self.send(due, function, due)
            return
        if self._stage.strikes("missed_schedule"):
            self._stage.note(f"{function} of {at} is never delivered")
            return
        if self._stage.strikes("dead_letter"):
            self._stage.note(f"{function} of {at} ends in the dead-letter queue")
            self.dead_letters.append((function, due))
            return
        draw, delay = self._stage.generator, timedelta(0)
        if self._stage.strikes("delivered_late"):
            delay = timedelta(days=1) if draw.random() < 0.2 else timedelta(minutes=draw.randint(2, 90))
        self.send(due + delay, function, due)
        if self._stage.strikes("duplicate_invocation"):
            self.send(due + delay + timedelta(seconds=draw.choice([0, 0, 30, 400])), function, due)

    def send(self, at: datetime, function: str, scheduled_at: datetime, attempts_count: int = 1) -> None:
        """Let an invocation arrive at an instant."""
        self._sent_count += 1
        heappush(self._waiting, Delivery(at, self._sent_count, function, scheduled_at, attempts_count))

    def repeat(self, failed: Delivery) -> None:
        """Lambda's own repeats of an asynchronous invocation that failed, as the template sets them; a nested one has none."""
        if failed.attempts_count <= REPEATS_COUNT.get(failed.function, REPEATS_COUNT_OTHERWISE) and not self._stage.depth_count:
            at = self._stage.now + timedelta(seconds=60 * failed.attempts_count)
            self.send(at, failed.function, failed.scheduled_at, failed.attempts_count + 1)

    def next_until(self, until: datetime) -> Delivery | None:
        """Take out the next one that arrives by an instant; None when there is none."""
        return heappop(self._waiting) if self._waiting and self._waiting[0].at <= until else None

    def ensure(self, function: str, every_s: int) -> None:
        """Let a function come at the next full `every_s` of the clock unless one of its runs comes by then anyway."""
        now = self._stage.now
        due = now + timedelta(seconds=-now.timestamp() % every_s or every_s)
        if not any(waiting.at <= due and waiting.function == function for waiting in self._waiting):
            self.send(due, function, due)
