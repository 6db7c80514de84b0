"""A backtest of crypto pairs: against a loop in plain decimals that knows nothing of the engine, then rule by rule."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import date, timedelta
from decimal import ROUND_DOWN, Decimal
from typing import NamedTuple

import numpy as np
import pytest

from closebell.app.evidence import SessionPair, judged
from closebell.backtest.desk.desk_day import DESK_DAYS
from closebell.backtest.desk.known_evidence import KnownEvidence
from closebell.backtest.records import BacktestRecords, ClosedBy
from closebell.backtest.run import Costs, run_backtest
from closebell.backtest.summary import summary_of
from closebell.model.errors import ConfigurationError
from closebell.model.instruments import Instrument, Market
from closebell.model.panel import FIELDS, BarPanel
from closebell.model.parameters import ExitTerms, ParameterSet
from closebell.model.schedule import SCHEDULES
from closebell.simulation.bar_market import BarMarket, hours_of
from closebell.strategies import score_all
from tests.unit.backtest.markets import (
    CALENDAR,
    coin_market,
    coin_panel,
    market_of,
    parameters_of,
    seeded_panel,
    with_another_future,
)

CASH, FEE_FRAC = Decimal(100_000), Decimal("0.0025")
EXITS = ExitTerms(time_stop_sessions=5, minimum_hold_sessions=5)
STOP_FRAC, TARGET_FRAC, HELD_SESSIONS = Decimal("0.03"), Decimal("0.08"), 5
NINE, CENT = Decimal("1e-9"), Decimal("0.01")


class Deal(NamedTuple):
    """What the loop bought and sold: rows of the panel, prices, coins sold and the rule."""

    bought_row: int
    bought_usd: Decimal
    sold_row: int
    sold_usd: Decimal
    coins: Decimal
    rule: str


def down(number: Decimal, step: Decimal) -> Decimal:
    return number.quantize(step, ROUND_DOWN)


def prices_of(panel: BarPanel, row: int) -> list[Decimal]:
    """The 48 prices of a day, a quarter past and a quarter to each hour: evenly from open to low to high to close."""
    opened, low, high, close = (Decimal(repr(float(field[row, 0]))) for field in (panel.open, panel.low, panel.high, panel.close))
    fall = [opened + (low - opened) * step / 16 for step in range(16)]
    rise = [low + (high - low) * step / 16 for step in range(16)]
    rest = [high + (close - high) * step / 15 for step in range(16)]
    return [price.quantize(NINE) for price in (*fall, *rise, *rest)]


def naive_sale(panel: BarPanel, bought_row: int, bought_usd: Decimal, spread_frac: Decimal) -> tuple[int, Decimal, str]:
    """When, at what price and why: the broker watches the stop at every price, the desk the target every half an hour."""

    def half(price: Decimal) -> Decimal:
        return (price * spread_frac / 2).quantize(NINE)

    stop, target = down(bought_usd * (1 - STOP_FRAC), CENT), down(bought_usd * (1 + TARGET_FRAC), CENT)
    before = bought_usd
    for row in range(bought_row, len(panel.sessions)):
        prices = prices_of(panel, row)
        if row - bought_row == HELD_SESSIONS + 1 and prices[0] > stop:
            return row, prices[1] - half(prices[1]), "time_stop"
        for place, price in enumerate(prices):
            if price <= stop and (row, place) > (bought_row, 0):
                met = min(stop, before) if place else price
                return row, met - half(met), "stop"
            if price >= target:  # seen a quarter of an hour later; the stop is cancelled, and half an hour later it is sold
                following = [*prices, *prices_of(panel, row + 1)[:2]] if row + 1 < len(panel.sessions) else prices
                crosses_midnight = place + 2 >= len(prices)
                met = following[place + 2]
                return row + crosses_midnight, met - half(met), "target"
            before = price
    return len(panel.sessions) - 1, prices_of(panel, len(panel.sessions) - 1)[-1] - half(prices[-1]), "end"


def naive_deals(panel: BarPanel, first_row: int, spread_frac: Decimal) -> tuple[list[Deal], Decimal]:
    """One coin, bought at the open after a day that scores well with a fifth of the account; the deals and the final cash."""
    scores = score_all(("momentum",), panel)["momentum"][:, 0]
    cash, row, deals = CASH, first_row, []
    while row < len(panel.sessions):
        if not scores[row - 1] >= 0.2:
            row += 1
            continue
        close, opened = Decimal(repr(float(panel.close[row - 1, 0]))), prices_of(panel, row)[0]
        ordered = down(cash / 5 / (close * Decimal("1.05")), NINE)
        bought_usd = opened + (opened * spread_frac / 2).quantize(NINE)
        coins = down(ordered * (1 - FEE_FRAC), NINE)
        sold_row, sold_usd, rule = naive_sale(panel, row, bought_usd, spread_frac)
        cash += coins * sold_usd * (1 - FEE_FRAC) - ordered * bought_usd
        deals.append(Deal(row, bought_usd, sold_row, sold_usd, coins, rule))
        row = sold_row + 1
    return deals, cash


def traded(panel: BarPanel, costs: Costs | None = None, exits: ExitTerms = EXITS, first_row: int = 230) -> BacktestRecords:
    chosen = costs or Costs()
    return run_backtest(
        coin_market(panel, f"{chosen.spread_frac}"), parameters_of(panel, "momentum", exits=exits, market=Market.CRYPTO),
        chosen.options(CASH), first=dates(panel)[first_row],
    )


def dates(panel: BarPanel) -> list[date]:
    found: list[date] = panel.sessions.astype(object).tolist()
    return found


def with_prices(panel: BarPanel, row: int, **prices: float) -> BarPanel:
    """The panel with some prices of one day's first coin set."""
    changed = {name: getattr(panel, name).copy() for name in FIELDS}
    for name, price in prices.items():
        changed[name][row, 0] = price
    return replace(panel, **changed)


