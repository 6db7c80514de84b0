"""What counts against the limits: from the broker's truth and from orders whose outcome it does not show yet."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import NamedTuple, Self

from closebell.decision.desk_view import DeskView
from closebell.model.books import PositionState
from closebell.model.broker import BrokerSnapshot, Side, VenueOrder
from closebell.model.orders import OrderRecord

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
        return sum(self.values_usd.values(), Decimal(0))

    def sector_usd(self, sector: str) -> Decimal:
        """Value held or committed in a sector."""
        return sum((value for symbol, value in self.values_usd.items() if self.sectors[symbol] == sector), Decimal(0))

    def sector_slots(self, sector: str) -> int:
        """Positions held or ordered in a sector."""
        return sum(self.sectors[symbol] == sector for symbol in self.slots)

    def with_entry(self, symbol: str, sector: str, committed_usd: Decimal) -> Self:
        """The exposure once this entry is planned as well."""
        return replace(
            self,
            buying_power_usd=self.buying_power_usd - committed_usd,
            values_usd={**self.values_usd, symbol: self.values_usd.get(symbol, Decimal(0)) + committed_usd},
            sectors={**self.sectors, symbol: sector},
            slots=self.slots | {symbol},
            blocked={**self.blocked, symbol: "planned already"},
            orders_count=self.orders_count + 1,
        )


class _Claim(NamedTuple):
    """What one position or order takes up. `value_usd` is None when nobody knows; `unseen_usd` is not in the broker's
    buying power yet; `blocks` says why the symbol must not be entered, "" when it may."""

    symbol: str
    sector: str
    value_usd: Decimal | None
    takes_slot: bool
    blocks: str
    unseen_usd: Decimal = Decimal(0)


def exposure_of(desk: DeskView) -> Exposure | None:
    """The exposure of a desk; None without a snapshot."""
    if desk.snapshot is None:
        return None
    claims = [*_holdings(desk, desk.snapshot), *_our_orders(desk, desk.snapshot), *_foreign_orders(desk, desk.snapshot)]
    values: dict[str, Decimal] = {}
    for claim in claims:
        values[claim.symbol] = values.get(claim.symbol, Decimal(0)) + (claim.value_usd or Decimal(0))
    account = desk.snapshot.account
    return Exposure(
        equity_usd=account.equity_usd,
        day_loss_frac=desk.snapshot.day_loss_frac if account.last_equity_usd > 0 else None,
        buying_power_usd=account.buying_power_usd - sum((claim.unseen_usd for claim in claims), Decimal(0)),
        values_usd=values,
        sectors={claim.symbol: claim.sector for claim in claims},
        slots=frozenset(claim.symbol for claim in claims if claim.takes_slot),
        blocked={claim.symbol: claim.blocks for claim in reversed(claims) if claim.blocks} | _disputed(desk),
        unpriced=tuple(claim.symbol for claim in claims if claim.value_usd is None),
        orders_count=desk.counters.orders_count if desk.counters else 0,
    )


def _disputed(desk: DeskView) -> dict[str, str]:
    return {position.symbol: "disputed" for position in desk.positions if position.state is PositionState.DISPUTED}


def _holdings(desk: DeskView, snapshot: BrokerSnapshot) -> Iterator[_Claim]:
    """The broker's positions. What our books call dust is value, but neither a slot nor in the way."""
    dust = {position.symbol for position in desk.positions if position.state is PositionState.DUST}
    for position in snapshot.positions:
        if position.quantity_shares:
            counts = position.symbol not in dust
            sector = desk.sectors.get(position.symbol, UNKNOWN_SECTOR)
            yield _Claim(position.symbol, sector, abs(position.market_value_usd), counts, "held" if counts else "")


def _our_orders(desk: DeskView, snapshot: BrokerSnapshot) -> Iterator[_Claim]:
    """Our orders: a buy claims what was reserved for the part that the snapshot cannot show as a position yet."""
    shown = {order.client_order_id: order for order in snapshot.open_orders}
    for order in desk.live_orders:
        if order.state.is_terminal and (order.updated_at <= snapshot.as_of or not order.filled_quantity_shares):
            continue
        sector = desk.sectors.get(order.symbol, order.sector)
        if order.side is Side.SELL:
            yield _Claim(order.symbol, sector, Decimal(0), False, f"its {order.leg} order is out")
            continue
        venue_order = shown.get(order.client_order_id)
        open_value = order.reserved_usd * _open_share(order, venue_order)
        unseen = order.reserved_usd if venue_order is None else Decimal(0)
        yield _Claim(order.symbol, sector, open_value, True, f"its {order.leg} order is out", unseen)


def _open_share(order: OrderRecord, venue_order: VenueOrder | None) -> Decimal:
    if venue_order is None:
        return Decimal(1)
    return max(order.quantity_shares - venue_order.filled_quantity_shares, Decimal(0)) / order.quantity_shares


def _foreign_orders(desk: DeskView, snapshot: BrokerSnapshot) -> Iterator[_Claim]:
    """Orders at the broker that none of ours explains: they block their symbol, and a buy claims its own price."""
    ours = {order.client_order_id for order in desk.live_orders}
    for order in snapshot.open_orders:
        if order.client_order_id in ours:
            continue
        sector = desk.sectors.get(order.symbol, UNKNOWN_SECTOR)
        if order.side is Side.SELL:
            yield _Claim(order.symbol, sector, Decimal(0), False, "an order that is not ours rests")
            continue
        price = order.limit_price_usd or order.stop_price_usd
        open_shares = order.quantity_shares - order.filled_quantity_shares
        value = None if price is None else open_shares * price
        yield _Claim(order.symbol, sector, value, True, "an order that is not ours rests")
