"""No money is lost between fills and trades: what the round trips earned is what the account received, however they ended."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from closebell.books.ledger import Booking, book_asset_fee, book_bust, book_fill, open_position
from closebell.books.reconciliation import asset_fees
from closebell.model.books import Position, PositionState, Trade
from closebell.model.broker import Side, VenuePosition
from closebell.model.decision import ExitRule
from closebell.model.instruments import Market
from tests.unit.books.test_ledger import PLAN, fill, opened

D = Decimal
NEXT_DAY = datetime(2018, 10, 3, 20, tzinfo=UTC)


def partly_sold(price: str = "110", shares: str = "9.975") -> Position:
    """Ten bought at 100 in two fills, most of them sold."""
    position = book_fill(opened(fill(1, Side.BUY, "4", "100"), fill(2, Side.BUY, "6", "100")), fill(3, Side.SELL, shares, price))
    assert position.position is not None
    return position.position


def ended(booking: Booking) -> Trade:
    """The trade of a booking after which nothing is held."""
    assert booking.position is None
    assert booking.trade is not None
    return booking.trade


def test_a_fee_that_takes_the_last_shares_after_a_sale_ends_the_trade_with_its_profit() -> None:
    trade = ended(book_asset_fee(partly_sold(), D("0.025"), NEXT_DAY))
    assert trade.pnl_usd == D("97.25")  # 9.975 x 110 came in, 10 x 100 went out
    assert (trade.quantity_shares, trade.exit_price_usd, trade.exit_rule) == (D("9.975"), D(110), ExitRule.MANUAL)
    assert (trade.trade_id, trade.closed_at, trade.closed_session) == ("p1@0002", NEXT_DAY, date(2018, 10, 3))


def test_a_trade_that_a_fee_ends_while_we_were_selling_keeps_our_reason() -> None:
    closing = partly_sold().model_copy(update={"exit_rule": ExitRule.TIME_STOP})
    assert ended(book_asset_fee(closing, D("0.025"), NEXT_DAY)).exit_rule is ExitRule.TIME_STOP


def test_a_fee_that_leaves_the_owners_shares_ends_our_trade_all_the_same() -> None:
    shared = partly_sold().model_copy(update={"external_shares": D(3)})
    booking = book_asset_fee(shared, D("0.025"), NEXT_DAY)
    assert booking.trade is not None
    assert booking.trade.pnl_usd == D("97.25")
    assert booking.position is not None
    assert (booking.position.lots, booking.position.external_shares, booking.position.plan_id) == ((), D(3), "")


def test_a_fee_that_leaves_shares_of_ours_ends_nothing() -> None:
    booking = book_asset_fee(partly_sold(), D("0.02"), NEXT_DAY)
    assert booking.trade is None
    assert booking.position is not None
    assert booking.position.quantity_shares == D("0.005")


def test_a_busted_buy_costs_nothing_and_what_was_sold_of_the_others_is_a_trade() -> None:
    """Ten bought, four sold at a gain of 10 each, the other six taken back at what was paid for them."""
    trade = ended(book_bust(partly_sold(shares="4"), D(6), NEXT_DAY))
    assert (trade.pnl_usd, trade.quantity_shares, trade.entry_price_usd) == (D(40), D(4), D(100))


def test_what_is_left_after_a_bust_earns_as_if_the_busted_shares_were_never_bought() -> None:
    left = book_bust(partly_sold(shares="3"), D(6), NEXT_DAY).position
    assert left is not None
    assert (left.bought_shares, left.sold_shares, left.quantity_shares) == (D(4), D(3), D(1))
    assert ended(book_fill(left, fill(4, Side.SELL, "1", "120"))).pnl_usd == D(50)  # 3 x 10 and 1 x 20


def test_a_bust_of_the_owners_shares_is_no_trade_of_ours() -> None:
    owners = partly_sold().model_copy(update={"lots": (), "external_shares": D(10), "state": PositionState.EXTERNAL})
    booking = book_bust(owners, D(4), NEXT_DAY)
    assert booking.trade is None
    assert booking.position is not None
    assert (booking.position.lots, booking.position.external_shares) == ((), D(6))


def test_a_bust_of_everything_leaves_no_trade() -> None:
    assert book_bust(opened(fill(1, Side.BUY, "10", "100")), D(10), NEXT_DAY) == Booking(None)


@pytest.mark.parametrize(
    ("sold", "owners", "listed", "fee"),
    [
        ("9.975", "0", None, "0.025"),
        ("9.98", "0", None, "0.02"),
        ("9.9", "0", None, None),
        ("5", "0", "4.975", "0.025"),
        ("9.99", "5", "4.985", None),
    ],
    ids=[
        "all-but-the-fee-is-sold",
        "a-smaller-fee",
        "more-is-missing-than-a-fee",
        "half-is-sold",
        "more-is-missing-than-is-ours",
    ],
)
def test_a_fee_is_measured_by_what_was_bought(sold: str, owners: str, listed: str | None, fee: str | None) -> None:
    ours = partly_sold(shares=sold).model_copy(update={"market": Market.CRYPTO, "external_shares": D(owners)})
    assert asset_fees({"AAPL": ours}, shown(listed)) == ({"AAPL": D(fee)} if fee else {})


def test_what_was_charged_before_is_no_second_fee() -> None:
    charged = book_asset_fee(opened(fill(1, Side.BUY, "10", "100")), D("0.025"), NEXT_DAY).position
    assert charged is not None
    ours = charged.model_copy(update={"market": Market.CRYPTO})
    assert asset_fees({"AAPL": ours}, shown("9.95")) == {}
    assert asset_fees({"AAPL": ours}, shown("9.97")) == {"AAPL": D("0.005")}


def shown(shares: str | None) -> list[VenuePosition]:
    """The broker's list with one position, or none."""
    prices = {"average_entry_price_usd": D(100), "market_value_usd": D(100)}
    held = D(shares or 0)
    position = VenuePosition(symbol="AAPL", market=Market.CRYPTO, quantity_shares=held, available_shares=held, **prices)
    return [position] if shares else []


