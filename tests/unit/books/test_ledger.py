"""Fills in, positions and trades out: tiny fill series, each with its expected books worked out by hand."""

from datetime import UTC, date, datetime
from decimal import ROUND_DOWN, Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from closebell.books.ledger import book_asset_fee, book_fill, book_split, external_position, open_position
from closebell.model.books import Fill, Position, PositionState, Trade
from closebell.model.broker import Side
from closebell.model.decision import EntryMethod, ExitRule, PlanAction, TradePlan
from closebell.model.instruments import Market

D = Decimal
AT = datetime(2018, 10, 2, 23, 59, tzinfo=UTC)
PLAN = TradePlan(
    plan_id="p1",
    market=Market.US_EQUITY,
    session=date(2018, 10, 2),
    decided_session=date(2018, 10, 1),
    symbol="AAPL",
    sector="technology",
    action=PlanAction.ENTER,
    method=EntryMethod.MARKET_ON_OPEN,
    quantity_shares=D(10),
    reference_price_usd=D(100),
    stop_loss_frac=D("0.03"),
    take_profit_frac=D("0.08"),
    time_stop_sessions=5,
    minimum_hold_sessions=2,
    strategies=("rsi", "macd"),
    reason="",
)


def fill(number: int, side: Side, shares: str, price: str, ours: bool = True) -> Fill:
    return Fill(
        activity_id=f"{number:04d}",
        market=Market.US_EQUITY,
        session=date(2018, 10, 2),
        symbol="AAPL",
        side=side,
        quantity_shares=D(shares),
        price_usd=D(price),
        occurred_at=datetime(2018, 10, 2, 20, number, tzinfo=UTC),
        venue_order_id="v",
        client_order_id="cb" if ours else None,
        plan_id="p1" if ours else None,
    )


def opened(*fills: Fill) -> Position:
    position: Position | None = open_position(fills[0], PLAN)
    for one in fills:
        assert position is not None
        position = book_fill(position, one).position
    assert position is not None
    return position


def test_two_partial_fills_make_one_position_at_their_average() -> None:
    position = opened(fill(1, Side.BUY, "4", "100"), fill(2, Side.BUY, "6", "105"))
    assert position.quantity_shares == 10
    assert position.average_entry_price_usd == D("103")


def test_first_lot_bought_is_the_first_sold() -> None:
    position = opened(fill(1, Side.BUY, "4", "100"), fill(2, Side.BUY, "6", "105"))
    booking = book_fill(position, fill(3, Side.SELL, "5", "110"), ExitRule.TARGET)
    assert booking.trade is None
    assert booking.position is not None
    assert [(lot.quantity_shares, lot.price_usd) for lot in booking.position.lots] == [(D(5), D(105))]
    assert booking.position.realised_usd == D("45")  # 4 x 10 + 1 x 5


def test_last_sale_closes_into_a_trade_with_its_rule() -> None:
    position = opened(fill(1, Side.BUY, "10", "100"))
    booking = book_fill(position, fill(2, Side.SELL, "10", "97"), ExitRule.STOP)
    assert booking.position is None
    assert booking.trade is not None
    assert (booking.trade.pnl_usd, booking.trade.return_frac, booking.trade.exit_rule) == (D("-30"), D("-0.03"), ExitRule.STOP)
    assert booking.trade.strategies == ("rsi", "macd")


def test_a_fee_taken_in_the_asset_costs_what_was_paid_for_it() -> None:
    position = opened(fill(1, Side.BUY, "10", "100"))
    charged = book_asset_fee(position, D("0.025"), AT).position
    assert charged is not None
    assert charged.quantity_shares == D("9.975")
    closed = book_fill(charged, fill(2, Side.SELL, "9.975", "100"))
    assert closed.trade is not None
    assert closed.trade.pnl_usd == D("-2.5")


def test_a_split_changes_shares_and_not_cost() -> None:
    position = opened(fill(1, Side.BUY, "4", "100"), fill(2, Side.BUY, "6", "110"))
    split = book_split(position, D(10)).position
    assert split is not None
    assert split.quantity_shares == 20
    assert split.average_entry_price_usd * 20 == position.average_entry_price_usd * 10


def test_a_split_of_several_lots_leaves_what_the_broker_shows() -> None:
    """The broker rounds the whole holding: lots rounded one by one were a billionth of a share more or less than that."""
    for parts in (("20", "20", "9"), ("7", "7", "7"), ("1", "1")):
        position = opened(*(fill(place, Side.BUY, part, "100") for place, part in enumerate(parts, 1)))
        held = position.quantity_shares
        after = (held * D("0.3333333333333333")).quantize(D("1e-9"), ROUND_DOWN)
        split = book_split(position, after - held).position
        assert split is not None
        assert (split.quantity_shares, split.external_shares) == (after, D(0))
        closed = book_fill(split, fill(9, Side.SELL, f"{after}", "300"))
        assert (closed.position, closed.trade is not None) == (None, True)


