"""Differences between our books and the broker's: named, told, and acted on, in that order.

The alert is committed before the books change, so that a run killed in between never repairs in silence.
"""

import hashlib
from collections import Counter
from collections.abc import Sequence, Set
from datetime import date
from decimal import Decimal

from closebell.app.alerts import alert_changes
from closebell.app.control import halt_desk
from closebell.app.standing import Standing
from closebell.app.venue_reading import Gone, are_gone, lacks_positions
from closebell.books.reconciliation import FEWER_THAN_OURS, Difference, asset_fees, compare_positions, unknown_orders
from closebell.model.books import Break, BreakKind, Consequence, Fill, PositionState
from closebell.model.operations import Alert, Priority
from closebell.model.orders import OrderRecord, order_key
from closebell.model.record import Key
from closebell.ports.journal import Create

NOT_LISTED = "the broker does not list it and its account cannot tell: disputed, nothing is sold"
GONE_AT_FIRST_SIGHT = "the broker holds none of it: dropped in the next reconciliation unless its sale is listed by then"
BY_HAND = "traded by hand at the broker: counted in exposure, never sold by us"
QUANTITY_DISPUTES = frozenset({NOT_LISTED, GONE_AT_FIRST_SIGHT, FEWER_THAN_OURS})


def settle_differences(sync: Standing, session: date) -> int:
    """Compare both sides and act on what differs; returns how many breaks are new.

    A difference counts only when a second reading shows it too. Raises BrokerUnavailable when the position list is not whole.
    """
    differences = _differences(sync, session)
    if differences:
        sync.read_again()
        differences = _differences(sync, session)
    differences = _without_lost_rows(sync, differences)
    _undispute(sync, {difference.found.symbol for difference in differences})
    strangers = _strangers(sync, session)
    others = [*_unexplained(sync, session), *strangers]
    new = _newly_told(sync, session, [*(difference.found for difference in differences), *others])
    for difference in differences:
        sync.keeper.hold(
            difference.found.symbol, difference.position, [Create(difference.found)] if difference.found in new else []
        )
    for found in others:
        if found in new:
            sync.room.journal.commit([Create(found)])
    for stranger in strangers:
        halt_desk(sync.room.runs.journal, stranger.note, "reconcile", sync.now)
    return len(new)


def name_trades_by_hand(sync: Standing, session: date) -> int:
    """Name what a run has booked and was not our doing, without comparing anything else; returns how many breaks are new.

    For a run that books before the next reconciliation does: to that one the trade would be no news.
    """
    new = _newly_told(sync, session, _unexplained(sync, session))
    for found in new:
        sync.room.journal.commit([Create(found)])
    return len(new)


def _newly_told(sync: Standing, session: date, breaks: Sequence[Break]) -> list[Break]:
    """Those of the breaks that are not written down yet, once the owner is told of them."""
    new = [found for found in breaks if sync.room.journal.read(found.key, Break) is None]
    if new:
        _alert(sync, new, session)
    return new


def _differences(sync: Standing, session: date) -> list[Difference]:
    """What differs after fees taken in the asset, in symbols where nothing of ours is between two states."""
    fees = asset_fees({symbol: stored.record for symbol, stored in sync.keeper.positions.items()}, sync.reading.positions)
    for symbol, fee_shares in fees.items():
        if not sync.is_settling(symbol):
            sync.keeper.charge_asset_fee(symbol, fee_shares, sync.now)
    ours = {symbol: stored.record for symbol, stored in sync.keeper.positions.items()}
    found = compare_positions(ours, sync.reading.positions, sync.desk.sectors, session, sync.now)
    return [difference for difference in found if not sync.is_settling(difference.found.symbol)]


def require_whole_positions(sync: Standing) -> None:
    """Refuse to go on with a position list that lacks what the account's own numbers contain. Raises BrokerUnavailable."""
    missing = [
        stored.record.average_entry_price_usd * stored.record.quantity_shares
        for symbol, stored in sync.keeper.positions.items()
        if sync.venue_position(symbol) is None and not sync.is_settling(symbol)
    ]
    if missing:
        are_gone(sync.reading, sum(missing, Decimal(0)))


def _without_lost_rows(sync: Standing, differences: Sequence[Difference]) -> list[Difference]:
    """The differences as they may be acted on: a position that fills back is dropped when it is surely gone, in a second run.

    Until then it is disputed: frozen, kept, and taken back when the list has it again. A sale by hand that is listed late closes
    it with its profit; dropped at once, that would be lost.
    """
    missing = [one.found for one in differences if one.found.theirs_shares < one.found.ours_shares]
    gone = are_gone(sync.reading, sum((_cost_usd(sync, found) for found in missing), Decimal(0))) if missing else Gone.SURELY
    return [_patient(sync, one, gone) if one.position is None else one for one in differences]


