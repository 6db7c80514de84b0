"""A backtest in numbers, with units in their names, each after costs and, as `gross_...`, before them.

Returns are of the account's daily closes, from its opening cash on. A year has 252 sessions, of crypto 365; ratios are annual,
without a risk-free rate. An account that is used up earns nothing from then on. Where a number has no meaning (no loss to divide
by, fewer than two returns) it is None.
"""

import hashlib
import math
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import numpy as np
from numpy.typing import NDArray

from closebell.backtest.records import BacktestRecords, TradeRow

CAPACITY_VOLUME_FRAC = 0.01
CAPACITY_QUANTILE = 0.95
"""The capacity is the size at which this part of the orders is at most that part of the mean daily volume."""

Floats = NDArray[np.float64]


def summary_of(records: BacktestRecords) -> dict[str, Any]:
    """Every number of `result.json`."""
    equity = np.array([float(records.cash_usd), *(float(row.equity_usd) for row in records.equity)])
    gross = np.array([float(records.cash_usd), *(float(row.gross_equity_usd) for row in records.equity)])
    net_pnl = np.array([float(trade.pnl_usd) for trade in records.trades])
    gross_pnl = np.array([float(trade.gross_pnl_usd) for trade in records.trades])
    spread = sum((order.spread_cost_usd for order in records.orders), Decimal(0))
    commission = sum((order.commission_usd for order in records.orders), Decimal(0))
    year = records.market.sessions_a_year_count
    multiples = [float(trade.r_multiple_ratio) for trade in records.trades if trade.r_multiple_ratio is not None]
    return {
        "first_session": f"{records.equity[0].session}" if records.equity else None,
        "last_session": f"{records.equity[-1].session}" if records.equity else None,
        "sessions_count": len(records.equity),
        "cash_usd": float(records.cash_usd),
        "final_equity_usd": float(equity[-1]),
        "gross_final_equity_usd": float(gross[-1]),
        **_of_curve(equity, "", year),
        **_of_curve(gross, "gross_", year),
        **_of_trades(net_pnl, ""),
        **_of_trades(gross_pnl, "gross_"),
        "trades_count": len(records.trades),
        "orders_count": len(records.orders),
        "r_multiple_mean_ratio": _mean(multiples),
        "held_sessions_mean": _mean([float(trade.held_sessions) for trade in records.trades]),
        "turnover_annual_ratio": _turnover(records, equity),
        "exposure_mean_frac": _mean([float(row.exposure_frac) for row in records.equity]),
        **_capacity(records, equity),
        "positions_count_max": max((row.positions_count for row in records.equity), default=0),
        "spread_cost_usd": float(spread),
        "commission_usd": float(commission),
        "cost_usd": float(spread + commission),
        "halts_count": records.halts_count,
        "trades_sha256": trades_sha256(records.trades),
    }


def trades_sha256(trades: Sequence[TradeRow]) -> str:
    """The fingerprint of all round trips: equal for equal symbols, sessions, quantities and prices, whatever else differs."""
    digest = hashlib.sha256()
    for trade in trades:
        shown = (trade.symbol, trade.opened_session, trade.closed_session, f"{trade.quantity_shares.normalize():f}",
                 f"{trade.entry_price_usd:.9f}", f"{trade.exit_price_usd:.9f}", trade.closed_by)  # fmt: skip
        digest.update("|".join(map(str, shown)).encode() + b"\n")
    return digest.hexdigest()


def returns_of(equity: Floats) -> Floats:
    """Returns from one close to the next (fractions); zero where nothing was left to earn on."""
    before, after = equity[:-1], equity[1:]
    return np.divide(after, before, out=np.ones_like(before), where=before > 0) - 1.0


def volatility_annual(returns: Floats, sessions_a_year: int) -> float | None:
    """Standard deviation (n - 1), annual."""
    return float(np.std(returns, ddof=1)) * math.sqrt(sessions_a_year) if len(returns) > 1 else None


