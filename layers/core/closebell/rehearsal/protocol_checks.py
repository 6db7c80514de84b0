"""What every transaction owes to the order protocol: derived ids, the lease in every write, no false alarm, no third stop."""

from collections import defaultdict
from collections.abc import Sequence
from datetime import date
from decimal import Decimal

from closebell.model.books import Break, BreakKind, Fill, LedgerCursor, Position
from closebell.model.broker import Side
from closebell.model.decision import PlanSet
from closebell.model.operations import LEASE_KEY, RunRecord
from closebell.model.orders import OrderLeg, OrderRecord, OrderState, derive_client_order_id
from closebell.model.record import Key, Record
from closebell.ports.journal import Change, Create, Replace, Require
from closebell.rehearsal.stage import Stage
from closebell.rehearsal.true_book import TrueBook

ENVIRONMENT = "paper"
REARMS_COUNT_MAX = 1
_OF_TRADING_RUNS = (OrderRecord, Position, Fill, LedgerCursor)


class ProtocolChecks:
    """Parts of invariants 3, 5, 11, 15 and 16 at each transaction."""

    def __init__(self, stage: Stage, truth: TrueBook) -> None:
        self._stage, self._truth = stage, truth
        self._booked: set[str] = set()
        self._stops_taken_away: defaultdict[str, set[str]] = defaultdict(set)
        self._decided_by: dict[date, str] = {}
        self._placed_by: defaultdict[date, set[str]] = defaultdict(set)

    def on_commit(self, changes: Sequence[Change], before: dict[Key, Record | None]) -> None:
        """Look at what was just committed."""
        written = [change.record for change in changes if isinstance(change, Create | Replace)]
        is_leased = any(isinstance(change, Require) and change.key == LEASE_KEY for change in changes)
        if not is_leased and any(isinstance(record, _OF_TRADING_RUNS) for record in written):
            kinds = ", ".join(sorted({record.kind for record in written}))
            self._stage.violated(3, f"{kinds} written by a run that does not show the desk's lease")
        self._booked |= {record.activity_id for record in written if isinstance(record, Fill)}
        for record in written:
            match record:
                case OrderRecord():
                    self._order(record, is_new=before[record.key] is None)
                case Break():
                    self._break(record)
                case PlanSet():
                    self._decided_by[record.session] = record.code_version
                case RunRecord() if record.function == "place_orders":
                    self._placed_by[record.market.date_of(record.scheduled_at)].add(record.code_version)

    def on_restore(self) -> None:
        """The book table is an older one: it does not remember which stops were taken away."""
        self._stops_taken_away.clear()

    def _order(self, order: OrderRecord, is_new: bool) -> None:
        if is_new and order.client_order_id != self._derived_id(order):
            meant = f"{order.leg} {order.attempt_count} of {order.plan_id}"
            self._stage.violated(3, f"{order.client_order_id} is not the id of {meant}")
        taken = self._stage.exchange.floor.orders.by_client_id(order.client_order_id)
        if order.state is OrderState.NEVER_ACCEPTED and taken and order.client_order_id not in self._stage.strays:
            self._stage.violated(16, f"{order.leg} of {order.symbol} is given up as never accepted, and the exchange has it")
        is_early = self._stage.now <= order.submit_deadline_at and order.client_order_id not in self._stage.strays
        if order.state is OrderState.QUARANTINED and is_early:
            self._stage.violated(5, f"{order.leg} of {order.symbol} is no longer sent although its deadline is to come")
        if order.leg is OrderLeg.ENTRY and is_new:
            self._entry(order)
        elif order.leg is OrderLeg.PROTECT:
            self._stop(order, is_new)

    def _entry(self, order: OrderRecord) -> None:
        """Plans are placed by the version of the code that made them."""
        if self._decided_by.get(order.session) not in self._placed_by[order.session]:
            versions = ", ".join(sorted(self._placed_by[order.session]))
            self._stage.violated(5, f"{order.symbol} is entered by {versions}, planned by {self._decided_by.get(order.session)}")

    def _stop(self, order: OrderRecord, is_new: bool) -> None:
        """Rested again once when somebody took it away; after that the owner is asked."""
        gone = self._stops_taken_away[order.plan_id]
        if is_new and len(gone) > REARMS_COUNT_MAX:
            self._stage.violated(11, f"a stop of {order.symbol} is rested again although {len(gone)} were taken away")
        had_more_to_sell = order.filled_quantity_shares < order.quantity_shares
        if order.state is OrderState.CANCELED and not order.is_cancel_asked and had_more_to_sell:
            gone.add(order.client_order_id)
        else:
            gone.discard(order.client_order_id)  # what it sold was booked after its end

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
