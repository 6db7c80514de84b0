"""Fills become lots, lots become positions, positions become trades. Nothing else changes what we own.

Lots are matched first in, first out. A fill that is not ours (the user's own) moves `external_shares`; when the user sells
more than is theirs, the rest is taken from our lots, because that is what the broker now holds.
"""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import NamedTuple

from closebell.model.books import Fill, Lot, Position, PositionState, Trade
from closebell.model.broker import Side
from closebell.model.decision import ExitRule, TradePlan

ZERO = Decimal(0)
SHARE_STEP = Decimal("1e-9")


@dataclass(frozen=True)
class Booking:
    """What one event makes of a symbol: its position afterwards (None: nothing is held) and the trade it completed."""

    position: Position | None
    trade: Trade | None = None


class _Ending(NamedTuple):
    """What took the last shares of a round trip: the activity that names its trade, when, and by which rule."""

    activity_id: str
    at: datetime
    exit_rule: ExitRule


def open_position(fill: Fill, plan: TradePlan) -> Position:
    """The position that a plan's first fill opens; it owns nothing until the fill is booked."""
    return Position(
        symbol=fill.symbol,
        market=fill.market,
        sector=plan.sector,
        state=PositionState.OPEN,
        plan_id=plan.plan_id,
        lots=(),
        opened_session=fill.session,
        strategies=plan.strategies,
        stop_loss_frac=plan.stop_loss_frac,
        take_profit_frac=plan.take_profit_frac,
        time_stop_sessions=plan.time_stop_sessions,
        minimum_hold_sessions=plan.minimum_hold_sessions,
    )


def external_position(fill: Fill, sector: str) -> Position:
    """The user's own position in a symbol: it owns nothing until the fill is booked."""
    return Position(
        symbol=fill.symbol,
        market=fill.market,
        sector=sector,
        state=PositionState.EXTERNAL,
        plan_id="",
        lots=(),
        opened_session=fill.session,
    )


def book_fill(position: Position, fill: Fill, exit_rule: ExitRule = ExitRule.MANUAL) -> Booking:
    """Book one fill. `exit_rule` names what a sale was for; it is kept with the trade when the position closes."""
    if fill.client_order_id is None:
        return _book_external(position, fill)
    if fill.side is Side.BUY:
        return Booking(_bought(position, fill))
    return _sold(position, fill, fill.quantity_shares, exit_rule)


def book_asset_fee(position: Position, fee_shares: Decimal, charged_at: datetime) -> Booking:
    """A fee taken in the asset: it comes out of the newest lot first, because it belongs to the buy it was charged on.

    A fee on the last shares of what was sold before ends the round trip; its trade is named after the last lot.
    """
    return _settled(_without_newest(position, fee_shares), _ending_without_sale(position, charged_at))


def book_bust(position: Position, busted_shares: Decimal, busted_at: datetime) -> Booking:
    """A buy that the exchange took back: the newest shares go, and what was paid for them comes back, as if never bought."""
    left = _without_newest(position, busted_shares)
    changes = {
        "bought_shares": position.bought_shares - (position.quantity_shares - left.quantity_shares),
        "bought_notional_usd": position.bought_notional_usd - (_cost_usd(position) - _cost_usd(left)),
    }
    return _settled(left.model_copy(update=changes), _ending_without_sale(position, busted_at))


def book_split(position: Position, change_shares: Decimal) -> Booking:
    """New shares for old, for us and for the owner alike: the broker tells the change of the whole holding.

    What was paid stays the same, so prices go the other way.
    """
    before = position.quantity_shares + position.external_shares
    after = before + change_shares
    if before <= 0 or after < 0:
        return Booking(position)

    def scaled(shares: Decimal) -> Decimal:
        return (shares * after / before).quantize(SHARE_STEP)

    lots, counted, owned = [], ZERO, ZERO
    for lot in position.lots:  # rounded where they add up: rounded one by one, their sum would differ from what the broker shows
        counted += lot.quantity_shares
        quantity = scaled(counted) - owned
        owned += quantity
        if quantity:
            changes = {"quantity_shares": quantity, "price_usd": lot.price_usd * before / after}
            lots.append(lot.model_copy(update=changes))
    totals = {
        "lots": tuple(lots),
        "external_shares": after - owned,
        "bought_shares": scaled(position.bought_shares),
        "sold_shares": scaled(position.sold_shares),
    }
    return _settled(position.model_copy(update=totals))


