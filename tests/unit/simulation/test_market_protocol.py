"""What the simulated exchange may rely on, held over both markets."""

import itertools
import random
from collections.abc import Iterator
from datetime import UTC, date, timedelta
from decimal import Decimal
from functools import cache

import pytest

from closebell.model.instruments import Market
from closebell.simulation.market import DayBar, ListedAsset, SimulatedMarket
from infra.local.real import build_real_market
from infra.local.synthetic import build_synthetic_market

SAMPLED_SESSIONS_COUNT = 12


@cache
def built(name: str) -> SimulatedMarket:
    return build_real_market() if name == "real" else build_synthetic_market()


@pytest.fixture(params=["real", "synthetic"])
def market(request: pytest.FixtureRequest) -> SimulatedMarket:
    return built(request.param)


def sampled(market: SimulatedMarket) -> Iterator[tuple[ListedAsset, date]]:
    """Every asset on some of its sessions, the first and the last among them."""
    rng = random.Random(11)
    for asset in market.assets():
        sessions = [hours.session for hours in market.sessions(asset.market)]
        for session in {sessions[0], sessions[-1], *rng.sample(sessions, SAMPLED_SESSIONS_COUNT)}:
            yield asset, session


def span(market: SimulatedMarket, asset: ListedAsset) -> tuple[date, date]:
    sessions = market.sessions(asset.market)
    return sessions[0].session, sessions[-1].session


def bar_on(market: SimulatedMarket, symbol: str, session: date) -> DayBar | None:
    bars = market.day_bars(symbol, session, session)
    assert len(bars) <= 1
    return bars[0] if bars else None


def test_sessions_ascend_without_overlap_in_utc(market: SimulatedMarket) -> None:
    assert market.sessions(Market.US_EQUITY)
    for name in Market:
        sessions = market.sessions(name)
        assert all(hours.opens_at < hours.closes_at for hours in sessions)
        assert all(hours.opens_at.tzinfo is UTC and hours.closes_at.tzinfo is UTC for hours in sessions)
        assert all(name.date_of(hours.opens_at) == hours.session for hours in sessions)
        for before, after in itertools.pairwise(sessions):
            assert before.session < after.session
            assert before.closes_at <= after.opens_at


def test_each_symbol_is_listed_once_in_a_market_that_has_sessions(market: SimulatedMarket) -> None:
    symbols = [asset.symbol for asset in market.assets()]
    assert len(symbols) == len(set(symbols))
    for asset in market.assets():
        assert market.sessions(asset.market)
        assert asset.name
        assert asset.increment_shares > 0
        assert 0 <= asset.spread_frac < Decimal("0.01")


def test_prints_ascend_inside_the_hours_of_their_session(market: SimulatedMarket) -> None:
    hours = {(name, each.session): each for name in Market for each in market.sessions(name)}
    for asset, session in sampled(market):
        times = [each.at for each in market.prints(asset.symbol, session)]
        assert times == sorted(set(times))
        if times:
            assert hours[asset.market, session].opens_at <= times[0]
            assert times[-1] <= hours[asset.market, session].closes_at


def test_a_bar_is_what_its_prints_say(market: SimulatedMarket) -> None:
    bars_count = 0
    for asset, session in sampled(market):
        bar, tape = bar_on(market, asset.symbol, session), market.prints(asset.symbol, session)
        assert (bar is None) == (not tape)
        if bar is None:
            continue
        bars_count += 1
        prices = [each.price_usd for each in tape]
        assert all(price_usd > 0 for price_usd in prices)
        assert bar == DayBar(session, prices[0], max(prices), min(prices), prices[-1], bar.volume_shares)
        sizes = [each.size_shares for each in tape if each.size_shares is not None]
        if sizes:
            assert all(size > 0 for size in sizes)
            assert len(sizes) == len(tape)
            assert sum(sizes) == bar.volume_shares
    assert bars_count > SAMPLED_SESSIONS_COUNT * len(market.assets()) * 0.9


