"""A backtest as one HTML file: no network, no pictures beside it, readable in light and dark and on a telephone.

Symbols, sectors, strategies and reasons come from a user's files: everything is escaped, and the page's own policy lets nothing
run but its one script (by its hash), which sorts the table of trades.
"""

from base64 import b64encode
from collections.abc import Mapping, Sequence
from decimal import Decimal
from hashlib import sha256
from typing import Any, NamedTuple

from jinja2 import Environment, PackageLoader, StrictUndefined

from closebell.backtest.records import BacktestRecords, ClosedBy, ShareRow, TradeRow
from closebell.backtest.results.attribution import by_exit, by_regime, by_strategy, in_cents
from closebell.backtest.results.curve_svg import NARROW, WIDE, drawdown_svg, equity_svg, with_room
from closebell.backtest.results.monthly_returns import year_rows
from closebell.reports import formatting
from closebell.reports.formatting import UNKNOWN, counted, number, percent, usd

TRADES_SHOWN_MAX = 2000
"""A page of more is slow to open on a telephone; `trades.csv` has them all."""

_HEADLINE = (
    ("Total return", "total_return_frac"),
    ("Annual return", "annual_return_frac"),
    ("Sharpe", "sharpe_annual_ratio"),
    ("Max drawdown", "drawdown_frac_max"),
    ("Win rate", "win_rate_frac"),
    ("Expectancy per trade", "expectancy_usd"),
)
_COMMISSIONS = (
    ("a share", "commission_a_share_usd"),
    ("an order", "commission_an_order_usd"),
    ("a round trip", "commission_a_round_trip_usd"),
)
_BOTH = (
    ("Final equity", "final_equity_usd"),
    ("Total return", "total_return_frac"),
    ("Annual return", "annual_return_frac"),
    ("Volatility, annual", "volatility_annual_frac"),
    ("Sharpe, annual", "sharpe_annual_ratio"),
    ("Sortino, annual", "sortino_annual_ratio"),
    ("Calmar", "calmar_ratio"),
    ("Max drawdown", "drawdown_frac_max"),
    ("Longest drawdown, sessions", "drawdown_sessions_max"),
    ("Win rate", "win_rate_frac"),
    ("Profit factor", "profit_factor_ratio"),
    ("Expectancy per trade", "expectancy_usd"),
)
_ONCE = (
    ("Trades", "trades_count"),
    ("Orders", "orders_count"),
    ("Mean R multiple", "r_multiple_mean_ratio"),
    ("Mean sessions held", "held_sessions_mean"),
    ("Turnover, times equity a year", "turnover_annual_ratio"),
    ("Mean exposure", "exposure_mean_frac"),
    ("Orders over the mean daily volume, 95 of 100 at most", "volume_share_frac_p95"),
    ("Capacity: the account at which that is 1 %", "capacity_usd"),
    ("Most positions at once", "positions_count_max"),
)
_SHADES_FROM_FRAC = (Decimal("0.04"), Decimal("0.02"), Decimal("0.01"))
"""A month from 4 % on has the strongest of four shades; a year's steps are three times as wide."""


class _AttributionTable(NamedTuple):
    """One table of shares: its heading, rows in whole cents with a bar each (-1..1), and their sum."""

    title: str
    column: str
    rows: list[tuple[ShareRow, float]]
    sum_usd: Decimal
    trades_count: Decimal


def report_html(records: BacktestRecords, summary: Mapping[str, Any]) -> str:
    """The report.

    Parameters
    ----------
    records
        What happened; a backtest without sessions or trades gives a page that says so.
    summary
        `summary_of(records)`; a number that it lacks, or that is None, is shown as a dash.

    Returns
    -------
    str
        A whole HTML document, UTF-8.
    """
    environment = page_environment()
    ended_usd = records.equity[-1].equity_usd if records.equity else records.cash_usd
    canvases = [with_room(canvas, records.equity, records.cash_usd) for canvas in (WIDE, NARROW)]
    script = environment.get_template("sortable.js.j2").render()
    return environment.get_template("report_page.html.j2").render(
        records=records,
        period=_period(records),
        terms=_terms_told(records.terms),
        cards=_after_and_before(summary, _HEADLINE),
        both=_after_and_before(summary, _BOTH),
        once=[(label, shown(key, summary.get(key))) for label, key in _ONCE],
        fingerprint=summary.get("trades_sha256"),
        equity_svgs=[equity_svg(records.equity, records.cash_usd, canvas) for canvas in canvases],
        drawdown_svgs=[drawdown_svg(records.equity, canvas) for canvas in canvases],
        years=year_rows(records.equity, records.cash_usd),
        attributions=_attributions(records.trades),
        account_pnl_usd=ended_usd - records.cash_usd,
        costs=_costs(records.trades),
        trades=_trades_shown(records.trades),
        columns=_TRADE_COLUMNS,
        forced_count=sum(trade.closed_by is ClosedBy.END for trade in records.trades),
        FORCED=(ClosedBy.END, ClosedBy.DELISTED),
        script_hash=b64encode(sha256(script.encode()).digest()).decode(),
    )


