"""Before the open: turn the session's plans into orders, exits first, each exactly once.

Refuses to act when the run is late, the plans are missing, void, stale or from another version of the code. Every entry is
checked again on a fresh reading of the broker; one that fails is recorded with its checks and not sent.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta

from closebell.app.breaks import name_trades_by_hand, require_whole_positions
from closebell.app.control import halt_desk, is_halted
from closebell.app.desk import load_desk, read_in_batches
from closebell.app.exits import ExitDesk
from closebell.app.order_intent import Purpose, order_intent
from closebell.app.runs import RunOutcome
from closebell.app.standing import Standing
from closebell.app.trading_room import TradingRoom
from closebell.app.venue_reading import require_punctual
from closebell.app.venue_sync import VenueSync
from closebell.decision.desk_view import DeskView
from closebell.decision.placing import forbids_sending, recheck, reservation_usd
from closebell.model.books import Break, Consequence
from closebell.model.broker import MarketClock, OrderRequest, OrderType, Side, TimeInForce
from closebell.model.decision import CheckResult, Denial, EntryMethod, ExitRule, PlanAction, PlanSet, TradePlan
from closebell.model.errors import BooksDisagree, BrokerKeyRefused, RunRefused
from closebell.model.instruments import Market
from closebell.model.operations import RunRecord, Trigger
from closebell.model.orders import DayCounters, OrderLeg, OrderRecord, OrderState
from closebell.model.parameters import ParameterSet
from closebell.model.record import Key
from closebell.ports.journal import Create

NO_SESSION = "no session today"
FROZEN = "the symbol is frozen: our books differed from the broker's in this session"
AUCTION_CLOSES_BEFORE = timedelta(minutes=2)
"""Alpaca takes orders for the opening auction until 09:28."""


@dataclass(frozen=True)
class PlaceOrders:
    """The use case."""

    room: TradingRoom

    def __call__(self, trigger: Trigger) -> RunRecord:
        """Place the session's orders. Raises RunRefused, BrokerUnavailable, StoreUnavailable, BooksDisagree (after halting)."""
        try:
            return self.room.run_alone(trigger, lambda room, clock: PlaceOrders(room)._place(trigger, clock))
        except (BooksDisagree, BrokerKeyRefused) as error:
            halt_desk(self.room.journal, str(error), "place_orders", trigger.scheduled_at)
            raise

    def _place(self, trigger: Trigger, clock: MarketClock) -> RunOutcome:
        require_punctual(trigger, clock)
        session = trigger.market.date_of(trigger.scheduled_at)
        previous = self._previous_session(trigger.market, session, clock)
        if previous is None:
            return RunOutcome(NO_SESSION)
        plan_set = self._plan_set(trigger.market, session, previous)
        keys = [Key("journal", f"PLAN#{trigger.market}#{session}", plan_id) for plan_id in plan_set.plan_ids]
        plans = [stored.record for stored in read_in_batches(self.room.journal, keys, TradePlan)]
        desk = load_desk(self.room.journal)
        morning = Morning(VenueSync.read(self.room, desk), trigger.market, session)
        if breaks_count := name_trades_by_hand(morning.sync, session):
            morning.counts["breaks"] = breaks_count
        require_whole_positions(morning.sync)
        morning.exit([plan for plan in plans if plan.action is PlanAction.EXIT])
        morning.enter([plan for plan in plans if plan.action is PlanAction.ENTER])
        if desk.outbox or breaks_count:
            self.room.runs.deliver_alerts()
        counts = {"plans": len(plans), **morning.counts}
        return RunOutcome(", ".join(f"{count} {name}" for name, count in counts.items()), counts, plan_set.input_sha256)

    def _previous_session(self, market: Market, session: date, clock: MarketClock) -> date | None:
        """The session before `session` by the broker's calendar; None when today is no session.

        Raises RunRefused once the opening auction takes no more orders: an order sent then would fill in the next one.
        """
        if market is Market.CRYPTO:
            return session - timedelta(days=1)
        hours = self.room.broker.calendar(session - timedelta(days=10), session)
        if len(hours) < 2 or hours[-1].session != session:
            return None
        if clock.now_at >= hours[-1].opens_at - AUCTION_CLOSES_BEFORE:
            raise RunRefused(f"the opening auction of {session} takes no more orders: its plans are not placed")
        return hours[-2].session

    def _plan_set(self, market: Market, session: date, previous: date) -> PlanSet:
        stored = self.room.journal.read(Key("journal", f"PLANSET#{market}", f"{session}"), PlanSet)
        if stored is None:
            raise RunRefused(f"there are no plans for {session}: generate_signals did not finish after {previous}")
        plan_set = stored.record
        if plan_set.state == "void":
            raise RunRefused(f"the plans for {session} are void: {plan_set.void_reason}")
        if plan_set.code_version != self.room.runs.code_version:
            raise RunRefused(
                f"the plans for {session} were made by version {plan_set.code_version}, this is {self.room.runs.code_version}"
            )
        if plan_set.decided_session != previous:
            raise RunRefused(f"the plans for {session} are from {plan_set.decided_session}, but the session before is {previous}")
        return plan_set


