"""What must hold whenever an order is sent, measured on the exchange's hidden book and the raw journal."""

from collections import deque
from datetime import datetime, timedelta
from decimal import Decimal

from closebell.model.books import Position
from closebell.model.broker import OrderRequest, Side
from closebell.model.decision import TradePlan
from closebell.model.operations import HALT_KEY, Halt
from closebell.model.orders import OrderLeg, OrderRecord, OrderState, is_our_order_id, order_key
from closebell.model.parameters import ParameterSet
from closebell.model.record import Key
from closebell.rehearsal.stage import Stage
from closebell.rehearsal.true_book import TrueBook
from closebell.rehearsal.watched_journal import WatchedJournal
from closebell.simulation.exchange.account_checks import value_usd
from closebell.simulation.exchange.order_book import OrderBook

ZERO, CENT = Decimal(0), Decimal("0.01")
SNAPSHOT_AGE_MAX = timedelta(seconds=60)
REQUESTS_A_MINUTE_MAX, BROKERS_REQUESTS_MAX = 150, 200
KEPT_FOR_EXITS_COUNT = 50
ENDS_UNCOUNTED = frozenset({
    "killed_at_any_line", "killed_and_never_repeated", "overlapping_invocation", "three_at_once", "journal_throttled",
    "journal_write_outcome_unknown", "stale_read",
})
"""Faults after which the next run may not know how much an earlier one asked: what lies below the broker's limit is for them."""

_SENDABLE = frozenset({OrderState.SUBMITTING, OrderState.UNKNOWN})


