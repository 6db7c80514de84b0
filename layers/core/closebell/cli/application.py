"""The command line's application, and how its commands speak alike: tables, notes, progress, failures, interrupts, and a stdout
that is closed, full, or of few signs."""

import os
import sys
from codecs import register_error
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import date
from io import TextIOWrapper
from pathlib import Path
from typing import Annotated, Any, NoReturn, TextIO

import typer
from rich.console import Console
from rich.markup import escape
from rich.measure import Measurement
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, TextColumn, TimeRemainingColumn
from rich.table import Table
from typer.core import TyperGroup

from closebell.model.errors import ConfigurationError, DataError

_SENTENCE_SIGNS_MAX = 1_000


class SayingGroup(TyperGroup):
    """Commands whose words may have nowhere to go: a stdout on a full disk is an error in a line, whoever writes to it.

    The list of them has the whole first sentence of each.
    """

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        found = ((name, self.get_command(ctx, name)) for name in self.list_commands(ctx))
        with formatter.section("Commands"):
            formatter.write_dl([(name, it.get_short_help_str(limit=_SENTENCE_SIGNS_MAX)) for name, it in found if it])

    def invoke(self, ctx: Any) -> object:  # whose type typer keeps to itself
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            raise  # ends quietly
        except OSError as error:
            if not sys.stdout or _takes_a_line(sys.stdout):
                raise
            _give_up_stdout()
            fail(DataError(f"stdout does not take what there is to say: {error.strerror or error}"))


def _takes_a_line(stream: TextIO) -> bool:
    """Whether something can be written there, which tells a fault of stdout from one of any other file."""
    try:
        stream.write("\n")
        stream.flush()
    except OSError:
        return False
    return True


app = typer.Typer(
    help="A trading desk that runs itself: ask it why, stop it, set it up.", no_args_is_help=True, add_completion=False,
    cls=SayingGroup, rich_markup_mode=None,  # the tables of rich's help cut what is wider than its column
)  # fmt: skip

Stack = Annotated[str, typer.Option(envvar="CLOSEBELL_STACK", metavar="STACK", help="Name of the deployed stack.")]
DAY = "YYYY-MM-DD"

_PLAINLY = "plainly"
_PLAIN = {
    "\N{NO-BREAK SPACE}": " ", "\N{MINUS SIGN}": "-", "\N{EN DASH}": "-", "\N{HORIZONTAL ELLIPSIS}": "...",
    "\N{RIGHT SINGLE QUOTATION MARK}": "'", "\N{LESS-THAN OR EQUAL TO}": "<=", "\N{GREATER-THAN OR EQUAL TO}": ">=",
}  # fmt: skip

_PIPE_COLUMNS_MAX = 100_000

INTERRUPTED = 130
"""A shell's status for a command that was interrupted."""


class ResultConsole(Console):
    """Stdout, for what is said of results. Where nobody reads on, as behind `| head`, the rest is not said, and nothing ends."""

    def __init__(self) -> None:
        super().__init__(highlight=False)

    def on_broken_pipe(self) -> None:
        self.quiet = True
        _give_up_stdout()


def show_table(console: Console, table: Table) -> None:
    """A table of texts with no word cut, and no number from its unit. A pipe gets every row as one line; on a terminal cells
    wrap between words, within them where a column folds, and lines run on where that does not do."""
    for column in table.columns:
        texts = [column.header] if column.overflow == "fold" else [column.header, *column.cells]
        column.min_width = max(len(word) for text in texts for word in (*f"{text}".split(" "), ""))
    if not console.is_terminal:
        table.width = Measurement.get(console, console.options.update(max_width=_PIPE_COLUMNS_MAX), table).maximum
    console.print(table, crop=False)


@contextmanager
def telling_of(out: Path) -> Iterator[Console]:
    """The console for what is said of results that are written. Where stdout takes nothing, the place of the results is said on
    stderr, and the status is 1."""
    try:
        yield ResultConsole()
    except OSError as error:
        _give_up_stdout()
        fail(DataError(f"the results are in {out}, but stdout does not take what is said of them: {error.strerror or error}"))


def _give_up_stdout() -> None:
    """Let what stdout still holds go nowhere: the interpreter would fail with it once more at its end."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


@app.callback()
def speak_any_encoding() -> None:
    """Let stdout say what its encoding has no sign for: a minus is a hyphen, what is unknown a question mark."""
    if isinstance(sys.stdout, TextIOWrapper):
        register_error(_PLAINLY, _plainly)
        sys.stdout.reconfigure(errors=_PLAINLY)


def _plainly(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(_PLAIN.get(sign, "?") for sign in error.object[error.start : error.end]), error.end


def show_notes(console: Console, notes: Iterable[str]) -> None:
    """Say what a reader must know of the results, a line each."""
    for note in notes:
        console.print(f"[yellow]note:[/yellow] {escape(note)}", soft_wrap=True)


@contextmanager
def progress_bar(doing: str, of_what: str) -> Iterator[Callable[[int, int], None]]:
    """A bar that shows how far something is and how long the rest will take; it is told how many of how many are done."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn(of_what), TimeRemainingColumn())
    with progress_on_stderr(*columns) as shown:
        bar = shown.add_task(doing, total=None)
        yield lambda done_count, total_count: shown.update(bar, completed=done_count, total=total_count)


def progress_on_stderr(*columns: ProgressColumn) -> Progress:
    """A bar that goes when it is done. Only a terminal is shown one: stdout is for results, a file for what stays."""
    console = Console(stderr=True, highlight=False)
    is_beside_stdout = bool(sys.stdout and sys.stdout.isatty())  # None where a shell closed it
    return Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal, redirect_stdout=is_beside_stdout
    )


def read_day(text: str) -> date:
    """An option's date. Raises BadParameter, which names the option."""
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise typer.BadParameter(f"{text!r} is no date such as 2021-01-04") from error


def require_in_order(since: date | None, until: date | None) -> None:
    """Refuse a span that ends before it begins. Raises ConfigurationError."""
    if since and until and since > until:
        raise ConfigurationError(f"--from {since} is after --to {until}: the earlier date is --from")


def fail(error: Exception) -> NoReturn:
    """Say what went wrong on stderr and end with status 1."""
    typer.echo(f"closebell: {error}", err=True)
    raise typer.Exit(1) from error


def end_interrupted(what_is_left: str, error: KeyboardInterrupt) -> NoReturn:
    """Say on stderr what an interrupt has left and what goes on with it, and end with a status of its own."""
    typer.echo(f"closebell: interrupted; {what_is_left}", err=True)
    raise typer.Exit(INTERRUPTED) from error
