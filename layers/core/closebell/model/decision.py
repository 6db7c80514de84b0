"""Why and why not: votes, regime, checks, decisions and the plans that follow."""

from datetime import date
from decimal import Decimal
from enum import StrEnum
from typing import ClassVar, Literal

from closebell.model.instruments import Market
from closebell.model.record import Instant, Key, Record, Value


class Trend(StrEnum):
    """The market's direction from its 20, 50 and 200 session averages."""

    BULL = "bull"
    BEAR = "bear"
    SIDEWAYS = "sideways"
    UNKNOWN = "unknown"


class Volatility(StrEnum):
    """The market's nervousness: low below 15, high above 25 (VIX points, or realised volatility x 100)."""

    LOW = "low"
    NORMAL = "normal"
    HIGH = "high"
    UNKNOWN = "unknown"


class Regime(Value):
    """The market's state at a session's close.

    `volatility_index` is in VIX points; `volatility_source` says whether it is the VIX or realised volatility.
    """

    trend: Trend
    volatility: Volatility
    volatility_index_score: float | None
    volatility_source: Literal["vix", "realised", "none"]


class Stance(StrEnum):
    """What one strategy, or the ensemble, makes of a symbol."""

    BUY = "buy"
    SELL = "sell"
    NEUTRAL = "neutral"


class Vote(Value):
    """One strategy's opinion: `conviction_score` in -1..1 and the stance it amounts to."""

    strategy: str
    conviction_score: float
    stance: Stance


class CheckResult(Value):
    """One risk check: what it measured, its limit, and whether it passed. `unit` is the unit of both numbers.

    A check that had nothing to measure with says so in `note` and its `measured` is None.
    """

    check: str
    measured: Decimal | None
    limit: Decimal
    unit: str
    passed: bool
    note: str = ""


class Outcome(StrEnum):
    """What was decided for a symbol."""

    ENTER = "enter"
    EXIT = "exit"
    HOLD = "hold"
    NO_TRADE = "no_trade"
    DENIED = "denied"
    SKIPPED = "skipped"


class Allocation(Value):
    """A size: whole shares (or coins), its value at the reference price, and what stopped it from being larger."""

    quantity_shares: Decimal
    notional_usd: Decimal
    weight_frac: Decimal
    risk_usd: Decimal
    binding: str


class Decision(Value):
    """What was decided for one symbol after one session, and why.

    `reason` is one line for a human. `binding_check` names the check that denied it or set its size.
    """

    market: Market
    session: date
    symbol: str
    sector: str
    outcome: Outcome
    reason: str
    close_usd: Decimal | None
    votes: tuple[Vote, ...] = ()
    vote_score: float = 0.0
    stance: Stance = Stance.NEUTRAL
    regime: Regime
    checks: tuple[CheckResult, ...] = ()
    binding_check: str = ""
    allocation: Allocation | None = None


class PlanAction(StrEnum):
    """What a plan does."""

    ENTER = "enter"
    EXIT = "exit"


class EntryMethod(StrEnum):
    """How the order is to be placed."""

    MARKET_ON_OPEN = "market_on_open"
    LIMIT = "limit"
    MARKET = "market"


class ExitRule(StrEnum):
    """Which rule closes a position."""

    STOP = "stop"
    TARGET = "target"
    TIME_STOP = "time_stop"
    SIGNAL = "signal"
    RISK = "risk"
    MANUAL = "manual"


class TradePlan(Record):
    """One order to be placed in `session`, decided after `decided_session`.

    `plan_id` is derived from market, session, symbol and action: deciding twice gives the same plan. Stop and target
    are fractions of the fill price (0.03 below, 0.08 above); `reference_price_usd` is the close they were sized from.
    For an exit `exit_rule` names the rule, `reason` holds the evidence that was true then.
    """

    kind: ClassVar[str] = "trade_plan"

    plan_id: str
    market: Market
    session: date
    decided_session: date
    symbol: str
    sector: str
    action: PlanAction
    method: EntryMethod
    quantity_shares: Decimal
    reference_price_usd: Decimal
    limit_price_usd: Decimal | None = None
    stop_loss_frac: Decimal | None = None
    take_profit_frac: Decimal | None = None
    time_stop_sessions: int | None = None
    minimum_hold_sessions: int | None = None
    priority_score: float = 0.0
    strategies: tuple[str, ...] = ()
    exit_rule: ExitRule | None = None
    reason: str

    @property
    def key(self) -> Key:
        return Key("journal", f"PLAN#{self.market}#{self.session}", self.plan_id)


class Denial(Record):
    """A plan that was not sent because a check of ours failed when it was to be placed."""

    kind: ClassVar[str] = "denial"

    plan_id: str
    market: Market
    session: date
    symbol: str
    checks: tuple[CheckResult, ...]
    reason: str
    denied_at: Instant

    @property
    def key(self) -> Key:
        return Key("journal", f"DENIAL#{self.market}#{self.session}", self.plan_id)


class PlanSet(Record):
    """The header of a session's plans, written last: without it, plans do not count.

    `as_of` is the close whose data was used; `input_sha256` fingerprints panel, volatility and parameters.
    """

    kind: ClassVar[str] = "plan_set"

    market: Market
    session: date
    decided_session: date
    as_of: Instant
    code_version: str
    parameters_version_count: int
    input_sha256: str
    plan_ids: tuple[str, ...]
    decisions_count: int
    decisions_archive: str
    state: Literal["active", "void"] = "active"
    void_reason: str = ""

    @property
    def key(self) -> Key:
        return Key("journal", f"PLANSET#{self.market}", f"{self.session}")
