"""A desk that trades over HTTP: real use cases, real alpaca-py, the simulated exchange behind a socket."""

from collections import Counter
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import NamedTuple

from closebell.adapters.alpaca_broker import AlpacaBroker
from closebell.adapters.alpaca_http import Timeouts
from closebell.app.control import store_parameters
from closebell.app.desk import load_desk
from closebell.app.place_orders import PlaceOrders
from closebell.app.reconcile import Reconcile
from closebell.app.runs import RunLog
from closebell.app.trading_room import TradingRoom
from closebell.model.books import Position, Trade
from closebell.model.decision import EntryMethod, ExitRule, PlanAction, PlanSet, TradePlan
from closebell.model.errors import ClosebellError
from closebell.model.instruments import Instrument, Market
from closebell.model.operations import Alert, RunState, Trigger
from closebell.model.orders import OrderRecord, OrderState, OrderTransition, is_our_order_id
from closebell.model.parameters import ParameterSet
from closebell.ports.journal import Create
from closebell.simulation.memory_journal import MemoryJournal
from tests.contract.conftest import KEY_ID, SECRET_KEY, ExchangeSite
from tests.contract.tiny_market import FRI, MON, THU, ny

VERSION = "wire"
READ_TIMEOUT_S = 1.5
FRIDAY = ("09:00", "09:05", "09:10", "09:35", "09:40", "09:45", "10:00", "16:05")
"""The first is place_orders, the others are reconcile."""


class Book(NamedTuple):
    """What is left at the end: our orders at the exchange, its holdings and cash, our trades and positions."""

    orders: tuple[str, ...]
    shares: Decimal
    cash_usd: Decimal
    trades: tuple[tuple[str, Decimal], ...]
    positions: tuple[str, ...]


class OwnersInbox:
    """Implements Notifier."""

    def __init__(self) -> None:
        self.alerts: list[Alert] = []

    def publish(self, alert: Alert) -> None:
        self.alerts.append(alert)

    @property
    def told(self) -> str:
        """Everything that the owner was told."""
        return "\n".join(f"{alert.subject}: {alert.body}" for alert in self.alerts)


class WallClock:
    """Implements Clock: it need not agree with the exchange's."""

    def now(self) -> datetime:
        return datetime.now(UTC)


class WireDesk:
    """Buys 10 ACME on Friday and sells them on Monday, by plans written by hand."""

    def __init__(self, site: ExchangeSite) -> None:
        self.site, self.journal, self.inbox = site, MemoryJournal(), OwnersInbox()
        self.broker = AlpacaBroker(KEY_ID, SECRET_KEY, site.url, site.url, paper=True, timeouts=Timeouts(5, READ_TIMEOUT_S))
        store_parameters(self.journal, ParameterSet(universe=(Instrument(symbol="ACME", sector="anvils"),)))
        self.failures: list[str] = []
        self._plan(FRI, THU, PlanAction.ENTER)
        self._plan(MON, FRI, PlanAction.EXIT)

    def run(self, session: date, at: str) -> RunState | None:
        """One run of the schedule; None when it failed, with what it said in `failures`."""
        instant = ny(session, at)
        if instant > self.site.venue.exchange.now:
            self.site.advance(instant)
        trigger = Trigger(market=Market.US_EQUITY, scheduled_at=instant)
        function = "place_orders" if at == "09:00" else "reconcile"
        room = TradingRoom(RunLog(function, VERSION, self.journal, WallClock(), self.inbox), self.broker, "paper")
        use_case = PlaceOrders(room) if at == "09:00" else Reconcile(room)
        try:
            return use_case(trigger).state
        except ClosebellError as error:
            self.failures.append(f"{type(error).__name__}: {error}")
            return None

    def day(self, session: date, first: str = "09:00", last: str = "16:05") -> None:
        """The session's runs from `first` to `last`."""
        for at in FRIDAY:
            if first <= at <= last:
                self.run(session, at)

    def book(self) -> Book:
        """The end of it, as both sides have it."""
        exchange = self.site.venue.exchange
        heads = [order for order in exchange.floor.orders.orders.values() if is_our_order_id(order.client_order_id)]
        trades = [one.record for one in self.journal.query("journal", "TRADE#us_equity")]
        return Book(
            tuple(sorted(f"{one.side} {one.quantity_shares} {one.order_class} {one.status}" for one in heads)),
            exchange.floor.book.shares("ACME"),
            exchange.floor.book.cash_usd,
            tuple((one.symbol, one.pnl_usd) for one in trades if isinstance(one, Trade)),
            tuple(f"{one.symbol} {one.quantity_shares} {one.state}" for one in self.positions()),
        )

    def positions(self) -> list[Position]:
        """Our books."""
        return [stored.record for stored in load_desk(self.journal).positions.values()]

    def orders(self, session: date) -> list[OrderRecord]:
        """Our records of a session's orders."""
        rows = self.journal.query("journal", f"ORDER#us_equity#{session}")
        return [row.record for row in rows if isinstance(row.record, OrderRecord)]

    def path_of(self, order: OrderRecord) -> list[OrderState]:
        """Every state that an order went through."""
        rows = self.journal.query("journal", f"TRANSITION#{order.client_order_id}")
        return [row.record.to_state for row in rows if isinstance(row.record, OrderTransition)]

    def doubled(self) -> list[str]:
        """Purposes for which more than one order of ours reached the exchange and was not cancelled."""
        purposes: Counter[str] = Counter()
        orders = {order.client_order_id: order for session in (FRI, MON) for order in self.orders(session)}
        for taken in self.site.venue.exchange.floor.orders.orders.values():
            meant = orders.get(taken.client_order_id)
            if meant is not None and str(taken.status) not in {"canceled", "rejected", "expired"}:
                purposes[f"{meant.plan_id} {meant.leg}"] += 1
            elif meant is None and taken.parent is None:
                purposes["an order that nobody meant"] += 2
        return [purpose for purpose, count in purposes.items() if count > 1]

    def _plan(self, session: date, before: date, action: PlanAction) -> None:
        is_exit = action is PlanAction.EXIT
        plan = TradePlan(
            plan_id=f"us_equity-{session}-ACME-{action}", market=Market.US_EQUITY, session=session, decided_session=before,
            symbol="ACME", sector="anvils", action=action, method=EntryMethod.MARKET_ON_OPEN, quantity_shares=Decimal(10),
            reference_price_usd=Decimal(101), stop_loss_frac=Decimal("0.2"), take_profit_frac=Decimal("0.5"),
            time_stop_sessions=5, minimum_hold_sessions=0, strategies=("macd",),
            exit_rule=ExitRule.TIME_STOP if is_exit else None, reason="by hand",
        )  # fmt: skip
        header = PlanSet(
            market=Market.US_EQUITY, session=session, decided_session=before, as_of=ny(before, "16:00"), code_version=VERSION,
            parameters_version_count=1, input_sha256="0", plan_ids=(plan.plan_id,), decisions_count=0, decisions_archive="none",
        )  # fmt: skip
        self.journal.commit([Create(plan), Create(header)])
