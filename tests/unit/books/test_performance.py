"""What the desk earned, on books small enough to be added up by hand."""

from collections.abc import Sequence
from datetime import UTC, date, datetime
from decimal import Decimal

from closebell.books.performance import TradeTotals, snapshot_equity, unrealised_usd
from closebell.model.books import EquitySnapshot, Lot, Position, PositionState, StrategyResult, Trade
from closebell.model.broker import Account, BrokerSnapshot, VenuePosition
from closebell.model.decision import ExitRule
from closebell.model.instruments import Market

D = Decimal
AT = datetime(2018, 10, 2, 20, tzinfo=UTC)
SESSION = date(2018, 10, 2)


def trade(pnl_usd: str, *strategies: str) -> Trade:
    return Trade(
        trade_id="t",
        market=Market.US_EQUITY,
        symbol="AAPL",
        sector="technology",
        strategies=strategies,
        quantity_shares=D(1),
        entry_price_usd=D(100),
        exit_price_usd=D(100),
        pnl_usd=D(pnl_usd),
        return_frac=D(0),
        opened_session=SESSION,
        closed_session=SESSION,
        closed_at=AT,
        exit_rule=ExitRule.SIGNAL,
    )


def own(symbol: str, shares: str, cost: str, realised: str = "0") -> Position:
    lots = (Lot(activity_id="1", quantity_shares=D(shares), price_usd=D(cost), opened_at=AT),) if D(shares) else ()
    return Position(
        symbol=symbol,
        market=Market.US_EQUITY,
        sector="technology",
        state=PositionState.PROTECTED,
        plan_id="p",
        lots=lots,
        opened_session=SESSION,
        realised_usd=D(realised),
    )


def held(symbol: str, shares: str, value: str) -> VenuePosition:
    return VenuePosition(
        symbol=symbol,
        market=Market.US_EQUITY,
        quantity_shares=D(shares),
        available_shares=D(shares),
        average_entry_price_usd=D(100),
        market_value_usd=D(value),
    )


def seen(positions: Sequence[VenuePosition], equity: str = "100000", last_equity: str = "99000") -> BrokerSnapshot:
    account = Account(
        account_number="PA1",
        status="ACTIVE",
        equity_usd=D(equity),
        last_equity_usd=D(last_equity),
        cash_usd=D(60_000),
        buying_power_usd=D(60_000),
        trading_blocked=False,
    )
    return BrokerSnapshot(as_of=AT, session=SESSION, account=account, positions=tuple(positions), open_orders=())


def result(strategy: str, trades: int, wins: int, pnl: str) -> StrategyResult:
    return StrategyResult(strategy=strategy, trades_count=trades, wins_count=wins, pnl_usd=D(pnl))


def totals_of(trades: Sequence[Trade]) -> TradeTotals:
    totals = TradeTotals()
    totals.count(list(trades))
    return totals


def test_a_trade_is_shared_by_those_who_voted_for_it_and_counts_for_each() -> None:
    trades = [trade("90", "rsi", "macd", "momentum"), trade("-10", "rsi"), trade("0", "rsi"), trade("0.50", "macd"), trade("7")]
    assert totals_of(trades).strategies == (
        result("macd", 2, 2, "30.50"),
        result("manual", 1, 1, "7.00"),
        result("momentum", 1, 1, "30.00"),
        result("rsi", 3, 1, "20.00"),
    )
    assert totals_of([]).strategies == ()


def test_shares_of_a_cent_are_rounded_only_once_they_are_added_up() -> None:
    thirds = [trade("0.01", "rsi", "macd", "momentum")] * 3
    assert {one.pnl_usd for one in totals_of(thirds).strategies} == {D("0.01")}


def test_totals_that_go_on_are_those_of_adding_up_from_the_start() -> None:
    history = [trade(f"{number}.01", "rsi", "macd", "momentum") for number in range(7)]
    busted = [*history[:3], trade("-1", "rsi"), *history[4:]]
    totals = TradeTotals()
    for trades in (history[:2], history[:2], history, busted, history[:1], []):
        totals.count(trades)
        anew = totals_of(trades)
        assert (totals.realised_usd, totals.strategies) == (anew.realised_usd, anew.strategies)
        assert totals.realised_usd == sum((one.pnl_usd for one in trades), D(0))


def test_unrealised_is_the_brokers_value_of_our_lots_less_their_cost() -> None:
    snapshot = seen([held("AAPL", "20", "2200"), held("MSFT", "5", "400"), held("GONE", "0", "0")])
    unseen = [own("IBM", "3", "50"), own("GONE", "1", "10")]
    positions = [own("AAPL", "10", "100"), own("MSFT", "5", "90"), *unseen]
    assert unrealised_usd(positions, snapshot) == D(50)  # 10 x (110 - 100) and 5 x (80 - 90): the owner's ten shares are left out
    assert unrealised_usd([], snapshot) == 0


def test_a_symbol_of_which_all_is_the_owners_earns_us_nothing() -> None:
    assert unrealised_usd([own("AAPL", "0", "0")], seen([held("AAPL", "10", "5000")])) == 0


def equity(snapshot: BrokerSnapshot, previous: EquitySnapshot | None = None) -> EquitySnapshot:
    positions = [own("AAPL", "10", "100", realised="12.345"), own("MSFT", "5", "90", realised="-2")]
    earned = totals_of([trade("30", "rsi"), trade("-5", "macd")])
    return snapshot_equity(Market.US_EQUITY, snapshot, positions, earned, previous, AT)


def test_a_sessions_equity_adds_up() -> None:
    found = equity(seen([held("AAPL", "10", "1100.004"), held("MSFT", "5", "400")], equity="98010"))
    assert found == EquitySnapshot(
        market=Market.US_EQUITY,
        session=SESSION,
        recorded_at=AT,
        equity_usd=D(98_010),
        cash_usd=D(60_000),
        positions_value_usd=D("1500.004"),
        open_positions_count=2,
        realised_usd=D("35.34"),
        unrealised_usd=D("50.00"),
        day_change_usd=D(-990),
        peak_equity_usd=D(99_000),
        drawdown_frac=D("0.010000"),
        strategies=(result("macd", 1, 0, "-5.00"), result("rsi", 1, 1, "30.00")),
    )
    assert found.drawdown_frac.as_tuple().exponent == -6
    assert (found.realised_usd.as_tuple().exponent, found.unrealised_usd.as_tuple().exponent) == (-2, -2)


def test_drawdown_is_measured_from_the_highest_equity_so_far() -> None:
    first = equity(seen([], equity="110000"))
    assert (first.peak_equity_usd, first.drawdown_frac, first.positions_value_usd) == (D(110_000), D(0), D(0))
    second = equity(seen([], equity="99000"), first)
    assert (second.peak_equity_usd, second.drawdown_frac, second.day_change_usd) == (D(110_000), D("0.1"), D(-11_000))
    third = equity(seen([], equity="121000"), second)
    assert (third.peak_equity_usd, third.drawdown_frac, third.day_change_usd) == (D(121_000), D(0), D(22_000))


def test_an_empty_account_has_no_drawdown() -> None:
    assert equity(seen([], equity="0", last_equity="0")).drawdown_frac == 0
