"""`closebell backtest` and `closebell compare`: the desk through past sessions."""

from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal, InvalidOperation
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from closebell.adapters.exchange_calendar import ExchangeCalendar
from closebell.backtest.bar_gaps import gaps_warning
from closebell.backtest.comparison import ComparedBacktest
from closebell.backtest.known_evidence import traded_instruments
from closebell.backtest.markets import NamedMarket, demo_market, synthetic_days
from closebell.backtest.records import BacktestRecords
from closebell.backtest.result_files import backtest_files, comparison_files, refuse_other_files, write_directory
from closebell.backtest.run import Costs, default_parameters, run_backtest, span_of, voted_by
from closebell.backtest.summary import summary_of
from closebell.backtest.survivorship import survivorship_warning
from closebell.backtest.universe_notes import universe_notes
from closebell.cli.application import app, fail
from closebell.configuration import read_parameters
from closebell.model.decision import Decision
from closebell.model.errors import ClosebellError, ConfigurationError
from closebell.model.instruments import Market
from closebell.model.parameters import ParameterSet
from closebell.simulation.bar_market import BarMarket, hours_of
from closebell.strategies import STRATEGIES

ROUND_TRIP_ORDERS = 2
ENSEMBLE = "ensemble"


Bars = Annotated[str, typer.Option(help="Folder of SYMBOL.csv or SYMBOL.parquet; or demo, or synthetic.")]
Traded = Annotated[Market, typer.Option("--market", help="What the files hold, shares or crypto pairs (BTC-USD.csv).")]
Workers = Annotated[int, typer.Option(min=1, max=256, help="Processes.")]
Out = Annotated[Path, typer.Option(help="Folder for the results.")]
Strategies = Annotated[str, typer.Option(help="Names with commas between; the configuration's if left out.")]
Since = Annotated[datetime | None, typer.Option("--from", formats=["%Y-%m-%d"], help="First session traded.")]
Until = Annotated[datetime | None, typer.Option("--to", formats=["%Y-%m-%d"], help="Last session traded.")]
Cash = Annotated[str, typer.Option(help="USD at the start.")]
Config = Annotated[Path | None, typer.Option(help="The desk's configuration, as in examples/desk.toml.")]
SlippageBps = Annotated[
    str, typer.Option(help="What a market or stop order pays beyond the price, in 0.01 %: 5, or a share of the spread, 0.5*10.")
]
PerShare = Annotated[str, typer.Option("--commission-per-share", help="USD.")]
PerOrder = Annotated[str, typer.Option("--commission-per-order", help="USD.")]
PerRoundTrip = Annotated[str, typer.Option("--commission-per-round-trip", help="USD, half of it on each order.")]
Capacity = Annotated[str, typer.Option(help="Part of the mean daily volume that one print offers, 0 to 1.")]
Gaps = Annotated[
    bool, typer.Option("--allow-gaps", help="A symbol did not trade in a session its file lacks; an error if left out.")
]


@app.command()
def backtest(
    bars: Bars, out: Out, strategies: Strategies = "", since: Since = None, until: Until = None, cash: Cash = "100000",
    config: Config = None, slippage_bps: SlippageBps = "5", per_share: PerShare = "0", per_order: PerOrder = "0",
    per_round_trip: PerRoundTrip = "0", capacity: Capacity = "1", allow_gaps: Gaps = False, market: Traded = Market.US_EQUITY,
    every_decision: Annotated[bool, typer.Option(help="Keep every symbol's decision of every session: much slower.")] = False,
) -> None:
    """Trade past sessions with the deployed desk's own code; results before and after costs."""
    console = Console(highlight=False)
    try:
        refuse_other_files(out)
        costs = costs_of(slippage_bps, per_share, per_order, per_round_trip, capacity)
        options = costs.options(amount_of("--cash", cash))
        found = market_named(bars, costs, gaps_are_allowed=allow_gaps, market=market)
        parameters = desk_parameters(found, config, names_in(strategies))
        decisions: list[Decision] | None = [] if every_decision else None
        trade = partial(
            run_backtest, found.market, parameters, options, first=day_of(since), last=day_of(until), decisions=decisions,
            warnings=told_of(found.market),
        )  # fmt: skip
        records = with_progress(console, "trading", trade)
        summary = summary_of(records)
        write_directory(out, backtest_files(records, summary))
    except ClosebellError as error:
        fail(error)
    show(console, records, summary)
    console.print(f"written to {out}: open {out / 'report.html'}", soft_wrap=True)


