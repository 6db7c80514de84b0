"""The simulated exchange, followed as things happen instead of read and compared.

A deployed desk can know its broker only by asking, and asks everything in every run. Here the exchange is in the same process and
tells which orders it has stirred and which executions are new; the same bookkeeper books them, the same executor places orders,
and whatever is decided runs as it is deployed. What is not a plain execution of an order of ours is compared as a deployed desk
compares it.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal

from closebell.app.booking import Bookkeeper
from closebell.app.breaks import settle_differences
from closebell.app.control import is_halted, read_halt
from closebell.app.desk import Desk
from closebell.app.execution import Executor, counted
from closebell.app.guarded_broker import GuardedBroker, RequestBudget
from closebell.app.runs import RunLog
from closebell.app.standing import Standing
from closebell.app.trading_room import TradingRoom
from closebell.app.venue_reading import VenueReading
from closebell.books.ledger import Booking
from closebell.model.books import Fill, Position, PositionState, Trade
from closebell.model.broker import (
    CashActivity,
    MarketClock,
    OrderClass,
    VenueFill,
    VenueOrder,
    VenuePosition,
    VenueStatus,
)
from closebell.model.errors import OrderRejected
from closebell.model.instruments import Market
from closebell.model.orders import DayCounters, OrderLeg, OrderRecord, OrderState
from closebell.model.parameters import ParameterSet
from closebell.ports.journal import Change, Create, Replace, Stored
from closebell.simulation.exchange.exchange import Exchange
from closebell.simulation.exchange.simulated_broker import SimulatedBroker, shown_order
from closebell.simulation.exchange.venue_orders import ExchangeOrder

REQUESTS_A_READING = 6
"""What a deployed run asks of the broker before it decides: of the minute's budget that much is gone."""


class EntryBudget(RequestBudget):
    """The minute's requests as a deployed run counts them; here only entries are refused by it. (More stops than a minute takes
    rest at once here; deployed, the run fails and the next one goes on.)"""

    def spend(self, now: datetime, is_entry: bool = False) -> None:
        if is_entry:
            super().spend(now, is_entry)
        else:
            self.inherit(1, now)


@dataclass(frozen=True)
class CertainExecutor(Executor):
    """Places and cancels as it is deployed, at a broker whose answers are never lost: what is written down is the outcome, not
    each step towards it. An order that is over is forgotten at the end of the run."""

    ended: list[str] = field(default_factory=list)

    def place(self, order: OrderRecord, also: Sequence[Change] = ()) -> Stored[OrderRecord]:
        counters = self.journal.read(DayCounters(market=order.market, session=order.session).key, DayCounters)
        changes = counted(order, counters)  # `also` is the position, which whoever places the order keeps
        if changes:
            self.journal.commit(changes)
        sent = Stored(order.model_copy(update={"state": OrderState.SUBMITTING, "sent_count": 1}), 0)
        try:
            return self.follow(sent, self.broker.submit(sent.record.request))
        except OrderRejected as refusal:
            return self.move(sent, OrderState.REJECTED, str(refusal), {"note": str(refusal)})

    def move(
        self, stored: Stored[OrderRecord], state: OrderState, evidence: str, update: Mapping[str, object] | None = None,
        conditions: Sequence[Change] = (),
    ) -> Stored[OrderRecord]:
        moved = stored.record.model_copy(update={**(update or {}), "state": state, "updated_at": self.now})
        self.journal.commit([Replace(moved, stored.version) if stored.version else Create(moved)])
        return Stored(moved, stored.version + 1)

    def settle(self, stored: Stored[OrderRecord]) -> None:
        self.ended.append(stored.record.client_order_id)


@dataclass
class CertainBookkeeper(Bookkeeper):
    """Books as it is deployed, from a broker that lists every activity once: no cursor, and positions are kept here only.

    `trades` are the round trips in the order in which they ended.
    """

    trades: list[Trade] = field(default_factory=list)

    def book(self, activity: VenueFill | CashActivity, recorded_at: datetime) -> None:
        self._keep(self.changes_of(activity, recorded_at))

    def hold(self, symbol: str, position: Position | None, also: list[Change]) -> None:
        self._keep([*self._hold(symbol, Booking(position)), *also])

    def _written(self, activity: VenueFill) -> Fill | None:
        return None

    def _keep(self, changes: list[Change]) -> None:
        written = [
            change for change in changes if isinstance(change, Create | Replace) and not isinstance(change.record, Position)
        ]
        if written:
            self.journal.commit(written)
        self.trades += [change.record for change in written if isinstance(change.record, Trade)]
        self._advance_versions(changes)