def _patient(sync: Standing, difference: Difference, gone: Gone) -> Difference:
    """The dispute that comes before a position is dropped; the drop when there is nothing to wait for."""
    position = sync.keeper.positions[difference.found.symbol].record
    is_second_sight = position.state is PositionState.DISPUTED and position.note == GONE_AT_FIRST_SIGHT
    if (gone is Gone.SURELY and is_second_sight) or not _is_backed(sync, position.symbol):
        return difference
    note = GONE_AT_FIRST_SIGHT if gone is Gone.SURELY else NOT_LISTED
    return Difference(difference.found, position.model_copy(update={"state": PositionState.DISPUTED, "note": note}))


def _is_backed(sync: Standing, symbol: str) -> bool:
    """Whether every lot of a position has its fill in the journal."""
    position = sync.keeper.positions[symbol].record
    market = position.market
    keys = [Key("journal", f"FILL#{market}#{market.date_of(lot.opened_at)}", lot.activity_id) for lot in position.lots]
    return bool(keys) and len(sync.room.journal.read_many(keys, Fill)) == len(keys)


def _undispute(sync: Standing, differing: Set[str]) -> None:
    """Books that agree again end a dispute about quantity; one about a refused exit stays for a human."""
    for symbol, stored in list(sync.keeper.positions.items()):
        position = stored.record
        if position.state is PositionState.DISPUTED and position.note in QUANTITY_DISPUTES and symbol not in differing:
            sync.keeper.hold(symbol, position.model_copy(update={"state": PositionState.OPEN, "note": ""}), [])


def _cost_usd(sync: Standing, found: Break) -> Decimal:
    """What our books paid for the shares that the broker does not show."""
    stored = sync.keeper.positions.get(found.symbol)
    price = stored.record.average_entry_price_usd if stored else Decimal(0)
    return (found.ours_shares - found.theirs_shares) * price


def _unexplained(sync: Standing, session: date) -> list[Break]:
    """What was booked in this run and leaves no difference, but was not our doing: the owner's own trades, and fills of orders
    with our id whose intent or plan is lost."""
    by_hand = [(symbol, Consequence.EXTERNAL, BY_HAND) for symbol in sorted(sync.keeper.external_symbols)]
    lost = [
        (symbol, Consequence.FREEZE, f"order {order_id} is ours, but its record is lost: taken as the owner's")
        for symbol, order_id in sorted(sync.keeper.orphans.items())
    ]
    return [_booked_break(sync, session, *found) for found in (*by_hand, *lost)]


def _booked_break(sync: Standing, session: date, symbol: str, consequence: Consequence, note: str) -> Break:
    stored = sync.keeper.positions.get(symbol)
    owned = stored.record.quantity_shares if stored else Decimal(0)
    return Break(
        session=session,
        break_kind=BreakKind.QUANTITY_DIFFERS if owned else BreakKind.UNKNOWN_POSITION,
        symbol=symbol,
        ours_shares=owned,
        theirs_shares=_held_shares(sync, symbol),
        consequence=consequence,
        detected_at=sync.now,
        note=note,
    )


def _held_shares(sync: Standing, symbol: str) -> Decimal:
    """What the broker holds by its list; where that is not whole and lacks the symbol, what the broker's trades add up to."""
    venue, stored = sync.venue_position(symbol), sync.keeper.positions.get(symbol)
    if venue is None and stored is not None and lacks_positions(sync.reading):
        return stored.record.quantity_shares + stored.record.external_shares
    return venue.quantity_shares if venue else Decimal(0)


def _strangers(sync: Standing, session: date) -> list[Break]:
    """Open orders in our name without an intent; one that another run has just placed has its intent in the journal."""
    found = unknown_orders(sync.reading.open_orders, sync.keeper.orders, session, sync.now)
    return [one for order_id, one in found.items() if sync.room.journal.read(order_key(order_id), OrderRecord) is None]


def _alert(sync: Standing, breaks: Sequence[Break], session: date) -> None:
    """One alert for everything found in this run, however much it is."""
    names = sorted(f"{found.break_kind} {found.symbol}" for found in breaks)
    kinds = Counter(str(found.break_kind) for found in breaks)
    lines = [
        f"{found.symbol}: {found.break_kind}, ours {found.ours_shares}, theirs {found.theirs_shares} "
        f"-> {found.consequence}: {found.note}"
        for found in breaks
    ]
    alert = Alert(
        alert_id=f"breaks-{session}-{hashlib.sha256('|'.join(names).encode()).hexdigest()[:12]}",
        priority=Priority.URGENT if any(found.consequence is not Consequence.EXTERNAL for found in breaks) else Priority.WARNING,
        subject="Books differ from the broker: " + ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items())),
        body="\n".join(lines),
        created_at=sync.now,
        runbook="breaks",
    )
    changes = alert_changes(sync.room.journal, alert)
    if changes:
        sync.room.journal.commit(changes)
        sync.counts["alerts"] += 1