def test_a_split_gives_the_owner_what_is_the_owners() -> None:
    position = opened(fill(1, Side.BUY, "10", "100")).model_copy(update={"external_shares": D(10)})
    split = book_split(position, D(20)).position
    assert split is not None
    assert (split.quantity_shares, split.external_shares) == (D(20), D(20))


def test_a_reverse_split_raises_the_price_and_costs_nothing() -> None:
    """Booked as lost shares, one for ten would look like a tenfold gain and be sold at once."""
    split = book_split(opened(fill(1, Side.BUY, "20", "100")), D(-18)).position
    assert split is not None
    assert (split.quantity_shares, split.average_entry_price_usd) == (D(2), D(1000))
    closed = book_fill(split, fill(2, Side.SELL, "2", "1000"))
    assert closed.trade is not None
    assert closed.trade.pnl_usd == 0


def test_the_owners_own_buy_is_never_ours() -> None:
    position = opened(fill(1, Side.BUY, "10", "100"))
    both = book_fill(position, fill(2, Side.BUY, "7", "101", ours=False)).position
    assert both is not None
    assert (both.quantity_shares, both.external_shares) == (D(10), D(7))
    ended = book_fill(both, fill(3, Side.SELL, "10", "102"), ExitRule.TIME_STOP)
    assert ended.position is not None
    assert (ended.position.state, ended.position.external_shares, ended.position.lots) == (PositionState.EXTERNAL, D(7), ())
    assert ended.trade is not None


def test_the_owner_selling_ours_closes_it_as_manual() -> None:
    position = opened(fill(1, Side.BUY, "10", "100"))
    booking = book_fill(position, fill(2, Side.SELL, "10", "103", ours=False))
    assert booking.position is None
    assert booking.trade is not None
    assert booking.trade.exit_rule is ExitRule.MANUAL


def test_the_owner_opening_and_closing_leaves_nothing_and_no_trade_of_ours() -> None:
    buy = fill(1, Side.BUY, "3", "50", ours=False)
    held = book_fill(external_position(buy, "technology"), buy).position
    assert held is not None
    booking = book_fill(held, fill(2, Side.SELL, "3", "60", ours=False))
    assert (booking.position, booking.trade) == (None, None)


@pytest.mark.parametrize("ours", [True, False])
def test_selling_more_than_anybody_had_shows_as_a_negative_rest(ours: bool) -> None:
    """It cannot happen at a cash account; if it does, reconciliation must see it rather than a silent zero."""
    position = opened(fill(1, Side.BUY, "10", "100"))
    booking = book_fill(position, fill(2, Side.SELL, "12", "100", ours=ours))
    assert booking.position is not None
    assert booking.position.external_shares == -2


def test_a_position_carries_the_terms_of_its_plan() -> None:
    position = open_position(fill(1, Side.BUY, "10", "100"), PLAN)
    assert (position.plan_id, position.sector, position.state, position.lots) == ("p1", "technology", PositionState.OPEN, ())
    assert (position.stop_loss_frac, position.take_profit_frac) == (D("0.03"), D("0.08"))
    assert (position.time_stop_sessions, position.minimum_hold_sessions) == (5, 2)


def test_the_owners_position_belongs_to_no_plan() -> None:
    position = external_position(fill(1, Side.BUY, "3", "50", ours=False), "energy")
    assert (position.plan_id, position.sector, position.state) == ("", "energy", PositionState.EXTERNAL)


def test_a_trade_tells_the_whole_round_trip() -> None:
    position = opened(fill(1, Side.BUY, "4", "100"), fill(2, Side.BUY, "6", "110"))
    partly = book_fill(position, fill(3, Side.SELL, "3", "120"), ExitRule.TARGET).position
    assert partly is not None
    assert [lot.quantity_shares for lot in partly.lots] == [D(1), D(6)]
    closing = fill(4, Side.SELL, "7", "110")
    assert book_fill(partly, closing, ExitRule.SIGNAL).trade == Trade(
        trade_id="p1@0004",
        market=Market.US_EQUITY,
        symbol="AAPL",
        sector="technology",
        strategies=("rsi", "macd"),
        quantity_shares=D(10),
        entry_price_usd=D(106),
        exit_price_usd=D(113),
        pnl_usd=D(70),
        return_frac=D(70) / D(1060),
        opened_session=date(2018, 10, 2),
        closed_session=date(2018, 10, 2),
        closed_at=closing.occurred_at,
        exit_rule=ExitRule.SIGNAL,
    )


