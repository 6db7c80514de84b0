"""A whole desk in one process: the real use cases over the simulated exchange, with plans written by hand.

The market has one price a session, so that what an order fills at can be read off the table in each test.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from closebell.adapters.exchange_calendar import ExchangeCalendar
from closebell.app.control import store_parameters
from closebell.app.desk import load_desk
from closebell.app.place_orders import PlaceOrders
from closebell.app.reconcile import Reconcile
from closebell.app.runs import RunLog
from closebell.app.trading_room import TradingRoom
from closebell.model.books import Position, Trade
from closebell.model.decision import EntryMethod, ExitRule, PlanAction, PlanSet, TradePlan
from closebell.model.errors import StoreUnavailable
from closebell.model.instruments import Instrument, Market, SessionHours
from closebell.model.operations import Alert, NewsItem, RunRecord, Trigger
from closebell.model.parameters import ParameterSet
from closebell.ports.journal import Create
from closebell.simulation.exchange.exchange import Exchange
from closebell.simulation.exchange.simulated_broker import SimulatedBroker
from closebell.simulation.exchange.trading_floor import ExchangeOptions
from closebell.simulation.market import DayBar, ListedAsset, Print, Split
from closebell.simulation.memory_journal import MemoryJournal

NEW_YORK = ZoneInfo("America/New_York")
FIRST = date(2018, 10, 1)
VERSION = "test"
D = Decimal


class OnePriceMarket:
    """Implements SimulatedMarket: each symbol's price at each session's close, from 2018-10-01 on, and nothing else."""

    label, is_synthetic = "hand-made", True

    def __init__(self, prices: Mapping[str, Sequence[str]]) -> None:
        self._hours = {
            hours.session: hours for hours in ExchangeCalendar().sessions(Market.US_EQUITY, date(2018, 9, 20), date(2018, 12, 31))
        }
        traded = [session for session in self._hours if session >= FIRST]
        self._prices = {symbol: dict(zip(traded, map(D, row), strict=False)) for symbol, row in prices.items()}

    def assets(self) -> tuple[ListedAsset, ...]:
        return tuple(ListedAsset(s, s, Market.US_EQUITY, "NYSE", True, True, False, D("1e-9"), D(0)) for s in self._prices)

    def sessions(self, market: Market) -> tuple[SessionHours, ...]:
        return tuple(self._hours.values()) if market is Market.US_EQUITY else ()

    def prints(self, symbol: str, session: date) -> tuple[Print, ...]:
        price = self._prices.get(symbol, {}).get(session)
        return (Print(self._hours[session].closes_at, price, None),) if price is not None else ()

    def day_bars(self, symbol: str, first: date, last: date) -> tuple[DayBar, ...]:
        row = self._prices.get(symbol, {})
        return tuple(DayBar(day, price, price, price, price, None) for day, price in row.items() if first <= day <= last)

    def splits(self, symbol: str) -> tuple[Split, ...]:
        return ()

    def halts(self, symbol: str, session: date) -> tuple[tuple[datetime, datetime], ...]:
        return ()

    def volatility_index(self) -> Mapping[date, Decimal]:
        return {}

    def headlines(self, session: date) -> tuple[NewsItem, ...]:
        return ()


class Inbox:
    """Implements Notifier: keeps what was published; `is_down` refuses."""

    def __init__(self) -> None:
        self.alerts: list[Alert] = []
        self.is_down = False

    def publish(self, alert: Alert) -> None:
        if self.is_down:
            raise StoreUnavailable("the topic is down")
        self.alerts.append(alert)


class FixedClock:
    """Implements Clock."""

    def now(self) -> datetime:
        return datetime(2026, 1, 1, tzinfo=UTC)


def new_york(day: date, at: str) -> datetime:
    """An instant by New York's wall clock."""
    return datetime.combine(day, time.fromisoformat(at), NEW_YORK).astimezone(UTC)


