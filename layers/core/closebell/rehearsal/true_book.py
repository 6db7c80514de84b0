"""Whose shares are whose, by the exchange's own history: an oracle that shares no code with closebell's ledger.

The owner's sales take the owner's shares first and ours after them; our sales may take only ours.
"""

from collections import defaultdict, deque
from dataclasses import dataclass, field
from decimal import Decimal

from closebell.model.broker import Side
from closebell.model.orders import is_our_order_id
from closebell.simulation.exchange.trading_floor import TradingFloor
from closebell.simulation.exchange.venue_account import AccountActivity
from closebell.simulation.exchange.venue_orders import ExchangeOrder

ZERO = Decimal(0)


@dataclass
class Ownership:
    """One symbol: our lots (shares, price in USD), the owner's shares, what ours have earned, what we sold of theirs."""

    lots: deque[tuple[Decimal, Decimal]] = field(default_factory=deque)
    owners_shares: Decimal = ZERO
    realised_usd: Decimal = ZERO
    oversold_shares: Decimal = ZERO

    @property
    def our_shares(self) -> Decimal:
        return sum((shares for shares, _ in self.lots), ZERO)

    def sell_ours(self, shares: Decimal, price_usd: Decimal) -> Decimal:
        """Take shares out of our lots, oldest first; what could not be taken."""
        while shares and self.lots:
            held, cost = self.lots.popleft()
            taken = min(held, shares)
            self.realised_usd += taken * (price_usd - cost)
            shares -= taken
            if held > taken:
                self.lots.appendleft((held - taken, cost))
        return shares


class TrueBook:
    """Follows the exchange's activities; `read` takes in what is new."""

    def __init__(self, floor: TradingFloor) -> None:
        self._floor = floor
        self._seen_count = 0
        self.symbols: defaultdict[str, Ownership] = defaultdict(Ownership)
        self.fills: dict[str, AccountActivity] = {}

    def read(self) -> "TrueBook":
        """The book with everything that has happened."""
        activities = self._floor.book.activities
        for activity in activities[self._seen_count :]:
            if activity.code == "FILL":
                self.fills[activity.activity_id] = activity
                self._fill(activity)
            elif activity.code == "SPLIT":
                self._split(activity)
            elif activity.code == "TRADE_BUST":
                self.symbols[activity.symbol or ""].lots.clear()  # the rehearsal takes back only what made a whole position
        self._seen_count = len(activities)
        return self

    def owner_of(self, activity: AccountActivity) -> str | None:
        """Our id of the order behind a fill; None when the order is not ours."""
        head = head_of(self._floor.orders.orders[activity.order_id or ""])
        return head.client_order_id if is_our_order_id(head.client_order_id) else None

    def _split(self, activity: AccountActivity) -> None:
        """Everybody's shares grow in the same ratio, and what they cost stays."""
        book = self.symbols[activity.symbol or ""]
        held = book.our_shares + book.owners_shares
        ratio = (held + activity.quantity_shares) / held
        book.owners_shares *= ratio
        book.lots = deque((shares * ratio, price_usd / ratio) for shares, price_usd in book.lots)

    def _fill(self, activity: AccountActivity) -> None:
        book, shares = self.symbols[activity.symbol or ""], activity.quantity_shares
        price = activity.price_usd or ZERO
        if self.owner_of(activity) is not None:
            if activity.side is Side.BUY:
                book.lots.append((shares, price))
            else:
                missing = book.sell_ours(shares, price)
                book.oversold_shares += missing
                book.owners_shares -= missing
        elif activity.side is Side.BUY:
            book.owners_shares += shares
        else:
            theirs = min(shares, max(book.owners_shares, ZERO))
            book.owners_shares -= theirs + book.sell_ours(shares - theirs, price)


def head_of(order: ExchangeOrder) -> ExchangeOrder:
    """The order that was sent: of a leg its parent, of one that replaced another the first of them."""
    head = order.parent or order
    while head.replaces is not None:
        head = head.replaces
    return head.parent or head