@app.command()
def compare(
    bars: Bars, out: Out, strategies: Strategies = "", since: Since = None, until: Until = None, cash: Cash = "100000",
    config: Config = None, slippage_bps: SlippageBps = "5", per_share: PerShare = "0", per_order: PerOrder = "0",
    per_round_trip: PerRoundTrip = "0", capacity: Capacity = "1", allow_gaps: Gaps = False, market: Traded = Market.US_EQUITY,
) -> None:
    """Backtest every strategy alone and all of them together, side by side."""
    console = Console(highlight=False)
    compared = []
    try:
        refuse_other_files(out)
        costs = costs_of(slippage_bps, per_share, per_order, per_round_trip, capacity)
        options = costs.options(amount_of("--cash", cash))
        found = market_named(bars, costs, gaps_are_allowed=allow_gaps, market=market)
        whole = desk_parameters(found, config, names_in(strategies))
        span = span_of(found.market, whole, day_of(since), day_of(until))  # the same sessions for every one
        desks = {name: voted_by(whole, (name,)) for name in whole.strategies} | {ENSEMBLE: whole}
        told = told_of(found.market)
        for name, parameters in desks.items():
            trade = partial(run_backtest, found.market, parameters, options, first=span[0], last=span[1], warnings=told)
            records = with_progress(console, name, trade)
            compared.append(ComparedBacktest(name, records, summary_of(records)))
        write_directory(out, comparison_files(compared))
    except ClosebellError as error:
        fail(error)
    show_comparison(console, compared)
    console.print(f"written to {out}: open {out / 'comparison.html'}", soft_wrap=True)


def costs_of(slippage_bps: str, per_share: str, per_order: str, per_round_trip: str, capacity: str) -> Costs:
    """The costs as the options say them. Raises ConfigurationError."""
    each_order = amount_of("--commission-per-order", per_order)
    each_trip = amount_of("--commission-per-round-trip", per_round_trip)
    return Costs(
        slippage_bps=_slippage_of(slippage_bps),
        commission_a_share_usd=amount_of("--commission-per-share", per_share),
        commission_an_order_usd=each_order + each_trip / ROUND_TRIP_ORDERS,
        capacity_frac=amount_of("--capacity", capacity),
    )


def _slippage_of(text: str) -> Decimal:
    """Basis points: `5`, or `0.5*10` for half of a spread of ten. Raises ConfigurationError."""
    share, star, spread = text.partition("*")
    if not star:
        return amount_of("--slippage-bps", text)
    try:
        share_frac, spread_bps = (amount_of("--slippage-bps", part) for part in (share, spread))
    except ConfigurationError as error:
        raise ConfigurationError(f"--slippage-bps is {text!r}: a share of the spread is written like 0.5*10") from error
    if share_frac > 1:
        raise ConfigurationError(f"--slippage-bps is {text}: a share of the spread is at most 1, as in 0.5*10")
    return share_frac * spread_bps


