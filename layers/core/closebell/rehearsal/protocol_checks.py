"""What every transaction owes to the order protocol: ids that are derived, writes that hold the lease, no false alarm, no third stop."""

from collections import defaultdict
from collections.abc import Sequence
from decimal import Decimal

from closebell.model.books import Break, BreakKind, Fill, LedgerCursor, Position
from closebell.model.broker import Side
from closebell.model.operations import LEASE_KEY
from closebell.model.orders import OrderLeg, OrderRecord, OrderState, derive_client_order_id
from closebell.model.record import Key, Record
from closebell.ports.journal import Change, Create, Replace, Require
from closebell.rehearsal.stage import Stage
from closebell.rehearsal.true_book import TrueBook

ENVIRONMENT = "paper"
REARMS_COUNT_MAX = 1
_OF_TRADING_RUNS = (OrderRecord, Position, Fill, LedgerCursor)


class ProtocolChecks:
    """Parts of invariants 3, 11 and 15 at each transaction."""

    def __init__(self, stage: Stage, truth: TrueBook) -> None:
        self._stage, self._truth = stage, truth
        self._booked: set[str] = set()
        self._stops_taken_away: defaultdict[str, set[str]] = defaultdict(set)

    def on_commit(self, changes: Sequence[Change], before: dict[Key, Record | None]) -> None:
        """Look at what was just committed."""
        written = [change.record for change in changes if isinstance(change, Create | Replace)]
        is_leased = any(isinstance(change, Require) and change.key == LEASE_KEY for change in changes)
        if not is_leased and any(isinstance(record, _OF_TRADING_RUNS) for record in written):
            kinds = ", ".join(sorted({record.kind for record in written}))
            self._stage.violated(3, f"{kinds} written by a run that does not show the desk's lease")
        self._booked |= {record.activity_id for record in written if isinstance(record, Fill)}
        for record in written:
            if isinstance(record, OrderRecord):
                self._order(record, is_new=before[record.key] is None)
            elif isinstance(record, Break):
                self._break(record)

    def on_restore(self) -> None:
        """The book table is an older one: it does not remember which stops were taken away."""
        self._stops_taken_away.clear()

    def _order(self, order: OrderRecord, is_new: bool) -> None:
        if is_new and order.client_order_id != self._derived_id(order):
            self._stage.violated(3, f"{order.client_order_id} is not the id of {order.leg} {order.attempt_count} of {order.plan_id}")
        if order.leg is not OrderLeg.PROTECT:
            return
        gone = self._stops_taken_away[order.plan_id]
        if is_new and len(gone) > REARMS_COUNT_MAX:
            self._stage.violated(11, f"a stop of {order.symbol} is rested again although {len(gone)} were taken away")
        is_untouched = not order.is_cancel_asked and not order.filled_quantity_shares
        if order.state is OrderState.CANCELED and is_untouched:
            gone.add(order.client_order_id)

    def _derived_id(self, order: OrderRecord) -> str:
        desk = f"{ENVIRONMENT}|{self._stage.exchange.options.account_number}"
        return derive_client_order_id(desk, order.plan_id, order.leg, order.attempt_count, order.market, order.session)

    def _break(self, found: Break) -> None:
        """What our own orders traded and the journal does not have yet is no difference."""
        if found.break_kind is BreakKind.UNKNOWN_ORDER:
            return
        signs = {Side.BUY: 1, Side.SELL: -1}
        unbooked = [
            one.quantity_shares * signs[one.side or Side.BUY]
            for one in self._truth.read().fills.values()
            if one.symbol == found.symbol and one.activity_id not in self._booked and self._truth.owner_of(one) is not None
        ]
        if unbooked and found.ours_shares + sum(unbooked, Decimal(0)) == found.theirs_shares:
            self._stage.violated(15, f"a break in {found.symbol} that fills of our own orders explain: {found.note}")
