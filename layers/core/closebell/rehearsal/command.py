"""`closebell simulate`: rehearse many seeds, or one with its trail."""

import re
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from multiprocessing import get_context, resource_tracker
from multiprocessing.synchronize import Event
from statistics import median

from closebell.model.books import Trade
from closebell.model.errors import ConfigurationError
from closebell.rehearsal.desk_days import DeskDays, Rehearsal
from closebell.rehearsal.faults import FAULTS, chosen
from closebell.rehearsal.stage import Violation

TRAIL_LINES_SHOWN_COUNT = 25
PROGRESS_EVERY_SEEDS = 50
SEEDS_A_BATCH = 10
SEEDS_COUNT_MAX = 1_000_000


@dataclass
class PlayedSeeds:
    """What a simulation has seen so far."""

    seeds_count: int = 0
    drawn: Counter[str] = field(default_factory=Counter)
    outcomes: Counter[str] = field(default_factory=Counter)
    orders_count: int = 0
    trades_count: int = 0
    held_sessions: list[int] = field(default_factory=list)
    violations: list[Violation] = field(default_factory=list)

    def add(self, days: DeskDays) -> None:
        """Count one rehearsal."""
        self.seeds_count += 1
        self.drawn += days.stage.drawn
        self.outcomes += days.outcomes
        self.orders_count += len(days.exchange.floor.orders.orders)
        trades, sessions = days.raw.all_of(Trade), days.market.played
        self.trades_count += len(trades)
        self.held_sessions += [
            sum(trade.opened_session < session <= trade.closed_session for session in sessions) for trade in trades
        ]
        self.violations += days.stage.violations

    def merge(self, other: "PlayedSeeds") -> None:
        """Count what another process has played."""
        self.seeds_count += other.seeds_count
        self.drawn += other.drawn
        self.outcomes += other.outcomes
        self.orders_count += other.orders_count
        self.trades_count += other.trades_count
        self.held_sessions += other.held_sessions
        self.violations += other.violations


def seeds_of(text: str) -> range:
    """The seeds of `A:B` (A included, B not), or of one number. Raises ConfigurationError."""
    found = re.fullmatch(r"(\d+)(?::(\d+))?", text)
    if not found:
        raise ConfigurationError(f"seeds are written as 0:100 (the last one left out) or as one number, not as {text!r}")
    first = int(found[1])
    end = int(found[2]) if found[2] else first + 1
    if not 0 < end - first <= SEEDS_COUNT_MAX:
        raise ConfigurationError(f"{text!r} is {max(end - first, 0):,} seeds: 1 to {SEEDS_COUNT_MAX:,} are played, as in 0:100")
    return range(first, end)


def rehearse(
    seeds: range, sessions_count: int, fault_names: str, say: Callable[[str], None], now: Callable[[], datetime],
    workers_count: int = 1,
) -> list[Violation]:  # fmt: skip
    """Play every seed, say how it goes, and return the violations. Raises ConfigurationError for an unknown fault.

    More than one worker is as many processes; what a seed does is the same in each.
    """
    try:
        faults = chosen(fault_names)
    except ValueError as error:
        raise ConfigurationError(str(error)) from error
    played, started_at = PlayedSeeds(), now()
    for batch in _played(seeds, sessions_count, faults, workers_count):
        before = played.seeds_count
        played.merge(batch)
        if played.seeds_count // PROGRESS_EVERY_SEEDS > before // PROGRESS_EVERY_SEEDS:
            plan_days = played.seeds_count * sessions_count
            say(f"{played.seeds_count} seeds, {plan_days} plan-days, {len(played.violations)} violations")
    seconds = max((now() - started_at).total_seconds(), 0.001)
    for line in _summary(played, sessions_count, fault_names, seconds):
        say(line)
    return played.violations


def _played(seeds: range, sessions_count: int, faults: frozenset[str], workers_count: int) -> Iterator[PlayedSeeds]:
    """The seeds in batches, in their order."""
    batches = [seeds[start : start + SEEDS_A_BATCH] for start in range(0, len(seeds), SEEDS_A_BATCH)]
    play = partial(_play_batch, sessions_count=sessions_count, faults=faults)
    if workers_count == 1:
        yield from map(play, batches)
        return
    context = get_context("spawn")
    given_up = context.Event()
    with ProcessPoolExecutor(workers_count, mp_context=context, initializer=_begin, initargs=(given_up,)) as pool:
        try:
            with _uninterrupted():
                rehearsed = pool.map(play, batches)
            yield from rehearsed
        finally:
            given_up.set()


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """An interrupt waits until the processes are begun. They are deaf to it, which would end them loudly: they are told."""
    resource_tracker.ensure_running()  # it lets interrupts through again when it starts
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


_given_ups: list[Event] = []
"""Tells a process of a pool that nobody waits for its seeds any more; none where they are played in one process."""


def _begin(given_up: Event) -> None:
    _given_ups.append(given_up)


def _play_batch(seeds: range, sessions_count: int, faults: frozenset[str]) -> PlayedSeeds:
    played = PlayedSeeds()
    for seed in seeds:
        if any(given_up.is_set() for given_up in _given_ups):
            break
        days = DeskDays(Rehearsal(seed, sessions_count, faults, newsletters=sessions_count > 3 and seed % 25 == 0))
        days.play()
        played.add(days)
    return played


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
    plan_days, held = played.seeds_count * sessions_count, median(played.held_sessions or [0])
    yield (
        f"{plan_days} plan-days ({played.seeds_count} seeds of {sessions_count} sessions), {played.orders_count} orders, "
        f"{played.trades_count} trades held {held:g} sessions at the median, "
        f"{len(played.violations)} violations, {plan_days / seconds:.0f} plan-days a second"
    )
