"""Closing a position: cancel what rests, see it ended and the shares free, then sell. Never two exits at once.

The broker cancels asynchronously, so one exit may take two cycles: the position stays CLOSING until its shares are free.
"""

from dataclasses import dataclass
from datetime import time
from decimal import Decimal

from closebell.app.order_intent import Purpose, order_intent
from closebell.app.protection import is_whole, sellable_shares
from closebell.app.standing import Standing
from closebell.model.books import Position, PositionState
from closebell.model.broker import MarketClock, OrderRequest, OrderType, Side, TimeInForce
from closebell.model.decision import ExitRule
from closebell.model.instruments import Market
from closebell.model.orders import OrderLeg, OrderRecord
from closebell.ports.journal import Replace, Stored

OPENING_AUCTION_CUTOFF = time(9, 28)
EXIT_ATTEMPTS_COUNT_MAX = 3
"""Exits that fail this often in a session are no accident: the position is disputed and a human is asked."""


@dataclass(frozen=True)
class ExitDesk:
    """Closes positions of ours, on what `sync` took over."""

    sync: Standing

    def begin(self, symbol: str, plan_id: str, rule: ExitRule, reason: str) -> None:
        """Mark a position as closing, with the rule and the evidence that was true; a position that closes already stays."""
        position = self.sync.keeper.positions[symbol].record
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
            self.sync.keeper.hold(symbol, closing, [])

    def advance(self, symbol: str) -> OrderRecord | None:
        """Take the next step of a closing position; the exit order once it is sent, None while something is awaited.

        Nothing is sold while anything of ours in the symbol is executed and not booked: it may be this very sale.
        """
        stored = self.sync.keeper.positions.get(symbol)
        if stored is None or stored.record.state is not PositionState.CLOSING or not stored.record.lots:
            return None
        if self.is_given_up(stored.record) or not self._orders_are_over(symbol):
            return None
        sellable = self.sellable_shares(stored.record)
        if sellable < sellable_shares(stored.record.quantity_shares):
            return None
        return self._sell(stored, sellable)

    def is_given_up(self, position: Position) -> bool:
        """Whether as many exit orders of this session as may be have ended without a sale: refused, or cancelled at once.

        Where nothing trades, an order ends with the session and the next one takes its place; what sold a part was no failure.
        """
        if position.exit_attempts_count < EXIT_ATTEMPTS_COUNT_MAX:
            return False
        session = position.market.date_of(self.sync.now)
        orders = (stored.record for stored in self.sync.room.journal.query("journal", f"ORDER#{position.market}#{session}"))
        futile_count = sum(
            order.state.is_terminal and not order.filled_quantity_shares
            for order in orders
            if isinstance(order, OrderRecord) and order.plan_id == position.exit_plan_id and order.leg is OrderLeg.EXIT
        )
        return futile_count >= EXIT_ATTEMPTS_COUNT_MAX

    def _sell(self, stored: Stored[Position], sellable_shares: Decimal) -> OrderRecord:
        sync, position = self.sync, stored.record

        def draft(attempt_count: int) -> OrderRecord:
            return exit_order(position, attempt_count, sellable_shares, sync.desk_name, sync.clock)

        order = sync.executor.next_attempt(draft, position.exit_attempts_count + 1)
        attempted = position.model_copy(update={"exit_attempts_count": position.exit_attempts_count + 1})
        placed = sync.place(order, [Replace(attempted, stored.version)])
        sync.keeper.positions[position.symbol] = Stored(attempted, stored.version + 1)
        return placed

    def _orders_are_over(self, symbol: str) -> bool:
        """Cancel what of ours rests in the symbol; True when all of it has ended and every execution is booked."""
        sync = self.sync
        if sync.working(symbol, OrderLeg.EXIT):
            return False
        for stored in (*sync.working(symbol, OrderLeg.PROTECT), *sync.working(symbol, OrderLeg.ENTRY)):
            if not sync.cancel(stored).record.state.is_terminal:
                return False
        return not sync.is_settling(symbol)

    def sellable_shares(self, position: Position) -> Decimal:
        """What the broker has free now, less what is the owner's."""
        venue = self.sync.held_now(position.symbol)
        if venue is None:
            return Decimal(0)
        free = min(venue.available_shares, venue.quantity_shares - position.external_shares)
        return sellable_shares(min(position.quantity_shares, free))


def exit_order(
    position: Position, attempt_count: int, quantity_shares: Decimal, desk_name: str, clock: MarketClock
) -> OrderRecord:
    """A market sale of what we own, at the opening auction when it is still to come."""
    market = position.market
    purpose = Purpose(position.exit_plan_id, OrderLeg.EXIT, attempt_count, market.date_of(clock.now_at))
    request = OrderRequest(
        client_order_id=purpose.order_id(desk_name, market),
        market=market,
        symbol=position.symbol,
        side=Side.SELL,
        order_type=OrderType.MARKET,
        time_in_force=exit_time_in_force(market, quantity_shares, clock),
        quantity_shares=quantity_shares,
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