def market_named(
    bars: str, costs: Costs, *, gaps_are_allowed: bool = False, market: Market = Market.US_EQUITY
) -> NamedMarket:
    """The market that `--bars` names. Raises ConfigurationError, DataError (files that are wrong)."""
    calendar = ExchangeCalendar()
    costs.require_charged_in(market)
    if bars == "demo" and market is not Market.US_EQUITY:
        raise ConfigurationError("the demo's prices are of shares: name a folder of pairs, such as BTC-USD.csv, or synthetic")
    if bars == "demo":
        return demo_market(calendar, costs.spread_frac)
    if bars == "synthetic":
        return synthetic_days(calendar, costs.spread_frac, market=market)
    from closebell.adapters.bar_files import read_bar_folder, read_splits  # pandas is imported only where files are read

    folder = Path(bars)
    panel = read_bar_folder(
        folder, lambda first, last: {hours.session for hours in calendar.sessions(market, first, last)},
        gaps_are_allowed=gaps_are_allowed, market=market,
    )  # fmt: skip
    found = BarMarket(
        panel, hours_of(calendar, panel, market), splits=read_splits(folder, panel), spread_frac=costs.spread_frac,
        label=f"{folder}", asset_class=market, account_hours=hours_of(calendar, panel),
    )  # fmt: skip
    return NamedMarket(found, default_parameters(found.panel, (), market))


def desk_parameters(found: NamedMarket, config: Path | None, strategies: tuple[str, ...]) -> ParameterSet:
    """The configuration of a file, or the market's own, with some strategies only. Raises ConfigurationError."""
    if config is None:
        return voted_by(found.parameters, strategies)
    try:
        text = config.read_text()
    except OSError as error:
        raise ConfigurationError(f"the configuration {config} cannot be read: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"the configuration {config} is no UTF-8 text: {error}") from error
    parameters = voted_by(read_parameters(text, STRATEGIES), strategies)
    traded_instruments(parameters, found.market.asset_class)  # refused before anything is written
    return parameters


def told_of(market: BarMarket) -> tuple[str, ...]:
    """What a reader must know of the bars: sessions that symbols lack, and that nothing was ever delisted."""
    return tuple(warning for warning in (gaps_warning(market.panel), survivorship_warning(market.panel)) if warning)


def show_notes(console: Console, market: BarMarket, parameters: ParameterSet, first: date, last: date) -> None:
    """What a reader must know of the bars, and of what the configuration has besides."""
    for warning in (*told_of(market), *universe_notes(market, parameters, first, last)):
        console.print(f"[yellow]note:[/yellow] {escape(warning)}", soft_wrap=True)


def with_progress(console: Console, what: str, trade: Callable[..., BacktestRecords]) -> BacktestRecords:
    """Trade (`run_backtest` without its `progress`) with a bar below that shows how far it is and how long the rest will take."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("sessions"), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        bar = progress.add_task(what, total=None)
        return trade(progress=lambda done, total: progress.update(bar, completed=done, total=total))


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


def show_comparison(console: Console, compared: Sequence[ComparedBacktest]) -> None:
    """One line a backtest, after costs."""
    table = Table(box=None, pad_edge=False)
    for title in ("after costs", "return", "drawdown", "Sharpe", "win rate", "trades", "costs", "before costs"):
        table.add_column(title, justify="left" if title == "after costs" else "right")
    for it in compared:
        of = it.summary
        table.add_row(
            it.name, _share(of["total_return_frac"]), _share(of["drawdown_frac_max"]), _ratio(of["sharpe_annual_ratio"]),
            _share(of["win_rate_frac"]), f"{of['trades_count']}", _dollars(of["cost_usd"]), _share(of["gross_total_return_frac"]),
        )  # fmt: skip
    console.print(table)


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


def amount_of(option: str, text: str) -> Decimal:
    """An option's number. Raises ConfigurationError when it is none."""
    try:
        amount = Decimal(text)
    except InvalidOperation as error:
        raise ConfigurationError(f"{option} is {text!r}: write a number, such as 5 or 0.005") from error
    if not amount.is_finite():
        raise ConfigurationError(f"{option} is {text!r}: write a finite number")
    return amount


def names_in(text: str) -> tuple[str, ...]:
    """Names with commas between."""
    return tuple(name.strip() for name in text.split(",") if name.strip())


def day_of(at: datetime | None) -> date | None:
    """An option's date."""
    return at.date() if at else None
