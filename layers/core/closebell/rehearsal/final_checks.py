"""What must hold at the end, with the faults off: equal books, nothing uncertain, everybody told."""

from collections import defaultdict
from datetime import time, timedelta
from decimal import Decimal

from closebell.model.books import Fill, Position, PositionState, Trade
from closebell.model.broker import Side
from closebell.model.instruments import Market
from closebell.model.operations import Alert, DeskOpening, RunRecord, RunState, UndeliveredAlert, run_key
from closebell.model.orders import OrderRecord, OrderState
from closebell.rehearsal.faulty_stores import OwnersPager
from closebell.rehearsal.market import RehearsalMarket, new_york
from closebell.rehearsal.rebuild_checks import RebuildChecks
from closebell.rehearsal.stage import Stage
from closebell.rehearsal.true_book import Ownership, TrueBook
from closebell.rehearsal.watched_journal import WatchedJournal
from closebell.rehearsal.witness import A_DAY, EVER, Witness

ZERO, CENT = Decimal(0), Decimal("0.01")
GRACE = timedelta(minutes=15)
ONCE_A_SESSION = {"place_orders": time(9, 0), "review_performance": time(16, 5), "generate_signals": time(16, 20)}
_UNCERTAIN = frozenset({OrderState.INTENT, OrderState.SUBMITTING, OrderState.UNKNOWN, OrderState.QUARANTINED})


class FinalChecks:
    """Invariants 1, 11, 19 to 22 and 24 to 26. Alerts whose outbox row was lost with its table are not asked for."""

    def __init__(
        self, stage: Stage, raw: WatchedJournal, market: RehearsalMarket, pager: OwnersPager, truth: TrueBook,
        witness: Witness, rebuilds: RebuildChecks,
    ) -> None:  # fmt: skip
        self._stage, self._raw, self._market, self._pager = stage, raw, market, pager
        self._truth, self._witness, self._rebuilds = truth, witness, rebuilds
        self.alerts_lost: set[str] = set()

    def all_of_them(self) -> None:
        """What must hold once the faults are over: the books are equal, nothing is uncertain, everybody was told."""
        self.books_agree()
        for position in self._raw.all_of(Position):
            if position.lots:
                self._looked_after(position)
        self._ledger_is_whole()
        self._cash_adds_up()
        self._earnings_agree()
        self._nothing_uncertain()
        self._everything_delivered()
        self._runs_ended()
        self._rebuilds.rebuilt_from_the_broker()
        self._rebuilds.replayed()

    def books_agree(self) -> None:
        """Our shares and the owner's are what the broker holds, and whose they are is what its history says."""
        holdings = self._stage.exchange.floor.book.holdings
        ours = {position.symbol: position for position in self._raw.all_of(Position)}
        for symbol in sorted(holdings.keys() | ours.keys()):
            held = holdings[symbol].shares if symbol in holdings else ZERO
            position = ours.get(symbol)
            booked = position.quantity_shares + position.external_shares if position else ZERO
            if held != booked and not self._witness.was_told(symbol):
                self._stage.violated(1, f"{symbol}: {booked} in our books, {held} at the broker")
            true = self._truth.read().symbols[symbol].our_shares
            claimed = position.quantity_shares if position else ZERO
            if claimed != true:
                self._stage.violated(1, f"{symbol}: we call {claimed} ours, {true} are")

    def _looked_after(self, position: Position) -> None:
        is_closing, witness = position.state is PositionState.CLOSING, self._witness
        bare = not witness.is_leaving(position.symbol) if is_closing else witness.uncovered_shares(position) > 0
        if bare and not self._witness.was_told(position.symbol, EVER if position.state is PositionState.DISPUTED else A_DAY):
            self._stage.violated(11, f"{position.symbol} is {position.state} with neither a stop nor a sale nor a word")

    def _ledger_is_whole(self) -> None:
        booked, happened = {fill.activity_id for fill in self._raw.all_of(Fill)}, set(self._truth.read().fills)
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
        books: dict[str, Ownership] = self._truth.read().symbols
        for symbol in sorted(reported.keys() | books.keys()):
            earned = books[symbol].realised_usd if symbol in books else ZERO
            if abs(reported[symbol] - earned) > CENT:
                self._stage.violated(20, f"{symbol}: {reported[symbol]} USD reported, {earned} earned")

    def _nothing_uncertain(self) -> None:
        for order in self._raw.all_of(OrderRecord):
            if order.state in _UNCERTAIN:
                self._stage.violated(26, f"{order.leg} of {order.symbol} ({order.session}) is still {order.state}")
        for position in self._raw.all_of(Position):
            if position.state is PositionState.DISPUTED and not self._witness.was_told(position.symbol, EVER):
                self._stage.violated(26, f"{position.symbol} is disputed and nobody was told")

    def _everything_delivered(self) -> None:
        if waiting := self._raw.all_of(UndeliveredAlert):
            self._stage.violated(24, f"{len(waiting)} alerts wait: {waiting[0].alert.subject}")
        for alert in self._raw.all_of(Alert):
            if not self._pager.published[alert.alert_id] and alert.alert_id not in self.alerts_lost:
                self._stage.violated(24, f"alert {alert.alert_id} was never delivered")

    def _runs_ended(self) -> None:
        """Every once-a-session run since the desk opened has ended, or the watchdog, if it ran in the next day, has named it."""
        told = {alert.alert_id for alert in self._raw.all_of(Alert)}
        runs = {run.key: run for run in self._raw.all_of(RunRecord)}
        ended_runs = [run for run in runs.values() if run.state is RunState.COMPLETED]
        watches = [run.scheduled_at for run in ended_runs if run.function == "watch_schedule"]
        opened_at = max((opening.opened_at for opening in self._raw.all_of(DeskOpening)), default=self._stage.now)
        known = [session for session in self._market.played if self._market.differing.get(session, session) is not None]
        for session in known:  # of a session that our calendar lacks nobody can miss a run
            for function, at in ONCE_A_SESSION.items():
                due = new_york(session, at)
                if not opened_at < due:
                    continue
                run = runs.get(run_key(function, Market.US_EQUITY, due))
                ended = run is not None and run.state is not RunState.STARTED
                was_watched = any(due + GRACE <= watch <= due + timedelta(hours=24) for watch in watches)
                if not ended and was_watched and f"missed-{function}-{Market.US_EQUITY}-{session}" not in told:
                    state = run.state if run else "absent"
                    self._stage.violated(25, f"{function} of {session} is {state} and nobody was told")
