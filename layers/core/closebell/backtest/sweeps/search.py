"""A sweep from its points to its ranked results: which points are tried, in which order, and what is not tried again."""

import hashlib
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from decimal import Decimal
from typing import Protocol

from closebell.backtest.records import BacktestRecords
from closebell.backtest.summary import summary_of
from closebell.backtest.sweeps.points import SweepPoint
from closebell.backtest.sweeps.pool import SweepGround, Traded
from closebell.backtest.sweeps.store import PointResult, PointStore, code_sha256, key_of, market_sha256
from closebell.model.errors import ConfigurationError
from closebell.model.parameters import ParameterSet

OBJECTIVE = "sharpe_annual_ratio"
_LESS_IS_BETTER = {
    "drawdown_frac_max", "drawdown_sessions_max", "volatility_annual_frac", "turnover_annual_ratio", "spread_cost_usd",
    "commission_usd", "cost_usd", "halts_count",
}  # fmt: skip
_NO_NUMBERS = {"first_session", "last_session", "trades_sha256"}

Tell = Callable[[int, int, int], None]
"""Told how many points of how many are done, and how many of them failed."""


class Search(Protocol):
    """Chooses points in batches, each knowing the results of those before it."""

    points_count: int

    def next_batch(self) -> Sequence[SweepPoint]:
        """The next points; none when the search is over."""
        ...

    def tell(self, results: Sequence[PointResult]) -> None:
        """The results of the last batch, in its order."""
        ...


class Crew(Protocol):
    """Trades configurations: processes here, functions in AWS."""

    def run(self, desks: Mapping[str, ParameterSet]) -> Generator[Traded]:
        """Trade every configuration; each is handed out when it is done, in whatever order that is."""
        ...


class GridSearch:
    """Implements `Search`: all points at once."""

    def __init__(self, points: Sequence[SweepPoint]) -> None:
        self.points_count, self._points = len(points), tuple(points)

    def next_batch(self) -> Sequence[SweepPoint]:
        batch, self._points = self._points, ()
        return batch

    def tell(self, results: Sequence[PointResult]) -> None:
        return None


def ground_sha256(ground: SweepGround) -> str:
    """The fingerprint of what all points have in common: bars, costs, span, code."""
    shown = (market_sha256(ground.market), f"{ground.options}", f"{ground.first}", f"{ground.last}", code_sha256())
    return hashlib.sha256("|".join(shown).encode()).hexdigest()


def sweep(search: Search, store: PointStore, crew: Crew, sweep_sha256: str, tell: Tell) -> list[PointResult]:
    """Try every point of a search that the store does not have, and keep each result at once.

    `sweep_sha256` is that of the ground they are traded on. What failed in an earlier sweep is tried again. Returns the results
    in the search's order, each once. Raises DataError when a result cannot be kept.
    """
    known = {key: result for key, result in store.results.items() if result.error is None}
    tried: dict[str, PointResult] = {}
    order: dict[str, None] = {}
    asked_count = 0
    while batch := search.next_batch():
        points = {key_of(point, sweep_sha256): point for point in batch}
        order |= dict.fromkeys(points)
        asked_count += len(batch)
        for key, point in points.items():
            if key in known:
                tried[key] = replace(known[key], values=point.values)
            elif point.parameters is None:
                tried[key] = PointResult(key, point.values, None, point.fault)
                store.add(tried[key])
        missing = {key: point.parameters for key, point in points.items() if point.parameters and key not in tried}
        pending_count = len(missing)
        tell(asked_count - pending_count, search.points_count, _failed_count(tried))
        with closing(crew.run(missing)) as results:  # whatever happens here, what trades for us ends
            for traded in results:
                tried[traded.key] = _result_of(traded, points[traded.key])
                store.add(tried[traded.key])
                pending_count -= 1
                tell(asked_count - pending_count, search.points_count, _failed_count(tried))
        search.tell([tried[key_of(point, sweep_sha256)] for point in batch])
    return [tried[key] for key in order]


def _result_of(traded: Traded, point: SweepPoint) -> PointResult:
    if isinstance(traded.outcome, str):
        return PointResult(traded.key, point.values, None, traded.outcome)
    return PointResult(traded.key, point.values, traded.outcome, None)


def _failed_count(tried: Mapping[str, PointResult]) -> int:
    return sum(result.error is not None for result in tried.values())


def require_objective(name: str) -> str:
    """The name of a number of `result.json`. Raises ConfigurationError for any other, with those that there are."""
    nothing = BacktestRecords(
        label="", strategies=(), cash_usd=Decimal(1), orders=(), trades=(), equity=(), decisions=(), halts_count=0, warnings=()
    )
    known = sorted(set(summary_of(nothing)) - _NO_NUMBERS)
    if name not in known:
        raise ConfigurationError(f"there is no objective {name!r}. Allowed: {', '.join(known)}")
    return name


def score_of(result: PointResult, objective: str) -> float | None:
    """What a point is ranked by: higher is better; None when it failed or the number has no meaning there."""
    value = None if result.summary is None else result.summary.get(objective)
    if value is None:
        return None
    return -float(value) if objective.removeprefix("gross_") in _LESS_IS_BETTER else float(value)


def ranked(results: Sequence[PointResult], objective: str) -> list[PointResult]:
    """The best first; then those without the number, then those that failed. Equal ones stay in the order of the search."""
    def place(result: PointResult) -> tuple[bool, bool, float]:
        score = score_of(result, objective)
        return result.summary is None, score is None, -(score or 0.0)

    return sorted(results, key=place)
