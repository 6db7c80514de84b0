"""The numbers of `result.json`, each by hand from a curve of six closes and four trades."""

import json
import math
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import numpy as np
import pytest

from closebell.backtest.records import BacktestRecords, OrderRow
from closebell.backtest.summary import summary_of
from tests.unit.backtest.sample_records import equity_of, records_of, trade_of

CLOSES_USD = (90_000, 99_000, 79_200, 118_800, 106_920, 128_304)
RETURNS = (-0.1, 0.1, -0.2, 0.5, -0.1, 0.2)
YEAR = 252
BOUGHT = OrderRow(
    submitted_at=datetime(2020, 1, 2, 14, tzinfo=UTC), session=date(2020, 1, 2), order_id="a", symbol="AAA", side="buy",
    order_type="market", time_in_force="opg", quantity_shares=Decimal(10), limit_price_usd=None, stop_price_usd=None,
    status="filled", filled_shares=Decimal(10), filled_price_usd=Decimal(100), spread_cost_usd=Decimal(0),
    commission_usd=Decimal(0), volume_share_frac=0.001,
)  # fmt: skip


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


def test_an_account_that_owes_more_than_it_has_earns_nothing_more() -> None:
    """A larger debt is no profit, a mean that is a debt no size."""
    rows = equity_of(date(2020, 1, 2), (50_000, -20_000, -400_000, -500_000), "0")
    lost = replace(records_of([trade_of("-600000")], rows), orders=[BOUGHT])
    told = summary_of(lost)
    returns = np.array([-0.5, -1.4, 0.0, 0.0])
    assert told["sharpe_annual_ratio"] == pytest.approx(returns.mean() / returns.std(ddof=1) * math.sqrt(YEAR))
    assert [told[name] for name in ("turnover_annual_ratio", "capacity_usd")] == [None] * 2
    assert told["volume_share_frac_p95"] == 0.001


def test_a_close_of_exactly_nothing_leaves_no_number_that_json_cannot_say() -> None:
    told = summary_of(records_of([trade_of("-100000")], equity_of(date(2020, 1, 2), (50_000, 0, 0), "0")))
    assert json.loads(json.dumps(told, allow_nan=False))["volatility_annual_frac"] == pytest.approx(0.5 * math.sqrt(YEAR))