@pytest.mark.parametrize("slippage_bps", ["0", "10"])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_entries_exits_and_equity_are_the_naive_loops(seed: int, slippage_bps: str) -> None:
    panel = coin_panel(seed, 420, ("BTC/USD",))
    costs = Costs(slippage_bps=Decimal(slippage_bps))
    expected, cash = naive_deals(panel, 230, costs.spread_frac)
    records = traded(panel, costs)
    rows = {day: row for row, day in enumerate(dates(panel))}
    found = [
        Deal(rows[one.opened_session], one.entry_price_usd, rows[one.closed_session], one.exit_price_usd,
             one.quantity_shares, one.closed_by)
        for one in records.trades
    ]
    assert [(deal.bought_row, deal.sold_row, deal.rule) for deal in found] == [
        (deal.bought_row, deal.sold_row, deal.rule) for deal in expected
    ]
    for deal, wanted in zip(found, expected, strict=True):
        assert [deal.bought_usd, deal.sold_usd] == pytest.approx([wanted.bought_usd, wanted.sold_usd], abs=Decimal("1e-7"))
        assert deal.coins == pytest.approx(wanted.coins, abs=Decimal("1e-6"))
    assert len(expected) > 15
    assert {deal.rule for deal in expected} >= {"stop", "target", "time_stop"}
    assert abs(records.equity[-1].equity_usd - cash) < CENT


def test_a_year_of_coins_has_365_sessions_for_the_regime_too() -> None:
    """It chooses how much a trade may lose; a window alone, as a deployed desk reads it, says the same as the whole matrix."""
    panel = coin_panel(2, 330)
    parameters, market = parameters_of(panel, "momentum", market=Market.CRYPTO), coin_market(panel)
    closes, day = panel.close[-21:, 0], dates(panel)[-1]
    points = round(float(np.std(closes[1:] / closes[:-1] - 1, ddof=1)) * 365**0.5 * 100, 4)
    hours = market.sessions(Market.CRYPTO)
    pair = SessionPair(hours[329], hours[330], tuple(dates(panel)), tuple(dates(panel)))
    known = KnownEvidence(market, parameters).read(Market.CRYPTO, parameters, pair)
    windowed = judged(panel.rows(slice(30, None)), Market.CRYPTO, parameters, day, None, {}, ())
    assert known.regime.volatility_index_score == windowed.regime.volatility_index_score == pytest.approx(points)


