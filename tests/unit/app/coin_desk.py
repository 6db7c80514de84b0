"""A desk that trades one coin: fees are taken in the coin, stops have a limit, sessions are UTC days."""

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

from closebell.app.control import store_parameters
from closebell.app.desk import load_desk
from closebell.app.place_orders import PlaceOrders
from closebell.app.reconcile import Reconcile
from closebell.app.runs import RunLog
from closebell.app.trading_room import TradingRoom
from closebell.model.books import Position, PositionState, Trade
from closebell.model.broker import Side
from closebell.model.decision import EntryMethod, PlanSet, TradePlan
from closebell.model.instruments import Instrument, Market, SessionHours, crypto_session
from closebell.model.operations import Trigger
from closebell.model.orders import OrderLeg, OrderRecord
from closebell.model.parameters import ParameterSet
from closebell.ports.journal import Create
from closebell.simulation.exchange.exchange import Exchange
from closebell.simulation.exchange.matching import Execution
from closebell.simulation.exchange.simulated_broker import SimulatedBroker
from closebell.simulation.exchange.venue_orders import ExchangeOrder
from closebell.simulation.market import ListedAsset, Print
from closebell.simulation.memory_journal import MemoryJournal
from tests.unit.app.small_desk import VERSION, FixedClock, Inbox, OnePriceMarket, entry, leave

D = Decimal
COIN = "BTC/USD"
FIRST, SECOND, THIRD, FOURTH, FIFTH = (date(2018, 10, day) for day in range(1, 6))


class CoinMarket(OnePriceMarket):
    """Implements SimulatedMarket: one coin that trades at noon (UTC), each day at its own price, from 2018-10-01 on."""

    def __init__(self, prices: Sequence[str]) -> None:
        super().__init__({})
        self._noons = {FIRST + timedelta(days=number): D(price) for number, price in enumerate(prices)}

    def assets(self) -> tuple[ListedAsset, ...]:
        return (ListedAsset(COIN, COIN, Market.CRYPTO, "CRYPTO", True, True, False, D("1e-9"), D(0)),)

    def sessions(self, market: Market) -> tuple[SessionHours, ...]:
        return tuple(map(crypto_session, self._noons)) if market is Market.CRYPTO else super().sessions(market)

    def prints(self, symbol: str, session: date) -> tuple[Print, ...]:
        return (Print(utc(session, "12:00"), self._noons[session], None),)


def utc(day: date, clock: str) -> datetime:
    """An instant by the coin's clock."""
    return datetime.fromisoformat(f"{day}T{clock}").replace(tzinfo=UTC)


class CoinDesk:
    """The desk, its exchange and its journal."""

    def __init__(self, prices: Sequence[str]) -> None:
        self.exchange = Exchange(CoinMarket(prices), utc(FIRST, "13:00"))
        self.broker = SimulatedBroker(self.exchange)
        self.memory, self.inbox = MemoryJournal(), Inbox()
        coin = Instrument(symbol=COIN, sector="coins", market=Market.CRYPTO)
        store_parameters(self.memory, ParameterSet(universe=(coin,)))

    def reconcile(self, day: date, *clocks: str) -> None:
        """Run reconcile at these times of a day."""
        for clock in clocks:
            trigger = self._at(day, clock)
            Reconcile(self._room("reconcile"))(trigger)

    def place(self, plan: TradePlan) -> None:
        """Write a plan as the evening would and place it at one minute past midnight."""
        header = PlanSet(
            market=Market.CRYPTO, session=plan.session, decided_session=plan.decided_session, as_of=utc(plan.session, "00:00"),
            code_version=VERSION, parameters_version_count=1, input_sha256="0", plan_ids=(plan.plan_id,), decisions_count=0,
            decisions_archive="none",
        )  # fmt: skip
        self.memory.commit([Create(plan), Create(header)])
        trigger = self._at(plan.session, "00:01")
        PlaceOrders(self._room("place_orders"))(trigger)

    def _room(self, function: str) -> TradingRoom:
        return TradingRoom(RunLog(function, VERSION, self.memory, FixedClock(), self.inbox), self.broker, "paper")

    def _at(self, day: date, clock: str) -> Trigger:
        self.exchange.advance(utc(day, clock))
        return Trigger(market=Market.CRYPTO, scheduled_at=self.exchange.now)

    def fill(self, order: ExchangeOrder, coins: str, price: str) -> None:
        """The exchange executes part of an order, now."""
        self.exchange.floor.fill(order, D(coins), Execution(D(price), is_maker=False), self.exchange.now)

    @property
    def coins(self) -> Decimal:
        """What the exchange's hidden book holds."""
        return self.exchange.floor.book.shares(COIN)

    def held(self) -> Position | None:
        """What our books hold."""
        stored = load_desk(self.memory).positions.get(COIN)
        return stored.record if stored else None

    @property
    def resting(self) -> list[ExchangeOrder]:
        """The sales that rest at the exchange."""
        return [order for order in self.exchange.floor.orders.all_live() if order.side is Side.SELL]

    @property
    def told(self) -> list[str]:
        """The subjects of the alerts."""
        return [alert.subject for alert in self.inbox.alerts]

    @property
    def trades(self) -> list[Trade]:
        """Every round trip, in the order of their ends."""
        return [item.record for item in self.memory.query("journal", "TRADE#crypto") if isinstance(item.record, Trade)]

    def orders(self, leg: OrderLeg) -> list[OrderRecord]:
        """Every order of ours for a purpose, oldest first."""
        days = [FIRST + timedelta(days=number) for number in range(7)]
        found = [item.record for day in days for item in self.memory.query("journal", f"ORDER#crypto#{day}")]
        return sorted((one for one in found if isinstance(one, OrderRecord) and one.leg is leg), key=lambda one: one.created_at)


def coin_entry(session: date) -> TradePlan:
    """A plan to buy ten coins at the market."""
    return _of_the_coin(entry(session, COIN))


def coin_exit(session: date) -> TradePlan:
    """A plan to sell them because time is up."""
    return _of_the_coin(leave(session, COIN))


def _of_the_coin(plan: TradePlan) -> TradePlan:
    return plan.model_copy(
        update={
            "plan_id": plan.plan_id.replace("us_equity", "crypto"),
            "market": Market.CRYPTO,
            "sector": "coins",
            "method": EntryMethod.MARKET,
        }
    )


def holding(prices: Sequence[str]) -> CoinDesk:
    """A desk that bought ten coins on the second day at noon, keeps 9.975 after the fee and rests its stop."""
    desk = CoinDesk(prices)
    desk.place(coin_entry(SECOND))
    desk.reconcile(SECOND, "12:05", "12:10")
    held = desk.held()
    assert held is not None
    assert (held.quantity_shares, desk.coins, held.state) == (D("9.975"), D("9.975"), PositionState.PROTECTED)
    return desk
