"""What counts against the limits: from the broker's truth and from orders whose outcome it does not show yet."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Self

from closebell.decision.desk_view import DeskView
from closebell.model.books import PositionState
from closebell.model.broker import BrokerSnapshot, Side, VenueOrder
from closebell.model.orders import OrderRecord

_ZERO = Decimal(0)
UNKNOWN_SECTOR = "unknown"
"""Where positions lie whose symbol the configuration does not name."""


@dataclass(frozen=True)
class Exposure:
    """What counts against the limits, from the broker's truth.

    A position counts at the broker's market value, an open or in-flight buy at what we reserved for its unfilled part, or, if
    it is not ours, at its own limit price. An order of ours that the snapshot does not show counts in full: it may have
    been filled in between, and then its value counts twice until the next reconcile, never not at all.

    Parameters
    ----------
    values_usd
        Symbol -> value held or committed, not negative.
    sectors
        Symbol -> sector, for the symbols in `values_usd`.
    slots
        Symbols that take one of the positions allowed.
    blocked
        Symbols that must not be entered, and why.
    unpriced
        Symbols with a resting buy of unknown value: then nobody knows the exposure.
    buying_power_usd
        The broker's, less what it does not know of yet.
    orders_count
        Orders committed for the session.
    """

    equity_usd: Decimal
    day_loss_frac: Decimal | None
    buying_power_usd: Decimal
    values_usd: Mapping[str, Decimal]
    sectors: Mapping[str, str]
    slots: frozenset[str]
    blocked: Mapping[str, str]
    unpriced: tuple[str, ...]
    orders_count: int

    @property
    def gross_usd(self) -> Decimal:
        return sum(self.values_usd.values(), _ZERO)

    def sector_usd(self, sector: str) -> Decimal:
        """Value held or committed in a sector."""
        return sum((value for symbol, value in self.values_usd.items() if self.sectors[symbol] == sector), _ZERO)

    def sector_slots(self, sector: str) -> int:
        """Positions held or ordered in a sector."""
        return sum(self.sectors[symbol] == sector for symbol in self.slots)

    def with_entry(self, symbol: str, sector: str, committed_usd: Decimal) -> Self:
        """The exposure once this entry is planned as well."""
        return replace(
            self,
            buying_power_usd=self.buying_power_usd - committed_usd,
            values_usd={**self.values_usd, symbol: self.values_usd.get(symbol, _ZERO) + committed_usd},
            sectors={**self.sectors, symbol: sector},
            slots=self.slots | {symbol},
            blocked={**self.blocked, symbol: "planned already"},
            orders_count=self.orders_count + 1,
        )


@dataclass
class _Claims:
    """What positions and orders take up, added one by one. Of several reasons not to enter a symbol the first is told."""

    values_usd: dict[str, Decimal] = field(default_factory=dict)
    sectors: dict[str, str] = field(default_factory=dict)
    slots: set[str] = field(default_factory=set)
    blocked: dict[str, str] = field(default_factory=dict)
    unpriced: list[str] = field(default_factory=list)
    unseen_usd: Decimal = _ZERO

    def add(self, symbol: str, sector: str, value_usd: Decimal | None, blocks: str, *, takes_slot: bool) -> None:
        """`value_usd` is None when nobody knows; `blocks` says why the symbol must not be entered, "" when it may."""
        self.sectors[symbol] = sector
        if value_usd is None:
            self.unpriced.append(symbol)
        self.values_usd[symbol] = self.values_usd.get(symbol, _ZERO) + (value_usd or _ZERO)
        if takes_slot:
            self.slots.add(symbol)
        if blocks:
            self.blocked.setdefault(symbol, blocks)


def exposure_of(desk: DeskView) -> Exposure | None:
    """The exposure of a desk; None without a snapshot."""
    snapshot = desk.snapshot
    if snapshot is None:
        return None
    claims = _Claims()
    _claim_holdings(claims, desk, snapshot)
    _claim_our_orders(claims, desk, snapshot)
    _claim_foreign_orders(claims, desk, snapshot)
    disputed = {position.symbol: "disputed" for position in desk.positions if position.state is PositionState.DISPUTED}
    return Exposure(
        equity_usd=snapshot.account.equity_usd,
        day_loss_frac=snapshot.day_loss_frac if snapshot.account.last_equity_usd > 0 else None,
        buying_power_usd=snapshot.account.buying_power_usd - claims.unseen_usd,
        values_usd=claims.values_usd,
        sectors=claims.sectors,
        slots=frozenset(claims.slots),
        blocked=claims.blocked | disputed,
        unpriced=tuple(claims.unpriced),
        orders_count=desk.counters.orders_count if desk.counters else 0,
    )


def _claim_holdings(claims: _Claims, desk: DeskView, snapshot: BrokerSnapshot) -> None:
    """The broker's positions. What our books call dust is value, but neither a slot nor in the way."""
    dust = {position.symbol for position in desk.positions if position.state is PositionState.DUST}
    for position in snapshot.positions:
        if position.quantity_shares:
            counts = position.symbol not in dust
            sector = desk.sectors.get(position.symbol, UNKNOWN_SECTOR)
            claims.add(position.symbol, sector, abs(position.market_value_usd), "held" if counts else "", takes_slot=counts)


def _claim_our_orders(claims: _Claims, desk: DeskView, snapshot: BrokerSnapshot) -> None:
    """Our orders: a buy claims what was reserved for the part that the snapshot cannot show as a position yet. One that the
    broker does not show is not in its buying power either."""
    shown = {order.client_order_id: order for order in snapshot.open_orders}
    for order in desk.live_orders:
        if order.state.is_terminal and (order.updated_at <= snapshot.as_of or not order.filled_quantity_shares):
            continue
        sector, blocks = desk.sectors.get(order.symbol, order.sector), f"its {order.leg} order is out"
        if order.side is Side.SELL:
            claims.add(order.symbol, sector, _ZERO, blocks, takes_slot=False)
            continue
        venue_order = shown.get(order.client_order_id)
        claims.add(order.symbol, sector, order.reserved_usd * _open_share(order, venue_order), blocks, takes_slot=True)
        if venue_order is None:
            claims.unseen_usd += order.reserved_usd


def _open_share(order: OrderRecord, venue_order: VenueOrder | None) -> Decimal:
    if venue_order is None:
        return Decimal(1)
    return max(order.quantity_shares - venue_order.filled_quantity_shares, _ZERO) / order.quantity_shares


def _claim_foreign_orders(claims: _Claims, desk: DeskView, snapshot: BrokerSnapshot) -> None:
    """Orders at the broker that none of ours explains: they block their symbol, and a buy claims its own price."""
    ours = {order.client_order_id for order in desk.live_orders}
    for order in snapshot.open_orders:
        if order.client_order_id in ours:
            continue
        sector, blocks = desk.sectors.get(order.symbol, UNKNOWN_SECTOR), "an order that is not ours rests"
        if order.side is Side.SELL:
            claims.add(order.symbol, sector, _ZERO, blocks, takes_slot=False)
            continue
        price = order.limit_price_usd or order.stop_price_usd
        open_shares = order.quantity_shares - order.filled_quantity_shares
        claims.add(order.symbol, sector, None if price is None else open_shares * price, blocks, takes_slot=True)
