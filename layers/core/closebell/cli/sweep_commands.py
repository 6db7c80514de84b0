"""`closebell sweep`: one backtest for each of many configurations."""

import hashlib
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from closebell.backtest.desk.known_evidence import KnownEvidence
from closebell.backtest.notes.evidence import bar_notes, universe_notes
from closebell.backtest.results.report_page import shown
from closebell.backtest.sweeps.archive import FannedOut
from closebell.backtest.sweeps.points import UNIVERSE_COUNT, SweepAxis, desk_in, grid_points, read_axes, sweep_span
from closebell.backtest.sweeps.pool import SweepGround, SweepPool
from closebell.backtest.sweeps.search import OBJECTIVE, Crew, GridSearch, Search, ground_sha256, ranked, require_objective, sweep
from closebell.backtest.sweeps.store import TABLE, PointResult, PointStore, write_table
from closebell.cli import backtest_options as asked
from closebell.cli.application import (
    app,
    end_interrupted,
    fail,
    progress_on_stderr,
    require_in_order,
    show_notes,
    show_table,
    telling_of,
)
from closebell.cli.strategy_file import FileScores, registered
from closebell.model.errors import ClosebellError, ConfigurationError
from closebell.model.instruments import Market
from closebell.model.parameters import ParameterSet
from closebell.reports.formatting import MINUS, UNKNOWN
from closebell.wiring.operator import operator_desk, operator_sweep

SHOWN_COUNT = 10


class Sampler(StrEnum):
    """How points are chosen."""

    GRID = "grid"
    OPTUNA = "optuna"


Grid = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME=VALUES",
        help="exits.stop_loss_frac=0.02,0.03, or values like 1..4 or 0.02..0.06..0.01; universe=KO+PEP,AAPL+MSFT.",
    ),
]
UniverseSizes = Annotated[str, typer.Option(metavar="COUNTS", help="How many of the configuration's first instruments: 5,10,20.")]
Points = Annotated[int, typer.Option(min=1, max=10_000, metavar="COUNT", help="How many points optuna draws.")]
Objective = Annotated[str, typer.Option(metavar="NAME", help="A number of result.json; the best comes first.")]
InAws = Annotated[
    str,
    typer.Option(metavar="STACK", help="A deployed stack: its functions trade, not this machine. Only as named here."),
]


@app.command(name="sweep")
def sweep_command(
    bars: asked.Bars, out: asked.Out, grid: Grid = None, universe_sizes: UniverseSizes = "",
    sampler: Annotated[Sampler, typer.Option(help="Every point, or a search.")] = Sampler.GRID, points: Points = 50,
    objective: Objective = OBJECTIVE, seed: Annotated[int, typer.Option(min=0, metavar="NUMBER", help="Of optuna's draws.")] = 7,
    workers: asked.Workers = 2, stack: InAws = "", market: asked.AssetClass = Market.US_EQUITY, strategies: asked.Strategies = "",
    since: asked.Since = None, until: asked.Until = None, cash: asked.Cash = "100000", config: asked.Config = None,
    slippage_bps: asked.SlippageBps = "5", per_share: asked.PerShare = "0", per_order: asked.PerOrder = "0",
    per_round_trip: asked.PerRoundTrip = "0", capacity: asked.Capacity = "1", allow_gaps: asked.Gaps = False,
    strategy_file: asked.OwnFile = None,
) -> None:
    """Backtest many configurations in processes side by side; an interrupted sweep goes on with what is missing. Status 1 when
    every point failed."""
    try:
        require_in_order(since, until)
        if stack and strategy_file:
            raise ConfigurationError(f"the functions of {stack} do not have {strategy_file}: leave --stack out, and sweep here")
        costs = asked.costs_of(slippage_bps, per_share, per_order, per_round_trip, capacity)
        options = costs.options(asked.amount_of("--cash", cash))
        with registered(strategy_file) as own:
            found = asked.market_named(bars, costs, gaps_are_allowed=allow_gaps, market=market)
            whole = asked.desk_parameters(found, config, asked.names_in(strategies, own))
            base = desk_in(whole, market)
            axes = read_axes([*(grid or ()), *([f"{UNIVERSE_COUNT}={universe_sizes}"] if universe_sizes else ())], base)
            search = _search(sampler, axes, base, points, require_objective(objective), seed)
            span = sweep_span(found.market, base, axes, since, until)
            ground = SweepGround(found.market, options, *span)
            notes = (*bar_notes(found.market, whole, found.notes), *universe_notes(KnownEvidence(found.market, whole), *span))
            with SweepPool(ground, workers) as pool:
                crew = FannedOut(ground, operator_desk(stack).archive, operator_sweep(stack)) if stack else pool
                results = ranked(_swept(search, crew, _sweep_sha256(ground, own), out), objective)
        write_table(out, results)
    except ClosebellError as error:
        fail(error)
    except KeyboardInterrupt as error:
        end_interrupted(f"what is done is in {out}, the same command does the rest", error)
    with telling_of(out) as console:
        _show(console, results, objective)
        show_notes(console, notes)
        console.print(f"written to {out / TABLE}", soft_wrap=True)
    if all(result.summary is None for result in results):
        raise typer.Exit(1)


