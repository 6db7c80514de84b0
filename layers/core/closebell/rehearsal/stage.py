"""What every port of a rehearsal shares: the exchange, the seeded chance, the agenda of what is still to happen, the trail."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from random import Random
from typing import NamedTuple

from closebell.rehearsal.faults import FAULTS
from closebell.simulation.exchange.exchange import Exchange

ALONE_BOOST_RATIO = 5.0
"""How much likelier a fault is when few are drawn, so that a few seeds show it."""


THIRD_RUN_WITHIN_CALLS_COUNT = 20


class KilledError(BaseException):
    """The process is gone: nothing may catch this but the director. `is_repeated`: the run is delivered again at once."""

    def __init__(self, is_repeated: bool) -> None:
        super().__init__()
        self.is_repeated = is_repeated


class Violation(NamedTuple):
    """An invariant that did not hold: its number, where, what was seen and what had happened before."""

    seed: int
    session: str
    step: str
    invariant: int
    seen: str
    trail: tuple[str, ...]


class _Appointment(NamedTuple):
    """Something that happens at an instant of the virtual clock whatever anybody does."""

    at: datetime
    number: int
    action: Callable[[], None]


@dataclass
class Stage:
    """The world of one seed.

    `step` names the run that is going on; `interrupt` starts another run inside it; `quoted_at` is when the newest quote was made
    that the desk was shown of a symbol; `unlisted_order_id` is our id of the order that the last list of open ones left out.
    """

    seed: int
    exchange: Exchange
    enabled: frozenset[str]
    generator: Random
    is_calm: bool = False
    step: str = "before"
    session: str = ""
    drawn: Counter[str] = field(default_factory=Counter)
    trail: list[str] = field(default_factory=list)
    strays: set[str] = field(default_factory=set)
    quoted_at: dict[str, datetime] = field(default_factory=dict)
    unlisted_order_id: str = ""
    violations: list[Violation] = field(default_factory=list)
    interrupt: Callable[[], None] | None = None
    halt_now: Callable[[], None] | None = None
    depth_count: int = 0
    _agenda: list[_Appointment] = field(default_factory=list)
    _appointments_count: int = 0
    _calls_to_third_count: int = 0
    _chances_frac: dict[str, float] = field(init=False)

    def __post_init__(self) -> None:
        self._chances_frac = {name: chance_frac(name, self.enabled) for name in self.enabled}

    @property
    def now(self) -> datetime:
        return self.exchange.now

    def strikes(self, name: str) -> bool:
        """Whether a fault strikes at this occasion."""
        if self.is_calm or name not in self._chances_frac or self.generator.random() >= self._chances_frac[name]:
            return False
        self.happens(name)
        return True

    def happens(self, name: str) -> None:
        """Count a fault that lies in the market itself and was met now."""
        if name in self.enabled:
            self.drawn[name] += 1
            self.note(f"FAULT {name}")

    def met(self, name: str) -> None:
        """Count a fault that the market itself brought."""
        if not self.is_calm and name in self.enabled:
            self.drawn[name] += 1
            self.note(f"FAULT {name}")

    def note(self, words: str) -> None:
        """Write down what happened."""
        self.trail.append(f"{self.exchange.now:%m-%d %H:%M:%S} {'> ' * self.depth_count}{self.step}: {words}")

    def violated(self, invariant: int, seen: str) -> None:
        """Record that an invariant does not hold; the same one is recorded once a step."""
        known = {(violation.invariant, violation.seen) for violation in self.violations}
        if (invariant, seen) not in known:
            self.note(f"VIOLATION of invariant {invariant}: {seen}")
            self.violations.append(Violation(self.seed, self.session, self.step, invariant, seen, tuple(self.trail)))

    def later(self, delay_s: float, action: Callable[[], None]) -> None:
        """Let something happen when the clock gets there."""
        self._appointments_count += 1
        self._agenda.append(_Appointment(self.now + timedelta(seconds=delay_s), self._appointments_count, action))

    def advance(self, to: datetime) -> None:
        """Move the clock, with every appointment kept on the way; a clock that is there already stays."""
        while due := [appointment for appointment in self._agenda if appointment.at <= to]:
            first = min(due, key=lambda appointment: appointment[:2])
            self._agenda.remove(first)
            if first.at > self.now:
                self.exchange.advance(first.at)
            first.action()
        if to > self.now:
            self.exchange.advance(to)

    def around(self, call: Callable[[], object], name: str) -> object:
        """One call through a port: another run may start before it, the process may end before or after it."""
        self._meddle()
        for fault in ("killed_at_any_line", "killed_and_never_repeated"):
            if self.strikes(fault):
                when = "before" if self.generator.random() < 0.5 else "after"
                if when == "after":
                    call()
                self.note(f"killed {when} {name}")
                raise KilledError(is_repeated=fault == "killed_at_any_line")
        return call()

    def _meddle(self) -> None:
        if self.interrupt is None:
            return
        if self.depth_count:
            self._calls_to_third_count -= 1
            if self.depth_count == 1 and self._calls_to_third_count == 0:
                self._start_another(self.interrupt)
            return
        if self.strikes("overlapping_invocation"):
            self._start_another(self.interrupt)
        if self.strikes("three_at_once"):
            self._calls_to_third_count = self.generator.randint(1, THIRD_RUN_WITHIN_CALLS_COUNT)
            self._start_another(self.interrupt)
            self._calls_to_third_count = 0
        if self.halt_now is not None and self.generator.random() < 0.1 and self.strikes("owner_halts"):
            self.halt_now()

    def _start_another(self, interrupt: Callable[[], None]) -> None:
        self.depth_count += 1
        try:
            interrupt()
        finally:
            self.depth_count -= 1


def chance_frac(name: str, enabled: frozenset[str]) -> float:
    """The chance that one occasion is struck: higher when few faults are drawn, zero for one that is not."""
    boost = ALONE_BOOST_RATIO if len(enabled) <= 3 else 1.0
    return min(FAULTS[name].chance_frac * boost, 0.5) if name in enabled else 0.0