def test_coins_are_bought_at_the_open_and_the_fee_is_in_every_number() -> None:
    panel = coin_panel(4, 330)
    records = traded(panel)
    rows = {day: row for row, day in enumerate(dates(panel))}
    for trade in records.trades:
        opened = panel.open[rows[trade.opened_session], panel.symbols.index(trade.symbol)]
        assert trade.entry_price_usd == Decimal(repr(float(opened)))
        bought_usd = trade.entry_price_usd * trade.quantity_shares / (1 - FEE_FRAC)
        fee_usd = FEE_FRAC * (bought_usd + trade.exit_price_usd * trade.quantity_shares)
        assert float(trade.commission_usd) == pytest.approx(float(fee_usd), abs=1e-4)
        assert trade.gross_pnl_usd - trade.pnl_usd == pytest.approx(trade.commission_usd, abs=Decimal("1e-6"))
    summary = summary_of(records)
    assert summary["commission_usd"] == pytest.approx(float(sum(order.commission_usd for order in records.orders)))
    assert summary["gross_final_equity_usd"] - summary["final_equity_usd"] == pytest.approx(summary["commission_usd"], abs=0.01)
    assert summary["commission_usd"] > 1000
    assert {order.limit_price_usd for order in records.orders if order.order_type == "market"} == {None}
    assert sum(trade.pnl_usd for trade in records.trades) == pytest.approx(records.equity[-1].equity_usd - CASH, abs=CENT)


def test_nothing_that_comes_later_changes_what_was_done_before() -> None:
    panel, cut = coin_panel(3, 330), 280
    before, after = traded(panel), traded(with_another_future(panel, cut))
    day = dates(panel)[cut]
    assert [row for row in before.equity if row.session < day] == [row for row in after.equity if row.session < day]
    assert [order.order_id for order in before.orders if order.session < day] == [
        order.order_id for order in after.orders if order.session < day
    ]
    assert before.equity != after.equity


def test_a_year_of_coins_has_365_sessions() -> None:
    records = traded(coin_panel(5, 330))
    summary, count = summary_of(records), len(records.equity)
    returns = np.diff([float(CASH), *(float(row.equity_usd) for row in records.equity)]) / [
        float(CASH), *(float(row.equity_usd) for row in records.equity[:-1])
    ]  # fmt: skip
    assert [row.session for row in records.equity] == dates(coin_panel(5, 330))[230:]
    assert summary["sharpe_annual_ratio"] == pytest.approx(np.mean(returns) / np.std(returns, ddof=1) * np.sqrt(365))
    assert summary["volatility_annual_frac"] == pytest.approx(np.std(returns, ddof=1) * np.sqrt(365))
    assert summary["annual_return_frac"] == pytest.approx((1 + summary["total_return_frac"]) ** (365 / count) - 1)
    bought = sum(float(order.filled_shares * (order.filled_price_usd or 0)) for order in records.orders if order.side == "buy")
    curve = [float(CASH), *(float(row.equity_usd) for row in records.equity)]
    assert summary["turnover_annual_ratio"] == pytest.approx(bought / float(np.mean(curve)) * 365 / count)


def held_coin(seed: int = 6) -> tuple[BarPanel, int]:
    """A panel whose first coin is bought, and the row of the second day it is held."""
    panel = coin_panel(seed, 330, ("BTC/USD",))
    trade = next(trade for trade in traded(panel).trades if trade.held_sessions >= 3)
    return panel, dates(panel).index(trade.opened_session) + 1


@pytest.mark.parametrize(("gap_frac", "is_bought"), [(0.04, True), (0.06, False)])
def test_an_entry_is_judged_by_the_days_open_and_trades_at_it(gap_frac: float, is_bought: bool) -> None:
    """An open up to the collar's five percent away is paid; beyond it nothing is bought, and no order rests for later days."""
    panel, row = held_coin()
    entry_row = row - 1
    opened = round(float(panel.close[entry_row - 1, 0]) * (1 + gap_frac), 2)
    high, low = round(opened * 1.01, 2), round(opened * 0.99, 2)
    records = traded(with_prices(panel, entry_row, open=opened, high=high, low=low, close=opened))
    found = [trade.entry_price_usd for trade in records.trades if trade.opened_session == dates(panel)[entry_row]]
    assert found == ([Decimal(repr(opened))] if is_bought else [])
    assert {order.status for order in records.orders if order.side == "buy"} == {"filled"}


