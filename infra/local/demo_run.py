"""A run of the demo: the next sessions, one line each, then the numbers and where to look.

State stays in `.closebell/<market>`; the next run goes on with the sessions after. What there is to see goes to
`.closebell/demo`.
"""

import argparse
import shutil
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from datetime import date, datetime
from pathlib import Path
from types import FrameType
from typing import NamedTuple

from botocore.exceptions import BotoCoreError, ClientError
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from closebell.model.errors import ClosebellError
from infra.local import demo_output
from infra.local.aws import LocalAwsFailed
from infra.local.broker_view import BrokerUnreadable
from infra.local.demo_desk import DemoDesk, open_desk
from infra.local.deploy import DeployFailed
from infra.local.exchange_process import ExchangeFailed
from infra.local.incidents import Script, choose
from infra.local.lifeline import hold
from infra.local.package import PackageFailed
from infra.local.scenario import SCENARIOS, ends_at
from infra.local.schedule_runner import RunnerStopped
from infra.local.schedules import firings
from infra.local.session_report import SessionLine, summarise

ROOT = Path(__file__).resolve().parents[2]
EXPECTED = (
    BotoCoreError, BrokerUnreadable, ClientError, ClosebellError, DeployFailed, ExchangeFailed, LocalAwsFailed, PackageFailed,
    RunnerStopped, OSError,
)


class Options(NamedTuple):
    """What was asked for; `folder` holds all state and output."""

    market: str
    sessions: int
    reset: bool
    folder: Path


def read_options(arguments: Sequence[str]) -> Options:
    """The command line."""
    parser = argparse.ArgumentParser(prog="make demo", description="Trade sessions on the local stack.")
    parser.add_argument("--market", choices=sorted(SCENARIOS), default="real")
    parser.add_argument("--sessions", type=int, default=10)
    parser.add_argument("--reset", action="store_true", help="forget the market's state and begin again")
    parser.add_argument("--folder", type=Path, default=ROOT / ".closebell", help="where state and output lie")
    options = Options(**vars(parser.parse_args(arguments)))
    if options.sessions < 1:
        parser.error("--sessions must be at least 1")
    return options._replace(folder=options.folder.resolve())


def main(arguments: Sequence[str]) -> int:
    """Run and give the exit code: 0 done, 1 failed with a message, 130 interrupted."""
    console = Console(highlight=False)
    options = read_options(arguments)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):  # a shell starts what is in its background deaf to the first
        signal.signal(number, _interrupt)
    try:
        return run(options, console)
    except KeyboardInterrupt:
        console.print("\nStopped; nothing that happened is lost. `make demo` goes on from here, RESET=1 begins again.")
        return 130
    except EXPECTED as error:
        console.print(f"[red]The demo stopped:[/red] {escape(str(error))}", soft_wrap=True)
        console.print("What happened so far is kept: `make demo` goes on from there.")
        return 1


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def run(options: Options, console: Console) -> int:
    """Trade the next sessions and show what became of them."""
    began = time.monotonic()
    scenario = SCENARIOS[options.market]
    state, output = options.folder / scenario.name, options.folder / "demo"
    if not hold(options.folder / f"{scenario.name}.lock", 0.0):
        console.print(f"Another demo of the {scenario.name} market is running; wait for it or stop it.")
        return 1
    if options.reset:
        _forget(state, output)
    console.print(f"[bold]closebell[/bold] on {scenario.told}.", soft_wrap=True)
    with ExitStack() as stack:
        with console.status("starting the exchange and local AWS, deploying template.yaml"):
            desk = open_desk(stack, scenario, options.folder, ROOT)
        console.print(f"{desk.told} in {time.monotonic() - began:.1f} s")
        sessions = desk.next_sessions(options.sessions)
        if not sessions:
            console.print("There are no sessions left in this market; `make demo RESET=1` begins again.")
        for line, told in _trade(desk, sessions, console):
            demo_output.show_line(console, line, told)
        lines = [desk.records.line(days) for days in desk.days_of(desk.sessions_done())]
        summary = summarise(desk.records, desk.broker, lines, desk.memory, time.monotonic() - began)
        demo_output.write_and_show(console, output, desk, summary)
    return 0


def _forget(state: Path, output: Path) -> None:
    """Remove the market's state once no process of an earlier run holds it."""
    for lock in (state / "aws" / "aws.lock", state / "exchange" / "server.lock"):
        if lock.exists() and not hold(lock, 15.0):
            raise OSError(f"a process of an earlier run still uses {lock.parent}")
    for folder in (state, output):
        shutil.rmtree(folder, ignore_errors=True)


def _trade(desk: DemoDesk, sessions: Sequence[date], console: Console) -> Iterator[tuple[SessionLine, str]]:
    """Run the sessions one after the other, with a progress bar below their lines."""
    done = desk.sessions_done()
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("runs"), TimeElapsedColumn())
    demo_output.show_header(console, desk.scenario)
    with Progress(*columns, console=console, transient=True) as progress:
        start = ends_at(done[-1]) if done else desk.scenario.opens_at
        total = sum(1 for _ in firings(desk.schedules, start, ends_at(sessions[-1]))) if sessions else 0
        bar = progress.add_task(f"{desk.scenario.opening:%a %d %b %Y}", total=total)
        # The evening before the first session, whose decisions that session trades.
        errors = [] if done else _deliver(desk, start, ends_at(desk.scenario.opening), None, lambda: progress.advance(bar))
        for session in sessions:
            progress.update(bar, description=f"{session:%a %d %b %Y}")
            script = _script(desk, len(done) + 1, session)
            script.begin()
            start = ends_at(done[-1] if done else desk.scenario.opening)
            errors += _deliver(desk, start, ends_at(session), script, lambda: progress.advance(bar))
            script.end()
            desk.broker.advance(ends_at(session))
            desk.memory.finish(session)
            done.append(session)
            days = desk.days_of(done)[-1]
            yield desk.records.line(days), demo_output.told(script.told, desk.records.happenings(days), errors)
            errors = []


def _deliver(desk: DemoDesk, start: datetime, end: datetime, script: Script | None, advance: Callable[[], None]) -> list[str]:
    """Run a span of the schedule and give the functions' errors."""
    errors = []
    for invocation in desk.runner.run(desk.schedules, start, end):
        for each in (invocation, *(script.after(invocation, desk.runner) if script else ())):
            if each.error is not None:
                desk.memory.count_error()
                errors.append(f"{each.firing.schedule.function}: {each.error}")
        advance()
    return errors


def _script(desk: DemoDesk, number: int, session: date) -> Script:
    """The session's incident; a broker of the user's own has none."""
    entries = desk.records.entries(session)
    incident = choose(number, entries, desk.memory.incidents) if desk.broker.has_control else None
    desk.memory.note_incident(number, incident.name if incident else "")
    return Script(incident, entries, desk.broker)
