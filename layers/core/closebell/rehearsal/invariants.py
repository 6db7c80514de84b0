"""The checker: the invariants of the desk on the hidden book and the raw journal alone, after every run and session."""

from collections import Counter, defaultdict
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from closebell.model.books import Fill, LedgerCursor, Position, PositionState
from closebell.model.instruments import Market
from closebell.model.operations import HALT_KEY, Halt, UndeliveredAlert
from closebell.model.orders import OrderLeg, OrderRecord, OrderState, is_our_order_id, order_key
from closebell.model.parameters import ParameterSet
from closebell.rehearsal.commit_checks import CommitChecks
from closebell.rehearsal.exit_checks import ExitChecks
from closebell.rehearsal.faulty_stores import FaultyArchive, OwnersPager
from closebell.rehearsal.final_checks import FinalChecks
from closebell.rehearsal.market import RehearsalMarket
from closebell.rehearsal.rebuild_checks import RebuildChecks
from closebell.rehearsal.stage import Stage
from closebell.rehearsal.submit_checks import SubmitChecks
from closebell.rehearsal.true_book import TrueBook
from closebell.rehearsal.watched_journal import WatchedJournal
from closebell.rehearsal.witness import Witness

ZERO, CENT = Decimal(0), Decimal("0.01")
UNPROTECTED_CYCLES_MAX = 2
SALE_WAITS_AT_MOST = timedelta(hours=2)
LOOKS_AT_WAIT_MIN = 6
"""The rehearsal leaves out most of the schedule: two hours may hold too few reconciliations for a desk to know."""
HALTED_JUST_NOW = timedelta(minutes=1)
CALM_CYCLES_COUNT = 3
TRANSFERS = frozenset({"CSD", "CSW"})


