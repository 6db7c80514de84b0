"""The synthetic market: equal for equal seeds, and with everything a real market does to a desk."""

import hashlib
import itertools
import random
import re
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import numpy as np
import pytest
from numpy.typing import NDArray

from closebell.adapters.exchange_calendar import ExchangeCalendar
from closebell.model.instruments import Market
from closebell.simulation.synthetic.factors import market_factor
from closebell.simulation.synthetic.grid import on_grid, price
from closebell.simulation.synthetic.headlines import NASTY
from closebell.simulation.synthetic.listing import instruments
from closebell.simulation.synthetic.market import HISTORY_FROM, LAST_SESSION, START, SyntheticMarket
from infra.local.synthetic import build_synthetic_market

COMPANIES = [instrument for instrument in instruments() if instrument.market is Market.US_EQUITY]


@pytest.fixture(scope="module")
def market() -> SyntheticMarket:
    return build_synthetic_market()


def market_until(last: date) -> SyntheticMarket:
    return SyntheticMarket(7, ExchangeCalendar().sessions(Market.US_EQUITY, HISTORY_FROM, last), START)


def traded_sessions(market: SyntheticMarket) -> list[date]:
    """The equity sessions from the start on."""
    return [hours.session for hours in market.sessions(Market.US_EQUITY) if hours.session >= START]


def log_returns(market: SyntheticMarket, symbols: list[str]) -> NDArray[np.float64]:
    """Sessions x symbols of close to close log returns; only symbols that always trade and never split."""
    closes = [[float(bar.close_usd) for bar in market.day_bars(symbol, HISTORY_FROM, LAST_SESSION)] for symbol in symbols]
    logs = np.log(np.array(closes, dtype=np.float64)).T
    return logs[1:] - logs[:-1]


def steady_companies(market: SyntheticMarket) -> list[tuple[str, str]]:
    """(symbol, sector) of the companies without an incident."""
    told = market.incidents
    troubled = {*told.splits, *told.halted_all_day, *told.delisted_from, *told.thin}
    return [(company.symbol, company.sector) for company in COMPANIES if company.symbol not in troubled]


def call(market: SyntheticMarket, request: tuple[str, str, date]) -> object:
    """One reading of the market."""
    what, symbol, day = request
    match what:
        case "prints":
            return market.prints(symbol, day)
        case "bars":
            return market.day_bars(symbol, day - timedelta(days=20), day)
        case "halts":
            return market.halts(symbol, day)
        case _:
            return market.headlines(day)


def requests(market: SyntheticMarket, count: int) -> list[tuple[str, str, date]]:
    rng = random.Random(3)
    symbols = [asset.symbol for asset in market.assets()]
    days = [START + timedelta(days=offset) for offset in range(40)]
    return [(rng.choice(["prints", "bars", "halts", "headlines"]), rng.choice(symbols), rng.choice(days)) for _ in range(count)]


def test_its_label_says_synthetic(market: SyntheticMarket) -> None:
    assert market.label.startswith("SYNTHETIC")
    assert market.is_synthetic


def test_sixty_companies_in_eleven_sectors_with_a_fund_each_an_index_fund_and_five_pairs(market: SyntheticMarket) -> None:
    symbols = [asset.symbol for asset in market.assets()]
    assert len(COMPANIES) == 60
    assert len({company.sector for company in COMPANIES}) == 11
    assert [symbol for symbol in symbols if symbol.endswith("0")] == [
        "COM0", "DIS0", "STA0", "ENE0", "FIN0", "HEA0", "IND0", "TEC0", "MAT0", "REA0", "UTI0", "IDX0",
    ]
    assert [symbol for symbol in symbols if "/" in symbol] == ["BTC/USD", "ETH/USD", "SOL/USD", "LTC/USD", "DOGE/USD"]


def test_no_equity_could_be_mistaken_for_a_real_one(market: SyntheticMarket) -> None:
    for asset in market.assets():
        assert asset.name.startswith("Synthetic ")
        if asset.market is Market.US_EQUITY:
            assert re.fullmatch(r"[A-Z]{3}\d", asset.symbol)


def test_the_same_seed_gives_the_same_market_in_any_order_of_calls(market: SyntheticMarket) -> None:
    asked = requests(market, 300)
    shuffled = random.Random(4).sample(asked, len(asked))
    other = build_synthetic_market()
    answers = {request: call(other, request) for request in shuffled}
    assert {request: call(market, request) for request in asked} == answers
    assert market.volatility_index() == other.volatility_index()


def test_another_seed_gives_another_market(market: SyntheticMarket) -> None:
    other = build_synthetic_market(seed=8)
    assert other.prints("TEC1", START) != market.prints("TEC1", START)
    assert other.incidents != market.incidents
    assert other.label != market.label


