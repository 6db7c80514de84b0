"""What must hold in every transaction of the journal, measured against the exchange's hidden book at that instant."""

from collections.abc import Sequence
from decimal import Decimal

from closebell.model.books import Break, BreakKind, Fill, LedgerCursor, Position, PositionState, Trade
from closebell.model.broker import BrokerSnapshot, Side
from closebell.model.decision import ExitRule
from closebell.model.operations import Alert, UndeliveredAlert
from closebell.model.orders import LiveOrder, OrderRecord, OrderTransition
from closebell.model.record import Key, Record
from closebell.ports.journal import Change, Create, Replace
from closebell.rehearsal.exit_checks import ExitChecks
from closebell.rehearsal.market import RehearsalMarket
from closebell.rehearsal.output_checks import OutputChecks
from closebell.rehearsal.protocol_checks import ProtocolChecks
from closebell.rehearsal.stage import Stage
from closebell.rehearsal.true_book import TrueBook
from closebell.simulation.exchange.venue_account import AccountActivity

ZERO = Decimal(0)
CHANGING_CODES = frozenset({"SPLIT", "TRADE_BUST"})
"""Activities besides fills that change what is held."""
_WORKING = {"accepted", "partial", "cancel_pending", "filled", "canceled", "expired", "rejected", "replaced"}
_MAY_FOLLOW: dict[str, set[str]] = {
    "intent": {"submitting", "void"},
    "submitting": _WORKING | {"unknown"},
    "unknown": _WORKING | {"quarantined"},
    "quarantined": _WORKING | {"never_accepted"},
    "accepted": _WORKING,
    "partial": _WORKING - {"accepted", "rejected"},
    "cancel_pending": _WORKING - {"rejected"},
}
"""The states of an order written down a second time; from every other state nothing follows."""

_PATIENT_RULES = frozenset({ExitRule.SIGNAL, ExitRule.TIME_STOP})


