"""The books: fills, positions, trades, breaks and equity."""

from datetime import date, datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import ClassVar, Self

from closebell.model.broker import Side
from closebell.model.decision import ExitRule
from closebell.model.instruments import Market
from closebell.model.record import Instant, Key, Record, Value


class Fill(Record):
    """One execution in our ledger. `client_order_id` is None for a trade that is not ours (EXTERNAL)."""

    kind: ClassVar[str] = "fill"

    activity_id: str
    market: Market
    session: date
    symbol: str
    side: Side
    quantity_shares: Decimal
    price_usd: Decimal
    occurred_at: Instant
    venue_order_id: str
    client_order_id: str | None
    plan_id: str | None

    @property
    def key(self) -> Key:
        return Key("journal", f"FILL#{self.market}#{self.session}", self.activity_id)


class Lot(Value):
    """Shares bought in one fill and not sold yet; `quantity_shares` is what is left of it."""

    activity_id: str
    quantity_shares: Decimal
    price_usd: Decimal
    opened_at: Instant


class PositionState(StrEnum):
    """EXTERNAL: the user's own, counted in exposure, never sold by us. DISPUTED: frozen until a human looks. DUST: too
    small to sell."""

    OPEN = "open"
    PROTECTED = "protected"
    CLOSING = "closing"
    EXTERNAL = "external"
    DISPUTED = "disputed"
    DUST = "dust"


class Position(Record):
    """A projection of fills: lots, and the terms of the plan that opened it. It can be thrown away and rebuilt.

    A closed position has no record here; its round trip is a `Trade`. `external_shares` are the user's own in the same
    symbol: counted in exposure, never sold by us. `exit_plan_id` is set from the moment it is being closed.
    """

    kind: ClassVar[str] = "position"

    symbol: str
    market: Market
    sector: str
    state: PositionState
    plan_id: str
    lots: tuple[Lot, ...]
    opened_session: date
    strategies: tuple[str, ...] = ()
    stop_loss_frac: Decimal | None = None
    take_profit_frac: Decimal | None = None
    time_stop_sessions: int | None = None
    minimum_hold_sessions: int | None = None
    external_shares: Decimal = Decimal(0)
    protections_count: int = 0
    vanished_stops_count: int = 0
    exit_plan_id: str = ""
    exit_attempts_count: int = 0
    exit_rule: ExitRule | None = None
    exit_reason: str = ""
    realised_usd: Decimal = Decimal(0)
    sold_shares: Decimal = Decimal(0)
    sold_notional_usd: Decimal = Decimal(0)
    bought_shares: Decimal = Decimal(0)
    bought_notional_usd: Decimal = Decimal(0)
    note: str = ""

    @property
    def key(self) -> Key:
        return Key("book", "DESK", f"POSITION#{self.symbol}")

    @property
    def quantity_shares(self) -> Decimal:
        """Shares owned: the sum of what is left of the lots."""
        if len(self.lots) == 1:  # as nearly always, and asked for dozens of times a session
            return self.lots[0].quantity_shares
        return sum((lot.quantity_shares for lot in self.lots), Decimal(0))

    @property
    def average_entry_price_usd(self) -> Decimal:
        """Cost a share of what is left; zero when nothing is."""
        held = self.quantity_shares
        cost = sum((lot.quantity_shares * lot.price_usd for lot in self.lots), Decimal(0))
        return cost / held if held else Decimal(0)


class Trade(Record):
    """A round trip: opened and closed, with its P&L in USD after asset fees."""

    kind: ClassVar[str] = "trade"

    trade_id: str
    market: Market
    symbol: str
    sector: str
    strategies: tuple[str, ...]
    quantity_shares: Decimal
    entry_price_usd: Decimal
    exit_price_usd: Decimal
    pnl_usd: Decimal
    return_frac: Decimal
    opened_session: date
    closed_session: date
    closed_at: Instant
    exit_rule: ExitRule

    @property
    def key(self) -> Key:
        return Key("journal", f"TRADE#{self.market}", f"{self.closed_session}#{self.trade_id}")