def test_a_stop_inside_the_day_sells_at_the_stop() -> None:
    panel, row = held_coin()
    opened = float(panel.open[row, 0])
    fallen = with_prices(panel, row, low=round(opened * 0.9, 2))
    trade = next(trade for trade in traded(fallen).trades if trade.closed_session == dates(panel)[row])
    assert trade.closed_by is ClosedBy.STOP
    assert trade.exit_price_usd == down(trade.entry_price_usd * (1 - STOP_FRAC), CENT)


def test_an_open_far_below_the_stop_is_sold_within_the_hour_and_not_at_the_stop() -> None:
    """The stop's limit lies two percent below it: jumped over, it does not fill, and the desk sells at the market."""
    panel, row = held_coin()
    opened = round(float(panel.close[row - 1, 0]) * 0.85, 2)
    fallen = with_prices(panel, row, open=opened, high=round(opened * 1.01, 2), low=round(opened * 0.99, 2), close=opened)
    trade = next(trade for trade in traded(fallen).trades if trade.closed_session == dates(panel)[row])
    assert trade.closed_by is ClosedBy.STOP
    assert float(trade.exit_price_usd) == pytest.approx(opened, rel=0.002)


def test_a_target_is_sold_as_the_desk_sees_it_and_not_at_the_high_of_the_day() -> None:
    panel, row = held_coin()
    high = round(float(panel.open[row, 0]) * 1.3, 2)
    risen = with_prices(panel, row, high=high)
    trade = next(trade for trade in traded(risen).trades if trade.closed_session == dates(panel)[row])
    assert trade.closed_by is ClosedBy.TARGET
    assert trade.entry_price_usd * (1 + TARGET_FRAC) <= trade.exit_price_usd < Decimal(repr(high)) * Decimal("0.9")


def test_what_is_held_at_the_end_is_sold_at_the_last_close_on_the_last_day() -> None:
    panel, row = held_coin()
    cut = panel.through(dates(panel)[row])
    records = traded(cut)
    trade = records.trades[-1]
    assert (trade.closed_by, trade.closed_session) == (ClosedBy.END, dates(panel)[row])
    assert trade.exit_price_usd == Decimal(repr(float(panel.close[row, 0])))
    assert (records.equity[-1].session, records.equity[-1].positions_count) == (dates(panel)[row], 0)


def test_a_coin_without_further_bars_is_paid_out_the_day_after() -> None:
    panel = coin_panel(7, 330)
    victim = next(trade for trade in traded(panel).trades if trade.symbol == "ETH/USD" and trade.held_sessions >= 3)
    row, column = dates(panel).index(victim.opened_session), panel.symbols.index("ETH/USD")
    changed = {name: getattr(panel, name).copy() for name in FIELDS}
    for name in FIELDS:
        changed[name][row + 1 :, column] = np.nan
    plan_id = victim.trade_id.split("@")[0]
    found = next(trade for trade in traded(replace(panel, **changed)).trades if trade.trade_id.startswith(plan_id))
    assert (found.closed_by, found.closed_session) == (ClosedBy.DELISTED, dates(panel)[row + 1])
    assert found.exit_price_usd == Decimal(repr(float(panel.close[row, column])))


def test_a_day_without_its_open_trades_at_its_close() -> None:
    panel = coin_panel(8, 330, ("BTC/USD",))
    unknown = np.full(panel.close.shape, np.nan)
    records = traded(replace(panel, open=unknown, high=unknown, low=unknown))
    rows = {day: row for row, day in enumerate(dates(panel))}
    assert records.trades
    for trade in records.trades:
        if trade.closed_by is not ClosedBy.END:
            close = Decimal(repr(float(panel.close[rows[trade.opened_session], 0])))
            assert trade.entry_price_usd == close


def test_a_day_prints_twice_its_open_and_offers_as_much_in_all_as_a_day_of_shares() -> None:
    panel = coin_panel(9, 330, ("BTC/USD",))
    day = dates(panel)[300]
    prints = coin_market(panel).prints("BTC/USD", day)
    assert len(prints) == 49
    assert float(prints[0].size_shares or 0) == pytest.approx(float(np.mean(panel.volume[280:300, 0])) * 4 / 49)
    assert [at.at.minute for at in prints[:5]] == [3, 15, 45, 15, 45]
    corners = [prints[place].price_usd for place in (0, 1, 17, 33, 48)]
    bar = [Decimal(repr(float(field[300, 0]))) for field in (panel.open, panel.low, panel.high, panel.close)]
    assert corners == [bar[0], *bar]
    share_prints = market_of(seeded_panel(1, 60, 1)).prints("S00", dates(seeded_panel(1, 60, 1))[40])
    assert len(share_prints) == 4


