"""Real prices against the packages' own files, read here the naive way."""

import gzip
import importlib.util
import sys
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace

import pytest

from closebell.adapters.exchange_calendar import ExchangeCalendar
from closebell.model.errors import ConfigurationError
from closebell.model.instruments import Market
from closebell.simulation.real_prices import RealPrices

STOCKS = [
    "AAPL", "AMD", "BAC", "BBY", "CVX", "GE", "HD", "JNJ", "JPM", "KO", "LLY", "MRK", "MSFT", "PEP", "PFE", "PG", "RRC", "UNH",
    "WMT", "XOM",
]
SESSIONS = [date(2018, 9, 4), date(2018, 10, 10), date(2018, 11, 23), date(2018, 12, 24), date(2015, 8, 24), date(2018, 12, 31)]


Table = dict[str, dict[str, str]]


def raw(package: str, file: str) -> Table:
    """date -> column -> text."""
    spec = importlib.util.find_spec(package)
    assert spec is not None
    assert spec.submodule_search_locations
    lines = gzip.decompress(Path(spec.submodule_search_locations[0], file).read_bytes()).decode().splitlines()
    header = lines[0].split(",")
    return {line.split(",")[0]: dict(zip(header, line.split(","), strict=True)) for line in lines[1:]}


def american(session: date) -> str:
    return f"{session.month}/{session.day}/{session.year}"


@pytest.fixture(scope="module")
def market() -> RealPrices:
    return RealPrices(ExchangeCalendar())


@pytest.fixture(scope="module")
def closes() -> Table:
    return raw("skfolio", "datasets/data/sp500_dataset.csv.gz")


def test_the_label_says_what_is_real(market: RealPrices) -> None:
    assert market.label == "real adjusted closes (skfolio), index OHLCV and VIX (arch)"
    assert not market.is_synthetic


def test_stocks_are_tradable_and_indices_are_not(market: RealPrices) -> None:
    tradable = {asset.symbol: asset.tradable for asset in market.assets()}
    assert tradable == dict.fromkeys(STOCKS, True) | {"SPX": False, "IXIC": False}
    assert [instrument.symbol for instrument in market.instruments()] == STOCKS


@pytest.mark.parametrize("session", SESSIONS, ids=str)
def test_a_stock_prints_its_close_in_cents_once_at_the_close(market: RealPrices, closes: Table, session: date) -> None:
    hours = next(hours for hours in market.sessions(Market.US_EQUITY) if hours.session == session)
    for symbol in STOCKS:
        ((at, price_usd, size_shares, is_path),) = market.prints(symbol, session)
        assert not is_path
        assert at == hours.closes_at
        assert size_shares is None
        assert price_usd.as_tuple().exponent == -2
        assert abs(price_usd - Decimal(closes[str(session)][symbol])) <= Decimal("0.005")


def test_a_stock_below_one_dollar_prints_every_decimal_of_its_close(market: RealPrices, closes: Table) -> None:
    session = date(2001, 1, 3)
    close = Decimal(closes[str(session)]["AAPL"])
    assert close < 1
    assert market.prints("AAPL", session)[0].price_usd == close


def test_a_half_day_closes_at_one_in_new_york(market: RealPrices) -> None:
    assert market.prints("AAPL", date(2018, 11, 23))[0].at == datetime(2018, 11, 23, 18, tzinfo=UTC)
    assert market.prints("AAPL", date(2018, 12, 24))[0].at == datetime(2018, 12, 24, 18, tzinfo=UTC)


def test_a_stock_has_a_bar_of_one_price_and_no_volume(market: RealPrices) -> None:
    (bar,) = market.day_bars("KO", date(2018, 10, 10), date(2018, 10, 10))
    assert bar.open_usd == bar.high_usd == bar.low_usd == bar.close_usd == market.prints("KO", date(2018, 10, 10))[0].price_usd
    assert bar.volume_shares is None


def test_every_symbol_has_a_bar_for_every_session(market: RealPrices) -> None:
    sessions = [hours.session for hours in market.sessions(Market.US_EQUITY)]
    assert (sessions[0], sessions[-1], len(sessions)) == (date(1999, 1, 4), date(2018, 12, 31), 5031)
    for asset in market.assets():
        assert [bar.session for bar in market.day_bars(asset.symbol, date.min, date.max)] == sessions


@pytest.mark.parametrize(("symbol", "file"), [("SPX", "sp500"), ("IXIC", "nasdaq")])
@pytest.mark.parametrize("session", SESSIONS, ids=str)
def test_an_index_has_its_real_bar(market: RealPrices, symbol: str, file: str, session: date) -> None:
    source = raw("arch", f"data/{file}/{file}.csv.gz")[american(session)]
    (bar,) = market.day_bars(symbol, session, session)
    cents = [round(Decimal(source[column]), 2) for column in ("Open", "High", "Low", "Close")]
    assert [bar.open_usd, bar.high_usd, bar.low_usd, bar.close_usd] == cents
    assert bar.volume_shares == int(source["Volume"])


def test_an_index_prints_its_low_before_its_high(market: RealPrices) -> None:
    session = date(2018, 10, 10)
    (bar,) = market.day_bars("SPX", session, session)
    tape = market.prints("SPX", session)
    assert [each.price_usd for each in tape] == [bar.open_usd, bar.low_usd, bar.high_usd, bar.close_usd]
    assert [each.at - tape[0].at for each in tape] == [timedelta(minutes=130 * step) for step in range(4)]


def test_the_vix_has_a_close_for_every_session_since_2014_and_none_on_holidays(market: RealPrices) -> None:
    closes = market.volatility_index()
    assert list(closes) == [hours.session for hours in market.sessions(Market.US_EQUITY) if hours.session >= date(2014, 1, 3)]
    source = raw("arch", "data/vix/vix.csv.gz")
    assert all(closes[session] == Decimal(source[american(session)]["vix"]) for session in SESSIONS)
    assert date(2018, 12, 5) not in closes


def test_there_is_no_crypto_and_nothing_is_made_up(market: RealPrices) -> None:
    assert market.sessions(Market.CRYPTO) == ()
    assert market.headlines(date(2018, 10, 10)) == ()
    assert all(market.splits(asset.symbol) == () for asset in market.assets())
    assert market.halts("AAPL", date(2018, 10, 10)) == ()


def test_neither_package_is_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    for package in ("skfolio", "arch"):
        monkeypatch.delitem(sys.modules, package, raising=False)
    RealPrices(ExchangeCalendar())
    assert not {"skfolio", "arch"} & set(sys.modules)


@pytest.mark.parametrize("package", ["skfolio", "arch"])
def test_a_missing_package_is_named_with_the_mend(monkeypatch: pytest.MonkeyPatch, package: str) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == package else find(name))
    with pytest.raises(ConfigurationError, match=rf"'{package}'.*make setup"):
        RealPrices(ExchangeCalendar())


def test_a_package_without_its_file_is_named_with_the_mend(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: SimpleNamespace(submodule_search_locations=[str(tmp_path)]))
    with pytest.raises(ConfigurationError, match=r"sp500_dataset\.csv\.gz.*make setup"):
        RealPrices(ExchangeCalendar())


def test_a_file_of_another_shape_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "datasets" / "data" / "sp500_dataset.csv.gz"
    file.parent.mkdir(parents=True)
    file.write_bytes(gzip.compress(b"Date,MSFT,AAPL\n2018-01-02,1,2\n"))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: SimpleNamespace(submodule_search_locations=[str(tmp_path)]))
    with pytest.raises(ConfigurationError, match=r"unexpected columns.*make setup"):
        RealPrices(ExchangeCalendar())