def test_bars_of_a_range_are_the_bars_of_its_sessions(market: SimulatedMarket) -> None:
    for asset in market.assets():
        sessions = [hours.session for hours in market.sessions(asset.market)][-260:-200]
        singly = [bar for session in sessions if (bar := bar_on(market, asset.symbol, session))]
        assert list(market.day_bars(asset.symbol, sessions[0], sessions[-1])) == singly


def test_bars_of_everything_are_the_bars_of_the_whole_span(market: SimulatedMarket) -> None:
    for asset in market.assets()[::9]:
        everything = market.day_bars(asset.symbol, date.min, date.max - timedelta(days=1))
        assert everything == market.day_bars(asset.symbol, *span(market, asset))
        assert everything


def test_nothing_prints_during_a_halt(market: SimulatedMarket) -> None:
    for asset in market.assets():
        for hours in market.sessions(asset.market)[-200:]:
            halts = market.halts(asset.symbol, hours.session)
            for begin, end in halts:
                assert hours.opens_at <= begin < end <= hours.closes_at
                assert not [each for each in market.prints(asset.symbol, hours.session) if begin <= each.at < end]


def test_a_symbol_that_is_not_listed_has_nothing(market: SimulatedMarket) -> None:
    session = market.sessions(Market.US_EQUITY)[-1].session
    for symbol in ("NOPE", "", "BTCUSD"):
        assert market.prints(symbol, session) == ()
        assert market.day_bars(symbol, date(1990, 1, 1), date(2030, 1, 1)) == ()
        assert market.splits(symbol) == ()
        assert market.halts(symbol, session) == ()


def test_a_day_without_a_session_has_no_prints_and_no_bars(market: SimulatedMarket) -> None:
    for asset in market.assets():
        first, last = span(market, asset)
        known = {hours.session for hours in market.sessions(asset.market)}
        idle = [day for offset in range(-3, 8) if (day := last - timedelta(days=offset)) not in known]
        assert idle
        for day in (*idle, first - timedelta(days=1)):
            assert market.prints(asset.symbol, day) == ()
            assert market.day_bars(asset.symbol, day, day) == ()


def test_a_range_that_ends_before_it_begins_has_no_bars(market: SimulatedMarket) -> None:
    for asset in market.assets():
        first, last = span(market, asset)
        assert market.day_bars(asset.symbol, last, first) == ()


def test_splits_ascend_and_happen_on_sessions(market: SimulatedMarket) -> None:
    for asset in market.assets():
        days = [split.ex_session for split in market.splits(asset.symbol)]
        assert days == sorted(set(days))
        assert {hours.session for hours in market.sessions(asset.market)} >= set(days)
        assert all(split.ratio > 0 != split.ratio - 1 for split in market.splits(asset.symbol))


def test_volatility_closes_belong_to_equity_sessions(market: SimulatedMarket) -> None:
    closes = market.volatility_index()
    assert {hours.session for hours in market.sessions(Market.US_EQUITY)} >= set(closes)
    assert list(closes) == sorted(closes)
    assert all(5 < points < 100 for points in closes.values())


def test_headlines_are_published_on_their_date_about_listed_symbols(market: SimulatedMarket) -> None:
    symbols = {asset.symbol for asset in market.assets()}
    last = market.sessions(Market.US_EQUITY)[-1].session
    for day in (last - timedelta(days=offset) for offset in range(120)):
        items = market.headlines(day)
        assert [item.published_at for item in items] == sorted(item.published_at for item in items)
        for item in items:
            assert {name.date_of(item.published_at) for name in Market} == {day}
            assert set(item.symbols) <= symbols


def test_reading_twice_gives_the_same(market: SimulatedMarket) -> None:
    readings = list(sampled(market))
    first = {(asset.symbol, session): market.prints(asset.symbol, session) for asset, session in readings}
    random.Random(5).shuffle(readings)
    assert {(asset.symbol, session): market.prints(asset.symbol, session) for asset, session in readings} == first
