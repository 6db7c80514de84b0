"""The desk as it stands: everything a run needs to know, in one consistent query a table."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date

from closebell.model.books import LedgerCursor, Position
from closebell.model.broker import BrokerSnapshot
from closebell.model.errors import ConfigurationError
from closebell.model.instruments import Market
from closebell.model.operations import DeskOpening, Halt, UndeliveredAlert
from closebell.model.orders import DayCounters, LiveOrder, OrderRecord, order_key
from closebell.model.parameters import ParameterSet
from closebell.model.record import Key, Record
from closebell.ports.journal import Journal, R, Stored

READ_MANY_MAX = 100


@dataclass(frozen=True)
class Desk:
    """The hot state. Live orders are those whose end, or whose last fill, is not booked yet."""

    parameters: ParameterSet
    halt: Stored[Halt] | None
    positions: Mapping[str, Stored[Position]]
    orders: Mapping[str, Stored[OrderRecord]]
    outbox: Sequence[Stored[UndeliveredAlert]]
    counters: Mapping[Market, Stored[DayCounters]]
    cursor: Stored[LedgerCursor] | None
    snapshot: Stored[BrokerSnapshot] | None
    opening: DeskOpening | None

    @property
    def is_halted(self) -> bool:
        return self.halt is not None and self.halt.record.is_halted

    @property
    def sectors(self) -> Mapping[str, str]:
        """Sector by symbol, from the configuration."""
        return self.parameters.sectors

    def counters_of(self, market: Market, session: date) -> DayCounters:
        """What was committed in this session so far; zero when the session has just begun."""
        stored = self.counters.get(market)
        if stored is not None and stored.record.session == session:
            return stored.record
        return DayCounters(market=market, session=session)


def load_desk(journal: Journal) -> Desk:
    """Read the desk.

    Raises
    ------
    ConfigurationError
        No configuration was ever stored.
    StoreUnavailable
        A table could not be read.
    """
    control = journal.query("control", "DESK")
    book = journal.query("book", "DESK")
    parameters = _parameters_in(control)
    ids = [order_key(pointer.record.client_order_id) for pointer in _of_type(book, LiveOrder)]
    orders = read_in_batches(journal, ids, OrderRecord)
    halts = _of_type(control, Halt)
    cursors = _of_type(book, LedgerCursor)
    snapshots = _of_type(book, BrokerSnapshot)
    openings = _of_type(book, DeskOpening)
    return Desk(
        parameters=parameters,
        halt=halts[0] if halts else None,
        positions={stored.record.symbol: stored for stored in _of_type(book, Position)},
        orders={stored.record.client_order_id: stored for stored in orders},
        outbox=_of_type(book, UndeliveredAlert),
        counters={stored.record.market: stored for stored in _of_type(book, DayCounters)},
        cursor=cursors[0] if cursors else None,
        snapshot=snapshots[0] if snapshots else None,
        opening=openings[0].record if openings else None,
    )


def read_in_batches(journal: Journal, keys: Sequence[Key], record_type: type[R]) -> list[Stored[R]]:
    """`Journal.read_many` of as many records as there are. Raises StoreUnavailable."""
    batches = (keys[start : start + READ_MANY_MAX] for start in range(0, len(keys), READ_MANY_MAX))
    return [stored for batch in batches for stored in journal.read_many(batch, record_type)]


def _parameters_in(control: Sequence[Stored[Record]]) -> ParameterSet:
    """The configuration among the control records."""
    stored = _of_type(control, ParameterSet)
    if not stored:
        raise ConfigurationError("the desk has no configuration yet: run `closebell configure examples/desk.toml`")
    return stored[0].record


def _of_type(stored: Sequence[Stored[Record]], record_type: type[R]) -> list[Stored[R]]:
    return [Stored(item.record, item.version) for item in stored if isinstance(item.record, record_type)]