class SubmitChecks:
    """Invariants 3 to 10, 12, 14, 17 and 23 at each request to the broker."""

    def __init__(self, stage: Stage, raw: WatchedJournal, truth: TrueBook, parameters: ParameterSet) -> None:
        self._stage, self._raw, self._truth = stage, raw, truth
        self._limits = parameters.limits
        self._sectors = {instrument.symbol: instrument.sector for instrument in parameters.universe}
        self._calls: deque[datetime] = deque()
        self._is_counted = not stage.enabled & ENDS_UNCOUNTED
        self._worth_when_meant: dict[str, Decimal] = {}
        self._worth: deque[tuple[datetime, Decimal]] = deque(maxlen=8)

    def on_call(self, name: str) -> None:
        """Count a request; remember what the account was truly worth when it was read."""
        now = self._stage.now
        self._calls.append(now)
        self._forget_older_calls()
        if len(self._calls) > (REQUESTS_A_MINUTE_MAX if self._is_counted else BROKERS_REQUESTS_MAX):
            self._stage.violated(23, f"{len(self._calls)} requests in 60 s")
        if name == "account":
            self._worth.append((now, self._stage.exchange.equity_usd()))

    def _forget_older_calls(self) -> None:
        while self._calls and self._stage.now - self._calls[0] >= timedelta(seconds=60):
            self._calls.popleft()

    def _leaves_requests_for_exits(self, order: OrderRecord) -> None:
        self._forget_older_calls()
        if self._is_counted and len(self._calls) >= REQUESTS_A_MINUTE_MAX - KEPT_FOR_EXITS_COUNT:
            self._stage.violated(23, f"{_name(order)} is sent after {len(self._calls)} requests in 60 s")

    def on_submit(self, request: OrderRequest) -> None:
        """Look at an order that is about to be sent."""
        known = is_our_order_id(request.client_order_id)
        order = self._raw.at(order_key(request.client_order_id), OrderRecord) if known else None
        if order is None:
            self._stage.violated(4, f"{request.client_order_id} for {request.symbol} is sent and has no committed intent")
            return
        self._intent(order, request)
        self._one_at_a_time(order)
        if request.side is Side.BUY:
            self._not_halted(order)
            self._leaves_requests_for_exits(order)
            if self._orders.by_client_id(order.client_order_id) is None:  # what is there already, is only asked for again
                self._within_limits(order)
                self._within_collar(order)
            if order.created_at == self._stage.now:
                self._reserves_enough(order)
        else:
            self._only_ours(order)
        if order.leg is OrderLeg.EXIT:
            self._has_a_reason(order)

    def _intent(self, order: OrderRecord, request: OrderRequest) -> None:
        if order.request != request:
            self._stage.violated(4, f"{_name(order)} is sent otherwise than it was meant")
        if order.state not in _SENDABLE:
            self._stage.violated(5, f"{_name(order)} is sent while it is {order.state}")
        if self._stage.now > order.submit_deadline_at:
            self._stage.violated(5, f"{_name(order)} is sent after its deadline")
        if order.leg is OrderLeg.ENTRY and order.market.date_of(self._stage.now) != order.session:
            self._stage.violated(5, f"{_name(order)} of {order.session} is sent on another day")

    def _one_at_a_time(self, order: OrderRecord) -> None:
        """A new attempt only from an end that is confirmed; one entry a plan, one live sale a position."""
        others = [other for other in self._raw.all_of(OrderRecord) if other.symbol == order.symbol and other.key != order.key]
        for other in others:
            same_purpose = (other.plan_id, other.leg) == (order.plan_id, order.leg)
            if same_purpose and not other.state.is_terminal:
                self._stage.violated(3, f"{_name(order)} is sent while {_name(other)} is {other.state}")
            if order.leg is OrderLeg.ENTRY and other.state.is_in_flight:
                self._stage.violated(6, f"{_name(order)} is sent while {_name(other)} is {other.state}")
            at_venue = self._orders.by_client_id(other.client_order_id)
            if at_venue is None:
                continue
            if same_purpose and order.leg is OrderLeg.ENTRY and (at_venue.is_open or at_venue.filled_shares):
                self._stage.violated(3, f"{_name(order)} is sent although the exchange has {_name(other)} ({at_venue.status})")
            if order.side is other.side is Side.SELL and any(member.is_open for member in at_venue.family()):
                self._stage.violated(14, f"{_name(order)} is sent while {_name(other)} rests")

    def _not_halted(self, order: OrderRecord) -> None:
        """A call is in flight from the write that says so on: a halt that came later came too late."""
        halt = self._raw.at(HALT_KEY, Halt)
        if halt is not None and halt.is_halted and self._raw.was_written_before(HALT_KEY, order.key):
            again = "again " if order.sent_count > 1 else ""
            self._stage.violated(17, f"{_name(order)} is sent {again}although the desk is halted")

    def _reserves_enough(self, order: OrderRecord) -> None:
        """Until it is seen filled, an entry counts at what it reserves: that must cover what it would cost now."""
        quote = self._stage.exchange.floor.tape.quote(order.symbol, self._stage.now)
        if quote is not None and order.reserved_usd + CENT < order.quantity_shares * quote.ask_usd:
            self._stage.violated(7, f"{_name(order)} reserves {order.reserved_usd} USD at an ask of {quote.ask_usd}")

    def _within_limits(self, order: OrderRecord) -> None:
        """One that is sent again fits the account as it was when it was meant, or as it is: it counts as reserved since then."""
        fresh = [worth for at, worth in self._worth if self._stage.now - at <= SNAPSHOT_AGE_MAX]
        if not fresh:
            self._stage.violated(7, f"{_name(order)} is sent without the account having been read in the last minute")
            return
        equity = max(*fresh, self._worth_when_meant.setdefault(order.client_order_id, max(fresh)))
        values = self._committed(order)
        sector = self._sectors.get(order.symbol)
        in_sector = [symbol for symbol in values if self._sectors.get(symbol) == sector]
        limits = self._limits
        measured = (
            (7, "gross", sum(values.values(), ZERO), limits.gross_exposure_frac_max * equity),
            (8, "symbol", values[order.symbol], limits.position_weight_frac_max * equity),
            (8, "sector", sum((values[symbol] for symbol in in_sector), ZERO), limits.sector_exposure_frac_max * equity),
            (8, "positions", Decimal(len(values)), Decimal(limits.positions_count_max)),
            (8, "positions in the sector", Decimal(len(in_sector)), Decimal(limits.positions_per_sector_count_max)),
            (8, "entries of the session", self._orders_of(order), Decimal(limits.orders_per_session_count_max)),
        )
        for invariant, what, value, limit in measured:
            if value > limit + CENT:
                self._stage.violated(invariant, f"{_name(order)}: {what} {value:.2f} above {limit:.2f}")

    def _committed(self, order: OrderRecord) -> dict[str, Decimal]:
        """Symbol -> value (USD): held, resting as a buy, reserved by an order nobody has seen, and this one.

        An order that the last list left out counts when it is ours: nobody could know of another one.
        """
        floor, now = self._stage.exchange.floor, self._stage.now
        values = {symbol: value_usd(floor, symbol, now) for symbol in floor.book.holdings}
        for resting in self._orders.all_live():
            is_another = resting.client_order_id != order.client_order_id and not self._is_hidden(resting.client_order_id)
            if resting.is_buy and is_another:
                values[resting.symbol] = values.get(resting.symbol, ZERO) + resting.remaining_shares * resting.price_bound_usd
        for other in self._raw.all_of(OrderRecord):
            unseen = other.state.is_in_flight and self._orders.by_client_id(other.client_order_id) is None
            if unseen and other.side is Side.BUY and other.key != order.key:
                values[other.symbol] = values.get(other.symbol, ZERO) + other.reserved_usd
        quote = floor.tape.quote(order.symbol, now)
        price = quote.ask_usd if quote else order.reserved_usd / order.quantity_shares
        values[order.symbol] = values.get(order.symbol, ZERO) + order.quantity_shares * price
        return values

    def _is_hidden(self, order_id: str) -> bool:
        """Whether the last list left out an order that no intent of ours tells of."""
        is_known = is_our_order_id(order_id) and self._raw.at(order_key(order_id), OrderRecord) is not None
        return order_id == self._stage.unlisted_order_id and not is_known

    def _orders_of(self, order: OrderRecord) -> Decimal:
        orders = self._raw.all_of(OrderRecord)
        return Decimal(sum(other.session == order.session and other.leg is OrderLeg.ENTRY for other in orders))

    def _within_collar(self, order: OrderRecord) -> None:
        plan = self._raw.at(Key("journal", f"PLAN#{order.market}#{order.session}", order.plan_id), TradePlan)
        if plan is None:
            self._stage.violated(4, f"{_name(order)} belongs to no plan")
            return
        if order.quantity_shares > plan.quantity_shares:
            self._stage.violated(3, f"{_name(order)} buys more than the planned {plan.quantity_shares}")
        quote = self._stage.exchange.floor.tape.quote(order.symbol, self._stage.now)
        if quote is not None and abs(quote.mid_usd / plan.reference_price_usd - 1) > self._limits.price_collar_frac:
            self._stage.violated(10, f"{_name(order)}: quote {quote.mid_usd} against {plan.reference_price_usd} when planned")
        made_at = self._stage.quoted_at.get(order.symbol)
        if made_at is None or self._stage.now - made_at > timedelta(seconds=self._limits.quote_age_s_max) + SNAPSHOT_AGE_MAX:
            self._stage.violated(10, f"{_name(order)} is sent on a quote of {made_at}")

    def _only_ours(self, order: OrderRecord) -> None:
        if self._orders.by_client_id(order.client_order_id) is not None:
            return
        held = self._orders.held_shares(order.symbol, Side.SELL)
        owned = self._stage.exchange.floor.book.shares(order.symbol)
        ours = self._truth.read().symbols[order.symbol].our_shares
        if held + order.quantity_shares > owned:
            self._stage.violated(9, f"{_name(order)}: {held} offered already, {owned} held")
        elif order.quantity_shares > ours:
            self._stage.violated(9, f"{_name(order)}: only {ours} are ours, the rest is the owner's")

    def _has_a_reason(self, order: OrderRecord) -> None:
        position = self._raw.at(Key("book", "DESK", f"POSITION#{order.symbol}"), Position)
        if position is None or position.exit_rule is None or not position.exit_reason or position.exit_plan_id != order.plan_id:
            self._stage.violated(12, f"{_name(order)} is sent without the rule and the evidence being stored")

    @property
    def _orders(self) -> OrderBook:
        return self._stage.exchange.floor.orders


def _name(order: OrderRecord) -> str:
    return f"{order.leg} {order.attempt_count} of {order.plan_id or order.symbol} ({order.quantity_shares} {order.symbol})"
