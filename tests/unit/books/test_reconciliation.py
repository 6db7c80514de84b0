"""Both sides compared: each row is one way to differ, with the break's name and what follows."""

from datetime import UTC, date, datetime
from decimal import Decimal

import pytest

from closebell.books.reconciliation import asset_fees, compare_positions, unknown_orders
from closebell.model.books import BreakKind, Consequence, Lot, Position, PositionState
from closebell.model.broker import Side, VenueOrder, VenuePosition, VenueStatus
from closebell.model.instruments import Market
from closebell.model.orders import OrderLeg, derive_client_order_id

D = Decimal
AT = datetime(2018, 10, 2, 20, tzinfo=UTC)
SESSION = date(2018, 10, 2)


def own(shares: str, external: str = "0") -> Position:
    lots = (Lot(activity_id="1", quantity_shares=D(shares), price_usd=D(100), opened_at=AT),) if D(shares) else ()
    return Position(
        symbol="AAPL",
        market=Market.US_EQUITY,
        sector="technology",
        state=PositionState.PROTECTED,
        plan_id="p",
        lots=lots,
        opened_session=SESSION,
        external_shares=D(external),
    )


def held(shares: str) -> VenuePosition:
    return VenuePosition(
        symbol="AAPL",
        market=Market.US_EQUITY,
        quantity_shares=D(shares),
        available_shares=D(shares),
        average_entry_price_usd=D(100),
        market_value_usd=D(shares) * 100,
    )


@pytest.mark.parametrize(
    ("ours", "theirs", "kind", "consequence", "state", "external"),
    [
        (own("10"), None, BreakKind.PHANTOM, Consequence.FREEZE, None, None),
        (None, held("10"), BreakKind.UNKNOWN_POSITION, Consequence.EXTERNAL, PositionState.EXTERNAL, "10"),
        (own("10"), held("7"), BreakKind.QUANTITY_DIFFERS, Consequence.FREEZE, PositionState.DISPUTED, "0"),
        (own("10"), held("12"), BreakKind.QUANTITY_DIFFERS, Consequence.EXTERNAL, PositionState.PROTECTED, "2"),
        (own("10", "5"), held("12"), BreakKind.QUANTITY_DIFFERS, Consequence.EXTERNAL, PositionState.PROTECTED, "2"),
        (own("10", "5"), held("9"), BreakKind.QUANTITY_DIFFERS, Consequence.FREEZE, PositionState.DISPUTED, "5"),
    ],
    ids=["phantom", "unknown", "fewer", "more", "owner-sold-some-of-theirs", "fewer-than-ours"],
)
def test_every_difference_has_a_name_and_one_consequence(
    ours: Position | None,
    theirs: VenuePosition | None,
    kind: BreakKind,
    consequence: Consequence,
    state: PositionState | None,
    external: str | None,
) -> None:
    (difference,) = compare_positions(
        {"AAPL": ours} if ours else {}, [theirs] if theirs else [], {"AAPL": "technology"}, SESSION, AT
    )
    assert (difference.found.break_kind, difference.found.consequence) == (kind, consequence)
    after = difference.position
    assert (after.state if after else None) is state
    assert (after.external_shares if after else None) == (D(external) if external else None)


def test_equal_books_have_no_break() -> None:
    assert compare_positions({"AAPL": own("10", "5")}, [held("15")], {}, SESSION, AT) == []


def test_forty_eight_phantoms_are_forty_eight_breaks_and_nothing_is_kept() -> None:
    ours = {f"S{number:02d}": own("10").model_copy(update={"symbol": f"S{number:02d}"}) for number in range(48)}
    differences = compare_positions(ours, [], {}, SESSION, AT)
    assert len(differences) == 48
    assert all(difference.position is None and difference.found.break_kind is BreakKind.PHANTOM for difference in differences)


def venue_order(client_order_id: str) -> VenueOrder:
    return VenueOrder(
        venue_order_id="v",
        client_order_id=client_order_id,
        market=Market.US_EQUITY,
        symbol="AAPL",
        side=Side.BUY,
        order_type="market",
        time_in_force="opg",
        order_class="",
        status=VenueStatus.ACCEPTED,
        quantity_shares=D(1),
        filled_quantity_shares=D(0),
        filled_average_price_usd=None,
        limit_price_usd=None,
        stop_price_usd=None,
        submitted_at=AT,
        updated_at=AT,
    )


def test_an_order_in_our_name_that_we_never_meant_halts_and_the_owners_own_does_not() -> None:
    ours = derive_client_order_id("paper|1", "p", OrderLeg.ENTRY, 1, Market.US_EQUITY, SESSION)
    stranger = derive_client_order_id("paper|1", "q", OrderLeg.ENTRY, 1, Market.US_EQUITY, SESSION)
    found = unknown_orders([venue_order(ours), venue_order(stranger), venue_order("by hand")], [ours], SESSION, AT)
    assert set(found) == {stranger}
    assert (found[stranger].break_kind, found[stranger].consequence) == (BreakKind.UNKNOWN_ORDER, Consequence.HALT)


@pytest.mark.parametrize(
    ("market", "theirs", "fee"),
    [
        (Market.CRYPTO, "9.975", "0.025"),
        (Market.CRYPTO, "9.9", None),
        (Market.US_EQUITY, "9.975", None),
        (Market.CRYPTO, "10", None),
    ],
    ids=["a-fee", "more-than-a-fee", "shares-have-none", "nothing-missing"],
)
def test_only_a_small_crypto_shortfall_is_a_fee(market: Market, theirs: str, fee: str | None) -> None:
    ours = own("10").model_copy(update={"market": market})
    assert asset_fees({"AAPL": ours}, [held(theirs)]) == ({"AAPL": D(fee)} if fee else {})
