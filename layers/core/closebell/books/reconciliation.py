"""Our books against the broker's, symbol by symbol: each difference gets a name and one consequence.

| ours | theirs | break | consequence |
|---|---|---|---|
| a quantity | nothing | PHANTOM | FREEZE: our projection is dropped, the symbol sits out the session, nothing is sent |
| nothing | a quantity | UNKNOWN_POSITION | EXTERNAL: counted in exposure, never sold by us |
| more | fewer | QUANTITY_DIFFERS | FREEZE: disputed until a human has looked |
| fewer | more | QUANTITY_DIFFERS | EXTERNAL: the surplus is the user's |
| no intent | an order with our prefix | UNKNOWN_ORDER | HALT: somebody else trades in our name |
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal

from closebell.model.books import Break, BreakKind, Consequence, Position, PositionState
from closebell.model.broker import VenueOrder, VenuePosition
from closebell.model.instruments import Market
from closebell.model.orders import is_our_order_id

ZERO = Decimal(0)
FEWER_THAN_OURS = "the broker holds fewer than we own: disputed, nothing is sold until a human has looked"
ASSET_FEE_FRAC_MAX = Decimal("0.003")
"""Alpaca takes at most 0.25 % of what a crypto trade receives, in the asset, at once, but lists the fee only at the day's end."""


@dataclass(frozen=True)
class Difference:
    """A break and the position that our books hold after it (None: nothing)."""

    found: Break
    position: Position | None


def compare_positions(
    ours: Mapping[str, Position], theirs: Iterable[VenuePosition], sectors: Mapping[str, str], session: date, at: datetime
) -> list[Difference]:
    """Every symbol in which the two sides differ, in symbol order. Both readings must be complete."""
    venue = {position.symbol: position for position in theirs}
    differences = []
    for symbol in sorted(ours.keys() | venue.keys()):
        own, held = ours.get(symbol), venue.get(symbol)
        ours_shares = own.quantity_shares + own.external_shares if own else ZERO
        theirs_shares = held.quantity_shares if held else ZERO
        if ours_shares != theirs_shares:
            differences.append(_difference(own, held, ours_shares, theirs_shares, sectors, session, at))
    return differences


def asset_fees(ours: Mapping[str, Position], theirs: Iterable[VenuePosition]) -> dict[str, Decimal]:
    """Per crypto symbol the shares that the broker has fewer and that a fee taken in the asset explains.

    The fee is on what was bought, however much of it has been sold since, less what was charged of it before.
    """
    venue = {position.symbol: position.quantity_shares for position in theirs}
    fees = {}
    for symbol, position in ours.items():
        missing = position.quantity_shares + position.external_shares - venue.get(symbol, ZERO)
        received = max(position.bought_shares, position.quantity_shares)
        charged = max(ZERO, position.bought_shares - position.sold_shares - position.quantity_shares)
        fee_max = min(position.quantity_shares, received * ASSET_FEE_FRAC_MAX - charged)
        if position.market is Market.CRYPTO and 0 < missing <= fee_max:
            fees[symbol] = missing
    return fees


def _difference(
    own: Position | None,
    held: VenuePosition | None,
    ours_shares: Decimal,
    theirs_shares: Decimal,
    sectors: Mapping[str, str],
    session: date,
    at: datetime,
) -> Difference:
    symbol = own.symbol if own else held.symbol if held else ""
    surplus = theirs_shares - ours_shares
    kind, consequence, note, after = BreakKind.QUANTITY_DIFFERS, Consequence.FREEZE, "", own
    if own is None and held is not None:
        kind, consequence = BreakKind.UNKNOWN_POSITION, Consequence.EXTERNAL
        note = "the broker holds it and no fill of ours explains it: taken as the owner's, never sold by us"
        after = Position(
            symbol=symbol,
            market=held.market,
            sector=sectors.get(symbol, "unknown"),
            state=PositionState.EXTERNAL,
            plan_id="",
            lots=(),
            opened_session=session,
            external_shares=theirs_shares,
        )
    elif held is None:
        kind, note, after = BreakKind.PHANTOM, "the broker holds none of it: dropped from our books, nothing is sent", None
    elif own is not None and surplus > 0:
        consequence, note = Consequence.EXTERNAL, "the surplus is taken as the owner's"
        after = own.model_copy(update={"external_shares": own.external_shares + surplus})
    elif own is not None and own.external_shares + surplus >= 0:
        consequence, note = Consequence.EXTERNAL, "the owner's own shares are fewer; ours are untouched"
        after = own.model_copy(update={"external_shares": own.external_shares + surplus})
    elif own is not None:
        note = FEWER_THAN_OURS
        after = own.model_copy(update={"state": PositionState.DISPUTED, "note": note})
    found = Break(
        session=session,
        break_kind=kind,
        symbol=symbol,
        ours_shares=ours_shares,
        theirs_shares=theirs_shares,
        consequence=consequence,
        detected_at=at,
        note=note,
    )
    return Difference(found, after)


def unknown_orders(venue_orders: Iterable[VenueOrder], known_ids: Iterable[str], session: date, at: datetime) -> dict[str, Break]:
    """Open orders at the broker that carry our prefix although no intent in `known_ids` explains them, by our id."""
    known = set(known_ids)
    return {
        order.client_order_id: Break(
            session=session,
            break_kind=BreakKind.UNKNOWN_ORDER,
            symbol=order.symbol,
            ours_shares=ZERO,
            theirs_shares=order.quantity_shares,
            consequence=Consequence.HALT,
            detected_at=at,
            note=f"order {order.client_order_id} carries our prefix and we never meant it",
        )
        for order in venue_orders
        if is_our_order_id(order.client_order_id) and order.client_order_id not in known
    }
