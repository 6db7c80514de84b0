"""What the demo prints and writes."""

from collections import Counter
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from closebell.model.instruments import Market
from infra.local import exports
from infra.local.demo_desk import DemoDesk
from infra.local.scenario import Scenario
from infra.local.session_report import SessionLine, Summary

_COLUMNS = "{:<15} {:>5} {:>6} {:>5} {:>9} {:>13} {:>6}"


def show_header(console: Console, scenario: Scenario) -> None:
    """The titles above the session lines."""
    label = "SYNTHETIC" if scenario.name == "synthetic" else "session"
    console.print(f"[dim]{_COLUMNS.format(label, 'plans', 'orders', 'fills', 'positions', 'equity', 'breaks')}[/dim]")


def show_line(console: Console, line: SessionLine, told: str) -> None:
    """One session; what went wrong, or was made to, follows below it."""
    equity = "not reviewed" if line.equity_usd is None else _usd(line.equity_usd)
    columns = (f"{line.session:%a %d %b %Y}", line.plans, line.orders, line.fills, line.positions, equity, line.breaks)
    console.print(escape(_COLUMNS.format(*columns)))
    for remark in told.splitlines():
        console.print(f"    [{'red' if remark.startswith('error') else 'dim'}]{escape(remark)}[/]", soft_wrap=True)


def told(incident: str, happenings: Sequence[str], errors: Sequence[str]) -> str:
    """The remarks of a session: the incident, what happened, and each function's error with how often it came."""
    remarks = [f"incident: {incident}"] if incident else []
    remarks += happenings
    remarks += [f"error{f' x{count}' if count > 1 else ''}: {error}" for error, count in Counter(errors).items()]
    return "\n".join(remarks)


def write_and_show(console: Console, folder: Path, desk: DemoDesk, summary: Summary) -> None:
    """Write the exports, print the summary and where to look."""
    paths = [exports.write_summary(folder, summary)]
    days = [day for days in desk.days_of(desk.sessions_done()) for day in days]
    paths.append(exports.write_ledger(folder, [fill for day in days for fill in desk.records.fills(day)]))
    remark = "no newsletter was sent yet"
    s3, bucket = desk.aws.client("s3"), desk.deployment.outputs["ArchiveBucketName"]
    if mails := [mail for mail in desk.records.mails() if mail.market is Market.US_EQUITY]:
        newsletter, remark = exports.write_newsletter(folder, mails[-1], bucket, s3)
        paths = [*newsletter, *paths]
    plan_sets = desk.records.plan_sets()
    placed = [desk.records.placed(plan_set) for plan_set in plan_sets]
    paths.append(exports.write_decisions(folder, plan_sets, placed, bucket, s3))
    _show_summary(console, summary)
    console.print("[bold]Where to look[/bold]")
    for path in paths:
        console.print(f"  {_shown(path)}", soft_wrap=True)
    console.print("  .venv/bin/closebell explain SYMBOL --session DATE says why a symbol was or was not traded", soft_wrap=True)
    if remark:
        console.print(f"  {escape(remark)}", soft_wrap=True)
    console.print("`make demo` goes on with the next sessions, `make demo RESET=1` begins again.")


def _show_summary(console: Console, summary: Summary) -> None:
    table = Table(title="The demo so far", show_header=False, title_justify="left")
    for name, value in summary._asdict().items():
        unit = " USD" if "_usd" in name else " s" if name.endswith("_s") else ""
        words = name.replace("_usd", "").removesuffix("_s").replace("_", " ")
        table.add_row(words, f"{value:,.2f}{unit}" if unit == " USD" else f"{value}{unit}")
    console.print(table)


def _usd(amount_usd: Decimal) -> str:
    return f"${amount_usd:,.2f}"


def _shown(path: Path) -> str:
    """Relative to where one stands, when it is below."""
    here = Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)
