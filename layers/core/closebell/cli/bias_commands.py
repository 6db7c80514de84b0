"""`closebell lookahead` and `closebell warmup`: does a strategy know the future, or need more of the past than it says?"""

from collections.abc import Callable, Mapping, Sequence
from itertools import count
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from closebell.adapters.exchange_calendar import ExchangeCalendar
from closebell.backtest.bias.checks import (
    CUTS_COUNT,
    LOOKAHEAD_CHECKS,
    WARMUP_CHECKS,
    Tell,
    lookahead_findings,
    warmup_findings,
)
from closebell.backtest.bias.panels import all_panels, sessions_for
from closebell.backtest.bias.subject import BiasFinding, BiasSubject
from closebell.backtest.bias.subjects import registered_subjects, strategy_subject
from closebell.cli.application import app, end_interrupted, fail, progress_bar, show_table
from closebell.cli.strategy_file import read_strategy
from closebell.model.errors import ClosebellError
from closebell.model.panel import BarPanel
from closebell.strategies import SCORE_DECIMALS

OwnStrategy = Annotated[
    Path | None,
    typer.Option(
        "--strategy-file", "--strategy", metavar="FILE", help="A Python file of yours; all registered ones if left out."
    ),
]
Cuts = Annotated[int, typer.Option(min=8, metavar="COUNT", help="How many sessions of each panel to cut at; 2000 is every one.")]
Seed = Annotated[int, typer.Option(min=0, metavar="NUMBER", help="Draws other panels, cuts and futures.")]
Check = Callable[[BiasSubject, Mapping[str, BarPanel], int, int, Tell], Sequence[BiasFinding]]


@app.command()
def lookahead(strategy: OwnStrategy = None, cuts: Cuts = CUTS_COUNT, seed: Seed = 7) -> None:
    """Take the future away from every strategy, indicator and the regime: no row may change. Status 1 when one does."""
    _check(lookahead_findings, LOOKAHEAD_CHECKS, strategy, cuts, seed)


@app.command()
def warmup(strategy: OwnStrategy = None, cuts: Cuts = CUTS_COUNT, seed: Seed = 7) -> None:
    """Take the past away, down to what each says it needs: no row may change. Status 1 when one does."""
    _check(warmup_findings, WARMUP_CHECKS, strategy, cuts, seed)


def _check(check: Check, kinds: Sequence[str], strategy: Path | None, cuts: int, seed: int) -> None:
    console = Console(highlight=False)
    try:
        subjects = registered_subjects() if strategy is None else (strategy_subject(read_strategy(strategy), SCORE_DECIMALS),)
        length = sessions_for(max(subject.lookback_sessions for subject in subjects))
        panels = all_panels(ExchangeCalendar(), length, seed)
        with progress_bar("checking", "panels") as progress:
            done, total_count = count(1), len(subjects) * len(panels)

            def tell() -> None:
                progress(next(done), total_count)

            findings = {subject.name: check(subject, panels, cuts, seed, tell) for subject in subjects}
    except ClosebellError as error:
        fail(error)
    except KeyboardInterrupt as error:
        end_interrupted("nothing was kept", error)
    _show(console, kinds, findings)
    console.print(f"{len(panels)} panels of {length} sessions or more: {', '.join(panels)}", soft_wrap=True)
    if any(findings.values()):
        raise typer.Exit(1)


def _show(console: Console, kinds: Sequence[str], findings: Mapping[str, Sequence[BiasFinding]]) -> None:
    table = Table(box=None, pad_edge=False)
    for title in ("subject", "checks", "verdict", "first difference"):
        table.add_column(title)
    for subject, found in findings.items():
        first = f"{found[0].check}: {found[0].place} {found[0].session}" if found else ""
        verdict = f"[red]{len(found)} failed[/red]" if found else "ok"
        table.add_row(escape(subject), f"{len(kinds)}", verdict, escape(first))
    show_table(console, table)
    for subject, found in findings.items():
        for finding in found:
            console.print(f"[red]{escape(subject)}[/red] {escape(str(finding))}", soft_wrap=True)