def test_the_market_of_seed_7_is_pinned(market: SyntheticMarket) -> None:
    # A change here is a change of every stored synthetic result: say so in CHANGELOG.md.
    digest = hashlib.sha256()
    for asset in market.assets():
        for each in market.prints(asset.symbol, date(2023, 11, 24)):
            digest.update(f"{asset.symbol} {each.at:%H:%M:%S} {each.price_usd} {each.size_shares}\n".encode())
    assert digest.hexdigest()[:16] == "07d9b02a64ccf8b9"


def test_a_longer_calendar_changes_no_earlier_session() -> None:
    last = date(2023, 12, 29)
    short, long = market_until(last), market_until(LAST_SESSION)
    for asset in short.assets():
        assert short.day_bars(asset.symbol, HISTORY_FROM, last) == long.day_bars(asset.symbol, HISTORY_FROM, last)
    assert short.prints("FIN1", last) == long.prints("FIN1", last)
    assert short.volatility_index().items() <= long.volatility_index().items()


def test_a_market_without_sessions_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one equity session"):
        SyntheticMarket(7, (), START)


def test_a_market_of_one_session_works() -> None:
    market = SyntheticMarket(7, ExchangeCalendar().sessions(Market.US_EQUITY, START, START), START)
    assert len(market.day_bars("IDX0", START, START)) == 1
    assert market.headlines(START)


def test_prices_drop_by_the_ratio_on_the_day_of_a_split(market: SyntheticMarket) -> None:
    splits = {asset.symbol: split for asset in market.assets() for split in market.splits(asset.symbol)}
    assert sorted(split.ratio for split in splits.values()) == [Decimal("0.1"), Decimal(2), Decimal(4)]
    assert sum(START <= split.ex_session <= traded_sessions(market)[9] for split in splits.values()) == 2
    for symbol, split in splits.items():
        before, after = market.day_bars(symbol, split.ex_session - timedelta(days=5), split.ex_session)[-2:]
        assert after.session == split.ex_session
        assert float(after.open_usd * split.ratio / before.close_usd) == pytest.approx(1, abs=0.15)
        assert market.prints(symbol, split.ex_session)[0].price_usd == after.open_usd


def test_nothing_prints_inside_a_halt_and_trading_resumes_with_a_print(market: SyntheticMarket) -> None:
    ((symbol, (session, (halted_at, resumed_at))),) = market.incidents.halts.items()
    assert session == traded_sessions(market)[1]
    assert market.halts(symbol, session) == ((halted_at, resumed_at),)
    times = [each.at for each in market.prints(symbol, session)]
    assert times[0] < halted_at < resumed_at < times[-1]
    assert times == sorted(times)
    assert [at for at in times if resumed_at <= at <= resumed_at + timedelta(minutes=30)]
    assert not [at for at in times if halted_at <= at < resumed_at]
    assert market.halts(symbol, session + timedelta(days=1)) == ()


def test_a_day_long_halt_leaves_no_print_and_no_bar(market: SyntheticMarket) -> None:
    ((symbol, session),) = market.incidents.halted_all_day.items()
    hours = next(hours for hours in market.sessions(Market.US_EQUITY) if hours.session == session)
    assert market.halts(symbol, session) == ((hours.opens_at, hours.closes_at),)
    assert market.prints(symbol, session) == ()
    assert market.day_bars(symbol, session, session) == ()
    assert market.prints(symbol, session + timedelta(days=1)) != ()


def test_a_delisted_company_never_trades_again(market: SyntheticMarket) -> None:
    ((symbol, gone_from),) = market.incidents.delisted_from.items()
    assert gone_from == traded_sessions(market)[5]
    assert market.day_bars(symbol, START, LAST_SESSION)[-1].session == traded_sessions(market)[4]
    assert market.prints(symbol, traded_sessions(market)[4]) != ()
    assert market.day_bars(symbol, gone_from, LAST_SESSION) == ()
    assert market.prints(symbol, traded_sessions(market)[5]) == ()


def test_prints_are_missing_now_and_then_and_often_from_thin_companies(market: SyntheticMarket) -> None:
    def printed_frac(symbols: list[str]) -> float:
        tapes = [market.prints(symbol, session) for symbol in symbols for session in traded_sessions(market)[10:60]]
        return float(np.mean([len(tape) / 27 for tape in tapes if tape]))

    assert 0.9 < printed_frac([symbol for symbol, _ in steady_companies(market)][:5]) < 0.99
    assert 0.5 < printed_frac(sorted(market.incidents.thin)) < 0.8
    sessions_count = len(market.sessions(Market.US_EQUITY))
    for symbol in market.incidents.thin:
        assert 0.94 * sessions_count < len(market.day_bars(symbol, HISTORY_FROM, LAST_SESSION)) < sessions_count