class BreakKind(StrEnum):
    """How our books and the broker's differ.

    PHANTOM: we have it, the broker does not. UNKNOWN_POSITION: the broker has it, we do not. QUANTITY_DIFFERS: both have
    it, not the same number. UNKNOWN_ORDER: an order with our prefix that no intent of ours explains.
    """

    PHANTOM = "phantom"
    UNKNOWN_POSITION = "unknown_position"
    QUANTITY_DIFFERS = "quantity_differs"
    UNKNOWN_ORDER = "unknown_order"


class Consequence(StrEnum):
    """What a break does: FREEZE the symbol, take the position as EXTERNAL, HALT the desk, or REPAIR our projection."""

    FREEZE = "freeze"
    EXTERNAL = "external"
    HALT = "halt"
    REPAIR = "repair"


class Break(Record):
    """Our books differ from the broker's in one symbol. Found again in the same session, it is the same break."""

    kind: ClassVar[str] = "break"

    session: date
    break_kind: BreakKind
    symbol: str
    ours_shares: Decimal
    theirs_shares: Decimal
    consequence: Consequence
    detected_at: Instant
    note: str

    @property
    def key(self) -> Key:
        return Key("journal", f"BREAK#{self.session}", f"{self.break_kind}#{self.symbol}")


RECENT_ACTIVITIES_COUNT = 20


TRANSFERS_KEPT = timedelta(days=7)


class CashTransfer(Value):
    """Cash that the owner paid in (or, negative, took out)."""

    amount_usd: Decimal
    occurred_at: Instant


class LedgerCursor(Record):
    """How far the broker's activities have been booked.

    `recent_ids` are the newest that are booked, ascending. The next reading begins at the oldest of them, so that an activity
    that the broker lists late or twice is booked all the same, and once.
    """

    kind: ClassVar[str] = "ledger_cursor"

    recent_ids: tuple[str, ...]
    recorded_at: Instant
    transfers: tuple[CashTransfer, ...] = ()

    @property
    def read_after_id(self) -> str:
        """Where the next reading begins; "" while everything so far fits into the window."""
        return self.recent_ids[0] if len(self.recent_ids) >= RECENT_ACTIVITIES_COUNT else ""

    def with_booked(self, activity_id: str, recorded_at: datetime, transfer: CashTransfer | None = None) -> Self:
        """The cursor after one more activity, which may be a transfer."""
        newest = tuple(sorted((*self.recent_ids, activity_id)))[-RECENT_ACTIVITIES_COUNT:]
        kept = tuple(one for one in self.transfers if recorded_at - one.occurred_at < TRANSFERS_KEPT)
        transfers = (*kept, transfer) if transfer else kept
        return self.model_copy(update={"recent_ids": newest, "recorded_at": recorded_at, "transfers": transfers})

    def transferred_usd(self, after: datetime) -> Decimal:
        """What was paid in, less what was taken out, since an instant."""
        return sum((one.amount_usd for one in self.transfers if one.occurred_at > after), Decimal(0))

    @property
    def key(self) -> Key:
        return Key("book", "DESK", "CURSOR")


class StrategyResult(Value):
    """What one strategy earned so far; a trade several strategies voted for is shared among them equally."""

    strategy: str
    trades_count: int
    wins_count: int
    pnl_usd: Decimal


class EquitySnapshot(Record):
    """The account at a session's end. `drawdown_frac` is below the highest equity so far (0.05 is five percent)."""

    kind: ClassVar[str] = "equity_snapshot"

    market: Market
    session: date
    recorded_at: Instant
    equity_usd: Decimal
    cash_usd: Decimal
    positions_value_usd: Decimal
    open_positions_count: int
    realised_usd: Decimal
    unrealised_usd: Decimal
    day_change_usd: Decimal
    peak_equity_usd: Decimal
    drawdown_frac: Decimal
    strategies: tuple[StrategyResult, ...] = ()

    @property
    def key(self) -> Key:
        return Key("journal", f"EQUITY#{self.market}", f"{self.session}")
