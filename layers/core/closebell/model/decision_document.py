"""Everything a session's decisions were made of, enough to decide the same again, and what became of its plans."""

from datetime import date

from closebell.model.books import Position
from closebell.model.broker import BrokerSnapshot
from closebell.model.decision import Decision, Denial, Regime
from closebell.model.instruments import Market
from closebell.model.operations import NewsItem
from closebell.model.orders import DayCounters, OrderRecord
from closebell.model.parameters import ParameterSet
from closebell.model.record import Instant, Value


class DecisionDocument(Value):
    """A session's decisions and their inputs. `bars_archive` names the panel (npz) in the archive; `notes` say what was
    missing, for example that realised volatility stands in for the VIX."""

    market: Market
    session: date
    next_session: date
    as_of: Instant
    code_version: str
    input_sha256: str
    bars_archive: str
    parameters: ParameterSet
    regime: Regime
    volatility_index_closes: dict[date, float]
    reported_splits: dict[str, dict[date, float]] = {}
    snapshot: BrokerSnapshot | None
    positions: tuple[Position, ...]
    live_orders: tuple[OrderRecord, ...]
    counters: DayCounters | None = None
    is_halted: bool
    sessions_held: dict[str, int]
    decisions: tuple[Decision, ...]
    news: tuple[NewsItem, ...]
    notes: tuple[str, ...]


class PlacedPlans(Value):
    """What became of the plans for a session so far: those that a check of the morning denied, and the orders of the others."""

    market: Market
    session: date
    denials: tuple[Denial, ...]
    orders: tuple[OrderRecord, ...]
