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


NOTES = {
    "unknown": "the broker holds it and no fill of ours explains it: taken as the owner's, never sold by us",
    "phantom": "the broker holds none of it: dropped from our books, nothing is sent",
    "more": "the surplus is taken as the owner's",
    "owners": "the owner's own shares are fewer; ours are untouched",
    "fewer": "the broker holds fewer than we own: disputed, nothing is sold until a human has looked",
}


@pytest.mark.parametrize(
    ("ours", "theirs", "note"),
    [
        (None, held("10"), "unknown"),
        (own("10"), None, "phantom"),
        (own("10"), held("10.5"), "more"),
        (own("10", "5"), held("14"), "owners"),
        (own("10", "5"), held("10"), "owners"),
        (own("10", "0.5"), held("10"), "owners"),
        (own("10"), held("9"), "fewer"),
    ],
)
def test_a_break_says_both_numbers_and_what_follows(ours: Position | None, theirs: VenuePosition | None, note: str) -> None:
    (difference,) = compare_positions({"AAPL": ours} if ours else {}, [theirs] if theirs else [], {}, SESSION, AT)
    found, after = difference.found, difference.position
    assert (found.symbol, found.session, found.detected_at, found.note) == ("AAPL", SESSION, AT, NOTES[note])
    assert found.ours_shares == (ours.quantity_shares + ours.external_shares if ours else 0)
    assert found.theirs_shares == (theirs.quantity_shares if theirs else 0)
    if note == "fewer":
        assert after is not None
        assert after.note == NOTES["fewer"]


def test_what_is_taken_as_the_owners_is_filed_under_its_sector() -> None:
    for sectors, sector in (({"AAPL": "technology"}, "technology"), ({}, "unknown")):
        (difference,) = compare_positions({}, [held("10")], sectors, SESSION, AT)
        assert difference.position is not None
        assert (difference.position.sector, difference.position.plan_id) == (sector, "")
        assert difference.position.opened_session == SESSION


def test_a_stranger_is_named_with_what_it_would_trade() -> None:
    stranger = derive_client_order_id("paper|1", "q", OrderLeg.ENTRY, 1, Market.US_EQUITY, SESSION)
    found = unknown_orders([venue_order(stranger)], [], SESSION, AT)[stranger]
    assert (found.symbol, found.ours_shares, found.theirs_shares) == ("AAPL", D(0), D(1))
    assert found.note == f"order {stranger} carries our prefix and we never meant it"


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
        (Market.CRYPTO, "9.97", "0.03"),
        (Market.CRYPTO, "9.9", None),
        (Market.US_EQUITY, "9.975", None),
        (Market.CRYPTO, "10", None),
    ],
    ids=["a-fee", "as-much-as-a-fee-may-be", "more-than-a-fee", "shares-have-none", "nothing-missing"],
)
def test_only_a_small_crypto_shortfall_is_a_fee(market: Market, theirs: str, fee: str | None) -> None:
    ours = own("10").model_copy(update={"market": market})
    assert asset_fees({"AAPL": ours}, [held(theirs)]) == ({"AAPL": D(fee)} if fee else {})


def test_the_owners_shares_and_a_symbol_that_is_gone_are_no_fee() -> None:
    crypto = own("10", "5").model_copy(update={"market": Market.CRYPTO})
    assert asset_fees({"AAPL": crypto}, [held("14.975")]) == {"AAPL": D("0.025")}
    assert asset_fees({"AAPL": crypto}, []) == {}
