"""The numbers of `result.json`, each by hand from a curve of six closes and four trades."""

import math
from datetime import date
from decimal import Decimal
from typing import Any

import pytest

from closebell.backtest.records import BacktestRecords
from closebell.backtest.summary import summary_of
from tests.unit.backtest.sample_records import equity_of, records_of, trade_of

CLOSES_USD = (90_000, 99_000, 79_200, 118_800, 106_920, 128_304)
RETURNS = (-0.1, 0.1, -0.2, 0.5, -0.1, 0.2)
YEAR = 252


def six_sessions() -> BacktestRecords:
    """An account of 100 000 USD that falls at once, is at a new high in the fourth session and at another in the sixth."""
    exposures, counts = ("0.5", "0", "1", "0.3", "0", "0"), (1, 0, 3, 2, 0, 0)
    rows = [
        row._replace(exposure_frac=Decimal(frac), positions_count=count)
        for row, frac, count in zip(equity_of(date(2020, 1, 2), CLOSES_USD, "0"), exposures, counts, strict=True)
    ]
    trades = [
        trade_of(pnl_usd)._replace(held_sessions=held, gross_pnl_usd=Decimal(pnl_usd) + 10)
        for pnl_usd, held in (("30", 1), ("0", 2), ("-10", 3), ("-20", 0), ("60", 9))
    ]
    unknown = trade_of("-20")._replace(held_sessions=3, gross_pnl_usd=Decimal(-10), r_multiple_ratio=None)
    return records_of([*trades, unknown], rows)


ANNUAL = 1.28304 ** (YEAR / 6) - 1
DOWNSIDE = math.sqrt((0.1**2 + 0.2**2 + 0.1**2) / 6)


@pytest.mark.parametrize(("name", "expected"), [
    ("total_return_frac", 0.28304),
    ("annual_return_frac", ANNUAL),
    ("drawdown_frac_max", 0.208),  # from the opening cash to 79 200
    ("drawdown_sessions_max", 3),
    ("calmar_ratio", ANNUAL / 0.208),
    ("sortino_annual_ratio", sum(RETURNS) / 6 / DOWNSIDE * math.sqrt(YEAR)),
    ("win_rate_frac", 2 / 6),
    ("profit_factor_ratio", 90 / 50),
    ("expectancy_usd", 40 / 6),
    ("gross_win_rate_frac", 3 / 6),
    ("gross_profit_factor_ratio", (40 + 10 + 70) / (10 + 10)),
    ("gross_expectancy_usd", 100 / 6),
    ("r_multiple_mean_ratio", (0.6 + 0.0 - 0.2 - 0.4 + 1.2) / 5),
    ("held_sessions_mean", 18 / 6),
    ("exposure_mean_frac", 1.8 / 6),
    ("positions_count_max", 3),
    ("sessions_count", 6),
    ("final_equity_usd", 128_304),
])  # fmt: skip
def test_a_number_of_the_summary_is_what_its_name_says(name: str, expected: float) -> None:
    assert summary_of(six_sessions())[name] == pytest.approx(expected)


def test_without_a_loss_or_a_fall_there_is_nothing_to_divide_by() -> None:
    told: dict[str, Any] = summary_of(records_of([trade_of("30")], equity_of(date(2020, 1, 2), (101_000, 102_000))))
    assert [told[name] for name in ("sortino_annual_ratio", "calmar_ratio", "profit_factor_ratio")] == [None] * 3
    assert (told["drawdown_frac_max"], told["drawdown_sessions_max"], told["win_rate_frac"]) == (0.0, 0, 1.0)
