"""Bars, splits and headlines from scripted replies: sessions, gaps, pages, and how little memory a whole universe takes."""

import json
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from closebell.adapters.alpaca_data import BARS_A_PAGE, AlpacaMarketData
from closebell.adapters.alpaca_news import AlpacaNews
from closebell.model.errors import BrokerUnavailable, DataError
from closebell.model.instruments import Market
from tests.contract.scripted_venue import KEY_ID, SECRET_KEY, CannedReply, ScriptedVenue, ok, scripted_venue
from tests.contract.venue_payloads import bar, bars, story, without

EQUITY, CRYPTO = Market.US_EQUITY, Market.CRYPTO
FIRST, LAST = date(2018, 10, 31), date(2018, 11, 6)
SINCE = datetime(2018, 10, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def running_venue() -> Iterator[ScriptedVenue]:
    with scripted_venue() as venue:
        yield venue


@pytest.fixture
def venue(running_venue: ScriptedVenue) -> ScriptedVenue:
    running_venue.will_answer(ok({}))
    return running_venue


@pytest.fixture
def data(venue: ScriptedVenue) -> AlpacaMarketData:
    return AlpacaMarketData(KEY_ID, SECRET_KEY, venue.url)


@pytest.fixture
def news(venue: ScriptedVenue) -> AlpacaNews:
    return AlpacaNews(KEY_ID, SECRET_KEY, venue.url)


def test_sessions_are_new_york_dates_and_gaps_are_nan(venue: ScriptedVenue, data: AlpacaMarketData) -> None:
    """Daylight saving ended on 4 November 2018: midnight in New York is 04:00Z before and 05:00Z after."""
    venue.will_answer(ok(bars({
        "AAPL": [bar("2018-11-02T04:00:00Z", 1.5, o=1, h=2, l=0.5, v=7), bar("2018-11-05T05:00:00Z", 2.5, v=None)],
        "F": [bar("2018-11-05T05:00:00Z", None)],
    })))
    panel = data.daily_bars(["F", "GONE", "AAPL"], EQUITY, FIRST, LAST)
    assert [str(session) for session in panel.sessions] == ["2018-11-02", "2018-11-05"]
    assert panel.symbols == ("F", "GONE", "AAPL")
    nan = np.nan
    np.testing.assert_array_equal(panel.close, [[nan, nan, 1.5], [nan, nan, 2.5]])
    np.testing.assert_array_equal(panel.open, [[nan, nan, 1.0], [9.0, nan, 9.0]])
    np.testing.assert_array_equal(panel.high[0], [nan, nan, 2.0])
    np.testing.assert_array_equal(panel.low[0], [nan, nan, 0.5])
    np.testing.assert_array_equal(panel.volume, [[nan, nan, 7.0], [1000.0, nan, nan]])


def test_bars_are_asked_for_adjusted_and_behind_the_free_plans_quarter_hour(venue: ScriptedVenue, data: AlpacaMarketData) -> None:
    """Noon of the last session: past the stamp of its bar, before its close."""
    venue.will_answer(ok(bars({})))
    data.daily_bars(["AAPL", "F"], EQUITY, FIRST, LAST)
    query = venue.requests[0].query
    assert (query["adjustment"], query["feed"], query["timeframe"], query["symbols"]) == ("all", "sip", "1Day", "AAPL,F")
    assert query["start"] == "2018-10-31T00:00:00-04:00"
    assert query["end"] == "2018-11-06T12:00:00-05:00"
    assert venue.requests[0].path == "/v2/stocks/bars"


def test_a_forming_or_earlier_crypto_bar_is_not_taken(venue: ScriptedVenue, data: AlpacaMarketData) -> None:
    stamps = ["2018-10-30", "2018-10-31", "2018-11-06", "2018-11-07"]
    venue.will_answer(ok(bars({"BTC/USD": [bar(f"{stamp}T00:00:00Z") for stamp in stamps]})))
    panel = data.daily_bars(["BTC/USD"], CRYPTO, FIRST, LAST)
    assert [str(session) for session in panel.sessions] == ["2018-10-31", "2018-11-06"]
    query = venue.requests[0].query
    assert venue.requests[0].path == "/v1beta3/crypto/us/bars"
    assert (query["start"], query["end"]) == ("2018-10-31T00:00:00+00:00", "2018-11-06T12:00:00+00:00")
    assert query.keys().isdisjoint({"adjustment", "feed"})


@pytest.mark.parametrize("nothing", [None, {}, {"AAPL": []}, {"AAPL": None}, {"UNASKED": [bar("2018-11-02T04:00:00Z")]}])
def test_no_bars_is_an_empty_panel_with_every_column(venue: ScriptedVenue, data: AlpacaMarketData, nothing: object) -> None:
    venue.will_answer(ok(bars(nothing)))
    panel = data.daily_bars(["AAPL", "F"], EQUITY, FIRST, LAST)
    assert (panel.symbols, panel.close.shape) == (("AAPL", "F"), (0, 2))


def test_no_symbols_is_no_request(venue: ScriptedVenue, data: AlpacaMarketData) -> None:
    assert data.daily_bars([], EQUITY, FIRST, LAST).close.shape == (0, 0)
    assert data.split_dates(["BTC/USD"], FIRST, LAST) == {}
    assert venue.requests == []


def test_a_nan_on_the_wire_is_one_unknown_number_whatever_json_library_is_installed(
    venue: ScriptedVenue, data: AlpacaMarketData
) -> None:
    """requests would take simplejson, which AWS ships beside its Python runtime and which refuses the whole page."""
    venue.will_answer(CannedReply(body=json.dumps(bars({"AAPL": [bar("2018-11-02T04:00:00Z", float("nan"))]}))))
    panel = data.daily_bars(["AAPL"], EQUITY, FIRST, LAST)
    assert np.isnan(panel.close[0, 0])
    assert panel.open[0, 0] == 9.0


def test_every_page_of_every_hundred_symbols_is_read(venue: ScriptedVenue, data: AlpacaMarketData) -> None:
    symbols = [f"S{number}" for number in range(150)]
    venue.will_answer(
        ok(bars({"S0": [bar("2018-11-01T04:00:00Z", 1.0)]}, token="a")),
        ok(bars({"S0": [bar("2018-11-02T04:00:00Z", 2.0)]}, token="b")),
        ok(bars({"S99": [bar("2018-11-02T04:00:00Z", 3.0)]}, token="")), ok(bars({"S149": [bar("2018-11-02T04:00:00Z", 4.0)]})),
    )
    panel = data.daily_bars(symbols, EQUITY, FIRST, LAST)
    assert [float(panel.close[row, column]) for row, column in ((0, 0), (1, 0), (1, 99), (1, 149))] == [1.0, 2.0, 3.0, 4.0]
    assert np.isfinite(panel.close).sum() == 4
    assert [one.query.get("page_token") for one in venue.requests] == [None, "a", "b", None]
    assert {one.query["limit"] for one in venue.requests} == {str(BARS_A_PAGE)}


@pytest.mark.parametrize("broken", [
    {"next_page_token": None}, bars([]), bars({"AAPL": "none"}), bars({"AAPL": [without(bar("2018-11-02T04:00:00Z"), "t")]}),
    bars({"AAPL": [without(bar("2018-11-02T04:00:00Z"), "c")]}), bars({"AAPL": [bar("2018-11-02")]}),
    bars({"AAPL": [bar("soon")]}),
    bars({"AAPL": [bar("2018-11-02T04:00:00Z", o="many")]}), bars({"AAPL": [7]}), bars({"AAPL": []}, token="again"),
], ids=str)
def test_bars_that_make_no_sense_fail_the_reading(venue: ScriptedVenue, data: AlpacaMarketData, broken: dict[str, Any]) -> None:
    venue.will_answer(ok(broken))
    with pytest.raises(BrokerUnavailable):
        data.daily_bars(["AAPL"], EQUITY, FIRST, LAST)


def test_a_failure_on_the_second_page_fails_the_whole_reading(venue: ScriptedVenue, data: AlpacaMarketData) -> None:
    venue.will_answer(ok(bars({"AAPL": [bar("2018-11-02T04:00:00Z")]}, token="a")), CannedReply(502, "<html>"))
    with pytest.raises(BrokerUnavailable):
        data.daily_bars(["AAPL"], EQUITY, FIRST, LAST)


def split(symbol: str, day: str, new: object, old: object) -> dict[str, object]:
    return {"symbol": symbol, "ex_date": day, "new_rate": new, "old_rate": old, "process_date": day}


def test_splits_are_new_shares_for_one_old(venue: ScriptedVenue, data: AlpacaMarketData) -> None:
    venue.will_answer(
        ok({"corporate_actions": {"forward_splits": [split("AAPL", "2018-11-01", 4, 1)]}, "next_page_token": "a"}),
        ok({"corporate_actions": {
            "reverse_splits": [split("F", "2018-11-02", 1, 10), split("F", "2018-11-30", 1, 10), split("X", "2018-11-01", 2, 1)],
        }, "next_page_token": None}),
    )
    assert data.split_dates(["AAPL", "F", "BTC/USD", "T"], FIRST, LAST) == {
        "AAPL": {date(2018, 11, 1): 4.0}, "F": {date(2018, 11, 2): 0.1},
    }
    assert venue.requests[0].path == "/v1/corporate-actions"
    assert venue.requests[0].query["symbols"] == "AAPL,F,T"


@pytest.mark.parametrize("broken", [
    {}, {"corporate_actions": None}, {"corporate_actions": {"forward_splits": [split("AAPL", "2018-11-01", 4, 0)]}},
    {"corporate_actions": {"forward_splits": [split("AAPL", "2018-11-01", None, 1)]}},
    {"corporate_actions": {"forward_splits": [split("AAPL", "x", 2, 1)]}},
    {"corporate_actions": {"forward_splits": [split("AAPL", "2018-11-01", -1, 1)]}},
], ids=str)
def test_splits_that_make_no_sense_fail_the_reading(venue: ScriptedVenue, data: AlpacaMarketData, broken: dict[str, Any]) -> None:
    venue.will_answer(ok(broken))
    with pytest.raises(BrokerUnavailable):
        data.split_dates(["AAPL"], FIRST, LAST)


def test_headlines_are_newest_first_at_most_fifty_and_one_page_a_hundred_symbols(venue: ScriptedVenue, news: AlpacaNews) -> None:
    def stories(first: int) -> dict[str, object]:
        made = [story(n, created_at=(SINCE + timedelta(minutes=n)).isoformat()) for n in range(first, first + 40)]
        return {"news": made, "next_page_token": "more"}

    venue.will_answer(ok(stories(0)), ok(stories(30)))
    read = news.headlines([f"S{number}" for number in range(120)], SINCE)
    assert [item.news_id for item in read] == [str(number) for number in range(69, 19, -1)]
    assert [one.query["limit"] for one in venue.requests] == ["50", "50"]


def test_a_headline_is_carried_as_it_is_and_pairs_are_spelled_our_way(venue: ScriptedVenue, news: AlpacaNews) -> None:
    venue.will_answer(ok({"news": [story(1, symbols=["BTCUSD", "AAPL", "ZZZ"], headline='=HYPERLINK("x") <script>')]}))
    (item,) = news.headlines(["BTC/USD", "AAPL"], SINCE)
    assert item.symbols == ("BTC/USD", "AAPL", "ZZZ")
    assert item.headline == '=HYPERLINK("x") <script>'
    assert item.published_at == datetime(2018, 10, 1, 12, tzinfo=UTC)
    assert venue.requests[0].query["symbols"] == "BTCUSD,AAPL"


@pytest.mark.parametrize("broken", [
    {}, {"news": None}, {"news": [without(story(1), "headline")]}, {"news": [story(1, created_at="x")]},
], ids=str)
def test_headlines_that_make_no_sense_are_a_data_error(venue: ScriptedVenue, news: AlpacaNews, broken: dict[str, Any]) -> None:
    venue.will_answer(ok(broken))
    with pytest.raises(DataError):
        news.headlines(["AAPL"], SINCE)


READER = """
import json, resource, sys
from datetime import date
from closebell.adapters.alpaca_data import AlpacaMarketData
from closebell.model.instruments import Market
loaded_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
data = AlpacaMarketData("key", "secret", sys.argv[1])
panel = data.daily_bars([f"S{n}" for n in range(500)], Market.US_EQUITY, date(2017, 1, 1), date(2018, 12, 31))
peak_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(json.dumps([panel.close.shape, float(panel.close.sum()), loaded_kb, peak_kb]))
"""


def test_five_hundred_symbols_of_three_hundred_sessions_take_little_memory(
    venue: ScriptedVenue, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a process of its own, because peak memory only grows."""
    days = [date(2017, 6, 1) + timedelta(days=number) for number in range(300)]
    one_symbol = json.dumps([bar(f"{day}T05:00:00Z", 100.0) for day in days])

    def reply() -> CannedReply:
        """Pages of 33 symbols: 9 900 bars."""
        query = venue.requests[-1].query
        start = int(query.get("page_token", "0"))
        wanted = query["symbols"].split(",")
        rows = ", ".join(f'"{symbol}": {one_symbol}' for symbol in wanted[start : start + 33])
        token = json.dumps(str(start + 33) if start + 33 < len(wanted) else None)
        return CannedReply(body=f'{{"bars": {{{rows}}}, "next_page_token": {token}}}')

    monkeypatch.setattr(venue, "next_reply", reply)
    source = Path(__file__).parents[2] / "layers" / "core"
    finished = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", READER, venue.url], capture_output=True, text=True, timeout=60, check=True,
        env={"PYTHONPATH": str(source)},
    )
    shape, total, loaded_kb, peak_kb = json.loads(finished.stdout)
    assert (shape, total) == ([300, 500], 300 * 500 * 100.0)
    assert (peak_kb - loaded_kb) / 1024 < 60
