"""What the owner says to a desk: explain, configure, halt, resume, release, rebuild, status."""

import getpass
import secrets
from datetime import date
from pathlib import Path
from typing import Annotated

import typer

from closebell.app.control import confirm_resume, halt_desk, release_position, request_resume, store_parameters
from closebell.app.desk import load_desk
from closebell.app.evidence import sessions_judged
from closebell.app.explain import document_of, find_decisions, find_placed, placed_of
from closebell.app.rebuild import rebuild_desk
from closebell.app.replay import replay_session, stored_plans
from closebell.cli.application import DAY, Stack, app, fail, read_day
from closebell.configuration import read_parameters
from closebell.model.decision_document import DecisionDocument, PlacedPlans
from closebell.model.errors import ClosebellError, ConfigurationError, DataError
from closebell.model.instruments import Market
from closebell.model.panel import BarPanel
from closebell.reports.explanation import explain_decision
from closebell.strategies import STRATEGIES
from closebell.wiring.operator import OperatorDesk, operator_broker, operator_desk

DEMO_DECISIONS = Path(".closebell/demo/decisions")


@app.command()
def explain(
    symbol: Annotated[str, typer.Argument(help="For example AAPL or BTC/USD.")],
    session: Annotated[
        date | None, typer.Option(parser=read_day, metavar=DAY, help="The session decided after; the newest if left out.")
    ] = None,
    stack: Annotated[
        str, typer.Option(envvar="CLOSEBELL_STACK", help="Name of a deployed stack; the demo's decisions if left out.")
    ] = "",
    decisions: Annotated[Path, typer.Option(help="Folder of decision documents, as the demo writes it.")] = DEMO_DECISIONS,
) -> None:
    """Why SYMBOL was or was not traded: votes, regime, every check with its number and limit, size, and what became of it."""
    market = Market.CRYPTO if "/" in symbol else Market.US_EQUITY
    try:
        if stack:
            desk = operator_desk(stack)
            document = find_decisions(desk.journal, desk.archive, market, session)
            placed: PlacedPlans | None = find_placed(desk.journal, market, document.next_session)
        else:
            document = _document_in(decisions, market, session)
            placed = _placed_in(decisions, document)
        typer.echo(explain_decision(document, symbol.upper(), placed), nl=False)
    except KeyError:
        fail(DataError(f"{symbol} was not considered after {document.session}: it is not in the configured universe"))
    except ClosebellError as error:
        fail(error)


def _document_in(decisions: Path, market: Market, day: date | None) -> DecisionDocument:
    """A decision document on disk: `<market>/<session>.json`, the newest when no day is asked for. Raises DataError."""
    folder = decisions / market
    known = sorted(folder.glob("*.json"))
    if not known:
        raise DataError(f"no decisions in {folder}: run `make demo` first, or name a deployed desk with --stack")
    found = [path for path in known if day is None or path.stem == f"{day}"]
    if not found:
        there = ", ".join(path.stem for path in known)
        raise DataError(f"nothing was decided after {day} in {folder}, but after {there}")
    document = document_of(_content(found[-1]), f"{found[-1]}")
    if (document.market, f"{document.session}") != (market, found[-1].stem):
        raise DataError(f"{found[-1]} says that it is of {document.market} after {document.session}: it was changed or renamed")
    return document


def _placed_in(decisions: Path, document: DecisionDocument) -> PlacedPlans | None:
    """What became of a document's plans: `<market>/placed/<session>.json`; None where there is none. Raises DataError."""
    path = decisions / document.market / "placed" / f"{document.session}.json"
    if not path.exists():
        return None
    placed = placed_of(_content(path), f"{path}")
    if (placed.market, placed.session) != (document.market, document.next_session):
        raise DataError(f"{path} says that it is of {placed.market} in {placed.session}: it was changed or renamed")
    return placed


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}") from error


@app.command()
def replay(
    session: Annotated[date, typer.Option(parser=read_day, metavar=DAY, help="The session decided after.")],
    stack: Annotated[
        str, typer.Option(envvar="CLOSEBELL_STACK", help="Name of a deployed stack; the demo's decisions if left out.")
    ] = "",
    crypto: Annotated[bool, typer.Option("--crypto", help="The coins' decisions of that day.")] = False,
    decisions: Annotated[Path, typer.Option(help="Folder of decision documents, as the demo writes it.")] = DEMO_DECISIONS,
) -> None:
    """Decide a past session again from its stored inputs, and show every difference: there must be none.

    Bars, volatility, regime and configuration are held to their fingerprints; other books than the stored ones show where they
    change a decision.
    """
    market = Market.CRYPTO if crypto else Market.US_EQUITY
    try:
        if stack:
            desk = operator_desk(stack)
            document = find_decisions(desk.journal, desk.archive, market, session)
            bars, plans = desk.archive.get(document.bars_archive), stored_plans(desk.journal, document)
        else:
            document, plans = _document_in(decisions, market, session), None
            path = decisions.parent / document.bars_archive
            bars = _content(path) if path.exists() else None
        if bars is None:
            raise DataError(f"the bars of {document.session} are lost: there is no {document.bars_archive}")
        replayed = replay_session(document, BarPanel.from_npz(bars), plans)
    except ClosebellError as error:
        fail(error)
    for found in replayed.discrepancies:
        typer.echo(f"  {f'{found.subject} {found.field}'.rstrip()}: stored {found.stored}, replayed {found.replayed}")
    compared, differences = replayed.compared_count, len(replayed.discrepancies)
    what = "decisions" if plans is None else "decisions and plans"
    typer.echo(f"{document.session}: {compared} {what} compared, {differences} differences")
    if replayed.discrepancies:
        raise typer.Exit(1)