class CommitChecks:
    """Invariants 2, 12, 13, 15, 16, 19, 21, 24 and 27 at each transaction."""

    def __init__(self, stage: Stage, truth: TrueBook, market: RehearsalMarket, exits: ExitChecks) -> None:
        self._stage, self._truth, self._market, self._exits = stage, truth, market, exits
        self._outputs, self._protocol = OutputChecks(stage), ProtocolChecks(stage, truth)
        self._booked: set[str] = set()
        self._explained: set[str] = set()
        self._minimum_holds: dict[str, int] = {}

    def on_commit(self, changes: Sequence[Change], before: dict[Key, Record | None]) -> None:
        """Look at what was just committed."""
        self._protocol.on_commit(changes, before)
        written = [change.record for change in changes if isinstance(change, Create | Replace)]
        fills = [record for record in written if isinstance(record, Fill)]
        for record in written:
            self._outputs.on_record(record)
            match record:
                case OrderRecord():
                    self._order(record, before[record.key], written)
                case Fill():
                    self._fill(record)
                case Break():
                    self._break(record)
                case BrokerSnapshot():
                    self._snapshot(record)
                case Trade():
                    self._trade(record)
                case Alert():
                    self._alert(record, written)
        self._positions(changes, before, {fill.activity_id for fill in fills} | _newly_read(written, before))

    def on_rebuild(self, fills: Sequence[Fill]) -> None:
        """The tables were lost and rebuilt: `fills` is what is booked now."""
        self._booked = {fill.activity_id for fill in fills}
        lines = self._stage.exchange.floor.book.activities
        self._explained = {one.activity_id for one in lines if one.code in CHANGING_CODES}

    def on_restore(self) -> None:
        """The book table is an older one: what explains it may be booked into it again."""
        self._explained.clear()
        self._protocol.on_restore()

    def _order(self, order: OrderRecord, before: Record | None, written: list[Record]) -> None:
        if not isinstance(before, OrderRecord):
            if order.state != "intent" or not any(isinstance(record, LiveOrder) for record in written):
                self._stage.violated(16, f"{order.leg} of {order.symbol} begins as {order.state} or without its pointer")
            return
        if order.filled_quantity_shares < before.filled_quantity_shares:
            self._stage.violated(16, f"{order.leg} of {order.symbol}: its filled shares shrank")
        if order.state is before.state:
            return
        if order.state not in _MAY_FOLLOW.get(before.state, set()):
            self._stage.violated(16, f"{order.leg} of {order.symbol} went from {before.state} to {order.state}")
        if not any(isinstance(record, OrderTransition) for record in written):
            self._stage.violated(16, f"{order.leg} of {order.symbol} became {order.state} without a transition")

    def _fill(self, fill: Fill) -> None:
        activity = self._truth.read().fills.get(fill.activity_id)
        if fill.activity_id in self._booked:
            self._stage.violated(2, f"fill {fill.activity_id} of {fill.symbol} is booked twice")
        self._booked.add(fill.activity_id)
        if activity is None:
            self._stage.violated(21, f"fill {fill.activity_id} of {fill.symbol} never happened")
            return
        ours = (fill.symbol, fill.side, fill.quantity_shares, fill.price_usd, fill.client_order_id)
        theirs = (activity.symbol, activity.side, activity.quantity_shares, activity.price_usd, self._truth.owner_of(activity))
        if ours != theirs:
            self._stage.violated(21, f"fill {fill.activity_id} is booked as {ours}, it was {theirs}")

    def _break(self, found: Break) -> None:
        held = self._stage.exchange.floor.book.shares(found.symbol)
        if found.break_kind is not BreakKind.UNKNOWN_ORDER and found.theirs_shares != held:
            self._stage.violated(15, f"a break says that the broker holds {found.theirs_shares} {found.symbol}, it holds {held}")

    def _snapshot(self, snapshot: BrokerSnapshot) -> None:
        book = self._stage.exchange.floor.book
        if snapshot.as_of != self._stage.now:
            return
        shown = {position.symbol: position.quantity_shares for position in snapshot.positions}
        now = [line for line in book.activities[-3:] if line.at == snapshot.as_of]
        owner_acted = any(line.code == "FILL" and self._truth.owner_of(line) is None for line in now)  # in the middle of the run
        if not owner_acted and shown != {symbol: holding.shares for symbol, holding in book.holdings.items()}:
            self._stage.violated(15, f"the snapshot shows {len(shown)} positions, the broker has {len(book.holdings)}")
        if snapshot.account.cash_usd != book.cash_usd and not now:
            self._stage.violated(19, f"the snapshot shows {snapshot.account.cash_usd} of cash, the broker has {book.cash_usd}")

    def _trade(self, trade: Trade) -> None:
        plan_id = trade.trade_id.partition("@")[0]
        held = sum(trade.opened_session < day <= trade.closed_session for day in self._market.played)
        minimum = self._minimum_holds.get(plan_id, 0)
        if trade.exit_rule in _PATIENT_RULES and held < minimum:
            self._stage.violated(13, f"{plan_id} was left by {trade.exit_rule} after {held} sessions, the least is {minimum}")

    def _alert(self, alert: Alert, written: list[Record]) -> None:
        rows = [record for record in written if isinstance(record, UndeliveredAlert) and record.alert.alert_id == alert.alert_id]
        if len(rows) != 1:
            self._stage.violated(24, f"alert {alert.alert_id} has {len(rows)} outbox rows")

    def _positions(self, changes: Sequence[Change], before: dict[Key, Record | None], activity_ids: set[str]) -> None:
        """What a position changes by is the fills read in this transaction, a split, or the broker's number of shares."""
        fills = [one for name in sorted(activity_ids) if (one := self._truth.read().fills.get(name))]
        after = {change.record.key: change.record for change in changes if isinstance(change, Create | Replace)}
        for key, old in before.items():
            new = after.get(key)
            if not isinstance(old, Position) and not isinstance(new, Position):
                continue
            symbol = key.sort.removeprefix("POSITION#")
            if isinstance(new, Position) and new.lots:
                self._minimum_holds[new.plan_id] = new.minimum_hold_sessions or 0
                if unbooked := [lot.activity_id for lot in new.lots if lot.activity_id not in self._booked]:
                    self._stage.violated(2, f"{symbol} is open without the fills {unbooked}")
                was_closing = isinstance(old, Position) and old.state is PositionState.CLOSING
                if new.state is PositionState.CLOSING and not was_closing:
                    self._exits.on_begin(new)
            change = _held(new) - _held(old)
            traded = sum((_signed(fill) for fill in fills if fill.symbol == symbol), ZERO)
            if change == traded or self._is_split(symbol, change):
                continue
            held = self._stage.exchange.floor.book.shares(symbol)
            if fills or _held(new) != held:
                self._stage.violated(15, f"{symbol} changed by {change} in our books, fills explain {traded}; {held} are held")


    def _is_split(self, symbol: str, change_shares: Decimal) -> bool:
        """Whether a change is one of the exchange's splits or busts, each of which explains one change only."""
        for activity in self._stage.exchange.floor.book.activities:
            matches = activity.code in CHANGING_CODES and (activity.symbol, activity.quantity_shares) == (symbol, change_shares)
            if matches and activity.activity_id not in self._explained:
                self._explained.add(activity.activity_id)
                return True
        return False


def _held(record: Record | None) -> Decimal:
    return record.quantity_shares + record.external_shares if isinstance(record, Position) else ZERO


def _newly_read(written: Sequence[Record], before: dict[Key, Record | None]) -> set[str]:
    """The activities that a transaction says are booked from now on: also a fill that an older book table did not have."""
    after = {name for record in written if isinstance(record, LedgerCursor) for name in record.recent_ids}
    return after - {name for record in before.values() if isinstance(record, LedgerCursor) for name in record.recent_ids}


def _signed(fill: AccountActivity) -> Decimal:
    return fill.quantity_shares if fill.side is Side.BUY else -fill.quantity_shares
