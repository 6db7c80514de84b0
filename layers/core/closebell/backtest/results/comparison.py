"""Several backtests over the same bars, side by side: one row each, after and before costs."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from closebell.backtest.records import BacktestRecords


class ComparedBacktest(NamedTuple):
    """One backtest under the name that the comparison shows; `summary` is `summary_of(records)`."""

    name: str
    records: BacktestRecords
    summary: Mapping[str, Any]


class ComparisonRow(NamedTuple):
    """One line of `strategy_comparison.csv`. None where a number has no meaning, such as a win rate without a trade."""

    name: str
    total_return_frac: float | None
    gross_total_return_frac: float | None
    annual_return_frac: float | None
    gross_annual_return_frac: float | None
    sharpe_annual_ratio: float | None
    gross_sharpe_annual_ratio: float | None
    drawdown_frac_max: float | None
    gross_drawdown_frac_max: float | None
    win_rate_frac: float | None
    gross_win_rate_frac: float | None
    profit_factor_ratio: float | None
    gross_profit_factor_ratio: float | None
    final_equity_usd: float | None
    gross_final_equity_usd: float | None
    cost_usd: float | None
    trades_count: int | None


def comparison_rows(backtests: Sequence[ComparedBacktest]) -> list[ComparisonRow]:
    """One row a backtest, in the order given."""
    return [ComparisonRow(it.name, *(it.summary.get(field) for field in ComparisonRow._fields[1:])) for it in backtests]


def notes_told(backtests: Sequence[ComparedBacktest]) -> list[str]:
    """What a reader must know of all of them, then of some, each with its backtest's name."""
    firsts = backtests[0].records.warnings if backtests else ()
    shared = [note for note in firsts if all(note in it.records.warnings for it in backtests)]
    own = (f"{it.name}: {note}" for it in backtests for note in it.records.warnings if note not in shared)
    return [*shared, *own]
