"""What a backtest leaves: its orders, round trips and equity, each a row with units in its names, and the whole of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any, NamedTuple

from closebell.model.decision import Trend, Volatility
from closebell.model.instruments import Market


class ClosedBy(StrEnum):
    """What ended a round trip: a rule of the desk, the symbol's delisting, or the backtest's own end."""

    STOP = "stop"
    TARGET = "target"
    TIME_STOP = "time_stop"
    SIGNAL = "signal"
    RISK = "risk"
    MANUAL = "manual"
    DELISTED = "delisted"
    END = "end"


class OrderRow(NamedTuple):
    """One order at the exchange; the legs of a group are orders too. `spread_cost_usd` is what it paid beyond the print,
    `volume_share_frac` what it traded, over the mean volume of the 20 sessions before it ended; None where that is unknown."""

    submitted_at: datetime
    session: date
    order_id: str
    symbol: str
    side: str
    order_type: str
    time_in_force: str
    quantity_shares: Decimal
    limit_price_usd: Decimal | None
    stop_price_usd: Decimal | None
    status: str
    filled_shares: Decimal
    filled_price_usd: Decimal | None
    spread_cost_usd: Decimal
    commission_usd: Decimal
    volume_share_frac: float | None


class TradeRow(NamedTuple):
    """One round trip. `pnl_usd` is after all costs, `gross_pnl_usd` before; `r_multiple_ratio` is `pnl_usd` over what the stop
    put at risk. Trend and volatility are the regime that the entry was decided in."""

    trade_id: str
    symbol: str
    sector: str
    strategies: tuple[str, ...]
    trend: Trend
    volatility: Volatility
    opened_session: date
    closed_session: date
    held_sessions: int
    quantity_shares: Decimal
    entry_price_usd: Decimal
    exit_price_usd: Decimal
    gross_pnl_usd: Decimal
    spread_cost_usd: Decimal
    commission_usd: Decimal
    pnl_usd: Decimal
    return_frac: Decimal
    r_multiple_ratio: Decimal | None
    closed_by: ClosedBy
    entry_reason: str


class DecisionRow(NamedTuple):
    """What was decided for a symbol after a session, and why. `binding_check` denied an entry or set its size, empty where none
    was asked; `held_back` says which check of the morning kept it from being sent."""

    session: date
    symbol: str
    outcome: str
    reason: str
    binding_check: str
    vote_score: float
    close_usd: Decimal | None
    quantity_shares: Decimal | None
    held_back: str


class EquityRow(NamedTuple):
    """The account at a session's close. `gross_equity_usd` is what it would be had the same trades cost nothing; `drawdown_frac`
    is below the highest close so far, `exposure_frac` the value of positions over equity."""

    session: date
    equity_usd: Decimal
    gross_equity_usd: Decimal
    cash_usd: Decimal
    positions_usd: Decimal
    positions_count: int
    drawdown_frac: Decimal
    exposure_frac: Decimal


class ShareRow(NamedTuple):
    """What one strategy, one regime or one kind of exit contributed: trades (shared ones in part), P&L after costs. The rows of
    each `attributed_by` sum to the account."""

    attributed_by: str
    name: str
    trades_count: Decimal
    wins_count: Decimal
    pnl_usd: Decimal


@dataclass(frozen=True)
class BacktestRecords:
    """Everything that happened.

    Parameters
    ----------
    label
        What was traded.
    strategies
        Who voted.
    cash_usd
        What the account began with.
    orders, trades, equity, decisions
        In the order of time. Decisions are those that made a plan, or every symbol's where they were asked for.
    halts_count
        How often the desk halted itself.
    warnings
        What a reader must know, such as survivorship.
    market
        Whose sessions they are.
    terms
        Under which they were made, as `result.json` tells them: costs and the configuration.
    """

    label: str
    strategies: tuple[str, ...]
    cash_usd: Decimal
    orders: Sequence[OrderRow]
    trades: Sequence[TradeRow]
    equity: Sequence[EquityRow]
    decisions: Sequence[DecisionRow]
    halts_count: int
    warnings: tuple[str, ...]
    market: Market = Market.US_EQUITY
    terms: Mapping[str, Any] = field(default_factory=dict)