def test_a_fee_comes_out_of_the_newest_lot_and_an_emptied_lot_is_gone() -> None:
    position = opened(fill(1, Side.BUY, "4", "100"), fill(2, Side.BUY, "1", "110"))
    for fee, left in (("0.5", [D(4), D("0.5")]), ("1", [D(4)]), ("1.5", [D("3.5")])):
        charged = book_asset_fee(position, D(fee), AT).position
        assert charged is not None
        assert [lot.quantity_shares for lot in charged.lots] == left


def test_a_fee_above_what_is_ours_comes_out_of_the_owners_shares() -> None:
    position = opened(fill(1, Side.BUY, "4", "100")).model_copy(update={"external_shares": D(3)})
    charged = book_asset_fee(position, D(5), AT).position
    assert charged is not None
    assert (charged.lots, charged.external_shares, charged.plan_id) == ((), D(2), "")
    assert book_asset_fee(position, D(9), AT).position is None


def test_a_fee_that_takes_the_last_shares_after_a_sale_leaves_nothing() -> None:
    sold = book_fill(opened(fill(1, Side.BUY, "10", "100")), fill(2, Side.SELL, "9.975", "100")).position
    assert sold is not None
    assert book_asset_fee(sold, D("0.025"), AT).position is None


def test_a_split_is_part_of_the_round_trip() -> None:
    """Entry and exit are prices of the same shares: 12 bought at 100 are 24 bought at 50."""
    split = book_split(opened(fill(1, Side.BUY, "12", "100")), D(12)).position
    assert split is not None
    halved = book_fill(split, fill(2, Side.SELL, "8", "55")).position
    assert halved is not None
    doubled = book_split(halved, D(16)).position
    assert doubled is not None
    trade = book_fill(doubled, fill(3, Side.SELL, "32", "30")).trade
    assert trade is not None
    assert (trade.quantity_shares, trade.entry_price_usd, trade.exit_price_usd) == (D(48), D(25), D(1400) / 48)
    assert trade.pnl_usd == D(200)  # 8 x 5 and 16 x 10


@pytest.mark.parametrize(("shares", "change", "left"), [("1", "1", "2"), ("2", "-1.5", "0.5"), ("2", "-2", None)])
def test_a_split_may_leave_a_fraction_or_nothing(shares: str, change: str, left: str | None) -> None:
    split = book_split(opened(fill(1, Side.BUY, shares, "100")), D(change)).position
    assert (split.quantity_shares if split else None) == (D(left) if left else None)


def test_a_split_that_nothing_can_follow_from_changes_nothing() -> None:
    held, empty = opened(fill(1, Side.BUY, "10", "100")), open_position(fill(1, Side.BUY, "10", "100"), PLAN)
    assert book_split(held, D(-12)).position == held
    assert book_split(empty, D(5)).position == empty


def test_a_lot_too_small_to_survive_a_reverse_split_is_gone() -> None:
    position = opened(fill(1, Side.BUY, "10", "100"), fill(2, Side.BUY, "0.000000001", "100"))
    split = book_split(position, D("-9.0000000009")).position
    assert split is not None
    assert [lot.activity_id for lot in split.lots] == ["0001"]


def test_what_is_left_to_the_owner_belongs_to_no_plan() -> None:
    both = opened(fill(1, Side.BUY, "10", "100")).model_copy(update={"external_shares": D(7)})
    left = book_fill(both, fill(2, Side.SELL, "10", "102")).position
    assert left == external_position(fill(1, Side.BUY, "7", "1", ours=False), "technology").model_copy(
        update={"external_shares": D(7)}
    )


def test_the_owner_sells_the_owners_shares_before_ours() -> None:
    both = opened(fill(1, Side.BUY, "10", "100")).model_copy(update={"external_shares": D(7)})
    booking = book_fill(both, fill(2, Side.SELL, "9", "105", ours=False))
    assert booking.position is not None
    assert (booking.position.external_shares, booking.position.quantity_shares) == (D(0), D(8))
    assert (booking.position.realised_usd, booking.trade) == (D(10), None)


TRADES = st.lists(
    st.tuples(st.sampled_from([Side.BUY, Side.SELL]), st.integers(1, 50), st.integers(1, 500), st.booleans()),
    min_size=1,
    max_size=30,
)


@given(TRADES)
def test_shares_always_equal_the_signed_sum_of_fills(trades: list[tuple[Side, int, int, bool]]) -> None:
    """Whatever happens in whatever order: ours plus external is what the broker holds, and cost is never invented."""
    position: Position | None = None
    total = D(0)
    for number, (side, shares, price, ours) in enumerate(trades):
        one = fill(number % 60, side, str(shares), str(price), ours)
        if position is None:
            position = open_position(one, PLAN) if ours and side is Side.BUY else external_position(one, "technology")
        total += shares if side is Side.BUY else -shares
        position = book_fill(position, one).position
        held = position.quantity_shares + position.external_shares if position else D(0)
        assert held == total
