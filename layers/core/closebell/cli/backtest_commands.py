"""`closebell backtest` and `closebell compare`: the desk through past sessions."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from closebell.backtest.notes.evidence import bar_notes
from closebell.backtest.records import BacktestRecords
from closebell.backtest.results.comparison import ComparedBacktest, notes_told
from closebell.backtest.results.files import backtest_files, comparison_files, refuse_unfit, write_directory
from closebell.backtest.results.report_page import shown
from closebell.backtest.run import run_backtest, span_of, voted_by
from closebell.backtest.summary import summary_of
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
from closebell.cli.strategy_file import registered
from closebell.model.decision import Decision
from closebell.model.errors import ClosebellError, ConfigurationError
from closebell.model.instruments import Market
from closebell.reports.formatting import counted

ENSEMBLE = "ensemble"
EveryDecision = Annotated[
    bool, typer.Option("--every-decision", help="Keep every symbol's decision of every session: much slower.")
]


@app.command()
def backtest(
    bars: asked.Bars, out: asked.Out, strategies: asked.Strategies = "", since: asked.Since = None, until: asked.Until = None,
    cash: asked.Cash = "100000", config: asked.Config = None, slippage_bps: asked.SlippageBps = "5",
    per_share: asked.PerShare = "0", per_order: asked.PerOrder = "0", per_round_trip: asked.PerRoundTrip = "0",
    capacity: asked.Capacity = "1", allow_gaps: asked.Gaps = False, market: asked.AssetClass = Market.US_EQUITY,
    strategy_file: asked.OwnFile = None, every_decision: EveryDecision = False,
) -> None:
    """Trade past sessions with the deployed desk's own code; results before and after costs."""
    try:
        require_in_order(since, until)
        refuse_unfit(out)
        costs = asked.costs_of(slippage_bps, per_share, per_order, per_round_trip, capacity)
        options = costs.options(asked.amount_of("--cash", cash))
        with registered(strategy_file) as own:
            found = asked.market_named(bars, costs, gaps_are_allowed=allow_gaps, market=market)
            parameters = asked.desk_parameters(found, config, asked.names_in(strategies, own))
            decisions: list[Decision] | None = [] if every_decision else None
            with progress_bar("trading", "sessions") as progress:
                records = run_backtest(
                    found.market, parameters, options, first=since, last=until,
                    decisions=decisions, warnings=bar_notes(found.market, parameters, found.notes), progress=progress,
                )  # fmt: skip
            summary = summary_of(records)
        write_directory(out, backtest_files(records, summary))
    except ClosebellError as error:
        fail(error)
    except KeyboardInterrupt as error:
        end_interrupted(f"{out} is as it was", error)
    with telling_of(out) as console:
        show(console, records, summary)
        console.print(f"written to {out}: open {out / 'report.html'}", soft_wrap=True)


@app.command()
def compare(
    bars: asked.Bars, out: asked.Out, strategies: asked.Strategies = "", since: asked.Since = None, until: asked.Until = None,
    cash: asked.Cash = "100000", config: asked.Config = None, slippage_bps: asked.SlippageBps = "5",
    per_share: asked.PerShare = "0", per_order: asked.PerOrder = "0", per_round_trip: asked.PerRoundTrip = "0",
    capacity: asked.Capacity = "1", allow_gaps: asked.Gaps = False, market: asked.AssetClass = Market.US_EQUITY,
    strategy_file: asked.OwnFile = None,
) -> None:
    """Backtest every strategy alone and all of them together, side by side."""
    compared = []
    try:
        require_in_order(since, until)
        refuse_unfit(out)
        costs = asked.costs_of(slippage_bps, per_share, per_order, per_round_trip, capacity)
        options = costs.options(asked.amount_of("--cash", cash))
        with registered(strategy_file) as own:
            found = asked.market_named(bars, costs, gaps_are_allowed=allow_gaps, market=market)
            whole = asked.desk_parameters(found, config, asked.names_in(strategies, own))
            span = span_of(found.market, whole, since, until)  # the same sessions for every one
            if ENSEMBLE in whole.strategies:
                raise ConfigurationError(f"{ENSEMBLE} is all of them together here: give your strategy another NAME")
            desks = {name: voted_by(whole, (name,)) for name in whole.strategies} | {ENSEMBLE: whole}
            told = bar_notes(found.market, whole, found.notes)
            for name, parameters in desks.items():
                with progress_bar(name, "sessions") as progress:
                    records = run_backtest(
                        found.market, parameters, options, first=span[0], last=span[1], warnings=told, progress=progress
                    )
                compared.append(ComparedBacktest(name, records, summary_of(records)))
        write_directory(out, comparison_files(compared))
    except ClosebellError as error:
        fail(error)
    except KeyboardInterrupt as error:
        end_interrupted(f"{out} is as it was", error)
    with telling_of(out) as console:
        show_comparison(console, compared)
        show_notes(console, notes_told(compared))
        console.print(f"written to {out}: open {out / 'comparison.html'}", soft_wrap=True)


def show(console: Console, records: BacktestRecords, summary: Mapping[str, Any]) -> None:
    """The headline numbers, after and before costs."""
    console.print(
        f"[bold]{escape(records.label)}[/bold]: {summary['first_session']} to {summary['last_session']}, "
        f"{counted(summary['sessions_count'], 'session')}, {counted(summary['orders_count'], 'order')}, "
        f"{counted(summary['trades_count'], 'trade')}",
        soft_wrap=True,
    )
    table = Table(box=None, pad_edge=False)
    for title in ("", "after costs", "before costs"):
        table.add_column(title, justify="right" if title else "left")
    for name, key in _HEADLINES:
        table.add_row(name, shown(key, summary[key]), shown(key, summary[f"gross_{key}"]))
    show_table(console, table)
    said = {key: shown(key, summary[key]) for key in ("cost_usd", "spread_cost_usd", "commission_usd", "exposure_mean_frac")}
    console.print(
        f"costs {said['cost_usd']}: slippage {said['spread_cost_usd']}, commissions {said['commission_usd']}; "
        f"in the market {said['exposure_mean_frac']} of the money on average",
        soft_wrap=True,
    )
    show_notes(console, records.warnings)
    console.print(f"the SHA-256 of all trades begins with {summary['trades_sha256'][:16]}", soft_wrap=True)


def show_comparison(console: Console, compared: Sequence[ComparedBacktest]) -> None:
    """One line a backtest, after costs."""
    table = Table(box=None, pad_edge=False)
    for title in ("after costs", *_COMPARED):
        table.add_column(title, justify="left" if title == "after costs" else "right")
    for it in compared:
        table.add_row(it.name, *(shown(key, it.summary[key]) for key in _COMPARED.values()))
    show_table(console, table)


_COMPARED = {
    "return": "total_return_frac", "drawdown": "drawdown_frac_max", "Sharpe": "sharpe_annual_ratio", "win rate": "win_rate_frac",
    "trades": "trades_count", "costs": "cost_usd", "before costs": "gross_total_return_frac",
}  # fmt: skip
_HEADLINES = (
    ("final equity", "final_equity_usd"), ("total return", "total_return_frac"), ("annual return", "annual_return_frac"),
    ("Sharpe", "sharpe_annual_ratio"), ("Sortino", "sortino_annual_ratio"), ("Calmar", "calmar_ratio"),
    ("deepest drawdown", "drawdown_frac_max"), ("win rate", "win_rate_frac"), ("profit factor", "profit_factor_ratio"),
    ("expectancy a trade", "expectancy_usd"),
)  # fmt: skip
