"""What a market of bars knows without its tape is what the tape would show."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import date, datetime, timedelta
from decimal import Decimal

import numpy as np
import pytest

from closebell.model.panel import FIELDS, BarPanel
from closebell.simulation.bar_market import BarMarket, hours_of
from closebell.simulation.exchange.exchange import Exchange
from closebell.simulation.exchange.tape import ExchangeTape
from closebell.simulation.exchange.trading_floor import ExchangeOptions
from closebell.simulation.market import PriceBand
from tests.contract.tiny_market import ny, own, send
from tests.unit.backtest.markets import CALENDAR, coin_market, coin_panel, market_of, seeded_panel

D = Decimal


def holed(panel: BarPanel) -> BarPanel:
    """A tenth of the bars is missing, and some of the others have a close alone."""
    generator = np.random.default_rng(5)
    unknown, alone = generator.random(panel.close.shape) < 0.1, generator.random(panel.close.shape) < 0.1
    hidden = {field: np.where(unknown | (alone & (field != "close")), np.nan, getattr(panel, field)) for field in FIELDS}
    return BarPanel(panel.sessions, panel.symbols, *hidden.values())


MARKETS = (market_of(holed(seeded_panel(3, 90, 3, 0.03))), coin_market(holed(coin_panel(4, 90))))


def sessions_of(market: BarMarket) -> list[date]:
    days: list[date] = market.panel.sessions.astype(object).tolist()
    return days


def prints_of(market: BarMarket, symbol: str, first: date) -> Iterator[tuple[date, D]]:
    for session in sessions_of(market):
        if session >= first:
            yield from ((session, one.price_usd) for one in market.prints(symbol, session))


@pytest.mark.parametrize("market", MARKETS, ids=["shares", "coins"])
@pytest.mark.parametrize(("below_frac", "above_frac"), [("0.9", "1.1"), ("0.97", "1.03"), (None, "1.2"), ("0.8", None)])
def test_the_first_session_outside_a_band_is_the_first_in_which_a_print_is(
    market: BarMarket, below_frac: str | None, above_frac: str | None
) -> None:
    for symbol in market.panel.symbols:
        for first in sessions_of(market)[::7]:
            base = next((price for _, price in prints_of(market, symbol, first)), D(1))
            low, high = below_frac and base * D(below_frac), above_frac and base * D(above_frac)
            outside = (
                session
                for session, price in prints_of(market, symbol, first)
                if (low and price <= low) or (high and price >= high)
            )
            band = PriceBand(low or None, high or None)
            assert market.first_session_outside(symbol, first, band) == next(outside, date.max)


@pytest.mark.parametrize("row", [63, 64, 65, 127, 128, 129])
def test_no_session_between_the_parts_of_a_search_is_passed_over(row: int) -> None:
    panel = seeded_panel(1, 150, 1)
    flat = np.full((150, 1), 50.0)
    low = flat.copy()
    low[row] = 40.0
    market = market_of(replace(panel, open=flat, high=flat, low=low, close=flat))
    assert market.first_session_outside("S00", panel.days[0], PriceBand(D(45), D(60))) == panel.days[row]


def test_a_bound_that_is_touched_to_the_cent_counts_as_outside() -> None:
    market = MARKETS[0]
    symbol, first = market.panel.symbols[0], sessions_of(market)[40]
    lowest = min(price for _, price in prints_of(market, symbol, first))
    reached = next(session for session, price in prints_of(market, symbol, first) if price == lowest)
    assert market.first_session_outside(symbol, first, PriceBand(lowest, None)) == reached


@pytest.mark.parametrize("market", MARKETS, ids=["shares", "coins"])
def test_prices_between_sessions_are_the_last_prints(market: BarMarket) -> None:
    tape = ExchangeTape(market)
    for session in sessions_of(market)[1:-1]:
        instants = market.print_instants(session)
        for at in (instants[0] - timedelta(minutes=1), instants[-1], instants[-1] + timedelta(minutes=1)):
            for symbol in market.panel.symbols:
                found = tape.last_print(symbol, at)
                assert tape.last_price_usd(symbol, at) == (found[1].price_usd if found else None)


def test_the_price_before_the_open_of_an_ex_date_is_the_close_before_it_after_the_split() -> None:
    panel = replace(seeded_panel(1, 6, 1), close=np.full((6, 1), 50.0))
    market = BarMarket(panel, hours_of(CALENDAR, panel), splits={"S00": {panel.days[4]: 2.0}})
    tape = ExchangeTape(market)
    found = [tape.last_price_usd("S00", ny(panel.days[row], clock)) for row, clock in ((3, "18:00"), (4, "09:00"), (4, "18:00"))]
    assert found == [50, 25, 50]


def test_the_price_of_what_is_halted_stays_through_the_close_until_it_goes_on() -> None:
    market, day = one_wide_day()
    tape, evening = ExchangeTape(market), ny(day, "18:00")
    tape.stop("S00", ny(day, "10:00"))
    assert tape.last_price_usd("S00", evening) == 127
    tape.go_on("S00")
    assert tape.last_price_usd("S00", evening) == 128
    tape.stop("S00", ny(day, "10:00"))
    assert tape.last_price_usd("S00", evening) == 127, "a price that was asked for at the same instant is not kept"


@pytest.mark.parametrize("market", MARKETS, ids=["shares", "coins"])
def test_no_instant_of_a_day_is_cheaper_than_its_lowest_price(market: BarMarket) -> None:
    tape = ExchangeTape(market)
    told_count = 0
    for session in sessions_of(market)[1:-1]:
        instants = market.print_instants(session)
        for symbol, lowest in zip(market.panel.symbols, market.lowest_prices_usd(market.panel.symbols, session), strict=True):
            if not np.isnan(lowest):
                told_count += 1
                prices = [tape.last_price_usd(symbol, at) for at in (instants[0] - timedelta(minutes=1), *instants)]
                assert min(float(price or 0) for price in prices) >= lowest
    assert told_count > 100


def test_the_last_session_of_a_symbol_is_that_of_its_last_close() -> None:
    market = MARKETS[0]
    for symbol in market.panel.symbols:
        traded = [session for session in sessions_of(market) if market.prints(symbol, session)]
        assert market.last_session_of(symbol) == traded[-1]


def one_wide_day() -> tuple[BarMarket, date]:
    """Three days of one symbol; the second opens at 127, falls to 117, rises to 130 and closes at 128."""
    panel = seeded_panel(1, 3, 1)
    opened, high, low = (np.array([[128.0], [price], [128.0]]) for price in (127.0, 130.0, 117.0))
    wide = replace(panel, open=opened, high=high, low=low, close=np.full((3, 1), 128.0))
    return market_of(wide), panel.sessions[1].astype(object)


@pytest.mark.parametrize(("order_type", "prices"), [
    ("stop", {"stop_price_usd": 121}), ("stop_limit", {"stop_price_usd": 121, "limit_price_usd": 110}),
    ("limit", {"order_class": "oco", "limit_price_usd": 129, "take_profit_usd": 129, "stop_loss_usd": 121}),
])  # fmt: skip
def test_a_stop_that_the_price_had_passed_before_it_came_sells_at_once(order_type: str, prices: dict[str, int | str]) -> None:
    """What a limit has bought on the way down may be below its stop before that can rest: it is no free ride back up, and none
    to the target of its group."""
    market, day = one_wide_day()
    _, falls_at, rises_at, _ = market.print_instants(day)
    exchange = Exchange(market, falls_at)
    own(exchange, symbol="S00")
    order = send(exchange, "sell", order_type, "gtc", symbol="S00", **prices)
    exchange.advance(rises_at)
    stop = order.legs[0] if order.legs else order
    assert (stop.status, stop.filled_average_price_usd) == ("filled", D(117))


def test_a_stop_that_came_between_sessions_looks_at_the_open_first() -> None:
    market, day = one_wide_day()
    *_, closes_at = market.print_instants(day)
    exchange = Exchange(market, closes_at + timedelta(hours=1))
    own(exchange, symbol="S00")
    order = send(exchange, "sell", "stop", "gtc", symbol="S00", stop_price_usd=121)
    exchange.advance(closes_at + timedelta(days=1))
    assert order.status == "new"


def test_prices_are_those_that_the_broker_can_show() -> None:
    panel = seeded_panel(1, 3, 1)
    close = np.array([[0.0000012345678], [2.0 / 3.0], [600_000.015]])
    shown = market_of(replace(panel, open=close, high=close, low=close, close=close))
    days = [day.astype(object) for day in panel.sessions]
    assert [shown.close_usd("S00", day) for day in days] == [D("1.235E-6"), D("0.666666667"), D("600000.015")]


@pytest.mark.parametrize(("order_type", "prices"), [
    ("stop", {"stop_price_usd": 121}),
    ("limit", {"order_class": "oco", "limit_price_usd": 129, "take_profit_usd": 129, "stop_loss_usd": 121}),
])  # fmt: skip
def test_what_is_left_of_a_stop_gets_no_better_price_in_its_bar(order_type: str, prices: dict[str, int | str]) -> None:
    """The high may have come first: neither it, nor the target of the same group, saves what the low could not take."""
    market, day = one_wide_day()
    opens_at, _, _, closes_at = market.print_instants(day)
    thin = ExchangeOptions(print_share_frac=D(4) / D(repr(float(market.panel.volume[0, 0]))))
    exchange = Exchange(market, opens_at - timedelta(hours=1), thin)
    own(exchange, symbol="S00")
    order = send(exchange, "sell", order_type, "gtc", symbol="S00", **prices)
    exchange.advance(closes_at)
    stop = order.legs[0] if order.legs else order
    assert (stop.filled_shares, stop.filled_average_price_usd) == (D(10), D(121))
    assert exchange.floor.book.shares("S00") == 0


def test_what_a_print_offers_is_counted_in_shares_of_its_own_session() -> None:
    panel = replace(seeded_panel(1, 40, 1), volume=np.repeat([[4_000.0], [16_000.0]], (30, 10), axis=0))
    days = [day.astype(object) for day in panel.sessions]
    market = BarMarket(panel, hours_of(CALENDAR, panel), splits={"S00": {days[30]: 4.0}})
    offered = [market.prints("S00", day)[0].size_shares for day in days[28:36]]
    assert offered == [4_000, 4_000, *[16_000] * 6]


def test_what_a_print_offers_is_the_mean_of_the_volumes_that_are_known() -> None:
    volume = np.full((40, 1), 100.0)
    volume[:25] = np.nan
    volume[30] = np.nan
    market = market_of(replace(seeded_panel(1, 40, 1), volume=volume))
    offered = [market.prints("S00", day)[0].size_shares for day in sessions_of(market)]
    assert offered == [*[None] * 26, *[100] * 14]


def test_what_a_print_offers_is_the_mean_of_twenty_sessions() -> None:
    volume = np.full((40, 1), 1000.0)
    volume[10] = 21_000.0
    market = market_of(replace(seeded_panel(1, 40, 1), volume=volume))
    offered = [market.prints("S00", day)[0].size_shares for day in sessions_of(market)[9:33]]
    assert offered == [1000, 1000, *(round(1000 + 20_000 / count) for count in range(11, 21)), *[2000] * 10, 1000, 1000]


def test_the_spread_from_a_dollar_up_is_in_hundredths_of_a_cent() -> None:
    tape = ExchangeTape(market_of(seeded_panel(1, 3, 1), "0.0005"))
    assert [tape.half_spread_usd("S00", D(price)) for price in ("1", "0.9999")] == [D("0.0002"), D("0.000249975")]


def test_of_orders_that_rest_in_one_symbol_the_nearest_to_the_price_are_met_first() -> None:
    """Sessions in which nothing can trade are passed over: what is passed over is told by the nearest of them."""
    panel = seeded_panel(1, 8, 1)
    flat = np.full((8, 1), 128.0)
    high, low = flat.copy(), flat.copy()
    high[5], low[5] = 138.0, 117.0
    exchange = Exchange(market_of(replace(panel, open=flat, high=high, low=low, close=flat)), ny_evening(panel, 0))
    own(exchange, 40, "S00")
    stops = [send(exchange, "sell", "stop", "gtc", symbol="S00", stop_price_usd=price) for price in (110, 121)]
    limits = [send(exchange, "sell", "limit", "gtc", symbol="S00", limit_price_usd=price) for price in (135, 150)]
    for row in range(1, 7):
        exchange.advance(ny_evening(panel, row))
    assert [order.status for order in (*stops, *limits)] == ["new", "filled", "filled", "new"]


def ny_evening(panel: BarPanel, row: int) -> datetime:
    return ny(panel.days[row], "18:00")
