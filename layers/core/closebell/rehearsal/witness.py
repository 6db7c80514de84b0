"""What can be seen from outside of a position's protection and of what the owner was told."""

from datetime import timedelta
from decimal import Decimal

from closebell.model.books import Position
from closebell.model.broker import Side
from closebell.model.operations import Alert
from closebell.model.orders import is_our_order_id
from closebell.rehearsal.stage import Stage
from closebell.rehearsal.true_book import TrueBook, head_of
from closebell.rehearsal.watched_journal import WatchedJournal
from closebell.simulation.exchange.venue_orders import STOP_TYPES

A_DAY = timedelta(days=1)
EVER = timedelta(days=3650)


class Witness:
    """Reads the exchange's orders and the raw journal; concludes nothing from closebell's own summaries."""

    def __init__(self, stage: Stage, raw: WatchedJournal, truth: TrueBook) -> None:
        self._stage, self._raw, self._truth = stage, raw, truth

    def uncovered_shares(self, position: Position) -> Decimal:
        """Our shares under which no stop works at the exchange."""
        stops = [
            order
            for order in self._stage.exchange.floor.orders.live(position.symbol)
            if order.order_type in STOP_TYPES and is_our_order_id(head_of(order).client_order_id)
        ]
        covered = sum((order.remaining_shares for order in stops), Decimal(0))
        return self._truth.read().symbols[position.symbol].our_shares - covered

    def is_leaving(self, symbol: str) -> bool:
        """Whether any order rests that sells."""
        return any(order.side is Side.SELL for order in self._stage.exchange.floor.orders.live(symbol))

    def was_told(self, words: str, within: timedelta = A_DAY) -> bool:
        """Whether an alert of the last day (or what `within` says) contains the words."""
        since = self._stage.now - within
        fresh = [alert for alert in self._raw.all_of(Alert) if alert.created_at >= since]
        return any(words in f"{alert.subject} {alert.body}" for alert in fresh)