def _sweep_sha256(ground: SweepGround, own: FileScores | None) -> str:
    """What all points have in common, the text of the user's own strategy with it: another text is traded anew."""
    common = ground_sha256(ground)
    return hashlib.sha256(common.encode() + own.content).hexdigest() if own else common


def _search(sampler: Sampler, axes: tuple[SweepAxis, ...], base: ParameterSet, points: int, objective: str, seed: int) -> Search:
    if sampler is Sampler.GRID:
        return GridSearch(grid_points(axes, base))
    try:
        from closebell.backtest.sweeps.optuna_search import OptunaSearch  # a research package: only who searches needs it
    except ModuleNotFoundError as error:
        raise ConfigurationError("optuna is not installed: it is among the research packages of pyproject.toml") from error
    return OptunaSearch(axes, base, points, objective, seed)


def _swept(search: Search, crew: Crew, sweep_sha256: str, out: Path) -> list[PointResult]:
    """The results, with a bar below that shows how far the sweep is and how long the rest will take."""
    columns = (
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("points"),
        TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn(),
    )  # fmt: skip
    with PointStore(out) as store, progress_on_stderr(*columns) as shown:
        task = shown.add_task("sweeping", total=search.points_count)

        def tell(done_count: int, total_count: int, failed_count: int) -> None:
            said = f"sweeping, {failed_count} failed" if failed_count else "sweeping"
            shown.update(task, completed=done_count, total=total_count, description=said)

        return sweep(search, store, crew, sweep_sha256, tell)


def _scored(value: float | None) -> str:
    """Four digits, which tell the best from the next."""
    return UNKNOWN if value is None else f"{value:,.4g}".replace("-", MINUS)


def _show(console: Console, results: list[PointResult], objective: str) -> None:
    """The best points, the first that failed, and what a reader must know of a best one."""
    done = [result for result in results if result.summary is not None]
    names = list(results[0].values)
    table = Table(box=None, pad_edge=False)
    for name in names:
        table.add_column(name.rpartition(".")[2], justify="right", overflow="fold")  # a universe may be long
    for title in (objective, "return", "drawdown", "trades"):
        table.add_column(title, justify="right")
    for result in done[:SHOWN_COUNT]:
        of = dict(result.summary or {})
        table.add_row(
            *(escape(result.values[name]) for name in names), _scored(of[objective]),
            *(shown(key, of[key]) for key in ("total_return_frac", "drawdown_frac_max", "trades_count")),
        )  # fmt: skip
    show_table(console, table)
    for result in results[len(done) : len(done) + SHOWN_COUNT]:
        where = ", ".join(f"{name}={value}" for name, value in result.values.items())
        console.print(f"[red]failed[/red] {escape(where)}: {escape(result.error or '')}", soft_wrap=True)
    console.print(f"{len(done)} points done, {len(results) - len(done)} failed; the best of {len(done)} tries flatters itself")
