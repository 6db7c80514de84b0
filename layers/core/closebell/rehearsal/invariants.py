"""The checker: the invariants of the desk, after every run and at the end, on the hidden book and the raw journal alone."""

from collections import Counter, defaultdict
from datetime import UTC, datetime, time, timedelta
from decimal import Decimal

from closebell.model.books import Fill, Position, PositionState, Trade
from closebell.model.broker import Side
from closebell.model.instruments import Market
from closebell.model.operations import HALT_KEY, Alert, Halt, RunRecord, RunState, UndeliveredAlert, run_key
from closebell.model.orders import OrderLeg, OrderRecord, OrderState, is_our_order_id, order_key
from closebell.model.parameters import ParameterSet
from closebell.rehearsal.commit_checks import CommitChecks
from closebell.rehearsal.faulty_stores import OwnersPager
from closebell.rehearsal.market import RehearsalMarket, new_york
from closebell.rehearsal.stage import Stage
from closebell.rehearsal.submit_checks import SubmitChecks
from closebell.rehearsal.true_book import Ownership, TrueBook, head_of
from closebell.rehearsal.watched_journal import WatchedJournal
from closebell.simulation.venue_orders import STOP_TYPES

ZERO, CENT = Decimal(0), Decimal("0.01")
UNPROTECTED_CYCLES_MAX = 2
GRACE = timedelta(minutes=15)
ONCE_A_SESSION = {"place_orders": time(9, 0), "review_performance": time(16, 5), "generate_signals": time(16, 20)}
TRANSFERS = frozenset({"CSD", "CSW"})
EVER = timedelta(days=3650)
_UNCERTAIN = frozenset({OrderState.INTENT, OrderState.SUBMITTING, OrderState.UNKNOWN, OrderState.QUARANTINED})


