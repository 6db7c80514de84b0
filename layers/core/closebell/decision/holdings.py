"""What is held, by the broker's truth: whose it is, and how much of it is ours to sell."""

from decimal import Decimal
from typing import NamedTuple

from closebell.decision.desk_view import DeskView
from closebell.model.books import Position, PositionState
from closebell.model.broker import Side, VenuePosition
from closebell.model.instruments import Market
from closebell.model.orders import OrderLeg


class Holding(NamedTuple):
    """A symbol that the broker shows (`venue`), that our books show (`position`), or both.

    `is_leaving`: an exit order of ours is out.
    """

    position: Position | None
    venue: VenuePosition | None
    is_leaving: bool

    @property
    def sellable_shares(self) -> Decimal:
        """What both books agree is ours, without the user's own shares of the symbol; zero or less when that is nothing."""
        if self.position is None or self.venue is None:
            return Decimal(0)
        return min(self.position.quantity_shares, self.venue.quantity_shares - self.position.external_shares)

    @property
    def venue_price_usd(self) -> Decimal:
        """The broker's own price of a share; zero when it shows none."""
        return abs(self.venue.market_value_usd / self.venue.quantity_shares) if self.venue else Decimal(0)


def holdings_of(desk: DeskView, market: Market) -> dict[str, Holding]:
    """Symbol -> holding for one market.

    A position that only our books show is a holding when the broker could not be read (nothing may be concluded then), and
    none when it could. Dust is none: its symbol is free.
    """
    positions = {position.symbol: position for position in desk.positions if position.market is market}
    leaving = {
        order.symbol for order in desk.live_orders
        if order.leg is OrderLeg.EXIT and order.side is Side.SELL and not order.state.is_terminal
    }
    if desk.snapshot is None:
        return {symbol: Holding(position, None, symbol in leaving) for symbol, position in positions.items()}
    return {
        venue.symbol: Holding(positions.get(venue.symbol), venue, venue.symbol in leaving)
        for venue in desk.snapshot.positions
        if venue.market is market and venue.quantity_shares and not _is_dust(positions.get(venue.symbol))
    }


def _is_dust(position: Position | None) -> bool:
    return position is not None and position.state is PositionState.DUST
