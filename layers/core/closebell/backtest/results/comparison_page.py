"""A comparison of backtests as one HTML file, its pictures inside it."""

from base64 import b64encode
from collections.abc import Mapping, Sequence
from typing import Any

from closebell.backtest.results.comparison import ComparedBacktest, comparison_rows, notes_told
from closebell.backtest.results.report_page import page_environment, shown
from closebell.reports.formatting import sentence, words

_COLUMNS = (
    ("Total return", "total_return_frac"), ("Annual", "annual_return_frac"), ("Sharpe", "sharpe_annual_ratio"),
    ("Max drawdown", "drawdown_frac_max"), ("Win rate", "win_rate_frac"), ("Profit factor", "profit_factor_ratio"),
    ("Final equity", "final_equity_usd"),
)  # fmt: skip


def comparison_html(backtests: Sequence[ComparedBacktest], pictures: Mapping[str, bytes]) -> str:
    """The table, after and before costs, and the pictures (PNG by file name). Returns a whole HTML document, UTF-8."""
    rows: list[dict[str, Any]] = []
    for row in comparison_rows(backtests):
        values = row._asdict()
        rows.append({
            "name": row.name,
            "pairs": [(shown(key, values[key]), shown(key, values[f"gross_{key}"])) for _, key in _COLUMNS],
            "trades": shown("trades_count", row.trades_count),
            "costs": shown("cost_usd", row.cost_usd),
        })  # fmt: skip
    return page_environment().get_template("comparison_page.html.j2").render(
        columns=[label for label, _ in _COLUMNS],
        rows=rows,
        pictures=[
            (sentence(words(name.removesuffix(".png"))), b64encode(content).decode()) for name, content in pictures.items()
        ],
        warnings=notes_told(backtests),
    )