def test_an_equity_prints_each_quarter_hour_from_open_to_close(market: SyntheticMarket) -> None:
    steps = {second.at - first.at for first, second in itertools.pairwise(market.prints("IDX0", START))}
    assert min(steps) == timedelta(minutes=15)
    assert all(step % timedelta(minutes=15) == timedelta(0) for step in steps)


def test_a_half_day_ends_at_one_in_new_york(market: SyntheticMarket) -> None:
    tape = market.prints("IDX0", date(2023, 11, 24))
    assert tape[0].at == datetime(2023, 11, 24, 14, 30, tzinfo=UTC)
    assert tape[-1].at == datetime(2023, 11, 24, 18, 0, tzinfo=UTC)
    assert market.prints("IDX0", date(2023, 11, 23)) == ()


def test_crypto_prints_each_half_hour_on_weekends_too_and_goes_on_where_it_was(market: SyntheticMarket) -> None:
    saturday, sunday = (market.prints("BTC/USD", date(2023, 11, day)) for day in (18, 19))
    assert len(saturday) == 49
    assert saturday[1].at - saturday[0].at == timedelta(minutes=30)
    assert saturday[0].at == datetime(2023, 11, 18, tzinfo=UTC)
    assert saturday[-1].at == datetime(2023, 11, 18, 23, 59, 59, tzinfo=UTC)
    assert float(sunday[0].price_usd / saturday[-1].price_usd) == pytest.approx(1, abs=0.002)
    assert market.prints("TEC1", date(2023, 11, 18)) == ()


