"""Makes the exchange's orders from tickets: the order, its legs, and the order that replaces another."""

from datetime import datetime
from decimal import Decimal
from typing import Any

from closebell.model.broker import Side, VenueStatus
from closebell.model.instruments import Market
from closebell.simulation.exchange.venue_account import derived_id, truncated
from closebell.simulation.exchange.venue_orders import ExchangeOrder, OrderTicket


def order_of(
    ticket: OrderTicket,
    market: Market,
    price_usd: Decimal,
    *,
    number: int,
    at: datetime,
    works_after_at: datetime,
    status: VenueStatus,
) -> ExchangeOrder:
    """The first order of a ticket. `number` counts the exchange's orders and gives its id."""
    is_oco = ticket.order_class == "oco"
    return ExchangeOrder(
        venue_order_id=derived_id(f"order/{number}"),
        client_order_id=ticket.client_order_id or derived_id(f"client/{number}"),
        market=market,
        symbol=ticket.symbol,
        side=Side(ticket.side),
        order_type=ticket.order_type,
        time_in_force=ticket.time_in_force,
        order_class=ticket.order_class,
        quantity_shares=ticket.quantity_shares,
        notional_usd=ticket.notional_usd,
        limit_price_usd=ticket.take_profit_usd if is_oco else ticket.limit_price_usd,
        stop_price_usd=ticket.stop_price_usd,
        status=status,
        submitted_at=at,
        updated_at=at,
        works_after_at=works_after_at,
        reference_price_usd=price_usd,
        trail_usd=ticket.trail_usd,
        trail_frac=ticket.trail_frac,
        extended_hours=ticket.extended_hours,
    )


def legs_of(head: ExchangeOrder, ticket: OrderTicket, number: int) -> list[ExchangeOrder]:
    """The `held` legs of a bracket, OCO or OTO: its target, then its stop. An OCO's target is the order itself.

    An OCO's stop watches from the start; the others wait for the entry.
    """
    is_oco = head.order_class == "oco"
    side = head.side if is_oco else Side.SELL if head.is_buy else Side.BUY
    wanted: list[tuple[str, Decimal | None, Decimal | None]] = []
    if ticket.take_profit_usd is not None and not is_oco:
        wanted.append(("limit", ticket.take_profit_usd, None))
    if ticket.stop_loss_usd is not None:
        kind = "stop" if ticket.stop_loss_limit_usd is None else "stop_limit"
        wanted.append((kind, ticket.stop_loss_limit_usd, ticket.stop_loss_usd))
    return [
        ExchangeOrder(
            venue_order_id=derived_id(f"order/{number + place}"),
            client_order_id=derived_id(f"client/{number + place}"),
            market=head.market,
            symbol=head.symbol,
            side=side,
            order_type=kind,
            time_in_force=head.time_in_force,
            order_class=head.order_class,
            quantity_shares=head.quantity_shares,
            notional_usd=None,
            limit_price_usd=limit,
            stop_price_usd=stop,
            status=VenueStatus.HELD,
            submitted_at=head.submitted_at,
            updated_at=head.updated_at,
            works_after_at=head.works_after_at if is_oco else None,
            reference_price_usd=head.reference_price_usd,
            parent=head,
        )
        for place, (kind, limit, stop) in enumerate(wanted)
    ]


def replacement_of(old: ExchangeOrder, change: dict[str, Any], number: int, at: datetime) -> ExchangeOrder:
    """The order that takes over from `old`: what `change` does not name stays, what was filled is not ordered again."""

    def chosen(name: str, kept: Any) -> Any:
        return kept if change[name] is None else change[name]

    trails = change["trail"] is not None
    return ExchangeOrder(
        venue_order_id=derived_id(f"order/{number}"),
        client_order_id=change["client_order_id"] or derived_id(f"client/{number}"),
        market=old.market,
        symbol=old.symbol,
        side=old.side,
        order_type=old.order_type,
        time_in_force=chosen("time_in_force", old.time_in_force),
        order_class=old.order_class,
        quantity_shares=chosen("quantity_shares", old.remaining_shares),
        notional_usd=None,
        limit_price_usd=chosen("limit_price_usd", old.limit_price_usd),
        stop_price_usd=chosen("stop_price_usd", old.stop_price_usd),
        status=VenueStatus.PENDING_NEW,
        submitted_at=at,
        updated_at=at,
        works_after_at=None,
        reference_price_usd=old.reference_price_usd,
        trail_usd=change["trail"] if trails and old.trail_usd is not None else old.trail_usd,
        trail_frac=change["trail"] / 100 if trails and old.trail_frac is not None else old.trail_frac,
        water_mark_usd=old.water_mark_usd,
        extended_hours=old.extended_hours,
    )


def quantity_of(held: Decimal, shares: Decimal | None, part_frac: Decimal | None) -> Decimal:
    """What closing a position trades: all of it, a number of shares, or a part of it."""
    if shares is not None:
        return shares
    return abs(held) if part_frac is None else truncated(abs(held) * part_frac)
