"""`closebell simulate`: rehearse many seeds, or one with its trail."""

import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime

from closebell.model.errors import ConfigurationError
from closebell.rehearsal.desk_days import DeskDays, Rehearsal
from closebell.rehearsal.faults import FAULTS, chosen
from closebell.rehearsal.stage import Violation

TRAIL_LINES_SHOWN_COUNT = 25
PROGRESS_EVERY_SEEDS = 50


@dataclass
class PlayedSeeds:
    """What a simulation has seen so far."""

    seeds_count: int = 0
    drawn: Counter[str] = field(default_factory=Counter)
    outcomes: Counter[str] = field(default_factory=Counter)
    orders_count: int = 0
    trades_count: int = 0
    violations: list[Violation] = field(default_factory=list)

    def add(self, days: DeskDays) -> None:
        """Count one rehearsal."""
        self.seeds_count += 1
        self.drawn += days.stage.drawn
        self.outcomes += days.outcomes
        self.orders_count += len(days.exchange.floor.orders.orders)
        self.trades_count += len(days.final_book().trades)
        self.violations += days.stage.violations


def seeds_of(text: str) -> range:
    """The seeds of `A:B` (A included, B not), or of one number. Raises ConfigurationError."""
    found = re.fullmatch(r"(\d+)(?::(\d+))?", text)
    if not found:
        raise ConfigurationError(f"seeds are written as 0:100 (the last one left out) or as one number, not as {text!r}")
    first = int(found[1])
    return range(first, int(found[2]) if found[2] else first + 1)


def rehearse(
    seeds: range, sessions_count: int, fault_names: str, say: Callable[[str], None], now: Callable[[], datetime]
) -> list[Violation]:
    """Play every seed, say how it goes, and return the violations. Raises ConfigurationError for an unknown fault."""
    try:
        faults = chosen(fault_names)
    except ValueError as error:
        raise ConfigurationError(str(error)) from error
    played, started_at = PlayedSeeds(), now()
    for seed in seeds:
        days = DeskDays(Rehearsal(seed, sessions_count, faults, newsletters=sessions_count > 3 and seed % 25 == 0))
        days.play()
        played.add(days)
        if played.seeds_count % PROGRESS_EVERY_SEEDS == 0:
            plan_days = played.seeds_count * sessions_count
            say(f"{played.seeds_count} seeds, {plan_days} plan-days, {len(played.violations)} violations")
    seconds = max((now() - started_at).total_seconds(), 0.001)
    for line in _summary(played, sessions_count, fault_names, seconds):
        say(line)
    return played.violations


def trail(seed: int, sessions_count: int, fault_names: str) -> Iterator[str]:
    """Everything that happened in one rehearsal, violations where they were found."""
    days = DeskDays(Rehearsal(seed, sessions_count, chosen(fault_names)))
    days.play()
    yield from days.stage.trail


def _summary(played: PlayedSeeds, sessions_count: int, fault_names: str, seconds: float) -> Iterator[str]:
    for violation in played.violations:
        yield f"invariant {violation.invariant}, seed {violation.seed}, session {violation.session}, {violation.step}:"
        yield f"  {violation.seen}"
        yield from (f"    {line}" for line in violation.trail[-TRAIL_LINES_SHOWN_COUNT:])
        yield (
            f"  replay: closebell simulate --seed {violation.seed} --sessions {sessions_count} --faults {fault_names} --trace"
        )
    drawn = sum(played.drawn.values())
    names = ", ".join(f"{name} {count}" for name, count in sorted(played.drawn.items(), key=lambda item: -item[1]))
    yield f"faults drawn: {drawn} of {len(played.drawn)} kinds of {len(FAULTS)}: {names or 'none'}"
    yield f"runs: {', '.join(f'{name} {count}' for name, count in sorted(played.outcomes.items()))}"
    plan_days = played.seeds_count * sessions_count
    yield (
        f"{plan_days} plan-days ({played.seeds_count} seeds of {sessions_count} sessions), {played.orders_count} orders, "
        f"{played.trades_count} trades, {len(played.violations)} violations, {plan_days / seconds:.0f} plan-days a second"
    )