def _without_newest(position: Position, shares: Decimal) -> Position:
    """The position less some shares, the newest lots first; beyond ours they are the owner's."""
    lots, missing = list(position.lots), shares
    while missing > 0 and lots:
        newest = lots.pop()
        if newest.quantity_shares > missing:
            lots.append(newest.model_copy(update={"quantity_shares": newest.quantity_shares - missing}))
        missing = max(ZERO, missing - newest.quantity_shares)
    external = max(ZERO, position.external_shares - missing)
    return position.model_copy(update={"lots": tuple(lots), "external_shares": external})


def _ending_without_sale(position: Position, at: datetime) -> _Ending | None:
    """The end of a round trip whose last shares are not sold but taken: the oldest lot, the last to go, names its trade."""
    return _Ending(position.lots[0].activity_id, at, position.exit_rule or ExitRule.MANUAL) if position.lots else None


def _cost_usd(position: Position) -> Decimal:
    return sum((lot.quantity_shares * lot.price_usd for lot in position.lots), ZERO)


def _bought(position: Position, fill: Fill) -> Position:
    lot = Lot(
        activity_id=fill.activity_id, quantity_shares=fill.quantity_shares, price_usd=fill.price_usd, opened_at=fill.occurred_at
    )
    return position.model_copy(
        update={
            "lots": (*position.lots, lot),
            "bought_shares": position.bought_shares + fill.quantity_shares,
            "bought_notional_usd": position.bought_notional_usd + fill.quantity_shares * fill.price_usd,
        }
    )


def _sold(position: Position, fill: Fill, quantity_shares: Decimal, exit_rule: ExitRule) -> Booking:
    lots = list(position.lots)
    to_sell, realised = quantity_shares, ZERO
    while to_sell > 0 and lots:
        oldest = lots.pop(0)
        taken = min(oldest.quantity_shares, to_sell)
        realised += taken * (fill.price_usd - oldest.price_usd)
        to_sell -= taken
        if oldest.quantity_shares > taken:
            lots.insert(0, oldest.model_copy(update={"quantity_shares": oldest.quantity_shares - taken}))
    sold = quantity_shares - to_sell
    after = position.model_copy(
        update={
            "lots": tuple(lots),
            "external_shares": position.external_shares - to_sell,
            "realised_usd": position.realised_usd + realised,
            "sold_shares": position.sold_shares + sold,
            "sold_notional_usd": position.sold_notional_usd + sold * fill.price_usd,
        }
    )
    return _settled(after, _Ending(fill.activity_id, fill.occurred_at, exit_rule) if sold else None)


def _book_external(position: Position, fill: Fill) -> Booking:
    if fill.side is Side.BUY:
        return Booking(position.model_copy(update={"external_shares": position.external_shares + fill.quantity_shares}))
    from_theirs = min(fill.quantity_shares, max(ZERO, position.external_shares)) if position.lots else fill.quantity_shares
    kept = position.model_copy(update={"external_shares": position.external_shares - from_theirs})
    from_ours = fill.quantity_shares - from_theirs
    return _sold(kept, fill, from_ours, ExitRule.MANUAL) if from_ours else _settled(kept)


def _settled(position: Position, ending: _Ending | None = None) -> Booking:
    """Close what owns nothing any more: ours becomes a trade, what is left is the user's."""
    if position.lots:
        return Booking(position)
    trade = _round_trip(position, ending) if ending and position.sold_shares else None
    if not position.external_shares:
        return Booking(None, trade)
    return Booking(
        Position(
            symbol=position.symbol,
            market=position.market,
            sector=position.sector,
            state=PositionState.EXTERNAL,
            plan_id="",
            lots=(),
            opened_session=position.opened_session,
            external_shares=position.external_shares,
        ),
        trade,
    )


def _round_trip(position: Position, ending: _Ending) -> Trade:
    """P&L is what came in less what went out; shares lost to fees cost what was paid for them."""
    entry_price = position.bought_notional_usd / position.bought_shares
    pnl = position.sold_notional_usd - position.bought_notional_usd
    return Trade(
        trade_id=f"{position.plan_id}@{ending.activity_id}",
        market=position.market,
        symbol=position.symbol,
        sector=position.sector,
        strategies=position.strategies,
        quantity_shares=position.sold_shares,
        entry_price_usd=entry_price,
        exit_price_usd=position.sold_notional_usd / position.sold_shares,
        pnl_usd=pnl,
        return_frac=pnl / position.bought_notional_usd,
        opened_session=position.opened_session,
        closed_session=position.market.date_of(ending.at),
        closed_at=ending.at,
        exit_rule=ending.exit_rule,
    )