class Checker:
    """Every check of one rehearsal. `on_submit`, `on_call` and `on_commit` are called at the ports, the rest by the director."""

    def __init__(
        self, stage: Stage, raw: WatchedJournal, market: RehearsalMarket, parameters: ParameterSet, pager: OwnersPager
    ) -> None:
        self._stage, self._raw, self._market, self._parameters, self._pager = stage, raw, market, parameters, pager
        self.truth = TrueBook(stage.exchange.floor)
        submits = SubmitChecks(stage, raw, self.truth, parameters)
        self.on_submit, self.on_call = submits.on_submit, submits.on_call
        self._commits = CommitChecks(stage, self.truth, market)
        raw.observer = self._commits.on_commit
        self._bare_cycles: Counter[str] = Counter()
        self._last_cycle_at: datetime | None = None

    # --- after each run

    def after_run(self, function: str, scheduled_at: datetime, completed: bool) -> None:
        """What must hold after any run, and more after a reconciliation that went through (a second delivery is none)."""
        self._ours_are_enough()
        if function == "reconcile" and completed and scheduled_at != self._last_cycle_at:
            self._last_cycle_at = scheduled_at
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
        positions = self._raw.all_of(Position)
        for gone in self._bare_cycles.keys() - {position.symbol for position in positions}:
            del self._bare_cycles[gone]
        for position in positions:
            bare = position.state in {PositionState.OPEN, PositionState.PROTECTED} and self._uncovered(position) > 0
            self._bare_cycles[position.symbol] = self._bare_cycles[position.symbol] + 1 if bare else 0
            if self._bare_cycles[position.symbol] > UNPROTECTED_CYCLES_MAX and not self._was_told(position.symbol):
                self._stage.violated(11, f"{self._uncovered(position)} {position.symbol} without a stop and without a word")

    @property
    def is_bare(self) -> bool:
        """Whether a position was without a stop in the last few reconciliations that went through."""
        return any(0 < cycles <= UNPROTECTED_CYCLES_MAX + 2 for cycles in self._bare_cycles.values())

    def _uncovered(self, position: Position) -> Decimal:
        """Our shares under which no stop works at the exchange."""
        stops = [
            order
            for order in self._stage.exchange.floor.orders.live(position.symbol)
            if order.order_type in STOP_TYPES and is_our_order_id(head_of(order).client_order_id)
        ]
        covered = sum((order.remaining_shares for order in stops), ZERO)
        return self.truth.read().symbols[position.symbol].our_shares - covered

    def _was_told(self, symbol: str, within: timedelta = timedelta(days=1)) -> bool:
        """Whether an alert of the last day (or what `within` says) names the symbol."""
        since = self._stage.now - within
        fresh = [alert for alert in self._raw.all_of(Alert) if alert.created_at >= since]
        return any(symbol in f"{alert.subject} {alert.body}" for alert in fresh)

    def _halted_on_loss(self) -> None:
        """Measured from the last close of an earlier day, without what the owner moved in or out since."""
        exchange = self._stage.exchange
        before, limit = exchange.last_equity_usd(), self._parameters.limits.daily_loss_frac_max
        closes = [point.at for point in exchange.equity_points if point.session < Market.US_EQUITY.date_of(self._stage.now)]
        since = closes[-1] if closes else datetime.min.replace(tzinfo=UTC)
        moved = sum((one.amount_usd for one in exchange.floor.book.activities if one.code in TRANSFERS and one.at > since), ZERO)
        lost = before - (exchange.equity_usd() - moved)
        halt = self._raw.at(HALT_KEY, Halt)
        if before > 0 and lost / before > limit and (halt is None or not halt.is_halted):
            self._stage.violated(18, f"{lost / before:.2%} of the equity is lost since the last close and the desk goes on")

    # --- after each session

    def after_session(self) -> None:
        """What must hold between the exchange's orders and our intents."""
        planned: dict[str, Decimal] = {}
        bought: defaultdict[str, Decimal] = defaultdict(Decimal)
        for order in self._stage.exchange.floor.orders.orders.values():
            if order.parent is not None or not is_our_order_id(order.client_order_id):
                continue
            intent = self._raw.at(order_key(order.client_order_id), OrderRecord)
            if intent is None or intent.created_at > order.submitted_at:
                self._stage.violated(4, f"the exchange has {order.side} {order.symbol}, we have no earlier intent")
            elif intent.leg is OrderLeg.ENTRY:
                planned[intent.plan_id] = intent.quantity_shares
                bought[intent.plan_id] += order.filled_shares
        for plan_id, shares in planned.items():
            if bought[plan_id] > shares:
                self._stage.violated(3, f"{plan_id} bought {bought[plan_id]} of {shares} planned")

    # --- at the end, with the faults off

    def at_the_end(self) -> None:
        """What must hold once the faults are over: the books are equal, nothing is uncertain, everybody was told."""
        self.after_session()
        self._books_agree()
        self._ledger_is_whole()
        self._cash_adds_up()
        self._earnings_agree()
        self._nothing_uncertain()
        self._everything_delivered()
        self._runs_ended()

    def _books_agree(self) -> None:
        holdings = self._stage.exchange.floor.book.holdings
        ours = {position.symbol: position for position in self._raw.all_of(Position)}
        for symbol in sorted(holdings.keys() | ours.keys()):
            held = holdings[symbol].shares if symbol in holdings else ZERO
            position = ours.get(symbol)
            booked = position.quantity_shares + position.external_shares if position else ZERO
            if held != booked and not self._was_told(symbol):
                self._stage.violated(1, f"{symbol}: {booked} in our books, {held} at the broker")
            true = self.truth.read().symbols[symbol].our_shares
            claimed = position.quantity_shares if position else ZERO
            if symbol not in self._commits.adjusted and claimed != true:
                self._stage.violated(1, f"{symbol}: we call {claimed} ours, {true} are")
            if position is not None and position.lots:
                self._looked_after(position)

    def _looked_after(self, position: Position) -> None:
        leaving = [
            order for order in self._stage.exchange.floor.orders.live(position.symbol) if order.side is Side.SELL
        ]
        bare = self._uncovered(position) > 0 if position.state is not PositionState.CLOSING else not leaving
        if bare and not self._was_told(position.symbol, EVER if position.state is PositionState.DISPUTED else timedelta(days=1)):
            self._stage.violated(11, f"{position.symbol} is {position.state} with neither a stop nor a sale nor a word")

    def _ledger_is_whole(self) -> None:
        booked, happened = {fill.activity_id for fill in self._raw.all_of(Fill)}, set(self.truth.read().fills)
        if missing := happened - booked:
            self._stage.violated(21, f"{len(missing)} fills were never booked: {sorted(missing)[0]}")

    def _cash_adds_up(self) -> None:
        """The fills in the journal and the broker's transfers explain the cash to the cent."""
        exchange = self._stage.exchange
        signs = {Side.BUY: 1, Side.SELL: -1}
        spent = sum((fill.quantity_shares * fill.price_usd * signs[fill.side] for fill in self._raw.all_of(Fill)), ZERO)
        moved = sum((activity.amount_usd for activity in exchange.floor.book.activities if activity.code != "FILL"), ZERO)
        difference = exchange.options.cash_usd - spent + moved - exchange.floor.book.cash_usd
        if abs(difference) > CENT:
            self._stage.violated(19, f"the journal explains all but {difference} USD of the cash")

    def _earnings_agree(self) -> None:
        reported: defaultdict[str, Decimal] = defaultdict(Decimal)
        for trade in self._raw.all_of(Trade):
            reported[trade.symbol] += trade.pnl_usd
        for position in self._raw.all_of(Position):
            reported[position.symbol] += position.realised_usd
        books: dict[str, Ownership] = self.truth.read().symbols
        for symbol in sorted(reported.keys() | books.keys()):
            earned = books[symbol].realised_usd if symbol in books else ZERO
            if symbol not in self._commits.adjusted and abs(reported[symbol] - earned) > CENT:
                self._stage.violated(20, f"{symbol}: {reported[symbol]} USD reported, {earned} earned")

    def _nothing_uncertain(self) -> None:
        for order in self._raw.all_of(OrderRecord):
            if order.state in _UNCERTAIN:
                self._stage.violated(26, f"{order.leg} of {order.symbol} ({order.session}) is still {order.state}")
        for position in self._raw.all_of(Position):
            if position.state is PositionState.DISPUTED and not self._was_told(position.symbol, EVER):
                self._stage.violated(26, f"{position.symbol} is disputed and nobody was told")

    def _everything_delivered(self) -> None:
        if waiting := self._raw.all_of(UndeliveredAlert):
            self._stage.violated(24, f"{len(waiting)} alerts wait: {waiting[0].alert.subject}")
        for alert in self._raw.all_of(Alert):
            if not self._pager.published[alert.alert_id]:
                self._stage.violated(24, f"alert {alert.alert_id} was never delivered")

    def _runs_ended(self) -> None:
        """Every once-a-session run has ended, or the watchdog, if it ran within the day after, has named it."""
        told = {alert.alert_id for alert in self._raw.all_of(Alert)}
        runs = {run.key: run for run in self._raw.all_of(RunRecord)}
        ended_runs = [run for run in runs.values() if run.state is RunState.COMPLETED]
        watches = [run.scheduled_at for run in ended_runs if run.function == "watch_schedule"]
        for session in self._market.played:
            for function, at in ONCE_A_SESSION.items():
                due = new_york(session, at)
                run = runs.get(run_key(function, Market.US_EQUITY, due))
                ended = run is not None and run.state is not RunState.STARTED
                was_watched = any(due + GRACE <= watch <= due + timedelta(hours=24) for watch in watches)
                if not ended and was_watched and f"missed-{function}-{Market.US_EQUITY}-{session}" not in told:
                    state = run.state if run else "absent"
                    self._stage.violated(25, f"{function} of {session} is {state} and nobody was told")