STEPS = st.lists(
    st.tuples(st.sampled_from(["buy", "sell", "fee", "bust"]), st.integers(1, 40), st.integers(1, 500)), min_size=1, max_size=40
)


@given(STEPS)
def test_trades_and_what_is_open_always_explain_the_cash(steps: list[tuple[str, int, int]]) -> None:
    """Money in less money out is the profit of every trade plus what has flowed for the position that is still open."""
    position: Position | None = None
    paid: list[D] = []  # what each share held was bought for, oldest first
    cash = earned = D(0)
    for number, (step, wanted, price) in enumerate(steps):
        may_end = step == "sell" or position is not None and position.sold_shares > 0
        shares = wanted if step == "buy" else min(wanted, len(paid) if may_end else len(paid) - 1)
        if shares <= 0:
            continue
        at = NEXT_DAY + timedelta(seconds=number)
        if step == "buy":
            bought = fill(number, Side.BUY, str(shares), str(price)).model_copy(update={"occurred_at": at})
            booking = book_fill(position or open_position(bought, PLAN), bought)
            paid, cash = [*paid, *[D(price)] * shares], cash - shares * price
        elif step == "sell":
            assert position is not None
            sold = fill(number, Side.SELL, str(shares), str(price)).model_copy(update={"occurred_at": at})
            booking = book_fill(position, sold)
            paid, cash = paid[shares:], cash + shares * price
        else:
            assert position is not None
            booking = (book_asset_fee if step == "fee" else book_bust)(position, D(shares), at)
            cash += sum(paid[-shares:], D(0)) if step == "bust" else 0
            paid = paid[:-shares]
        earned += booking.trade.pnl_usd if booking.trade else D(0)
        position = booking.position
        flowed = position.sold_notional_usd - position.bought_notional_usd if position else D(0)
        assert earned + flowed == cash
        assert (position.quantity_shares if position else 0) == len(paid)
