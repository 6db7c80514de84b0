"""`closebell validate`: is a configuration skill, or luck and a long search?"""

from dataclasses import replace
from decimal import Decimal
from math import isfinite
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from closebell.adapters.exchange_calendar import ExchangeCalendar
from closebell.adapters.system_clock import SystemClock
from closebell.backtest.bias.panels import all_panels, newest_part, sessions_for
from closebell.backtest.desk.known_evidence import KnownEvidence, universe_panel
from closebell.backtest.notes.evidence import bar_notes, universe_notes
from closebell.backtest.validation.files import validation_files
from closebell.backtest.validation.folder import ValidationFolder
from closebell.backtest.validation.trials import GRID_COUNTS, TrialTerms
from closebell.backtest.validation.validate import Validation, ValidationRequest, validate
from closebell.backtest.validation.verdict import Colour, VerdictFlag, flags, is_refused, lookahead_flag
from closebell.cli import backtest_options as asked
from closebell.cli.application import (
    app,
    end_interrupted,
    fail,
    progress_bar,
    require_in_order,
    show_notes,
    show_table,
    telling_of,
)
from closebell.cli.strategy_file import FileScores, registered, strategy_of
from closebell.model.errors import ClosebellError, ConfigurationError
from closebell.model.instruments import Market
from closebell.model.panel import BarPanel
from closebell.reports.formatting import UNKNOWN, number, percent

Folder = Annotated[Path, typer.Option("--out", metavar="FOLDER", help="Keeps the seal, the count of trials and the results.")]
OpenHoldout = Annotated[bool, typer.Option("--open-holdout", help="Judge the sealed sessions too: possible once.")]
Grid = Annotated[int, typer.Option(metavar="COUNT", help="Stops, and targets, that the sensitivity looks at: 1, 3 or 5.")]
Seed = Annotated[int, typer.Option(min=0, metavar="NUMBER", help="Of everything that is drawn.")]


@app.command(name="validate")
def validate_configuration(
    bars: asked.Bars, out: Folder, strategies: asked.Strategies = "", since: asked.Since = None, until: asked.Until = None,
    cash: asked.Cash = "100000", config: asked.Config = None, slippage_bps: asked.SlippageBps = "5",
    commission_per_share: asked.PerShare = "0", commission_per_order: asked.PerOrder = "0",
    commission_per_round_trip: asked.PerRoundTrip = "0", capacity: asked.Capacity = "1", allow_gaps: asked.Gaps = False,
    strategy_file: asked.OwnFile = None, open_holdout: OpenHoldout = False, grid: Grid = 3, seed: Seed = 7,
    workers: asked.Workers = 2, market: asked.AssetClass = Market.US_EQUITY,
) -> None:
    """Judge a configuration by sessions it was not chosen on. Status 1 when a red flag stands."""
    try:
        require_in_order(since, until)
        if grid not in GRID_COUNTS:
            raise ConfigurationError(f"--grid is {grid}: write {', '.join(map(str, GRID_COUNTS))}")
        costs = asked.costs_of(slippage_bps, commission_per_share, commission_per_order, commission_per_round_trip, capacity)
        costs.options(asked.amount_of("--cash", cash))  # refused before anything is read
        with registered(strategy_file) as own:
            folder, found = ValidationFolder(out), asked.market_named(bars, costs, gaps_are_allowed=allow_gaps, market=market)
            request = ValidationRequest(
                terms=TrialTerms(found.market, costs, asked.amount_of("--cash", cash)),
                parameters=asked.desk_parameters(found, config, asked.names_in(strategies, own)),
                first=since, last=until, grid_count=grid, seed=seed, workers_count=workers,
                opens_at=SystemClock().now() if open_holdout else None,
            )  # fmt: skip
            with progress_bar("validating", "backtests") as done:
                validation = validate(request, folder, done)
            known = validation.split.development
            evidence = KnownEvidence(found.market.altered(until=known.last), request.parameters)
            bars_judged = universe_panel(evidence.market, request.parameters, known.first, known.last)
            told = universe_notes(evidence, known.first, known.last)
            notes = (*bar_notes(found.market, request.parameters, found.notes), *told)
        judged = [*flags(validation), *([_own_lookahead(own, bars_judged)] if own else [])]
        folder.write(validation_files(validation, judged))
    except ClosebellError as error:
        fail(error)
    except KeyboardInterrupt as error:
        end_interrupted(f"the trials that were done are remembered in {out}, the same command tries all of them", error)
    with telling_of(out) as console:
        show_verdict(console, validation, judged)
        show_notes(console, notes)
        console.print(f"written to {out}", soft_wrap=True)
    if is_refused(judged):
        raise typer.Exit(1)


def _own_lookahead(file: FileScores, bars_judged: BarPanel) -> VerdictFlag:
    """What `closebell lookahead` says of a file, run anew as it was read, and of the bars that it is judged on."""
    strategy = strategy_of(replace(file))
    panels = all_panels(ExchangeCalendar(), sessions_for(strategy.lookback_sessions))
    return lookahead_flag(strategy, panels | {"the bars judged": newest_part(bars_judged)})


def show_verdict(console: Console, found: Validation, judged: list[VerdictFlag]) -> None:
    """Each question with its number, its limit and its colour, then what stands."""
    split = found.split
    sealed = f"opened {found.seal.opened_at:%Y-%m-%d %H:%M} UTC" if found.seal.opened_at else "sealed"
    console.print(
        f"[bold]{escape(found.label)}[/bold]: train {split.train}, validation {split.validation}, holdout {split.holdout} "
        f"({sealed}); {len(found.trials)} trials, {found.luck.trials_ever_count} ever",
        soft_wrap=True,
    )
    table = Table(box=None, pad_edge=False)
    for title in ("question", "number", "limit", "verdict", "note"):
        table.add_column(title, justify="right" if title in {"number", "limit"} else "left")
    for flag in judged:
        verdict = f"[{_STYLES[flag.colour]}]{flag.colour}[/]"
        number, limit = written(flag)
        table.add_row(flag.question, number, limit, verdict, escape(flag.note))
    show_table(console, table)
    red, amber = (sum(flag.colour is colour for flag in judged) for colour in (Colour.RED, Colour.AMBER))
    console.print("[green]passed[/green]" if not red else f"[red]refused[/red]: {red} red", f"and {amber} amber" if amber else "")


_STYLES = {Colour.GREEN: "green", Colour.AMBER: "yellow", Colour.RED: "red", Colour.NOT_ASKED: "dim"}


def written(flag: VerdictFlag) -> tuple[str, str]:
    """A flag's number and its limit, with more digits than two where the number would look like the limit and is not."""
    if flag.value is None:
        return UNKNOWN, f"{flag.comparison} {_digits(flag, flag.limit, 2)}"
    count = next(
        (count for count in range(2, 12) if _digits(flag, flag.value, count) != _digits(flag, flag.limit, count)), 2
    )
    return _digits(flag, flag.value, count), f"{flag.comparison} {_digits(flag, flag.limit, count)}"


def _digits(flag: VerdictFlag, value: float, count: int) -> str:
    if not isfinite(value):
        return f"{value}"
    return (percent if flag.is_frac else number)(Decimal(repr(float(value))), count)
