"""Every record the journal can hold, by the kind stored with it."""

from closebell.model.books import Break, EquitySnapshot, Fill, LedgerCursor, Position, Trade
from closebell.model.broker import BrokerSnapshot
from closebell.model.decision import Denial, PlanSet, TradePlan
from closebell.model.operations import Alert, DeskOpening, Halt, Lease, MailRecord, RunRecord, UndeliveredAlert
from closebell.model.orders import DayCounters, LiveOrder, OrderRecord, OrderTransition
from closebell.model.parameters import ParameterSet
from closebell.model.record import Record

RECORD_TYPES: dict[str, type[Record]] = {
    record_type.kind: record_type
    for record_type in (
        Alert,
        Break,
        BrokerSnapshot,
        DayCounters,
        Denial,
        DeskOpening,
        EquitySnapshot,
        Fill,
        Halt,
        Lease,
        LedgerCursor,
        LiveOrder,
        MailRecord,
        OrderRecord,
        OrderTransition,
        ParameterSet,
        PlanSet,
        Position,
        RunRecord,
        Trade,
        TradePlan,
        UndeliveredAlert,
    )
}