def _terms_told(terms: Mapping[str, Any]) -> str:
    """What trading cost and what the desk was allowed, in one line; "" where nothing was kept of it."""
    if not terms:
        return ""
    limits, exits = terms["configuration"]["limits"], terms["configuration"]["exits"]
    charged = [f"{formatting.price(Decimal(repr(terms[key])))} {words}" for words, key in _COMMISSIONS if terms[key]]
    return formatting.dotted([
        f"Slippage {number(Decimal(repr(terms['slippage_bps'])), 1)} bps",
        f"commission {formatting.listed(charged) if charged else 'none'}",
        f"capacity {percent(Decimal(repr(terms['capacity_frac'])), 1)} of the mean volume",
        f"at most {counted(limits['positions_count_max'], 'position')}",
        f"stop {percent(Decimal(exits['stop_loss_frac']), 1)}",
        f"target {percent(Decimal(exits['take_profit_frac']), 1)}",
        f"out after {counted(exits['time_stop_sessions'], 'session')}",
    ])


def page_environment() -> Environment:
    """The templates of this package, escaping everything, with the formats of `reports.formatting`."""
    environment = Environment(
        loader=PackageLoader("closebell.backtest.results", "templates"), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    environment.globals |= {
        "usd": usd, "percent": percent, "price": formatting.price, "quantity": formatting.quantity, "number": number,
        "words": formatting.words, "counted": counted, "shade": shade, "UNKNOWN": UNKNOWN,
    }  # fmt: skip
    return environment


def shown(key: str, value: float | int | None) -> str:
    """A number of the summary as its key's unit wants it; None is a dash."""
    if value is None:
        return UNKNOWN
    exact = Decimal(repr(value))
    if not exact.is_finite():
        return UNKNOWN
    if "_frac" in key:
        return percent(exact, 2 if abs(exact) < Decimal("0.1") else 1)
    if key.endswith("_usd"):
        return usd(exact)
    return number(exact, 0 if isinstance(value, int) else 2)


def shade(return_frac: Decimal, step_factor: int = 1) -> str:
    """The class of a cell of the monthly table: `up1` to `up4`, `down1` to `down4`, nothing for what shows as zero."""
    size = abs(return_frac) / step_factor
    if abs(return_frac) < Decimal("0.0005"):
        return ""
    level = next((4 - at for at, limit in enumerate(_SHADES_FROM_FRAC) if size >= limit), 1)
    return f"{'up' if return_frac > 0 else 'down'}{level}"


_TRADE_COLUMNS = (
    ("Symbol", "text"), ("Opened", "text"), ("Closed", "text"), ("P&L", "number"), ("Return", "number"), ("R", "number"),
    ("Closed by", "text"), ("Sessions", "number"), ("Shares", "number"), ("Entry", "number"), ("Exit", "number"),
    ("Before costs", "number"), ("Costs", "number"), ("Strategies", "text"), ("Regime", "text"), ("Why", "text"),
)  # fmt: skip


def _after_and_before(summary: Mapping[str, Any], named: Sequence[tuple[str, str]]) -> list[tuple[str, str, str]]:
    return [(label, shown(key, summary.get(key)), shown(key, summary.get(f"gross_{key}"))) for label, key in named]


def _period(records: BacktestRecords) -> str:
    if not records.equity:
        return "No session was traded."
    first, last = records.equity[0].session, records.equity[-1].session
    return f"{formatting.day(first)} to {formatting.day(last)}, {counted(len(records.equity), 'session')}"


def _attributions(trades: Sequence[TradeRow]) -> list[_AttributionTable]:
    return [
        _attribution("Profit and loss by strategy", "Strategy", by_strategy(trades)),
        _attribution("Profit and loss by regime", "Regime at the decision", by_regime(trades)),
        _attribution("Profit and loss by exit", "Closed by", by_exit(trades)),
    ]


def _attribution(title: str, column: str, shares: Sequence[ShareRow]) -> _AttributionTable:
    rows = in_cents(shares)
    largest = max((abs(row.pnl_usd) for row in rows), default=Decimal(0)) or Decimal(1)
    return _AttributionTable(
        title,
        column,
        [(row, float(row.pnl_usd / largest)) for row in rows],
        sum((row.pnl_usd for row in rows), Decimal(0)),
        sum((row.trades_count for row in rows), Decimal(0)),
    )


def _costs(trades: Sequence[TradeRow]) -> list[tuple[str, str]]:
    """From profit before costs to profit after them, and what that was of the value traded."""
    zero = Decimal(0)
    gross = sum((trade.gross_pnl_usd for trade in trades), zero)
    spread = sum((trade.spread_cost_usd for trade in trades), zero)
    commission = sum((trade.commission_usd for trade in trades), zero)
    traded = sum((trade.quantity_shares * (trade.entry_price_usd + trade.exit_price_usd) for trade in trades), zero)
    costs = spread + commission
    return [
        ("Profit before costs", usd(gross, signed=True)),
        ("Spread and slippage", usd(-spread)),
        ("Commission", usd(-commission)),
        ("Profit after costs", usd(gross - costs, signed=True)),
        ("Costs per trade", usd(costs / len(trades)) if trades else UNKNOWN),
        ("Costs over value traded", f"{number(costs / traded * 10000, 2)} bps" if traded else UNKNOWN),
        ("Costs over profit before costs", percent(costs / gross) if gross > 0 else UNKNOWN),
    ]


def _trades_shown(trades: Sequence[TradeRow]) -> list[TradeRow]:
    """In the order of time; of too many, those that moved the account most."""
    if len(trades) <= TRADES_SHOWN_MAX:
        return list(trades)
    largest = sorted(range(len(trades)), key=lambda at: -abs(trades[at].pnl_usd))[:TRADES_SHOWN_MAX]
    return [trades[at] for at in sorted(largest)]