@app.command()
def configure(
    file: Annotated[Path, typer.Argument(help="The desk's configuration, as in examples/desk.toml.")], stack: Stack
) -> None:
    """Check a configuration and make it the desk's current one."""
    try:
        text = file.read_text()
    except (OSError, UnicodeDecodeError) as error:
        fail(ConfigurationError(f"{file} cannot be read: {error.strerror if isinstance(error, OSError) else error}"))
    try:
        wanted = read_parameters(text, STRATEGIES)
        sessions_judged(wanted)  # refused before it is stored
        parameters = store_parameters(operator_desk(stack).journal, wanted)
    except ClosebellError as error:
        fail(error)
    counts = f"{len(parameters.universe)} instruments, {len(parameters.strategies)} strategies"
    typer.echo(f"configuration version {parameters.version_count}: {counts}")


@app.command()
def halt(reason: Annotated[str, typer.Argument(help="Why; it is shown wherever the desk is shown.")], stack: Stack) -> None:
    """Stop at once: no order that increases risk leaves from now on; exits and stops keep working."""
    if not reason.strip():
        fail(ConfigurationError("say why: the reason is what everybody sees while the desk is halted"))
    try:
        desk = operator_desk(stack)
        new = halt_desk(desk.journal, reason, getpass.getuser(), desk.clock.now())
    except ClosebellError as error:
        fail(error)
    typer.echo("halted" if new else "was halted already")


@app.command()
def resume(stack: Stack, code: Annotated[str, typer.Option(help="The code that the first call printed.")] = "") -> None:
    """Resume after a halt, in two steps: the first call prints a code, the second repeats it within 15 minutes."""
    try:
        _resume(operator_desk(stack), stack, code)
    except ClosebellError as error:
        fail(error)


def _resume(desk: OperatorDesk, stack: str, code: str) -> None:
    now = desk.clock.now()
    if code:
        resumed = confirm_resume(desk.journal, code, getpass.getuser(), now)
        typer.echo(resumed.reason)
        return
    waiting = request_resume(desk.journal, secrets.token_hex(3), now)
    typer.echo(f"halted because: {waiting.reason} (by {waiting.by})")
    typer.echo(f"to resume: closebell resume --stack {stack} --code {waiting.resume_code}")


@app.command()
def release(symbol: Annotated[str, typer.Argument(help="A disputed position.")], stack: Stack) -> None:
    """Take a disputed position over as your own: it counts in the limits from now on, and the desk never sells it."""
    try:
        released = release_position(operator_desk(stack).journal, symbol.upper(), getpass.getuser())
    except ClosebellError as error:
        fail(error)
    typer.echo(f"{released.symbol}: {released.external_shares:f} are yours; {released.note}")


@app.command()
def rebuild(
    stack: Stack, replace: Annotated[bool, typer.Option(help="Throw away the books that are there, and rebuild them.")] = False
) -> None:
    """Make the books anew from the broker's account alone, when tables were lost or are wrong. The desk must be halted."""
    try:
        desk = operator_desk(stack)
        books = rebuild_desk(operator_broker(stack), desk.journal, replace)
    except ClosebellError as error:
        fail(error)
    for position in books.positions.values():
        ours, yours = position.quantity_shares, position.external_shares
        typer.echo(f"  {position.symbol:<8}{ours:>12f} ours{yours:>12f} yours  {position.state}")
    for found in books.breaks:
        typer.echo(f"  {found.symbol}: fills explain {found.ours_shares:f}, the broker has {found.theirs_shares:f}: {found.note}")
    typer.echo(
        f"{len(books.fills)} fills, {len(books.positions)} positions, {len(books.trades)} trades, "
        f"{len(books.orders)} resting orders; {len(books.breaks)} symbols differ"
    )


@app.command()
def status(stack: Stack) -> None:
    """What the desk owns, whether it is halted, and when the broker was last read."""
    try:
        desk = load_desk(operator_desk(stack).journal)
    except ClosebellError as error:
        fail(error)
    halted = desk.halt.record if desk.halt and desk.is_halted else None
    typer.echo(f"HALTED: {halted.reason} (by {halted.by})" if halted else "running")
    if desk.snapshot:
        account = desk.snapshot.record.account
        typer.echo(
            f"equity ${account.equity_usd:,.2f}, cash ${account.cash_usd:,.2f}, read {desk.snapshot.record.as_of:%Y-%m-%d %H:%M}Z"
        )
    for stored in desk.positions.values():
        position = stored.record
        typer.echo(
            f"  {position.symbol:<8}{position.quantity_shares:>12f} at ${position.average_entry_price_usd:,.2f}  {position.state}"
        )
    typer.echo(f"{len(desk.orders)} live orders, {len(desk.outbox)} alerts waiting")
