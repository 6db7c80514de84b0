"""Shares of profit and loss: they say who earned what, and they add up to the account."""

from decimal import Decimal
from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from closebell.backtest.records import ClosedBy, ShareRow, TradeRow
from closebell.backtest.results.attribution import UNATTRIBUTED, by_exit, by_regime, by_strategy, in_cents, largest_remainder
from closebell.model.decision import Trend, Volatility
from tests.unit.backtest.sample_records import trade_of

AMOUNTS = st.decimals(min_value=-10**7, max_value=10**7, places=2) | st.decimals(min_value=-1000, max_value=1000, places=6)
TRADES = st.lists(st.builds(
    trade_of,
    AMOUNTS,
    strategies=st.lists(st.sampled_from(["rsi", "macd", "momentum", "breakout", "pairs"]), max_size=5).map(tuple),
    trend=st.sampled_from(Trend), volatility=st.sampled_from(Volatility), closed_by=st.sampled_from(ClosedBy),
), max_size=25)  # fmt: skip


@given(TRADES)
def test_the_shares_of_every_table_sum_exactly_to_the_trades(trades: list[TradeRow]) -> None:
    earned = sum((trade.pnl_usd for trade in trades), Decimal(0))
    for rows in (by_strategy(trades), by_regime(trades), by_exit(trades)):
        assert sum((row.pnl_usd for row in rows), Decimal(0)) == earned
        assert sum((row.trades_count for row in rows), Decimal(0)) == len(trades)
        assert sum((row.wins_count for row in rows), Decimal(0)) == sum(trade.pnl_usd > 0 for trade in trades)


@given(TRADES)
def test_in_cents_a_table_sums_to_the_rounded_account_and_moves_no_row_by_a_cent(trades: list[TradeRow]) -> None:
    rows = by_strategy(trades)
    rounded = in_cents(rows)
    exact = sum((row.pnl_usd for row in rows), Decimal(0))
    assert sum((row.pnl_usd for row in rounded), Decimal(0)) == round(exact, 2)
    for before, after in zip(rows, rounded, strict=True):
        assert abs(before.pnl_usd - after.pnl_usd) < Decimal("0.01")
        assert after.pnl_usd == round(after.pnl_usd, 2)


@given(st.lists(st.fractions(min_value=-1000, max_value=1000), max_size=20))
def test_no_part_moves_by_a_whole_quantum(parts: list[Fraction]) -> None:
    given_out = largest_remainder(parts, Decimal("0.01"))
    assert all(abs(Fraction(share) - part) < Fraction(1, 100) for share, part in zip(given_out, parts, strict=True))


def test_a_cent_that_three_cannot_share_goes_to_one_of_them() -> None:
    rows = by_strategy([trade_of("10.00", strategies=("rsi", "macd", "momentum"))])
    assert sorted(row.pnl_usd for row in rows) == [Decimal("3.33"), Decimal("3.33"), Decimal("3.34")]
    assert [row.trades_count for row in rows] == [Decimal("0.34"), Decimal("0.33"), Decimal("0.33")]


def test_the_best_strategy_stands_first_and_a_vote_named_twice_counts_once() -> None:
    named = {"-40": ("rsi", "rsi"), "60": ("macd", "rsi"), "5": ()}
    trades = [trade_of(pnl_usd, strategies=strategies) for pnl_usd, strategies in named.items()]
    assert by_strategy(trades) == [
        ShareRow("strategy", "macd", Decimal("0.5"), Decimal("0.5"), Decimal(30)),
        ShareRow("strategy", UNATTRIBUTED, Decimal(1), Decimal(1), Decimal(5)),
        ShareRow("strategy", "rsi", Decimal("1.5"), Decimal("0.5"), Decimal(-10)),
    ]


def test_regimes_come_in_their_own_order_and_only_where_there_was_a_trade() -> None:
    trades = [
        trade_of("7", trend=Trend.BEAR, volatility=Volatility.HIGH),
        trade_of("-2", trend=Trend.BULL, volatility=Volatility.NORMAL),
        trade_of("1", trend=Trend.BEAR, volatility=Volatility.HIGH),
    ]
    assert by_regime(trades) == [
        ShareRow("regime", "bull trend, normal volatility", Decimal(1), Decimal(0), Decimal(-2)),
        ShareRow("regime", "bear trend, high volatility", Decimal(2), Decimal(2), Decimal(8)),
    ]


def test_exits_are_told_apart() -> None:
    rows = by_exit([trade_of("-5", closed_by=ClosedBy.STOP), trade_of("9", closed_by=ClosedBy.END)])
    assert [(row.name, row.pnl_usd) for row in rows] == [("end", Decimal(9)), ("stop", Decimal(-5))]


def test_no_trade_has_no_share() -> None:
    assert by_strategy([]) == by_regime([]) == by_exit([]) == []