class Checker:
    """Every check of one rehearsal. `on_submit`, `on_call` and `on_commit` are called at the ports, the rest by the director."""

    def __init__(
        self, stage: Stage, raw: WatchedJournal, market: RehearsalMarket, parameters: ParameterSet, pager: OwnersPager,
        archive: FaultyArchive,
    ) -> None:  # fmt: skip
        self._stage, self._raw, self._parameters = stage, raw, parameters
        self.truth = TrueBook(stage.exchange.floor)
        self._witness = Witness(stage, raw, self.truth)
        submits = SubmitChecks(stage, raw, self.truth, parameters)
        self.on_submit, self.on_call = submits.on_submit, submits.on_call
        self._commits = CommitChecks(stage, self.truth, market, ExitChecks(stage, raw, archive))
        raw.observer = self._commits.on_commit
        rebuilds = RebuildChecks(stage, raw, self.truth, parameters)
        self._final = FinalChecks(stage, raw, market, pager, self.truth, self._witness, rebuilds)
        self._bare_cycles: Counter[str] = Counter()
        self._waiting_looks: defaultdict[str, list[datetime]] = defaultdict(list)
        self._cycles: set[datetime] = set()
        self._calm_cycles_count = 0
        self._rebuilt_at: datetime | None = None
        self._last_look_at: datetime | None = None

    # --- after each run

    def after_run(self, function: str, scheduled_at: datetime, completed: bool) -> None:
        """What must hold after any run, and more after a reconciliation that went through (a second delivery is none)."""
        self._ours_are_enough()
        if function == "reconcile" and completed and scheduled_at not in self._cycles:
            self._cycles.add(scheduled_at)
            self._calm_cycles_count += self._stage.is_calm
            if self._calm_cycles_count == CALM_CYCLES_COUNT:
                self._settled_by_now()
            self._protected()
            self._halted_on_loss()

    def _ours_are_enough(self) -> None:
        for symbol, book in self.truth.read().symbols.items():
            if book.oversold_shares:
                self._stage.violated(9, f"{book.oversold_shares} {symbol} of the owner's were sold by us")
                book.oversold_shares = ZERO
        for symbol, holding in self._stage.exchange.floor.book.holdings.items():
            if holding.shares < 0:
                self._stage.violated(9, f"the account is short of {symbol}")

    def _protected(self) -> None:
        """A filled position has a stop under all of it within one cycle, or the owner was told within two."""
        if self._last_look_at is not None and self._stage.now - self._last_look_at < timedelta(minutes=1):
            return  # several deliveries at one instant are one cycle
        self._last_look_at = self._stage.now
        positions = self._raw.all_of(Position)
        for gone in self._bare_cycles.keys() - {position.symbol for position in positions}:
            del self._bare_cycles[gone]
            self._waiting_looks.pop(gone, None)
        for position in positions:
            symbol, uncovered = position.symbol, self._witness.uncovered_shares(position)
            bare = position.state in {PositionState.OPEN, PositionState.PROTECTED} and uncovered > 0
            self._bare_cycles[symbol] = self._bare_cycles[symbol] + 1 if bare else 0
            if self._bare_cycles[symbol] >= UNPROTECTED_CYCLES_MAX and not self._witness.was_told(symbol):
                self._stage.violated(11, f"{uncovered} {symbol} without a stop and without a word")
            self._leaves(position)

    def _leaves(self, position: Position) -> None:
        """What is to be sold has a sale, or the owner was told within two hours; a doubt about its order has its own time."""
        symbol, looks = position.symbol, self._waiting_looks[position.symbol]
        if position.state is not PositionState.CLOSING or self._witness.is_leaving(symbol):
            looks.clear()
        elif not any(order.symbol == symbol and order.state.is_in_flight for order in self._raw.all_of(OrderRecord)):
            looks.append(self._stage.now)
        is_long = len(looks) >= LOOKS_AT_WAIT_MIN and looks[-1] - looks[0] > SALE_WAITS_AT_MOST
        if is_long and not self._witness.was_told(symbol):
            self._stage.violated(11, f"{symbol} is to be sold, without a sale and without a word")

    @property
    def is_bare(self) -> bool:
        """Whether a position was without a stop in the last few reconciliations that went through."""
        return any(0 < cycles <= UNPROTECTED_CYCLES_MAX + 2 for cycles in self._bare_cycles.values())

    def _halted_on_loss(self) -> None:
        """Measured from the last close of an earlier day, without what the owner moved in or out since."""
        exchange = self._stage.exchange
        before, limit = exchange.last_equity_usd(), self._parameters.limits.daily_loss_frac_max
        closes = [point.at for point in exchange.equity_points if point.session < Market.US_EQUITY.date_of(self._stage.now)]
        since = closes[-1] if closes else datetime.min.replace(tzinfo=UTC)
        moved = sum((one.amount_usd for one in exchange.floor.book.activities if one.code in TRANSFERS and one.at > since), ZERO)
        lost = before - (exchange.equity_usd() - moved)
        halt = self._raw.at(HALT_KEY, Halt)
        if before <= 0 or lost / before <= limit:
            if lost < before * limit / 2 and self._has_halted_just_now(moved, since):
                self._stage.violated(18, f"the desk halts on a loss that is none: {lost} USD are lost, {moved} were moved")
            return
        if halt is None or not halt.is_halted:
            self._stage.violated(18, f"{lost / before:.2%} of the equity is lost since the last close and the desk goes on")
        elif not self._witness.was_told("The desk is halted") and not self._witness.was_told("equity is"):
            self._stage.violated(18, f"{lost / before:.2%} of the equity is lost since the last close and nobody was told")

    def _has_halted_just_now(self, moved_usd: Decimal, since: datetime) -> bool:
        """Whether the day's loss has just halted the desk, every transfer being booked by then (an unlisted one looks lost)."""
        halt, cursor = self._raw.at(HALT_KEY, Halt), self._raw.all_of(LedgerCursor)
        is_fresh = halt is not None and halt.is_halted and halt.changed_at >= self._stage.now - HALTED_JUST_NOW
        knows = moved_usd == sum((one.transferred_usd(since) for one in cursor if self._is_older_than_halt(one)), ZERO)
        return is_fresh and knows and halt is not None and halt.reason.startswith("equity is")

    def _is_older_than_halt(self, cursor: LedgerCursor) -> bool:
        return self._raw.was_written_before(cursor.key, HALT_KEY)

    def _settled_by_now(self) -> None:
        """With the faults off, three reconciliations find out about every order; what is left is waited for, and told."""
        for order in self._raw.all_of(OrderRecord):
            waits = order.state is OrderState.QUARANTINED  # until the next session has begun
            if order.state.is_in_flight and not (waits and self._witness.was_told(order.symbol)):
                self._stage.violated(26, f"{order.leg} of {order.symbol} is {order.state} three calm cycles later")

    def on_first_session(self) -> None:
        """The eve was calm too: what counts is the calm after the faults."""
        self._calm_cycles_count = 0

    # --- after each session

    def after_session(self) -> None:
        """What must hold between the exchange's orders and our intents."""
        planned: dict[str, Decimal] = {}
        bought: defaultdict[str, Decimal] = defaultdict(Decimal)
        for order in self._stage.exchange.floor.orders.orders.values():
            is_stray = order.client_order_id in self._stage.strays
            if order.parent is not None or not is_our_order_id(order.client_order_id) or is_stray:
                continue
            intent = self._raw.at(order_key(order.client_order_id), OrderRecord)
            if intent is None and self._rebuilt_at is not None and order.submitted_at < self._rebuilt_at:
                continue
            if intent is None or intent.created_at > order.submitted_at:
                self._stage.violated(4, f"the exchange has {order.side} {order.symbol}, we have no earlier intent")
            elif intent.leg is OrderLeg.ENTRY:
                planned[intent.plan_id] = intent.quantity_shares
                bought[intent.plan_id] += order.filled_shares
        for plan_id, shares in planned.items():
            if bought[plan_id] > shares:
                self._stage.violated(3, f"{plan_id} bought {bought[plan_id]} of {shares} planned")
        if self._rebuilt_at is None:
            self._oldest_lots_sold_first()

    def _oldest_lots_sold_first(self) -> None:
        """Where every fill is booked, what is left of a position cost what the true book's remaining lots cost."""
        booked, truth = {fill.activity_id for fill in self._raw.all_of(Fill)}, self.truth.read()
        behind = {fill.symbol for name, fill in truth.fills.items() if name not in booked}
        for position in self._raw.all_of(Position):
            book = truth.symbols[position.symbol]
            if position.symbol in behind or position.quantity_shares != book.our_shares:
                continue
            cost = sum((lot.quantity_shares * lot.price_usd for lot in position.lots), ZERO)
            true_cost = sum((shares * price for shares, price in book.lots), ZERO)
            if abs(cost - true_cost) > CENT:
                self._stage.violated(20, f"what is left of {position.symbol} cost {true_cost:.2f} USD, {cost:.2f} in our books")

    # --- when the tables are lost or restored

    def on_restore(self) -> None:
        """The book table is about to become an older one: what it holds now of the outbox goes with it."""
        self._commits.on_restore()
        self._final.alerts_lost |= {row.alert.alert_id for row in self._raw.all_of(UndeliveredAlert)}

    def on_rebuild(self) -> None:
        """The books were rebuilt from the broker alone: from now on they are judged, and equal they must be at once."""
        self._commits.on_rebuild(self._raw.all_of(Fill))
        self._rebuilt_at = self._stage.now
        self._final.books_agree()

    def at_the_end(self) -> None:
        """What must hold once the faults are over."""
        self.after_session()
        self._final.all_of_them()
