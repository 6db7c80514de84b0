"""Sequences that only crypto has: fees taken in the coin, rests too small to sell, stops whose limit the price jumps over."""

from collections.abc import Sequence
from decimal import Decimal

import pytest

from closebell.app.control import halt_desk
from closebell.app.desk import load_desk
from closebell.app.rebuild import rebuild_desk
from closebell.backtest.desk.followed_venue import FollowedVenue
from closebell.model.books import PositionState
from closebell.model.broker import CashActivity, OrderType, Side, VenueFill, VenuePosition
from closebell.model.decision import ExitRule
from closebell.model.instruments import Market
from closebell.model.orders import OrderLeg, OrderState
from closebell.simulation.exchange.simulated_broker import SimulatedBroker
from tests.unit.app.coin_desk import COIN, FIFTH, FOURTH, SECOND, THIRD, CoinDesk, coin_entry, coin_exit, holding, utc

D = Decimal


def test_a_fee_taken_in_the_coin_is_no_break_and_the_stop_is_for_what_is_left() -> None:
    desk = holding(["100"] * 5)
    desk.reconcile(SECOND, "12:15", "18:00")
    assert [(one.order_type, one.quantity_shares) for one in desk.resting] == [("stop_limit", D("9.975"))]
    assert (len(desk.orders(OrderLeg.PROTECT)), desk.told) == (1, [])


def with_dust(prices: Sequence[str]) -> CoinDesk:
    """A desk whose exit was cancelled by the exchange when all but 0.05 coins (5 USD) were sold."""
    desk = holding(prices)
    desk.place(coin_exit(THIRD))
    desk.reconcile(THIRD, "00:05")
    (sale,) = desk.resting
    desk.fill(sale, "9.925", "104")
    desk.exchange.cancel(sale.venue_order_id)
    desk.reconcile(THIRD, "00:10", "00:15", "12:05", "18:00")
    return desk


def test_a_rest_too_small_to_sell_is_dust_without_an_order_a_break_or_a_word() -> None:
    desk = with_dust(["100"] * 5)
    sent = desk.exchange.submissions.total()
    desk.reconcile(FOURTH, "00:05", "12:05", "18:00")
    held = desk.held()
    assert held is not None
    assert (held.state, held.quantity_shares, desk.coins) == (PositionState.DUST, D("0.05"), D("0.05"))
    assert held.realised_usd == D("9.925") * 4
    assert desk.exchange.submissions.total() == sent, "nothing is tried with it"
    assert [len(desk.orders(leg)) for leg in (OrderLeg.ENTRY, OrderLeg.PROTECT, OrderLeg.EXIT)] == [1, 1, 1]
    assert (desk.resting, desk.told, load_desk(desk.memory).is_halted) == ([], [], False)


def test_dust_keeps_nobody_out_and_is_sold_with_what_is_bought_next() -> None:
    desk = with_dust(["100"] * 7)
    desk.place(coin_entry(FOURTH))
    desk.reconcile(FOURTH, "12:05", "12:10")
    held = desk.held()
    assert held is not None
    assert (held.state, held.quantity_shares, held.plan_id) == (
        PositionState.PROTECTED, D("10.025"), coin_entry(FOURTH).plan_id,
    )  # fmt: skip
    assert [one.quantity_shares for one in desk.resting] == [D("10.025")]
    assert held.realised_usd == D("9.925") * 4, "what the former position earned is not forgotten"
    desk.place(coin_exit(FIFTH))
    desk.reconcile(FIFTH, "00:05", "12:05")
    (trade,) = desk.trades
    assert (desk.coins, desk.held(), trade.quantity_shares) == (D(0), None, D("19.95"))
    assert trade.pnl_usd == D("9.925") * 104 + D("10.025") * 100 - 2000
    assert desk.told == []


def test_a_fee_that_is_found_after_everything_was_sold_ends_the_trade_with_its_profit() -> None:
    """Bought and sold by hand between two readings: what is left in our books is the fee, not a phantom."""
    desk = CoinDesk(["100"] * 5)
    desk.place(coin_entry(SECOND))
    desk.exchange.advance(utc(SECOND, "12:02"))
    desk.exchange.trade_manually(COIN, Side.SELL, desk.coins)
    desk.reconcile(SECOND, "12:05", "12:10")
    assert desk.held() is None
    assert [(one.quantity_shares, one.pnl_usd, one.exit_rule) for one in desk.trades] == [
        (D("9.975"), D("-2.5"), ExitRule.MANUAL)
    ]
    assert not any("phantom" in subject for subject in desk.told)


