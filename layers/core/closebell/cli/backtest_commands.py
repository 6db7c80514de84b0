"""`closebell backtest`: the desk through past sessions."""

from collections.abc import Callable, Mapping
from datetime import date, datetime
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from closebell.adapters.exchange_calendar import ExchangeCalendar
from closebell.backtest.engine import Progress as TellProgress
from closebell.backtest.markets import NamedMarket, demo_market, synthetic_days
from closebell.backtest.records import BacktestRecords
from closebell.backtest.result_files import backtest_files, write_directory
from closebell.backtest.run import Costs, default_parameters, run_backtest, voted_by
from closebell.backtest.summary import summary_of
from closebell.cli.application import app, fail
from closebell.configuration import read_parameters
from closebell.model.errors import ClosebellError, ConfigurationError
from closebell.model.instruments import Market
from closebell.model.parameters import ParameterSet
from closebell.simulation.bar_market import BarMarket, hours_of
from closebell.strategies import STRATEGIES

ROUND_TRIP_ORDERS = 2


@app.command()
def backtest(
    bars: Annotated[str, typer.Option(help="Folder of SYMBOL.csv or SYMBOL.parquet; or demo, or synthetic.")],
    out: Annotated[Path, typer.Option(help="Folder for the results.")],
    strategies: Annotated[str, typer.Option(help="Names with commas between; the configuration's if left out.")] = "",
    since: Annotated[datetime | None, typer.Option("--from", formats=["%Y-%m-%d"], help="First session traded.")] = None,
    until: Annotated[datetime | None, typer.Option("--to", formats=["%Y-%m-%d"], help="Last session traded.")] = None,
    cash: Annotated[str, typer.Option(help="USD at the start.")] = "100000",
    config: Annotated[Path | None, typer.Option(help="The desk's configuration, as in examples/desk.toml.")] = None,
    slippage_bps: Annotated[str, typer.Option(help="What a market or stop order pays beyond the price, in 0.01 %.")] = "5",
    commission_per_share: Annotated[str, typer.Option(help="USD.")] = "0",
    commission_per_order: Annotated[str, typer.Option(help="USD.")] = "0",
    commission_per_round_trip: Annotated[str, typer.Option(help="USD, half of it on each order.")] = "0",
    capacity: Annotated[str, typer.Option(help="Part of the mean daily volume that one print offers, 0 to 1.")] = "1",
) -> None:
    """Trade past sessions with the deployed desk's own code; results before and after costs."""
    console = Console(highlight=False)
    try:
        each_order = _amount("--commission-per-order", commission_per_order)
        each_trip = _amount("--commission-per-round-trip", commission_per_round_trip)
        costs = Costs(
            slippage_bps=_amount("--slippage-bps", slippage_bps),
            commission_a_share_usd=_amount("--commission-per-share", commission_per_share),
            commission_an_order_usd=each_order + each_trip / ROUND_TRIP_ORDERS,
            capacity_frac=_amount("--capacity", capacity),
        )
        options = costs.options(_amount("--cash", cash))
        found = market_named(bars, costs)
        parameters = _parameters(found, config, tuple(name for name in strategies.split(",") if name))
        records = with_progress(
            console, lambda progress: run_backtest(
                found.market, parameters, options, first=_day(since), last=_day(until), progress=progress
            )
        )
        summary = summary_of(records)
        write_directory(out, backtest_files(records, summary))
    except ClosebellError as error:
        fail(error)
    show(console, records, summary)
    console.print(f"written to {out}")


def market_named(bars: str, costs: Costs) -> NamedMarket:
    """The market that `--bars` names. Raises ConfigurationError, DataError (files that are wrong)."""
    calendar = ExchangeCalendar()
    if bars == "demo":
        return demo_market(calendar, costs.spread_frac)
    if bars == "synthetic":
        return synthetic_days(calendar, costs.spread_frac)
    from closebell.adapters.bar_files import read_bar_folder, read_splits  # pandas is imported only where files are read

    folder = Path(bars)
    panel = read_bar_folder(
        folder, lambda first, last: {hours.session for hours in calendar.sessions(Market.US_EQUITY, first, last)}
    )
    market = BarMarket(
        panel, hours_of(calendar, panel), splits=read_splits(folder), spread_frac=costs.spread_frac, label=f"{folder}"
    )
    return NamedMarket(market, default_parameters(market.panel, ()))


def _parameters(found: NamedMarket, config: Path | None, strategies: tuple[str, ...]) -> ParameterSet:
    if config is None:
        return voted_by(found.parameters, strategies)
    try:
        text = config.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"the configuration {config} cannot be read: {error}") from error
    return voted_by(read_parameters(text, STRATEGIES), strategies)


def with_progress(console: Console, work: Callable[[TellProgress], BacktestRecords]) -> BacktestRecords:
    """Do `work` with a bar below that shows how far it is and how long the rest will take."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("sessions"), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        bar = progress.add_task("trading", total=None)
        return work(lambda done, total: progress.update(bar, completed=done, total=total))


def show(console: Console, records: BacktestRecords, summary: Mapping[str, Any]) -> None:
    """The headline numbers, after and before costs."""
    console.print(
        f"[bold]{escape(records.label)}[/bold]: {summary['first_session']} to {summary['last_session']}, "
        f"{summary['sessions_count']} sessions, {summary['orders_count']} orders, {summary['trades_count']} trades",
        soft_wrap=True,
    )
    table = Table(box=None, pad_edge=False)
    for title in ("", "after costs", "before costs"):
        table.add_column(title, justify="right" if title else "left")
    for name, key, style in _HEADLINES:
        table.add_row(name, style(summary[key]), style(summary[f"gross_{key}"]))
    console.print(table)
    console.print(
        f"costs ${summary['cost_usd']:,.2f}: slippage ${summary['spread_cost_usd']:,.2f}, commissions "
        f"${summary['commission_usd']:,.2f}; in the market {_share(summary['exposure_mean_frac'])} of the money on average"
    )
    for warning in records.warnings:
        console.print(f"[yellow]note:[/yellow] {escape(warning)}", soft_wrap=True)
    console.print(f"trades {summary['trades_sha256'][:16]}")


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.2%}"


def _ratio(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _dollars(value: float | None) -> str:
    return "-" if value is None else f"${value:,.2f}"


_HEADLINES: tuple[tuple[str, str, Callable[[float | None], str]], ...] = (
    ("final equity", "final_equity_usd", _dollars),
    ("total return", "total_return_frac", _share),
    ("annual return", "annual_return_frac", _share),
    ("Sharpe", "sharpe_annual_ratio", _ratio),
    ("Sortino", "sortino_annual_ratio", _ratio),
    ("Calmar", "calmar_ratio", _ratio),
    ("deepest drawdown", "drawdown_frac_max", _share),
    ("win rate", "win_rate_frac", _share),
    ("profit factor", "profit_factor_ratio", _ratio),
    ("expectancy a trade", "expectancy_usd", _dollars),
)


def _amount(option: str, text: str) -> Decimal:
    try:
        amount = Decimal(text)
    except InvalidOperation as error:
        raise ConfigurationError(f"{option} is {text!r}: write a number, such as 5 or 0.005") from error
    if not amount.is_finite():
        raise ConfigurationError(f"{option} is {text!r}: write a finite number")
    return amount


def _day(at: datetime | None) -> date | None:
    return at.date() if at else None
