"""alpaca-py's data clients on the simulated exchange: what is served, and above all what is not yet served."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from alpaca.common.enums import Sort
from alpaca.common.exceptions import APIError
from alpaca.data.enums import Adjustment, CorporateActionsType, DataFeed, MarketType, MostActivesBy
from alpaca.data.historical import StockHistoricalDataClient
from alpaca.data.requests import (
    CorporateActionsRequest,
    CryptoBarsRequest,
    CryptoLatestOrderbookRequest,
    CryptoLatestQuoteRequest,
    CryptoQuoteRequest,
    CryptoSnapshotRequest,
    CryptoTradesRequest,
    MarketMoversRequest,
    MostActivesRequest,
    NewsRequest,
    OptionChainRequest,
    StockBarsRequest,
    StockLatestBarRequest,
    StockLatestQuoteRequest,
    StockLatestTradeRequest,
    StockQuotesRequest,
    StockSnapshotRequest,
    StockTradesRequest,
)
from alpaca.data.timeframe import TimeFrame, TimeFrameUnit

from tests.contract.conftest import ExchangeSite, OpenExchange, http
from tests.contract.tiny_market import FRI, MON, SPLIT_DAY, THU, TUE, WED, ny, utc

LONG_AGO = ny(WED, "00:00")


def daily(
    symbols: str | list[str], adjustment: Adjustment = Adjustment.RAW, start: datetime = LONG_AGO, **more: Any
) -> StockBarsRequest:
    return StockBarsRequest(symbol_or_symbols=symbols, timeframe=TimeFrame.Day, start=start, adjustment=adjustment, **more)


@pytest.mark.parametrize(("clock", "sessions"), [("15:59", [WED]), ("16:00", [WED, THU])])
def test_a_daily_bar_is_served_when_its_session_has_closed(
    clock: str, sessions: list[object], open_exchange: OpenExchange
) -> None:
    bars = open_exchange(ny(THU, clock)).stocks.get_stock_bars(daily("ACME"))["ACME"]
    assert [bar.timestamp for bar in bars] == [ny(day, "00:00") for day in (WED, THU)][: len(sessions)]
    assert (bars[0].open, bars[0].high, bars[0].low, bars[0].close, bars[0].volume) == (100, 101, 99, 100.5, 4000)


@pytest.mark.parametrize(
    ("at", "adjustment", "closes"),
    [
        (ny(MON, "23:59"), Adjustment.ALL, [200.0] * 4),  # the split is tomorrow: nobody knows
        (ny(TUE, "08:00"), Adjustment.RAW, [200.0] * 4),
        (ny(TUE, "08:00"), Adjustment.SPLIT, [100.0] * 4),
        (ny(TUE, "17:00"), Adjustment.ALL, [100.0] * 5),
    ],
)
def test_adjustment_knows_splits_that_have_happened_and_no_others(
    at: datetime, adjustment: Adjustment, closes: list[float], open_exchange: OpenExchange
) -> None:
    bars = open_exchange(at).stocks.get_stock_bars(daily("SPLT", adjustment))["SPLT"]
    assert [bar.close for bar in bars] == closes
    assert bars[0].volume == (8000 if adjustment is not Adjustment.RAW and at >= ny(SPLIT_DAY, "00:00") else 4000)


def test_pages_hold_the_limit_over_all_symbols_and_lose_nothing(open_exchange: OpenExchange) -> None:
    site = open_exchange(ny(MON, "17:00"))
    raw = site.client(StockHistoricalDataClient, raw=True)
    query = {"symbols": "ACME,WIDE", "timeframe": "1Day", "start": WED.isoformat(), "limit": 3}
    pages = [raw.get("/stocks/bars", query)]
    while token := pages[-1]["next_page_token"]:
        pages.append(raw.get("/stocks/bars", query | {"page_token": token}))
    counts = [{symbol: len(rows) for symbol, rows in page["bars"].items()} for page in pages]
    assert counts == [{"ACME": 3}, {"ACME": 1, "WIDE": 2}, {"WIDE": 2}]
    assert pages[-1]["next_page_token"] is None
    newest = raw.get("/stocks/bars", query | {"sort": "desc", "limit": 1})
    assert newest["bars"]["ACME"][0]["t"] == "2024-03-11T04:00:00Z"


def test_unknown_volume_is_null_and_a_symbol_without_bars_is_left_out(open_exchange: OpenExchange) -> None:
    site = open_exchange(ny(THU, "17:00"))
    bars = site.client(StockHistoricalDataClient, raw=True).get_stock_bars(daily(["ONCE", "NOPE"]))
    assert list(bars) == ["ONCE"]
    assert bars["ONCE"][0] == {
        "t": "2024-03-06T05:00:00Z",
        "o": 100.0,
        "h": 100.0,
        "l": 100.0,
        "c": 100.0,
        "v": None,
        "n": None,
        "vw": None,
    }


def test_intraday_bars_are_served_when_they_are_over(open_exchange: OpenExchange) -> None:
    site = open_exchange(ny(THU, "11:00"))
    request = StockBarsRequest(symbol_or_symbols="ACME", timeframe=TimeFrame(30, TimeFrameUnit.Minute), start=ny(THU, "09:00"))
    assert [(bar.timestamp, bar.close) for bar in site.stocks.get_stock_bars(request)["ACME"]] == [
        (ny(THU, "09:30"), 101),
        (ny(THU, "10:30"), 102),
    ]
    site = open_exchange(ny(THU, "10:59"))
    assert len(site.stocks.get_stock_bars(request)["ACME"]) == 1


def test_a_weekly_bar_puts_its_days_together(open_exchange: OpenExchange) -> None:
    request = StockBarsRequest(symbol_or_symbols="ACME", timeframe=TimeFrame.Week, start=LONG_AGO)
    bar = open_exchange(ny(FRI, "17:00")).stocks.get_stock_bars(request)["ACME"][0]
    assert (bar.open, bar.high, bar.low, bar.close, bar.volume) == (100, 103, 99, 102.5, 12000)


def test_the_forming_crypto_bar_is_served(open_exchange: OpenExchange) -> None:
    site = open_exchange(utc(THU, "07:00"))
    bars = site.coins.get_crypto_bars(
        CryptoBarsRequest(symbol_or_symbols="BTC/USD", timeframe=TimeFrame.Day, start=utc(WED, "00:00"))
    )
    assert [(bar.timestamp, bar.high, bar.low, bar.close) for bar in bars["BTC/USD"]] == [
        (utc(WED, "00:00"), 60600, 59400, 60000),
        (utc(THU, "00:00"), 60600, 60000, 60600),
    ]


def test_recent_sip_data_is_refused_and_delayed_sip_and_recent_iex_are_not(site: ExchangeSite) -> None:
    with pytest.raises(APIError) as error:
        site.stocks.get_stock_bars(daily("ACME", feed=DataFeed.SIP, end=ny(THU, "09:46")))
    assert (error.value.status_code, str(error.value)) == (
        403,
        '{"message": "subscription does not permit querying recent SIP data"}',
    )
    assert site.stocks.get_stock_bars(daily("ACME", feed=DataFeed.SIP, end=ny(THU, "09:45")))["ACME"]
    assert site.stocks.get_stock_bars(daily("ACME", feed=DataFeed.IEX, end=ny(THU, "10:00")))["ACME"]


@pytest.mark.parametrize(
    "query",
    [
        "symbols=ACME&timeframe=1Fortnight",
        "symbols=BTC/USD&timeframe=1Day",
        "timeframe=1Day",
        "symbols=ACME&timeframe=1Day&page_token=x",
        "symbols=ACME&timeframe=1Day&adjustment=some",
    ],
)
def test_a_wrong_data_request_is_a_400(query: str, site: ExchangeSite) -> None:
    keys = {"APCA-API-KEY-ID": "TEST-KEY", "APCA-API-SECRET-KEY": "TEST-SECRET"}
    assert http(site.port, "GET", f"/v2/stocks/bars?{query}", headers=keys)[0] == 400


def test_latest_quote_trade_and_bar(site: ExchangeSite) -> None:
    quote = site.stocks.get_stock_latest_quote(StockLatestQuoteRequest(symbol_or_symbols=["WIDE", "NOPE"]))
    assert (quote["WIDE"].bid_price, quote["WIDE"].ask_price, quote["WIDE"].timestamp) == (100.495, 101.505, ny(THU, "10:00"))
    assert "NOPE" not in quote
    trade = site.stocks.get_stock_latest_trade(StockLatestTradeRequest(symbol_or_symbols="ACME"))["ACME"]
    assert (trade.price, trade.size, trade.timestamp) == (101, 1000, ny(THU, "09:30"))
    assert site.stocks.get_stock_latest_bar(StockLatestBarRequest(symbol_or_symbols="ACME"))["ACME"].close == 101


def test_before_the_first_print_the_quote_is_the_previous_close(open_exchange: OpenExchange) -> None:
    quote = open_exchange(ny(THU, "09:00")).stocks.get_stock_latest_quote(StockLatestQuoteRequest(symbol_or_symbols="ACME"))[
        "ACME"
    ]
    assert (quote.bid_price, quote.ask_price, quote.timestamp) == (100.5, 100.5, ny(THU, "09:00"))


def test_historical_trades_and_quotes_end_at_the_clock(open_exchange: OpenExchange) -> None:
    site = open_exchange(ny(THU, "11:00"))
    span: dict[str, Any] = {"start": ny(THU, "00:00"), "end": ny(THU, "23:00")}
    trades = site.stocks.get_stock_trades(StockTradesRequest(symbol_or_symbols="ACME", **span))["ACME"]
    quotes = site.stocks.get_stock_quotes(StockQuotesRequest(symbol_or_symbols="ACME", **span))["ACME"]
    assert [trade.price for trade in trades] == [quote.bid_price for quote in quotes] == [101, 102]


def test_crypto_quotes_trades_books_and_snapshots(open_exchange: OpenExchange) -> None:
    site = open_exchange(utc(THU, "07:00"))
    span: dict[str, Any] = {"symbol_or_symbols": "BTC/USD", "start": utc(THU, "00:00")}
    assert [trade.price for trade in site.coins.get_crypto_trades(CryptoTradesRequest(**span))["BTC/USD"]] == [60000, 60600]
    assert len(site.coins.get_crypto_quotes(CryptoQuoteRequest(**span))["BTC/USD"]) == 2
    assert site.coins.get_crypto_latest_quote(CryptoLatestQuoteRequest(symbol_or_symbols="BTC/USD"))["BTC/USD"].bid_price == 60600
    assert (
        site.coins.get_crypto_latest_orderbook(CryptoLatestOrderbookRequest(symbol_or_symbols="BTC/USD"))["BTC/USD"].asks[0].price
        == 60600
    )
    snapshot = site.coins.get_crypto_snapshot(CryptoSnapshotRequest(symbol_or_symbols="BTC/USD"))["BTC/USD"]
    assert (snapshot.daily_bar.close, snapshot.previous_daily_bar.close) == (60600, 60000)


def test_stock_snapshots_are_unwrapped_and_null_for_strangers(site: ExchangeSite) -> None:
    raw = site.client(StockHistoricalDataClient, raw=True).get("/stocks/snapshots", {"symbols": "ACME,NOPE"})
    assert raw["NOPE"] is None
    snapshot = site.stocks.get_stock_snapshot(StockSnapshotRequest(symbol_or_symbols="ACME"))["ACME"]
    assert (snapshot.latest_trade.price, snapshot.daily_bar.open, snapshot.previous_daily_bar.close) == (101, 101, 100.5)


def test_news_is_told_when_it_is_published_and_pages_newest_first(open_exchange: OpenExchange) -> None:
    site = open_exchange(ny(THU, "08:01"))
    news = site.news.get_news(NewsRequest(symbols="ACME", start=ny(WED, "00:00"), limit=50)).data["news"]
    assert [item.created_at for item in news] == [
        ny(THU, "08:01"),
        ny(THU, "08:00"),
        *(ny(WED, f"08:0{minute}") for minute in (2, 1, 0)),
    ]
    assert len({item.id for item in news}) == 5
    assert (
        site.news.get_news(NewsRequest(symbols="ACME", start=ny(WED, "00:00"), sort=Sort.ASC, limit=1)).data["news"][0]
        == news[-1]
    )
    every_page = site.client(type(site.news), raw=True).get_news(NewsRequest(start=ny(WED, "00:00")))
    assert len(every_page["news"]) == 5
    assert site.news.get_news(NewsRequest(symbols="WIDE", start=ny(WED, "00:00"))).data["news"] == []


def test_the_screener_ranks_what_is_known(open_exchange: OpenExchange) -> None:
    site = open_exchange(ny(FRI, "17:00"))
    actives = site.screener.get_most_actives(MostActivesRequest(by=MostActivesBy.VOLUME, top=2)).most_actives
    assert [row.volume for row in actives] == [4000, 4000]
    movers = site.screener.get_market_movers(MarketMoversRequest(top=5, market_type=MarketType.STOCKS))
    assert movers.losers[0].symbol == "STOP"
    assert {row.symbol for row in movers.gainers} == {"ACME", "WIDE", "ONCE"}


@pytest.mark.parametrize(("day", "known"), [(MON, False), (TUE, True)])
def test_corporate_actions_tell_no_future_split(day: datetime, known: bool, open_exchange: OpenExchange) -> None:
    site = open_exchange(ny(day, "08:00"))
    request = CorporateActionsRequest(
        symbols=["SPLT"], types=[CorporateActionsType.FORWARD_SPLIT], start=WED, end=TUE + timedelta(days=30)
    )
    splits = site.actions.get_corporate_actions(request).data.get("forward_splits", [])
    assert [(split.ex_date, split.new_rate, split.old_rate) for split in splits] == ([(SPLIT_DAY, 2.0, 1.0)] if known else [])


def test_there_is_no_option_chain(site: ExchangeSite) -> None:
    assert site.options.get_option_chain(OptionChainRequest(underlying_symbol="ACME")) == {}


def test_the_vix_file_holds_what_was_known_a_quarter_of_an_hour_after_the_close(open_exchange: OpenExchange) -> None:
    before, after = (http(open_exchange(ny(THU, clock)).port, "GET", "/cboe/VIX_History.csv")[1] for clock in ("16:14", "16:15"))
    assert before == "DATE,OPEN,HIGH,LOW,CLOSE\n03/06/2024,14.000000,14.000000,14.000000,14.000000\n"
    assert after == before + "03/07/2024,15.000000,15.000000,15.000000,15.000000\n"