def test_little_volume_fills_an_entry_in_parts_and_the_books_still_agree() -> None:
    panel = coin_panel(1, 330, ("BTC/USD", "ETH/USD"))
    records = traded(panel, Costs(slippage_bps=Decimal(5), capacity_frac=Decimal("0.00005")))
    sizes = [print_.size_shares for print_ in coin_market(panel).prints("ETH/USD", dates(panel)[300])]
    assert max(order.filled_shares for order in records.orders) > 5 * max(size or 0 for size in sizes) * Decimal("0.00005")
    summary = summary_of(records)
    assert summary["gross_final_equity_usd"] - summary["final_equity_usd"] == pytest.approx(summary["cost_usd"], abs=0.01)
    assert sum(trade.pnl_usd for trade in records.trades) == pytest.approx(records.equity[-1].equity_usd - CASH, abs=CENT)


def test_the_volatility_index_of_shares_says_nothing_of_coins() -> None:
    panel = coin_panel(4, 330)
    calm = BarMarket(
        panel, hours_of(CALENDAR, panel, Market.CRYPTO), asset_class=Market.CRYPTO, account_hours=hours_of(CALENDAR, panel),
        volatility_closes=dict.fromkeys(dates(panel), Decimal(5)),
    )  # fmt: skip
    parameters = parameters_of(panel, "momentum", exits=EXITS, market=Market.CRYPTO)
    assert run_backtest(calm, parameters, Costs().options(CASH), first=dates(panel)[230]).trades == traded(panel).trades


def test_coins_and_shares_in_one_configuration_leave_the_shares_out_and_say_so() -> None:
    panel = coin_panel(4, 330)
    coins = parameters_of(panel, "momentum", exits=EXITS, market=Market.CRYPTO)
    both = coins.model_copy(update={"universe": (*coins.universe, Instrument(symbol="ACME", sector="energy"))})
    records = run_backtest(coin_market(panel), both, Costs().options(CASH), first=dates(panel)[230])
    assert records.trades == traded(panel).trades
    assert any("trades one market, here crypto: 1 other symbols" in warning for warning in records.warnings)


def test_bars_of_coins_are_refused_by_a_configuration_of_shares() -> None:
    panel = coin_panel(4, 300)
    shares = ParameterSet(universe=(Instrument(symbol="ACME", sector="energy"),), strategies=("rsi",), votes_to_act_count_min=1)
    with pytest.raises(ConfigurationError, match="names no crypto instruments"):
        run_backtest(coin_market(panel), shares, Costs().options(CASH))


def minutes_of(cron: str) -> Iterator[timedelta]:
    """The times of day of the two first fields of a cron expression."""
    minute, hour = cron.split()[:2]
    first, _, step = minute.partition("/")
    hours = range(24) if hour == "*" else range(int(hour.split("-")[0]), int(hour.split("-")[-1]) + 1)
    for at_hour in hours:
        for at_minute in range(int(first), 60, int(step or 60)):
            yield timedelta(hours=at_hour, minutes=at_minute)


@pytest.mark.parametrize("market", list(Market))
def test_the_instants_of_a_desks_day_are_the_schedules(market: Market) -> None:
    """What is done after midnight for the session before is a day later on a session's own clock."""
    day, midnight = DESK_DAYS[market], timedelta(days=1)
    planned = {run.function: list(minutes_of(run.cron)) for run in SCHEDULES if run.market is market}
    assert planned["place_orders"] == [day.places_at]
    assert planned["review_performance"] == [day.reviews_at % midnight]
    assert planned["generate_signals"] == [day.decides_at % midnight]
    count = (day.looks_until - day.looks_from) // day.looks_every + 1
    looks = sorted((day.looks_from + day.looks_every * place) % midnight for place in range(count))
    assert looks == planned["reconcile"]
