"""What every port of a rehearsal shares: the exchange, the seeded chance, the agenda of what is still to happen, the trail."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from random import Random
from typing import NamedTuple

from closebell.rehearsal.faults import FAULTS
from closebell.simulation.exchange import Exchange

ALONE_BOOST_RATIO = 5.0
"""How much likelier a fault is when few are drawn, so that a few seeds show it."""


class KilledError(BaseException):
    """The process is gone: nothing may catch this but the director."""


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
    """The world of one seed. `step` names the run that is going on; `interrupt` starts another run inside it."""

    seed: int
    exchange: Exchange
    enabled: frozenset[str]
    generator: Random
    is_calm: bool = False
    step: str = "before"
    session: str = ""
    drawn: Counter[str] = field(default_factory=Counter)
    trail: list[str] = field(default_factory=list)
    violations: list[Violation] = field(default_factory=list)
    interrupt: Callable[[], None] | None = None
    halt_now: Callable[[], None] | None = None
    depth_count: int = 0
    _agenda: list[_Appointment] = field(default_factory=list)
    _appointments_count: int = 0

    @property
    def now(self) -> datetime:
        return self.exchange.now

    def strikes(self, name: str) -> bool:
        """Whether a fault strikes at this occasion."""
        if self.is_calm or name not in self.enabled:
            return False
        boost = ALONE_BOOST_RATIO if len(self.enabled) <= 3 else 1.0
        if self.generator.random() >= min(FAULTS[name].chance_frac * boost, 0.5):
            return False
        self.drawn[name] += 1
        self.note(f"FAULT {name}")
        return True

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
        if self.strikes("killed_at_any_line"):
            if self.generator.random() < 0.5:
                self.note(f"killed before {name}")
                raise KilledError
            call()
            self.note(f"killed after {name}")
            raise KilledError
        return call()

    def _meddle(self) -> None:
        if self.depth_count or self.interrupt is None:
            return
        if self.strikes("overlapping_invocation"):
            self.depth_count += 1
            try:
                self.interrupt()
            finally:
                self.depth_count -= 1
        if self.halt_now is not None and self.generator.random() < 0.1 and self.strikes("owner_halts"):
            self.halt_now()
