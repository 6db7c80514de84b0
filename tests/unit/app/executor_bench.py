"""An executor over a broker that answers as it is told, and what the journal keeps of an order."""

from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from decimal import Decimal

from closebell.app.execution import Executor
from closebell.app.order_intent import Purpose, order_intent
from closebell.model.broker import (
    Account,
    OrderRequest,
    OrderType,
    Side,
    TimeInForce,
    VenueOrder,
    VenuePosition,
    VenueStatus,
)
from closebell.model.instruments import Market
from closebell.model.orders import LiveOrder, OrderLeg, OrderRecord, OrderState, OrderTransition
from closebell.ports.journal import Create, Stored
from closebell.simulation.memory_journal import MemoryJournal

D = Decimal
NOW = datetime(2018, 10, 2, 13, 0, tzinfo=UTC)
SESSION = date(2018, 10, 2)
DESK = "paper|PA1"


def intent(side: Side = Side.BUY, leg: OrderLeg = OrderLeg.ENTRY, attempt_count: int = 1) -> OrderRecord:
    purpose = Purpose("plan", leg, attempt_count, SESSION)
    request = OrderRequest(
        client_order_id=purpose.order_id(DESK, Market.US_EQUITY),
        market=Market.US_EQUITY,
        symbol="AAA",
        side=side,
        order_type=OrderType.MARKET,
        time_in_force=TimeInForce.OPG,
        quantity_shares=D(10),
    )
    return order_intent(request, purpose, "tech", NOW, D(1050) if side is Side.BUY else D(0))


def shown(order: OrderRecord, status: VenueStatus = VenueStatus.ACCEPTED, filled: str = "0", **changes: object) -> VenueOrder:
    facts: dict[str, object] = {
        "venue_order_id": "v1", "client_order_id": order.client_order_id, "market": order.market, "symbol": order.symbol,
        "side": order.side, "order_type": order.order_type, "time_in_force": order.time_in_force,
        "order_class": order.order_class,
        "status": status, "quantity_shares": order.quantity_shares, "filled_quantity_shares": D(filled),
        "filled_average_price_usd": None, "limit_price_usd": None, "stop_price_usd": None, "submitted_at": NOW, "updated_at": NOW,
    }  # fmt: skip
    return VenueOrder.model_validate(facts | changes)


@dataclass
class ScriptedBroker:
    """Answers what it is told; an exception is raised. Only what the executor asks for."""

    on_submit: VenueOrder | Exception | None = None
    on_cancel: Exception | None = None
    by_client_id: dict[str, VenueOrder] = field(default_factory=dict)
    by_venue_id: dict[str, VenueOrder] = field(default_factory=dict)
    held_shares: Decimal = D(0)
    buying_power_usd: Decimal = D(100_000)
    trading_blocked: bool = False
    submitted: list[str] = field(default_factory=list)
    cancelled: list[str] = field(default_factory=list)

    def submit(self, request: OrderRequest) -> VenueOrder:
        self.submitted.append(request.client_order_id)
        if self.on_submit is None or isinstance(self.on_submit, Exception):
            raise self.on_submit or AssertionError("nothing was to be sent")
        return self.on_submit

    def cancel(self, venue_order_id: str) -> None:
        self.cancelled.append(venue_order_id)
        if self.on_cancel is not None:
            raise self.on_cancel

    def order(self, venue_order_id: str) -> VenueOrder | None:
        return self.by_venue_id.get(venue_order_id)

    def order_by_client_id(self, client_order_id: str) -> VenueOrder | None:
        return self.by_client_id.get(client_order_id)

    def positions(self) -> list[VenuePosition]:
        held = [("ZZZ", D(5)), ("AAA", self.held_shares)]
        return [
            VenuePosition(
                symbol=symbol, market=Market.US_EQUITY, quantity_shares=shares, available_shares=shares,
                average_entry_price_usd=D(100), market_value_usd=shares * 100,
            )
            for symbol, shares in held if shares
        ]  # fmt: skip

    def account(self) -> Account:
        return Account(
            account_number="PA1", status="ACTIVE", equity_usd=D(100_000), last_equity_usd=D(100_000), cash_usd=D(100_000),
            buying_power_usd=self.buying_power_usd, trading_blocked=self.trading_blocked,
        )  # fmt: skip


@dataclass
class Bench:
    """An executor with its journal and broker; `life` is what the journal keeps of an order."""

    broker: ScriptedBroker = field(default_factory=ScriptedBroker)
    journal: MemoryJournal = field(default_factory=MemoryJournal)
    now: datetime = NOW

    @property
    def executor(self) -> Executor:
        return Executor(self.journal, self.broker, self.now)  # type: ignore[arg-type]  # a broker that is asked for little

    def stored(self, order: OrderRecord) -> Stored[OrderRecord]:
        found = self.journal.read(order.key, OrderRecord)
        assert found is not None
        return found

    def life(self, order: OrderRecord) -> list[str]:
        steps = [one.record for one in self.journal.query("journal", f"TRANSITION#{order.client_order_id}")]
        return [f"{one.to_state}: {one.evidence}" for one in steps if isinstance(one, OrderTransition)]

    def with_order(self, state: OrderState, order: OrderRecord | None = None, **changes: object) -> Stored[OrderRecord]:
        """An order that an earlier run left in a state."""
        record = (order or intent()).model_copy(update={"state": state, **changes})
        self.journal.commit([Create(record), Create(LiveOrder(client_order_id=record.client_order_id))])
        return Stored(record, 1)