class FollowedVenue(Standing):
    """Where the desk stands with the exchange, from the beginning of a backtest to its end.

    `follow` has to be called whenever time has passed, before anything is decided.
    """

    keeper: CertainBookkeeper
    executor: CertainExecutor

    def __init__(self, exchange: Exchange, market: Market, parameters: ParameterSet, runs: RunLog) -> None:
        self.exchange, self.market, self._parameters = exchange, market, parameters
        self._venue, budget = SimulatedBroker(exchange), EntryBudget()
        self.room = TradingRoom(runs, GuardedBroker(self._venue, budget, lambda: exchange.now), "paper", budget=budget)
        self.desk_name = self.room.desk_name(self._venue.account())
        self.counts = Counter()
        self._shown: dict[str, VenueOrder] = {}
        self._stirred: set[str] = set()
        self._reading: VenueReading | None = None
        self._activities_count, self._is_unusual = 0, False
        self.keeper = CertainBookkeeper(runs.journal, self.room.broker, parameters.sectors, {}, {}, None)
        self.follow()

    def follow(self, *, reads: bool = False) -> None:
        """Begin a run: take over everything that has happened since the last one.

        With `reads` all that the exchange shows is read as well, for decisions that are made on how it was before the run did
        anything; else it is read when somebody asks.
        """
        self.counts.clear()
        self._clock, self._reading = self._venue.clock(), None
        self.room.budget.inherit(REQUESTS_A_READING, self.now)
        keeper = self.keeper
        keeper.external_symbols.clear()
        keeper.orphans.clear()
        keeper.positions, keeper.orders = dict(sorted(keeper.positions.items())), dict(sorted(keeper.orders.items()))
        self.desk = self.desk_as_known()
        self.executor = CertainExecutor(self.room.journal, self.room.broker, self.now, self._shown)
        self._take_over()
        if reads:
            self._read()

    def settle(self) -> None:
        """Compare our books with the exchange's where something other than an execution of ours has changed them."""
        if self._is_unusual or self.keeper.external_symbols or self.keeper.orphans:
            settle_differences(self, self.market.date_of(self.now))
        self._is_unusual = False

    def _take_over(self) -> None:
        keeper, floor = self.keeper, self.exchange.floor
        for head in floor.stirred.values():
            stored = keeper.orders.get(head.client_order_id)
            self._stirred.add(head.symbol)
            if stored is not None and not _rests(stored.record, head):
                keeper.orders[head.client_order_id] = self.executor.follow(stored, shown_order(head))
                if not head.is_open:  # it is listed no more: a deployed run asks for it
                    self.room.budget.spend(self.now)
        floor.stirred.clear()
        for activity in floor.book.activities[self._activities_count :]:
            sent = self._venue.sent(activity)
            self._is_unusual |= not isinstance(sent, VenueFill)
            self._stirred.add(activity.symbol or "")
            keeper.book(sent, self.now)
        self._activities_count = len(floor.book.activities)

    def rest(self) -> None:
        """End a reconciliation: what was stirred is taken care of, and orders that are over need nothing any more."""
        self._stirred.clear()
        for order_id in self.executor.ended:
            del self.keeper.orders[order_id]
            self._shown.pop(order_id, None)

    def desk_as_read(self) -> Desk:
        """The desk as it is now, with the reading of the last run."""
        return replace(self.desk_as_known(), snapshot=Stored(self.snapshot(self.market), 1))

    def desk_as_known(self) -> Desk:
        """The desk as it is now, without a reading."""
        halt, keeper = read_halt(self.room.journal), self.keeper
        return Desk(self._parameters, halt, dict(keeper.positions), dict(keeper.orders), (), {}, None, None, None)

    @property
    def clock(self) -> MarketClock:
        return self._clock

    @property
    def reading(self) -> VenueReading:
        return self._reading or self._read()

    def _read(self) -> VenueReading:
        venue = self._venue
        orders, positions = tuple(venue.open_orders()), tuple(venue.positions())
        self._reading = VenueReading(self._clock, venue.account(), orders, positions, activities=())
        return self._reading

    def read_again(self) -> None:
        self._reading = None
        self._take_over()

    def held_now(self, symbol: str) -> VenuePosition | None:
        self.room.budget.spend(self.now)
        return self._venue.position(symbol)

    def venue_position(self, symbol: str) -> VenuePosition | None:
        return self._venue.position(symbol)

    def transfers_usd(self) -> Decimal:
        return Decimal(0)

    def attended_symbols(self) -> Sequence[str]:
        """Those of which something was stirred or is under way, and those that no group of orders at the exchange watches."""
        unguarded = self.unguarded_symbols()
        return [
            symbol
            for symbol, held in self.keeper.positions.items()
            if symbol in self._stirred or symbol in unguarded or held.record.state is not PositionState.PROTECTED
        ]

    def needs_nothing(self) -> bool:
        """Whether a reconciliation now would do nothing."""
        return not self.desk.is_halted and not self.attended_symbols() and not self.attended_orders()

    @property
    def has_work_left(self) -> bool:
        """Whether the next reconciliation has to act although nothing happens: the desk was halted with entries out."""
        orders = (stored.record for stored in self.keeper.orders.values())
        rests = any(order.leg is OrderLeg.ENTRY and not order.state.is_terminal for order in orders)
        return rests and is_halted(self.room.journal)

    def unguarded_symbols(self) -> set[str]:
        """The positions whose stop and target are not both watched by orders at the exchange."""
        orders = self.keeper.orders.values()
        return self.keeper.positions.keys() - {
            stored.record.symbol for stored in orders if stored.record.order_class is OrderClass.OCO
        }

    def attended_orders(self) -> Sequence[Stored[OrderRecord]]:
        """Those in symbols of which something was stirred, and those that are over."""
        orders = self.keeper.orders.values()
        return [stored for stored in orders if stored.record.symbol in self._stirred or stored.record.state.is_terminal]


def _rests(order: OrderRecord, venue: ExchangeOrder) -> bool:
    """Whether an order has only begun to work, which changes nothing of ours."""
    whole = all(member.is_open and not member.filled_shares for member in venue.family())
    return whole and order.state is OrderState.ACCEPTED and venue.status is VenueStatus.NEW
