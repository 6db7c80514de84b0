"""`closebell bars fetch`: price files for backtests."""

from datetime import date
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console

from closebell.adapters.bar_store import BarFormat
from closebell.adapters.system_clock import SystemClock
from closebell.app.fetch_bars import FetchedBars
from closebell.cli.application import (
    DAY,
    SayingGroup,
    app,
    end_interrupted,
    fail,
    progress_bar,
    read_day,
    require_in_order,
    telling_of,
)
from closebell.model.errors import (
    AccessRefused,
    BrokerKeyRefused,
    BrokerUnavailable,
    ClosebellError,
    RateLimited,
    StoreUnavailable,
)

LATE_STARTS_SHOWN_MAX = 5
LATE_DAYS = 7
"""A first bar that comes sooner after the first date waited for a weekend or a holiday."""

bars_app = typer.Typer(help="Price files for backtests.", no_args_is_help=True, cls=SayingGroup)
app.add_typer(bars_app, name="bars")


@bars_app.command()
def fetch(
    symbols: Annotated[list[str], typer.Argument(help="For example AAPL BRK.B BTC/USD.", show_default=False)],
    since: Annotated[
        date, typer.Option("--from", parser=read_day, metavar=DAY, help="First date.", show_default=False)
    ],
    out: Annotated[Path, typer.Option(metavar="FOLDER", help="Folder for SYMBOL.csv.", show_default=False)],
    until: Annotated[
        date | None,
        typer.Option("--to", parser=read_day, metavar=DAY, help="Last date; the last finished session if left out."),
    ] = None,
    bar_format: Annotated[BarFormat, typer.Option("--format", help="How the files are written.")] = BarFormat.CSV,
    feed: Annotated[Literal["sip", "iex"], typer.Option(help="sip is every exchange, iex one of them.")] = "sip",
    refresh: Annotated[
        bool, typer.Option("--refresh", help="Fetch again what is there, for its dates and these; replaces files of your own.")
    ] = False,
) -> None:
    """Fetch daily bars from Alpaca, adjusted for splits and dividends as of today, into one file a symbol.

    The key is read from ALPACA_KEY_ID and ALPACA_SECRET_KEY. What is there is not fetched again. A file that is there for
    other dates is fetched whole for both, and never becomes shorter.
    """
    from closebell.wiring.bar_fetch import bar_fetch  # the other commands need not load the feed

    done = (0, len(symbols))

    def follow(done_count: int, total_count: int) -> None:
        nonlocal done
        done = (done_count, total_count)
        shown(done_count, total_count)

    try:
        require_in_order(since, until)
        with progress_bar("fetching", "symbols") as shown, bar_fetch(out, bar_format, feed) as missing:
            fetched = missing.fetch(symbols, since, until, SystemClock().now(), replaces=refresh, progress=follow)
    except ClosebellError as error:
        fail(_with_what_to_do(error, *done))
    except KeyboardInterrupt as error:
        end_interrupted(f"the files that are written stay in {out}, the same command fetches the rest", error)
    with telling_of(out) as console:
        _tell(console, fetched, out, since)
    if fetched.refused:
        raise typer.Exit(1)


def _with_what_to_do(error: ClosebellError, done_count: int, total_count: int) -> ClosebellError:
    """An error that stopped the fetching midway, and how to go on; a key that is refused will be refused again."""
    if isinstance(error, (BrokerKeyRefused, AccessRefused)) or not isinstance(error, (BrokerUnavailable, StoreUnavailable)):
        return error
    when = f" after {error.reset_at:%H:%M:%S} UTC" if isinstance(error, RateLimited) and error.reset_at else ""
    return type(error)(f"{error}\n{done_count} of {total_count} symbols are done; the same command{when} goes on with the others")


def _tell(console: Console, fetched: FetchedBars, out: Path, since: date) -> None:
    console.print(
        f"{len(fetched.written)} fetched to {out}, adjusted for splits and dividends as of today; "
        f"{len(fetched.kept)} there already, {len(fetched.refused)} not to be had", soft_wrap=True,
    )  # fmt: skip
    late = sorted((first, symbol) for symbol, first in fetched.written.items() if (first - since).days > LATE_DAYS)
    if late:
        shown = ", ".join(f"{symbol} on {first}" for first, symbol in late[-LATE_STARTS_SHOWN_MAX:])
        console.print(f"note: {len(late)} begin later than {since}: {shown}", soft_wrap=True, markup=False)
    for note in sorted(fetched.notes):
        console.print(f"note: {note}", soft_wrap=True, markup=False)
    for symbol, why in fetched.refused.items():
        typer.echo(f"closebell: {symbol}: {why}", err=True)
