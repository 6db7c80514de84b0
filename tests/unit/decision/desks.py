"""Desks, snapshots, orders and inputs for the decision's tests; what is not named is an empty desk in a calm bull market."""

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import numpy as np

from closebell.decision.board import SessionInputs
from closebell.decision.desk_view import DeskView
from closebell.decision.exposure import exposure_of
from closebell.decision.risk import Candidate, EntryCase
from closebell.model.books import Lot, Position, PositionState
from closebell.model.broker import (
    Account,
    BrokerSnapshot,
    OrderClass,
    OrderType,
    Side,
    TimeInForce,
    VenueOrder,
    VenuePosition,
    VenueStatus,
)
from closebell.model.decision import Regime, Trend, Volatility
from closebell.model.instruments import Instrument, Market
from closebell.model.orders import DayCounters, OrderLeg, OrderRecord, OrderState
from closebell.model.panel import BarPanel
from closebell.model.parameters import ParameterSet, RiskLimits

SESSION, NEXT_SESSION = date(2018, 10, 1), date(2018, 10, 2)
NOW = datetime(2018, 10, 1, 20, 20, tzinfo=UTC)
CALM_BULL = Regime(trend=Trend.BULL, volatility=Volatility.LOW, volatility_index_score=12.0, volatility_source="vix")
SECTORS = {"AAA": "tech", "BBB": "tech", "CCC": "energy", "DDD": "health", "EEE": "tech", "FFF": "tech"}


def account(equity_usd: int = 100_000, **changes: object) -> Account:
    facts: dict[str, object] = {
        "account_number": "PA1", "status": "ACTIVE", "equity_usd": equity_usd, "last_equity_usd": equity_usd,
        "cash_usd": equity_usd, "buying_power_usd": equity_usd, "trading_blocked": False,
    }
    return Account.model_validate(facts | changes)


def venue_position(symbol: str, value_usd: float = 1_000, shares: float = 10) -> VenuePosition:
    return VenuePosition(
        symbol=symbol, market=Market.US_EQUITY, quantity_shares=Decimal(str(shares)), available_shares=Decimal(str(shares)),
        average_entry_price_usd=Decimal(100), market_value_usd=Decimal(str(value_usd)),
    )


def snapshot(
    *positions: VenuePosition, orders: Sequence[VenueOrder] = (), age_s: int = 60, broker_account: Account | None = None
) -> BrokerSnapshot:
    return BrokerSnapshot(
        as_of=NOW - timedelta(seconds=age_s), session=SESSION, account=broker_account or account(), positions=positions,
        open_orders=tuple(orders),
    )


def position(symbol: str, state: PositionState = PositionState.PROTECTED, shares: float = 10, **changes: object) -> Position:
    lot = Lot(activity_id="a", quantity_shares=Decimal(str(shares)), price_usd=Decimal(100), opened_at=NOW)
    facts: dict[str, object] = {
        "symbol": symbol, "market": Market.US_EQUITY, "sector": SECTORS.get(symbol, "tech"), "state": state,
        "plan_id": f"p-{symbol}", "lots": (lot,), "opened_session": SESSION, "strategies": ("rsi", "macd"),
    }
    return Position.model_validate(facts | changes)


def order(symbol: str, state: OrderState = OrderState.ACCEPTED, **changes: object) -> OrderRecord:
    """One of our orders: a buy of 10 with 1 000 USD reserved."""
    facts: dict[str, object] = {
        "client_order_id": f"cb-{symbol}", "plan_id": f"p-{symbol}", "leg": OrderLeg.ENTRY, "attempt_count": 1,
        "market": Market.US_EQUITY, "session": NEXT_SESSION, "symbol": symbol, "sector": SECTORS.get(symbol, "tech"),
        "side": Side.BUY, "order_type": OrderType.MARKET, "time_in_force": TimeInForce.OPG, "order_class": OrderClass.SIMPLE,
        "quantity_shares": 10, "reserved_usd": 1_000, "state": state, "created_at": NOW,
        "updated_at": NOW - timedelta(hours=1), "submit_deadline_at": NOW,
    }
    return OrderRecord.model_validate(facts | changes)


