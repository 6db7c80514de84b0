"""The account's return in each month and year, after costs: closes in, rows of fractions out."""

from collections.abc import Sequence
from decimal import Decimal
from typing import NamedTuple

from closebell.backtest.records import EquityRow


class YearRow(NamedTuple):
    """A year's return and those of its twelve months; None where the account had no session. Fractions, 0.02 is two percent."""

    year: int
    year_return_frac: Decimal
    month_returns_frac: tuple[Decimal | None, ...]


def year_rows(equity: Sequence[EquityRow], cash_usd: Decimal) -> list[YearRow]:
    """One row a year, ascending. The first month begins with `cash_usd`; compounded, the months give their year."""
    month_closes = {(row.session.year, row.session.month): row.equity_usd for row in equity}
    rows = []
    before_usd = cash_usd
    for year in sorted({year for year, _ in month_closes}):
        began_usd = before_usd
        months: list[Decimal | None] = []
        for month in range(1, 13):
            close_usd = month_closes.get((year, month))
            months.append(None if close_usd is None else _return(before_usd, close_usd))
            before_usd = before_usd if close_usd is None else close_usd
        rows.append(YearRow(year, _return(began_usd, before_usd), tuple(months)))
    return rows


def _return(before_usd: Decimal, after_usd: Decimal) -> Decimal:
    """Zero where nothing was left to earn on."""
    return after_usd / before_usd - 1 if before_usd > 0 else Decimal(0)