def sharpe_annual(returns: Floats, sessions_a_year: int) -> float | None:
    """Mean over standard deviation (n - 1), annual; None when there is no variation."""
    if len(returns) < 2:
        return None
    deviation = float(np.std(returns, ddof=1))
    return float(np.mean(returns)) / deviation * math.sqrt(sessions_a_year) if deviation > 0 else None


def sortino_annual(returns: Floats, sessions_a_year: int) -> float | None:
    """Mean over the root mean square of min(return, 0) of all returns, annual; None when none is negative."""
    if len(returns) < 2:
        return None
    downside = math.sqrt(float(np.mean(np.minimum(returns, 0.0) ** 2)))
    return float(np.mean(returns)) / downside * math.sqrt(sessions_a_year) if downside > 0 else None


def drawdowns_frac(equity: Floats) -> Floats:
    """How far each value lies below the highest so far (0.05 is five percent)."""
    peaks = np.maximum.accumulate(equity)
    return (peaks - equity) / peaks


def _of_curve(equity: Floats, prefix: str, sessions_a_year: int) -> dict[str, float | int | None]:
    returns = returns_of(equity)
    total = float(equity[-1] / equity[0] - 1.0)
    years = len(returns) / sessions_a_year
    annual = float((equity[-1] / equity[0]) ** (1 / years) - 1.0) if years and equity[-1] > 0 else None
    deepest = float(drawdowns_frac(equity).max())
    return {
        f"{prefix}total_return_frac": total,
        f"{prefix}annual_return_frac": annual,
        f"{prefix}volatility_annual_frac": volatility_annual(returns, sessions_a_year),
        f"{prefix}sharpe_annual_ratio": sharpe_annual(returns, sessions_a_year),
        f"{prefix}sortino_annual_ratio": sortino_annual(returns, sessions_a_year),
        f"{prefix}calmar_ratio": annual / deepest if annual is not None and deepest > 0 else None,
        f"{prefix}drawdown_frac_max": deepest,
        f"{prefix}drawdown_sessions_max": _longest_drawdown(equity),
    }


def _longest_drawdown(equity: Floats) -> int:
    """The most sessions in a row below an earlier high."""
    longest = current = 0
    for below in drawdowns_frac(equity) > 0.0:
        current = current + 1 if below else 0
        longest = max(longest, current)
    return longest


def _of_trades(pnl_usd: Floats, prefix: str) -> dict[str, float | None]:
    lost = float(-pnl_usd[pnl_usd < 0].sum())
    return {
        f"{prefix}win_rate_frac": float(np.mean(pnl_usd > 0)) if len(pnl_usd) else None,
        f"{prefix}profit_factor_ratio": float(pnl_usd[pnl_usd > 0].sum()) / lost if lost > 0 else None,
        f"{prefix}expectancy_usd": float(np.mean(pnl_usd)) if len(pnl_usd) else None,
    }


def _turnover(records: BacktestRecords, equity: Floats) -> float | None:
    """Value bought in a year over mean equity; None where that is a debt."""
    bought = sum((order.filled_shares * order.filled_price_usd for order in records.orders
                  if order.side == "buy" and order.filled_price_usd is not None), Decimal(0))
    years, mean_usd = len(records.equity) / records.market.sessions_a_year_count, float(np.mean(equity))
    return float(bought) / mean_usd / years if years and mean_usd > 0 else None


def _capacity(records: BacktestRecords, equity: Floats) -> dict[str, float | None]:
    """How large the orders were beside the volume, and how large the account may be before they are too large; None where no
    volume is known, and no size of an account that was a debt in the mean."""
    shares_frac = [order.volume_share_frac for order in records.orders if order.volume_share_frac is not None]
    if not shares_frac:
        return {"volume_share_frac_p95": None, "capacity_usd": None}
    large_frac = float(np.quantile(shares_frac, CAPACITY_QUANTILE))
    mean_usd = float(np.mean(equity))
    capacity_usd = mean_usd * CAPACITY_VOLUME_FRAC / large_frac if mean_usd > 0 else None
    return {"volume_share_frac_p95": large_frac, "capacity_usd": capacity_usd}


def _mean(values: Sequence[float]) -> float | None:
    return math.fsum(values) / len(values) if values else None