class Morning:
    """The placing of one session's plans: what the broker showed, what was sent so far, and the view that follows from both."""

    def __init__(self, sync: Standing, market: Market, session: date) -> None:
        self.sync, self.market, self.session = sync, market, session
        self.journal, self.parameters = sync.room.journal, sync.desk.parameters
        self.counts: Counter[str] = Counter()
        self._is_rationed = False

    def exit(self, plans: Sequence[TradePlan]) -> None:
        """Begin every planned exit; those whose shares are free already are sent."""
        exits = ExitDesk(self.sync)
        for plan in plans:
            if plan.symbol in self.sync.keeper.positions:
                exits.begin(plan.symbol, plan.plan_id, plan.exit_rule or ExitRule.SIGNAL, plan.reason)
                self.counts["exits"] += exits.advance(plan.symbol) is not None

    def enter(self, plans: Sequence[TradePlan]) -> None:
        """Send every entry that still passes every check, the most wanted first."""
        if not plans:
            return
        quotes = self.sync.room.broker.quotes([plan.symbol for plan in plans], self.market)
        frozen = self._frozen_symbols()
        view = self.sync.view(self.market, self.session)
        for plan in sorted(plans, key=lambda plan: (-plan.priority_score, plan.symbol)):
            order = entry_order(plan, self.parameters, self.sync.desk_name, self.sync.clock)
            is_known = self.journal.read(order.key, OrderRecord) is not None
            if not is_known:
                fresh, quote = self._with_halt(view), quotes.get(plan.symbol)
                failed = forbids_sending(plan, fresh, self.parameters, quote)
                reason = FROZEN if plan.symbol in frozen else _why(failed) if failed else ""
                if reason:
                    self._deny(plan, recheck(plan, fresh, self.parameters, quote), reason)
                    continue
            if self._is_rationed or not (is_known or self.sync.room.allows_entry):
                self._deny(plan, (), "rate budget: the requests that the broker still takes are kept for exits and stops")
                continue
            placed = self._send(order)
            view = view if is_known else self._after(view, placed)  # one that was out already is in the reading

    def _send(self, order: OrderRecord) -> OrderRecord:
        placed = self.sync.place(order)
        state = placed.state
        self._is_rationed |= state is OrderState.UNKNOWN and placed.sent_count == 0  # 429: it was never taken
        self.counts["rejected" if state is OrderState.REJECTED else "unknown" if state.is_in_flight else "orders"] += 1
        return placed

    def _after(self, view: DeskView, placed: OrderRecord) -> DeskView:
        """The view once an order went out. One that filled at once shows in a new reading; until then it counts as working."""
        if placed.state is OrderState.REJECTED:
            return view
        if placed.state.is_terminal:
            self.sync.read_again()
            if self.sync.venue_position(placed.symbol) is not None:
                return self.sync.view(self.market, self.session)
            placed = placed.model_copy(update={"state": OrderState.ACCEPTED})
        counters = view.counters or DayCounters(market=self.market, session=self.session)
        counted = counters.model_copy(update={"orders_count": counters.orders_count + 1})
        return replace(view, live_orders=(*view.live_orders, placed), counters=counted)

    def _with_halt(self, view: DeskView) -> DeskView:
        """The view with the halt switch read anew: after a halt no entry leaves."""
        return replace(view, is_halted=is_halted(self.journal))

    def _frozen_symbols(self) -> set[str]:
        breaks = [stored.record for stored in self.journal.query("journal", f"BREAK#{self.session}")]
        return {found.symbol for found in breaks if isinstance(found, Break) and found.consequence is Consequence.FREEZE}

    def _deny(self, plan: TradePlan, checks: tuple[CheckResult, ...], reason: str) -> None:
        denial = Denial(
            plan_id=plan.plan_id,
            market=plan.market,
            session=plan.session,
            symbol=plan.symbol,
            checks=checks,
            reason=reason,
            denied_at=self.sync.now,
        )
        if self.journal.read(denial.key, Denial) is None:
            self.journal.commit([Create(denial)])
        self.counts["denied"] += 1


def entry_order(plan: TradePlan, parameters: ParameterSet, name: str, clock: MarketClock) -> OrderRecord:
    """The order of an entry plan: at the opening auction, by a limit for the day, or (crypto) at the market."""
    order_type, time_in_force = {
        EntryMethod.MARKET_ON_OPEN: (OrderType.MARKET, TimeInForce.OPG),
        EntryMethod.LIMIT: (OrderType.LIMIT, TimeInForce.DAY if plan.market is Market.US_EQUITY else TimeInForce.GTC),
        EntryMethod.MARKET: (OrderType.MARKET, TimeInForce.DAY if plan.market is Market.US_EQUITY else TimeInForce.GTC),
    }[plan.method]
    purpose = Purpose(plan.plan_id, OrderLeg.ENTRY, 1, plan.session)
    request = OrderRequest(
        client_order_id=purpose.order_id(name, plan.market),
        market=plan.market,
        symbol=plan.symbol,
        side=Side.BUY,
        order_type=order_type,
        time_in_force=time_in_force,
        quantity_shares=plan.quantity_shares,
        limit_price_usd=plan.limit_price_usd if plan.method is EntryMethod.LIMIT else None,
    )
    return order_intent(request, purpose, plan.sector, clock.now_at, reservation_usd(plan, parameters))


def _why(failed: CheckResult) -> str:
    return f"{failed.check}: {failed.measured} against a limit of {failed.limit} {failed.unit} {failed.note}".strip()