def venue_order(symbol: str, client_order_id: str = "somebody", **changes: object) -> VenueOrder:
    """An order at the broker: a market buy of 10."""
    facts: dict[str, object] = {
        "venue_order_id": f"v-{symbol}", "client_order_id": client_order_id, "market": Market.US_EQUITY, "symbol": symbol,
        "side": Side.BUY, "order_type": "market", "time_in_force": "opg", "order_class": "simple", "status": VenueStatus.ACCEPTED,
        "quantity_shares": 10, "filled_quantity_shares": 0, "filled_average_price_usd": None, "limit_price_usd": None,
        "stop_price_usd": None, "submitted_at": NOW, "updated_at": NOW,
    }
    return VenueOrder.model_validate(facts | changes)


NO_SNAPSHOT = "the broker could not be read"


def desk(
    truth: BrokerSnapshot | str | None = None, *, positions: Sequence[Position] = (), orders: Sequence[OrderRecord] = (),
    is_halted: bool = False, sessions_held: Mapping[str, int] | None = None, counters: DayCounters | None = None,
    sectors: Mapping[str, str] | None = None,
) -> DeskView:
    """A desk; `NO_SNAPSHOT` as its truth is a failed read."""
    held = {position.symbol: 0 for position in positions} | dict(sessions_held or {})
    found = None if isinstance(truth, str) else truth or snapshot()
    return DeskView(NOW, found, tuple(positions), tuple(orders), counters, held, sectors or SECTORS, is_halted)


def candidate(symbol: str = "AAA", **changes: object) -> Candidate:
    facts: dict[str, object] = {
        "symbol": symbol, "sector": SECTORS.get(symbol, "tech"), "market": Market.US_EQUITY, "reference_price_usd": Decimal(100),
        "commitment_price_usd": Decimal(105), "stop_loss_frac": Decimal("0.03"), "average_volume_shares": None,
    }
    return Candidate(**(facts | changes))  # type: ignore[arg-type]  # the tests name any field


def case(
    view: DeskView | None = None, quantity_shares: int = 100, limits: RiskLimits | None = None, symbol: str = "AAA",
    **changes: object,
) -> EntryCase:
    """An entry of 100 shares at 100 USD; `changes` are to its candidate."""
    view = view or desk()
    wanted = candidate(symbol, **changes)
    return EntryCase(wanted, Decimal(quantity_shares), "", view, exposure_of(view), limits or RiskLimits(), Decimal(1))


def inputs(
    scores: Mapping[str, Sequence[float]], view: DeskView | None = None, *, closes: Mapping[str, float] | None = None,
    problems: Mapping[str, str] | None = None, regime: Regime = CALM_BULL, market: Market = Market.US_EQUITY,
    volume: float = np.nan,
) -> SessionInputs:
    """A session of a universe whose last row of scores is given: symbol -> one score a strategy (rsi, macd, momentum)."""
    symbols = tuple(scores)
    names = ("rsi", "macd", "momentum")
    rows = 25
    sessions = np.busday_offset(np.datetime64(SESSION), np.arange(1 - rows, 1), roll="backward").astype("datetime64[D]")
    last = np.array([(closes or {}).get(symbol, 100.0) for symbol in symbols])
    bars = np.tile(last, (rows, 1))
    panel = BarPanel(sessions, symbols, bars, bars, bars, bars, np.full(bars.shape, volume))
    matrices = {name: np.tile([scores[symbol][place] for symbol in symbols], (rows, 1)) for place, name in enumerate(names)}
    universe = tuple(Instrument(symbol=symbol, sector=SECTORS.get(symbol, "tech"), market=market) for symbol in symbols)
    parameters = ParameterSet(universe=universe, strategies=names)
    return SessionInputs(panel, problems or {}, matrices, regime, view or desk(), parameters, market, SESSION, NEXT_SESSION)