def test_sizes_follow_a_u(market: SyntheticMarket) -> None:
    by_phase: dict[int, list[float]] = {0: [], 1: [], 2: []}
    for session in traded_sessions(market)[:9]:
        tape = market.prints("IDX0", session)
        for place, each in enumerate(tape):
            assert each.size_shares is not None
            by_phase[3 * place // len(tape)].append(float(each.size_shares))
    early, midday, late = (float(np.mean(sizes)) for sizes in by_phase.values())
    assert early > 1.3 * midday
    assert late > 1.3 * midday


def test_the_path_wanders_between_its_turns(market: SyntheticMarket) -> None:
    at_a_limit = []
    for session in traded_sessions(market)[:20]:
        prices = [each.price_usd for each in market.prints("IDX0", session)]
        at_a_limit += [price_usd in {min(prices), max(prices)} for price_usd in prices]
    assert np.mean(at_a_limit) < 0.25


def test_shares_gap_overnight(market: SyntheticMarket) -> None:
    gaps = []
    for symbol, _ in steady_companies(market):
        bars = market.day_bars(symbol, HISTORY_FROM, LAST_SESSION)
        gaps += [abs(float(after.open_usd / before.close_usd) - 1) for before, after in itertools.pairwise(bars)]
    assert 0.002 < float(np.median(gaps)) < 0.01
    assert sum(gap > 0.05 for gap in gaps) > 50


def test_the_market_has_clusters_fat_tails_fear_and_regimes() -> None:
    shares = market_factor(7, "shares", 20_000)
    moves = shares.returns - shares.returns.mean()
    size = np.abs(moves)
    # Independent draws would give about 0 with a standard error of 0.007.
    assert np.corrcoef(size[20:], size[:-20])[0, 1] > 0.05
    assert np.corrcoef(moves[:-1], shares.volatility[1:])[0, 1] < -0.05
    assert float(np.mean(moves**4) / moves.var() ** 2) > 4
    assert 0.10 < float(moves.std() * np.sqrt(252)) < 0.30
    calm, wild = (shares.volatility < 0.008).mean(), (shares.volatility > 0.014).mean()
    assert 0.15 < calm < 0.6
    assert 0.10 < wild < 0.5
    assert shares.returns[shares.volatility < 0.008].mean() > shares.returns[shares.volatility > 0.014].mean()


def test_companies_move_with_the_market_and_more_so_within_a_sector(market: SyntheticMarket) -> None:
    named = steady_companies(market)
    returns = log_returns(market, [symbol for symbol, _ in named])
    index = log_returns(market, ["IDX0"])[:, 0]
    assert float(np.corrcoef(returns.mean(axis=1), index)[0, 1]) > 0.9
    beta = (index @ returns) / (index @ index)
    rest = np.asarray(np.corrcoef((returns - np.outer(index, beta)).T))
    sectors = np.array([sector for _, sector in named])
    same = (sectors[:, None] == sectors) & ~np.eye(len(named), dtype=bool)
    assert rest[same].mean() > rest[sectors[:, None] != sectors].mean() + 0.05


def test_a_sector_fund_moves_with_its_companies(market: SyntheticMarket) -> None:
    members = [symbol for symbol, sector in steady_companies(market) if sector == "Information Technology"]
    own, other = log_returns(market, ["TEC0"])[:, 0], log_returns(market, ["UTI0"])[:, 0]
    mean = log_returns(market, members).mean(axis=1)
    assert np.corrcoef(mean, own)[0, 1] > np.corrcoef(mean, other)[0, 1] + 0.02


def test_the_vix_follows_realised_volatility(market: SyntheticMarket) -> None:
    returns = log_returns(market, ["IDX0"])[:, 0]
    realised = np.array([returns[end - 21 : end].std() for end in range(21, len(returns) + 1)])
    vix = np.array([float(close) for close in market.volatility_index().values()])[21:]
    assert np.corrcoef(vix, realised)[0, 1] > 0.6
    assert vix.min() < 15
    assert vix.max() > 25


@pytest.mark.parametrize(
    ("value_usd", "market_name", "on_the_grid"),
    [
        (41.456, Market.US_EQUITY, "41.46"), (1.0, Market.US_EQUITY, "1.00"), (0.12344, Market.US_EQUITY, "0.1234"),
        (41.456, Market.CRYPTO, "41.46"), (0.1234567, Market.CRYPTO, "0.123457"),
    ],
)
def test_prices_are_cents_from_one_dollar_on_and_finer_below(value_usd: float, market_name: Market, on_the_grid: str) -> None:
    rounded = on_grid(np.array([[value_usd]]), market_name)
    assert str(price(rounded[0, 0], market_name)) == on_the_grid
    assert float(rounded[0, 0]) == float(on_the_grid)


def test_every_price_lies_on_the_venues_grid(market: SyntheticMarket) -> None:
    for asset in market.assets():
        for bar in market.day_bars(asset.symbol, HISTORY_FROM, LAST_SESSION)[::7]:
            for price_usd in (bar.open_usd, bar.high_usd, bar.low_usd, bar.close_usd):
                below_one = 6 if asset.market is Market.CRYPTO else 4
                assert -int(price_usd.as_tuple().exponent) == (2 if price_usd >= 1 else below_one)


def test_equities_trade_whole_shares_in_volumes_that_make_sense(market: SyntheticMarket) -> None:
    for company in COMPANIES:
        for bar in market.day_bars(company.symbol, START, LAST_SESSION)[::10]:
            assert bar.volume_shares is not None
            assert bar.volume_shares == int(bar.volume_shares)
            assert 1_000_000 < bar.volume_shares * bar.close_usd < 30_000_000_000


def test_all_nasty_headlines_come_within_three_weeks(market: SyntheticMarket) -> None:
    texts = [item.headline for offset in range(21) for item in market.headlines(START + timedelta(days=offset))]
    for template in NASTY:
        assert any(template.format(company.symbol) in texts for company in COMPANIES)


def test_the_largest_overnight_gaps_make_news_before_the_open_and_a_split_is_no_gap(market: SyntheticMarket) -> None:
    days = [hours.session for hours in market.sessions(Market.US_EQUITY)]
    for split in market.incidents.splits.values():
        session, before = split.ex_session, days[days.index(split.ex_session) - 1]
        gaps = {}
        for company in COMPANIES:
            bars = market.day_bars(company.symbol, before, session)
            if len(bars) == 2 and company.symbol not in market.incidents.splits:
                gaps[company.symbol] = abs(np.log(float(bars[1].open_usd / bars[0].close_usd)))
        told = [item for item in market.headlines(session) if item.published_at.hour < 12]
        assert {symbol for item in told for symbol in item.symbols} == set(sorted(gaps, key=lambda name: -gaps[name])[:2])


def test_incidents_make_news_on_their_day(market: SyntheticMarket) -> None:
    ((symbol, (session, (halted_at, _))),) = market.incidents.halts.items()
    assert (halted_at, f"Trading in {symbol} halted, news pending") in {
        (item.published_at, item.headline) for item in market.headlines(session)
    }
    for symbol, split in market.incidents.splits.items():
        told = {item.headline for item in market.headlines(split.ex_session)}
        assert f"{symbol} splits today: {split.ratio} new for each old share" in told
    for symbol, gone_from in market.incidents.delisted_from.items():
        assert f"{symbol} is delisted from today" in {item.headline for item in market.headlines(gone_from)}


def test_news_ids_are_unique_and_the_span_has_an_end(market: SyntheticMarket) -> None:
    ids = [item.news_id for offset in range(60) for item in market.headlines(START + timedelta(days=offset))]
    assert len(ids) == len(set(ids)) > 60
    assert market.headlines(LAST_SESSION + timedelta(days=1)) == ()