class SmallDesk:
    """The desk, its exchange and its journal. `broker` and `journal` may be wrapped to fail."""

    def __init__(
        self,
        prices: Mapping[str, Sequence[str]],
        wrap_broker: Callable[[Any], Any] = lambda broker: broker,
        wrap_journal: Callable[[Any], Any] = lambda journal: journal,
        options: ExchangeOptions | None = None,
    ) -> None:
        self.market = OnePriceMarket(prices)
        self.exchange = Exchange(self.market, new_york(FIRST, "16:30"), options)
        self.memory = MemoryJournal()
        self.journal = wrap_journal(self.memory)
        self.broker: Any = wrap_broker(SimulatedBroker(self.exchange))
        self.inbox = Inbox()
        universe = tuple(Instrument(symbol=symbol, sector=f"sector-{symbol}") for symbol in prices)
        self.parameters = store_parameters(self.memory, ParameterSet(universe=universe))
        self.sessions = [hours.session for hours in self.market.sessions(Market.US_EQUITY) if hours.session >= FIRST]

    def plan(self, session: date, *plans: TradePlan, version: str = VERSION) -> PlanSet:
        """Write a session's plans as generate_signals would."""
        before = self.sessions[self.sessions.index(session) - 1]
        header = PlanSet(
            market=Market.US_EQUITY,
            session=session,
            decided_session=before,
            as_of=new_york(before, "16:00"),
            code_version=version,
            parameters_version_count=1,
            input_sha256="0",
            plan_ids=tuple(plan.plan_id for plan in plans),
            decisions_count=0,
            decisions_archive="none",
        )
        self.memory.commit([*(Create(plan) for plan in plans), Create(header)])
        return header

    def place(self, session: date, at: str = "09:00") -> RunRecord:
        """Run place_orders at its time."""
        trigger = self._at(session, at)
        log = RunLog("place_orders", VERSION, self.journal, FixedClock(), self.inbox)
        return PlaceOrders(TradingRoom(log, self.broker, "paper"))(trigger)

    def reconcile(self, session: date, at: str) -> RunRecord:
        """Run reconcile at a time of the session."""
        trigger = self._at(session, at)
        log = RunLog("reconcile", VERSION, self.journal, FixedClock(), self.inbox)
        return Reconcile(TradingRoom(log, self.broker, "paper"))(trigger)

    def day(self, session: date) -> None:
        """The session's schedule, thinned out to when something can happen."""
        self.place(session)
        for at in ("09:05", "09:10", "16:00", "16:05", "16:10"):
            self.reconcile(session, at)

    def _at(self, session: date, at: str) -> Trigger:
        instant = new_york(session, at)
        if instant > self.exchange.now:
            self.exchange.advance(instant)
        return Trigger(market=Market.US_EQUITY, scheduled_at=instant)

    def shares(self, symbol: str) -> Decimal:
        """What the exchange's hidden book holds."""
        return self.exchange.floor.book.shares(symbol)

    def sent(self) -> list[str]:
        """Every order that the exchange took, as `side quantity symbol status`."""
        return [
            f"{order.side} {order.quantity_shares} {order.symbol} {order.status}"
            for order in self.exchange.floor.orders.orders.values()
        ]


def entry(session: date, symbol: str, shares: str = "10", reference: str = "100", sessions_held_max: int = 5) -> TradePlan:
    """A plan to buy at the open."""
    return TradePlan(
        plan_id=f"us_equity-{session}-{symbol}-enter",
        market=Market.US_EQUITY,
        session=session,
        decided_session=session - timedelta(days=1),
        symbol=symbol,
        sector=f"sector-{symbol}",
        action=PlanAction.ENTER,
        method=EntryMethod.MARKET_ON_OPEN,
        quantity_shares=D(shares),
        reference_price_usd=D(reference),
        stop_loss_frac=D("0.03"),
        take_profit_frac=D("0.08"),
        time_stop_sessions=sessions_held_max,
        minimum_hold_sessions=2,
        strategies=("rsi", "macd"),
        reason="two agree",
    )


def leave(session: date, symbol: str, shares: str = "10", reference: str = "100") -> TradePlan:
    """A plan to sell at the open because time is up."""
    plan = entry(session, symbol, shares, reference)
    return plan.model_copy(
        update={
            "plan_id": f"us_equity-{session}-{symbol}-exit",
            "action": PlanAction.EXIT,
            "exit_rule": ExitRule.TIME_STOP,
            "reason": "held 5 sessions",
        }
    )


def positions(desk: SmallDesk) -> dict[str, Position]:
    """Our books' positions by symbol."""
    return {symbol: stored.record for symbol, stored in load_desk(desk.memory).positions.items()}


def trades(desk: SmallDesk) -> list[Trade]:
    """Every round trip, in the order of their ends."""
    return [item.record for item in desk.memory.query("journal", "TRADE#us_equity") if isinstance(item.record, Trade)]


def bought(session: date, prices: list[str]) -> SmallDesk:
    """A desk that bought 10 AAA in a session and rests its stop."""
    desk = SmallDesk({"AAA": prices})
    desk.plan(session, entry(session, "AAA"))
    desk.day(session)
    return desk
