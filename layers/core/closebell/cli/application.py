"""The command line's application, and what its commands say alike: notes, failures, interrupts."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Annotated, NoReturn

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

app = typer.Typer(
    help="A trading desk that runs itself: ask it why, stop it, set it up.", no_args_is_help=True, add_completion=False
)

Stack = Annotated[str, typer.Option(envvar="CLOSEBELL_STACK", help="Name of the deployed stack.")]

INTERRUPTED = 130
"""A shell's status for a command that was interrupted."""


def show_notes(console: Console, notes: Iterable[str]) -> None:
    """Say what a reader must know of the results, a line each."""
    for note in notes:
        console.print(f"[yellow]note:[/yellow] {escape(note)}", soft_wrap=True)


@contextmanager
def progress_bar(console: Console, doing: str, of_what: str) -> Iterator[Callable[[int, int], None]]:
    """A bar that shows how far something is and how long the rest will take; it is told how many of how many are done."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn(of_what), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as shown:
        bar = shown.add_task(doing, total=None)
        yield lambda done_count, total_count: shown.update(bar, completed=done_count, total=total_count)


def fail(error: Exception) -> NoReturn:
    """Say what went wrong on stderr and end with status 1."""
    typer.echo(f"closebell: {error}", err=True)
    raise typer.Exit(1) from error


def end_interrupted(what_is_left: str, error: KeyboardInterrupt) -> NoReturn:
    """Say on stderr what an interrupt has left and what goes on with it, and end with a status of its own."""
    typer.echo(f"closebell: interrupted; {what_is_left}", err=True)
    raise typer.Exit(INTERRUPTED) from error
