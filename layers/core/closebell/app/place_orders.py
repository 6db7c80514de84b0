"""Before the open: turn the session's plans into orders, exits first, each exactly once.

Refuses to act when the run is late, the plans are missing, void, stale or from another version of the code. Every entry is
checked again on a fresh reading of the broker; one that fails is recorded with its checks and not sent.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date, timedelta

from closebell.app.alerts import deliver_waiting
from closebell.app.booking import Bookkeeper
from closebell.app.control import halt_desk, read_halt
from closebell.app.desk import Desk, load_desk
from closebell.app.execution import Executor
from closebell.app.exits import ExitDesk
from closebell.app.order_intent import Purpose, order_intent
from closebell.app.runs import RunOutcome
from closebell.app.trading_room import TradingRoom
from closebell.app.venue_reading import require_punctual
from closebell.decision.desk_view import DeskView
from closebell.decision.placing import recheck, reservation_usd
from closebell.model.books import Break, Consequence
from closebell.model.broker import Account, BrokerSnapshot, MarketClock, OrderRequest, OrderType, Quote, Side, TimeInForce
from closebell.model.decision import CheckResult, Denial, EntryMethod, ExitRule, PlanAction, PlanSet, TradePlan
from closebell.model.errors import BooksDisagree, BrokerKeyRefused, RunRefused
from closebell.model.instruments import Market
from closebell.model.operations import RunRecord, Trigger
from closebell.model.orders import DayCounters, OrderLeg, OrderRecord, OrderState
from closebell.model.parameters import ParameterSet
from closebell.model.record import Key
from closebell.ports.journal import Create

NO_SESSION = "no session today"


@dataclass(frozen=True)
class PlaceOrders:
    """The use case."""

    room: TradingRoom

    def __call__(self, trigger: Trigger) -> RunRecord:
        """Place the session's orders. Raises RunRefused, BrokerUnavailable, StoreUnavailable, BooksDisagree (after halting)."""
        try:
            return self.room.runs.run_once(trigger, lambda: self._place(trigger))
        except (BooksDisagree, BrokerKeyRefused) as error:
            halt_desk(self.room.journal, str(error), "place_orders", trigger.scheduled_at)
            raise

    def _place(self, trigger: Trigger) -> RunOutcome:
        clock = self.room.broker.clock()
        require_punctual(trigger, clock)
        session = trigger.market.date_of(trigger.scheduled_at)
        previous = self._previous_session(trigger.market, session)
        if previous is None:
            return RunOutcome(NO_SESSION)
        plan_set = self._plan_set(trigger.market, session, previous)
        desk = load_desk(self.room.journal)
        account = self.room.broker.account()
        snapshot = BrokerSnapshot(
            as_of=clock.now_at,
            session=session,
            account=account,
            positions=tuple(self.room.broker.positions()),
            open_orders=tuple(self.room.broker.open_orders()),
        )
        plans = [
            plan.record
            for plan in self.room.journal.read_many([self._plan_key(plan_set, name) for name in plan_set.plan_ids], TradePlan)
        ]
        counts: Counter[str] = Counter(plans=len(plans))
        self._exit(plans, desk, clock, account, counts)
        self._enter(plans, desk, snapshot, clock, counts)
        if counts["denied"] or desk.outbox:
            deliver_waiting(self.room.journal, self.room.notifier)
        return RunOutcome(", ".join(f"{count} {name}" for name, count in counts.items()), dict(counts), plan_set.input_sha256)

    def _previous_session(self, market: Market, session: date) -> date | None:
        """The session before `session` by the broker's calendar; None when today is no session."""
        if market is Market.CRYPTO:
            return session - timedelta(days=1)
        sessions = [hours.session for hours in self.room.broker.calendar(session - timedelta(days=10), session)]
        return sessions[-2] if len(sessions) >= 2 and sessions[-1] == session else None

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

    @staticmethod
    def _plan_key(plan_set: PlanSet, plan_id: str) -> Key:
        return Key("journal", f"PLAN#{plan_set.market}#{plan_set.session}", plan_id)

    def _executor(self, clock: MarketClock) -> Executor:
        return Executor(self.room.journal, self.room.broker, clock.now_at)

    def _exit(self, plans: list[TradePlan], desk: Desk, clock: MarketClock, account: Account, counts: Counter[str]) -> None:
        keeper = Bookkeeper.of(desk, self.room.journal, self.room.broker)
        exits = ExitDesk(self._executor(clock), keeper, clock, self.room.desk_name(account))
        for plan in plans:
            if plan.action is not PlanAction.EXIT or plan.symbol not in keeper.positions:
                continue
            exits.begin(plan.symbol, plan.plan_id, plan.exit_rule or ExitRule.SIGNAL, plan.reason)
            counts["exits"] += exits.advance(plan.symbol) is not None

    def _enter(
        self, plans: list[TradePlan], desk: Desk, snapshot: BrokerSnapshot, clock: MarketClock, counts: Counter[str]
    ) -> None:
        entries = [plan for plan in plans if plan.action is PlanAction.ENTER]
        if not entries:
            return
        quotes = self.room.broker.quotes([plan.symbol for plan in entries], entries[0].market)
        frozen = self._frozen_symbols(snapshot.session)
        view = desk_view(desk, snapshot, entries[0].market)
        for plan in sorted(entries, key=lambda plan: (-plan.priority_score, plan.symbol)):
            order = entry_order(plan, desk.parameters, self.room.desk_name(snapshot.account), clock)
            known = self.room.journal.read(order.key, OrderRecord)
            checks = () if known else self._checks(plan, view, desk, quotes)
            failed = [check for check in checks if not check.passed]
            if plan.symbol in frozen or failed:
                counts["denied"] += self._deny(plan, checks, _why(failed, plan.symbol in frozen), clock)
                continue
            placed = self._executor(clock).place(order).record
            counts["rejected" if placed.state is OrderState.REJECTED else "orders"] += 1
            if placed.state is not OrderState.REJECTED:
                view = with_order(view, placed)

    def _checks(self, plan: TradePlan, view: DeskView, desk: Desk, quotes: Mapping[str, Quote]) -> tuple[CheckResult, ...]:
        """The risk chain again, with the halt switch read anew: after a halt no entry leaves."""
        halt = read_halt(self.room.journal)
        fresh = replace(view, is_halted=halt is not None and halt.record.is_halted)
        return recheck(plan, fresh, desk.parameters, quotes.get(plan.symbol))

    def _frozen_symbols(self, session: date) -> set[str]:
        breaks = [stored.record for stored in self.room.journal.query("journal", f"BREAK#{session}")]
        return {found.symbol for found in breaks if isinstance(found, Break) and found.consequence is Consequence.FREEZE}

    def _deny(self, plan: TradePlan, checks: tuple[CheckResult, ...], reason: str, clock: MarketClock) -> int:
        denial = Denial(
            plan_id=plan.plan_id,
            market=plan.market,
            session=plan.session,
            symbol=plan.symbol,
            checks=checks,
            reason=reason,
            denied_at=clock.now_at,
        )
        if self.room.journal.read(denial.key, Denial) is None:
            self.room.journal.commit([Create(denial)])
        return 1


def desk_view(desk: Desk, snapshot: BrokerSnapshot, market: Market) -> DeskView:
    """What the decision may know of the desk: our projections for terms, the broker's snapshot for exposure."""
    return DeskView(
        as_of=snapshot.as_of,
        snapshot=snapshot,
        positions=tuple(stored.record for stored in desk.positions.values()),
        live_orders=tuple(stored.record for stored in desk.orders.values() if not stored.record.state.is_terminal),
        counters=desk.counters_of(market, snapshot.session),
        sessions_held={},
        sectors=desk.sectors,
        is_halted=desk.is_halted,
    )


def with_order(view: DeskView, placed: OrderRecord) -> DeskView:
    """The view after an order went out, filled already or not: the snapshot was taken before it."""
    counters = view.counters or DayCounters(market=placed.market, session=placed.session)
    counted = counters.model_copy(update={"orders_count": counters.orders_count + 1})
    return replace(view, live_orders=(*view.live_orders, placed), counters=counted)


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


def _why(failed: list[CheckResult], is_frozen: bool) -> str:
    if is_frozen:
        return "the symbol is frozen: our books differed from the broker's in this session"
    check = failed[0]
    return f"{check.check}: {check.measured} against a limit of {check.limit} {check.unit} {check.note}".strip()