def test_a_stop_that_the_price_jumped_over_is_cancelled_sold_another_way_and_told_once() -> None:
    """Stop 97, limit 95.06, price 90: the stop is triggered and rests unfilled below nobody's bid."""
    desk = holding(["100", "100", "90", "89", "89"])
    desk.reconcile(THIRD, "12:05")
    (jumped,) = desk.orders(OrderLeg.PROTECT)
    assert (jumped.order_type, jumped.stop_price_usd, jumped.limit_price_usd) == (OrderType.STOP_LIMIT, D(97), D("95.06"))
    held = desk.held()
    assert held is not None
    assert held.state is PositionState.CLOSING
    desk.reconcile(THIRD, "12:10", "12:15", "12:20")
    (sale,) = desk.resting
    assert (sale.order_type, sale.quantity_shares, sale.limit_price_usd) == ("market", D("9.975"), D("88.2"))
    desk.reconcile(FOURTH, "12:05", "12:10")
    assert [one.state for one in desk.orders(OrderLeg.EXIT)] == [OrderState.FILLED]
    assert [(one.quantity_shares, one.exit_rule, one.exit_price_usd) for one in desk.trades] == [
        (D("9.975"), ExitRule.STOP, D(89))
    ]
    assert (desk.coins, desk.resting) == (D(0), [])
    assert desk.held() is None
    assert desk.told == [f"The stop of {COIN} did not fill"]


def test_a_stop_whose_limit_is_reached_sells_by_itself_and_nothing_is_told() -> None:
    desk = holding(["100", "100", "96", "96"])
    desk.reconcile(THIRD, "12:05", "12:10")
    assert [(one.quantity_shares, one.exit_rule) for one in desk.trades] == [(D("9.975"), ExitRule.STOP)]
    assert (desk.orders(OrderLeg.EXIT), desk.told, desk.held()) == ([], [], None)


class FeesListedLast(SimulatedBroker):
    """Lists fees at the day's end, after whatever was sold in between, as Alpaca does."""

    def activities(self, after_activity_id: str) -> list[VenueFill | CashActivity]:
        return sorted(super().activities(after_activity_id), key=lambda one: isinstance(one, CashActivity))


def test_books_rebuilt_from_fees_that_are_listed_after_the_sale_keep_its_profit() -> None:
    desk = CoinDesk(["100"] * 5)
    desk.place(coin_entry(SECOND))
    desk.exchange.advance(utc(SECOND, "12:02"))
    desk.exchange.trade_manually(COIN, Side.SELL, desk.coins)
    halt_desk(desk.memory, "lost tables", "the owner", desk.exchange.now)
    books = rebuild_desk(FeesListedLast(desk.exchange), desk.memory, replace=True)
    assert (books.positions, books.breaks) == ({}, [])
    assert [(one.quantity_shares, one.pnl_usd) for one in books.trades] == [(D("9.975"), D("-2.5"))]
    assert desk.trades == books.trades


HOLDINGS = [("2073.31", "0.123456789"), ("65432.12", "0.000154321"), ("0.08315", "1234.567890123")]


@pytest.mark.parametrize(("price", "coins"), HOLDINGS)
def test_a_price_is_known_in_spite_of_the_rounded_value_it_is_told_by(price: str, coins: str) -> None:
    """A price that is exactly the stop must be seen to be at the stop."""
    held = VenuePosition(
        symbol=COIN, market=Market.CRYPTO, quantity_shares=D(coins), available_shares=D(coins), average_entry_price_usd=D(1),
        market_value_usd=round(D(price) * D(coins), 9),
    )  # fmt: skip

    class OneHolding(FollowedVenue):
        def __init__(self) -> None:
            """Nothing but the holding."""

        def venue_position(self, symbol: str) -> VenuePosition | None:
            return held

    assert OneHolding().price_usd(COIN) == D(price)
