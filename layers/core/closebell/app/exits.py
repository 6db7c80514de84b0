"""Closing a position: cancel what rests, see it ended and the shares free, then sell. Never two exits at once.

The broker cancels asynchronously, so one exit may take two cycles: the position stays CLOSING until its shares are free.
"""

from dataclasses import dataclass
from datetime import time
from decimal import Decimal

from closebell.app.booking import Bookkeeper
from closebell.app.execution import Executor
from closebell.app.order_intent import Purpose, order_intent
from closebell.app.protection import is_whole
from closebell.model.books import Position, PositionState
from closebell.model.broker import MarketClock, OrderRequest, OrderType, Side, TimeInForce, VenuePosition
from closebell.model.decision import ExitRule
from closebell.model.instruments import Market
from closebell.model.orders import OrderLeg, OrderRecord
from closebell.ports.journal import Replace, Stored

OPENING_AUCTION_CUTOFF = time(9, 28)
EXIT_ATTEMPTS_COUNT_MAX = 3
"""Exits refused this often are no accident: the position is disputed and a human is asked."""


@dataclass(frozen=True)
class ExitDesk:
    """Closes positions through an executor; `held` are the broker's positions by symbol, read in this run."""

    executor: Executor
    keeper: Bookkeeper
    clock: MarketClock
    desk_name: str

    def begin(self, symbol: str, plan_id: str, rule: ExitRule, reason: str) -> None:
        """Mark a position as closing, with the rule and the evidence that was true; a position that closes already stays."""
        position = self.keeper.positions[symbol].record
        if position.state in {PositionState.OPEN, PositionState.PROTECTED}:
            closing = position.model_copy(
                update={
                    "state": PositionState.CLOSING,
                    "exit_plan_id": plan_id,
                    "exit_rule": rule,
                    "exit_reason": reason,
                    "exit_attempts_count": 0,
                }
            )
            self.keeper.hold(symbol, closing, [])

    def advance(self, symbol: str) -> OrderRecord | None:
        """Take the next step of a closing position; the exit order once it is sent, None while something is awaited."""
        position = self.keeper.positions[symbol].record
        if position.exit_attempts_count >= EXIT_ATTEMPTS_COUNT_MAX or not position.lots or not self._shares_are_freed(symbol):
            return None
        venue = self._venue_position(symbol)
        if venue is None or venue.available_shares < position.quantity_shares:
            return None
        order = exit_order(position, venue.available_shares, self.desk_name, self.clock)
        attempted = position.model_copy(update={"exit_attempts_count": order.attempt_count})
        version = self.keeper.positions[symbol].version
        placed = self.executor.place(order, [Replace(attempted, version)])
        self.keeper.positions[symbol] = Stored(attempted, version + 1)
        self.keeper.orders[order.client_order_id] = placed
        return placed.record

    def _shares_are_freed(self, symbol: str) -> bool:
        """Cancel our resting orders in the symbol; True when none of them can trade any more."""
        resting = [
            stored
            for stored in self.keeper.orders.values()
            if stored.record.symbol == symbol and not stored.record.state.is_terminal
        ]
        if any(stored.record.leg is OrderLeg.EXIT for stored in resting):
            return False
        after = [self.executor.cancel(stored) for stored in resting]
        self.keeper.orders.update({stored.record.client_order_id: stored for stored in after})
        return all(stored.record.state.is_terminal for stored in after)

    def _venue_position(self, symbol: str) -> VenuePosition | None:
        return next((held for held in self.executor.broker.positions() if held.symbol == symbol), None)


def exit_order(position: Position, available_shares: Decimal, desk_name: str, clock: MarketClock) -> OrderRecord:
    """A market sale of what we own and the broker has free, at the opening auction when it is still to come."""
    market, quantity = position.market, min(position.quantity_shares, available_shares)
    attempt_count = position.exit_attempts_count + 1
    purpose = Purpose(position.exit_plan_id, OrderLeg.EXIT, attempt_count, market.date_of(clock.now_at))
    request = OrderRequest(
        client_order_id=purpose.order_id(desk_name, market),
        market=market,
        symbol=position.symbol,
        side=Side.SELL,
        order_type=OrderType.MARKET,
        time_in_force=exit_time_in_force(market, quantity, clock),
        quantity_shares=quantity,
    )
    return order_intent(request, purpose, position.sector, clock.now_at, Decimal(0))


def exit_time_in_force(market: Market, quantity_shares: Decimal, clock: MarketClock) -> TimeInForce:
    """Crypto rests until cancelled; an equity sells in the opening auction if there is still time for it, else at once."""
    if market is Market.CRYPTO:
        return TimeInForce.GTC
    local = clock.now_at.astimezone(market.zone)
    opens_today = market.date_of(clock.next_open_at) == local.date()
    before_auction = not clock.is_open and opens_today and local.time() < OPENING_AUCTION_CUTOFF
    return TimeInForce.OPG if before_auction and is_whole(quantity_shares) else TimeInForce.DAY
