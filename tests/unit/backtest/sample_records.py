"""Records of a backtest, made by hand: prices and sums that a reader can check."""

from collections.abc import Sequence
from datetime import date, timedelta
from decimal import Decimal

from closebell.backtest.records import BacktestRecords, ClosedBy, EquityRow, TradeRow
from closebell.model.decision import Trend, Volatility

CASH_USD = Decimal(100_000)


def trade_of(
    pnl_usd: str | Decimal,
    *,
    strategies: tuple[str, ...] = ("momentum",),
    trend: Trend = Trend.BULL,
    volatility: Volatility = Volatility.LOW,
    closed_by: ClosedBy = ClosedBy.TARGET,
    symbol: str = "AAA",
    sector: str = "energy",
    reason: str = "two votes of three",
) -> TradeRow:
    """Ten shares bought at 100 USD; 1.50 USD of spread and 5 USD of commission are inside `pnl_usd`."""
    pnl = Decimal(pnl_usd)
    return TradeRow(
        trade_id=f"{symbol}@1", symbol=symbol, sector=sector, strategies=strategies, trend=trend, volatility=volatility,
        opened_session=date(2020, 1, 2), closed_session=date(2020, 1, 9), held_sessions=5, quantity_shares=Decimal(10),
        entry_price_usd=Decimal(100), exit_price_usd=100 + (pnl + 5) / 10, gross_pnl_usd=pnl + Decimal("6.50"),
        spread_cost_usd=Decimal("1.50"), commission_usd=Decimal(5), pnl_usd=pnl, return_frac=pnl / 1000,
        r_multiple_ratio=pnl / 50, closed_by=closed_by, entry_reason=reason,
    )  # fmt: skip


def equity_of(first: date, values_usd: Sequence[int | str], gross_above_usd: str = "10") -> list[EquityRow]:
    """A row a calendar day."""
    rows = []
    peak = CASH_USD
    for at, value in enumerate(values_usd):
        equity = Decimal(value)
        peak = max(peak, equity)
        rows.append(EquityRow(
            session=first + timedelta(days=at), equity_usd=equity, gross_equity_usd=equity + Decimal(gross_above_usd),
            cash_usd=equity, positions_usd=Decimal(0), positions_count=0, drawdown_frac=(peak - equity) / peak,
            exposure_frac=Decimal(0),
        ))  # fmt: skip
    return rows


def records_of(
    trades: Sequence[TradeRow],
    equity: Sequence[EquityRow],
    *,
    label: str = "three symbols",
    warnings: tuple[str, ...] = (),
    halts_count: int = 0,
) -> BacktestRecords:
    return BacktestRecords(label, ("momentum", "rsi"), CASH_USD, [], trades, equity, [], halts_count, warnings)


def year_and_a_half() -> BacktestRecords:
    """550 days of a curve that rises, falls and rises again; 40 trades of every kind."""
    values = [f"{100_000 + 60 * at - (at % 90) ** 2:.2f}" for at in range(550)]
    kinds = list(ClosedBy)
    trades = [
        trade_of(
            Decimal(at * 37 % 400 - 150) + Decimal("0.07"),
            strategies=(("momentum", "rsi", "macd"), ("rsi",), ("momentum", "mean_reversion"))[at % 3],
            trend=list(Trend)[at % 3], volatility=list(Volatility)[at % 4], closed_by=kinds[at % len(kinds)],
            symbol=f"S{at:02d}", reason="Bought because " + "two of three votes agreed, the trend is up, " * 6,
        )
        for at in range(40)
    ]  # fmt: skip
    warnings = ("The universe is today's: delisted symbols are missing, so returns look better than they were.",)
    return records_of(trades, equity_of(date(2019, 6, 3), values), warnings=warnings, halts_count=2)
