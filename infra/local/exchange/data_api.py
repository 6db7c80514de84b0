"""Market data: stock and crypto bars, quotes, trades, snapshots, news, screener, corporate actions, and Cboe's VIX file."""

import re
from collections.abc import Callable, Iterator
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any, NamedTuple

from closebell.model.instruments import Market
from closebell.simulation.exchange.market_view import VendorBar, bar_of, grouped
from closebell.simulation.exchange.tape import midnight
from closebell.simulation.exchange.venue_account import derived_id
from closebell.simulation.exchange.venue_orders import MALFORMED, RefusalError
from closebell.simulation.market import Print
from infra.local.exchange.api import ApiCall, Reply, Route
from infra.local.exchange.venue import Venue
from infra.local.exchange.wire import Json, bar_json, instant, quote_json, trade_json

PAGE_MAX, PAGE_DEFAULT, NEWS_PAGE_MAX, NEWS_PAGE_DEFAULT = 10_000, 1_000, 50, 10
SIP_DELAY = timedelta(minutes=15)
VIX_DELAY = timedelta(minutes=15)
_TIMEFRAME = re.compile(r"^(\d{1,2})(Min|T|Hour|H|Day|D|Week|W|Month|M)$")
_UNITS = {"T": "Min", "H": "Hour", "D": "Day", "W": "Week", "M": "Month"}
_WIDTHS = {"Min": timedelta(minutes=1), "Hour": timedelta(hours=1)}


class _Window(NamedTuple):
    """What a historical request asks about: symbols of one market, and an interval with both ends included."""

    symbols: list[str]
    market: Market
    start: datetime
    end: datetime


def _market_of(call: ApiCall) -> Market:
    return Market.CRYPTO if "/crypto/" in call.path else Market.US_EQUITY


def _symbols(venue: Venue, call: ApiCall) -> list[str]:
    """The known symbols asked for. Raises RefusalError (400) for none, and for a coin spelled without its slash."""
    market, names = _market_of(call), call.words("symbols")
    if not names:
        raise RefusalError(400, MALFORMED, "symbols is required")
    for name in names:
        if ("/" in name) != (market is Market.CRYPTO):
            raise RefusalError(400, MALFORMED, f"invalid symbol: {name}")
    assets = venue.exchange.tape.assets
    return sorted({name for name in names if name in assets and assets[name].market is market})


def _window(venue: Venue, call: ApiCall) -> _Window:
    market, now = _market_of(call), venue.exchange.now
    today = midnight(market.date_of(now), market)
    start, end = call.instant("start", zone=market.zone), call.instant("end", ends_day=True, zone=market.zone)
    if market is Market.US_EQUITY and call.query.get("feed") == "sip" and end is not None and end > now - SIP_DELAY:
        raise RefusalError(403, 0, "subscription does not permit querying recent SIP data")
    return _Window(_symbols(venue, call), market, start or today, end or now)


def _page(call: ApiCall, key: str, window: _Window, read: Callable[[str], list[Json]]) -> Reply:
    """One page over all symbols in order; the token names the next page's first symbol and how many of its rows are told."""
    left = call.whole("limit", PAGE_DEFAULT, PAGE_MAX)
    first_symbol, told = _resumed(call)
    found: dict[str, list[Json]] = {}
    for symbol in window.symbols:
        if symbol < first_symbol:
            continue
        rows = read(symbol)
        if call.query.get("sort") == "desc":
            rows.reverse()
        first = told if symbol == first_symbol else 0
        taken = rows[first : first + left]
        left -= len(taken)
        if taken:
            found[symbol] = taken
        if first + len(taken) < len(rows):
            return Reply(body={key: found, "next_page_token": f"{symbol}|{first + len(taken)}"})
    return Reply(body={key: found, "next_page_token": None})


def _resumed(call: ApiCall) -> tuple[str, int]:
    symbol, _, told = (call.query.get("page_token") or "|0").rpartition("|")
    if not told.isdigit():
        raise RefusalError(400, MALFORMED, "invalid page_token")
    return symbol, int(told)


def list_bars(venue: Venue, call: ApiCall) -> Reply:
    window, (count, unit) = _window(venue, call), _timeframe(call)
    adjustment = call.query.get("adjustment", "raw")

    def read(symbol: str) -> list[Json]:
        return [bar_json(bar) for bar in _bars(venue, symbol, window, count, unit, adjustment)]

    return _page(call, "bars", window, read)


def _timeframe(call: ApiCall) -> tuple[int, str]:
    found = _TIMEFRAME.match(call.query.get("timeframe", ""))
    if found is None:
        raise RefusalError(400, MALFORMED, f"invalid timeframe: {call.query.get('timeframe')}")
    return int(found[1]), _UNITS.get(found[2], found[2])


def _bars(venue: Venue, symbol: str, window: _Window, count: int, unit: str, adjustment: str) -> list[VendorBar]:
    if unit in _WIDTHS:
        return venue.view.intraday_bars(symbol, count * _WIDTHS[unit], window.start, window.end, venue.exchange.now)
    first, last = window.market.date_of(window.start), window.market.date_of(window.end)
    try:
        bars = venue.view.daily_bars(symbol, first, last, venue.exchange.now, adjustment)
    except ValueError as error:
        raise RefusalError(400, MALFORMED, str(error)) from error
    bars = [bar for bar in bars if window.start <= bar.starts_at <= window.end]
    return bars if unit == "Day" else grouped(bars, unit)


def list_trades(venue: Venue, call: ApiCall) -> Reply:
    window = _window(venue, call)

    def read(symbol: str) -> list[Json]:
        return [trade_json(one) for one in venue.view.prints(symbol, window.start, window.end, venue.exchange.now)]

    return _page(call, "trades", window, read)


def list_quotes(venue: Venue, call: ApiCall) -> Reply:
    """One quote for each print."""
    window, tape = _window(venue, call), venue.exchange.tape

    def read(symbol: str) -> list[Json]:
        prints = venue.view.prints(symbol, window.start, window.end, venue.exchange.now)
        quotes = (tape.quote(symbol, one.at) for one in prints)
        return [quote_json(quote) for quote in quotes if quote is not None]

    return _page(call, "quotes", window, read)


def latest_quotes(venue: Venue, call: ApiCall) -> Reply:
    return Reply(body={"quotes": _each(venue, call, _latest_quote)})


def latest_trades(venue: Venue, call: ApiCall) -> Reply:
    return Reply(body={"trades": _each(venue, call, _latest_trade)})


def latest_bars(venue: Venue, call: ApiCall) -> Reply:
    return Reply(body={"bars": _each(venue, call, _latest_minute)})


def latest_orderbooks(venue: Venue, call: ApiCall) -> Reply:
    def read(venue: Venue, symbol: str) -> Json | None:
        quote = venue.exchange.tape.quote(symbol, venue.exchange.now)
        if quote is None:
            return None
        return {
            "t": instant(quote.quoted_at),
            "b": [{"p": float(quote.bid_usd), "s": 1}],
            "a": [{"p": float(quote.ask_usd), "s": 1}],
        }

    return Reply(body={"orderbooks": _each(venue, call, read)})


def stock_snapshots(venue: Venue, call: ApiCall) -> Reply:
    return Reply(body={name: _each(venue, call, _snapshot).get(name) for name in call.words("symbols")})


def crypto_snapshots(venue: Venue, call: ApiCall) -> Reply:
    return Reply(body={"snapshots": _each(venue, call, _snapshot)})


def _each(venue: Venue, call: ApiCall, read: Callable[[Venue, str], Json | None]) -> dict[str, Json]:
    found = ((symbol, read(venue, symbol)) for symbol in _symbols(venue, call))
    return {symbol: facts for symbol, facts in found if facts is not None}


def _latest_quote(venue: Venue, symbol: str) -> Json | None:
    quote = venue.exchange.tape.quote(symbol, venue.exchange.now)
    return None if quote is None else quote_json(quote)


def _last_print(venue: Venue, symbol: str) -> Print | None:
    found = venue.exchange.tape.last_print(symbol, venue.exchange.now)
    return None if found is None else found[1]


def _latest_trade(venue: Venue, symbol: str) -> Json | None:
    one = _last_print(venue, symbol)
    return None if one is None else trade_json(one)


def _latest_minute(venue: Venue, symbol: str) -> Json | None:
    """The minute of the last print, so far."""
    one = _last_print(venue, symbol)
    if one is None:
        return None
    minute = one.at.replace(second=0, microsecond=0)
    prints = venue.view.prints(symbol, minute, one.at, venue.exchange.now)
    bar = bar_of(venue.exchange.tape.assets[symbol].market.date_of(minute), prints)
    return None if bar is None else bar_json(VendorBar(minute, bar))


def _snapshot(venue: Venue, symbol: str) -> Json | None:
    """Latest trade, quote and minute; the running session so far, or the last one; and the one before it."""
    trade = _latest_trade(venue, symbol)
    if trade is None:
        return None
    now, market = venue.exchange.now, venue.exchange.tape.assets[symbol].market
    today = market.date_of(now)
    bars = [bar_json(bar) for bar in venue.view.daily_bars(symbol, today - timedelta(days=14), today, now)]
    forming = venue.view.forming_bar(symbol, now) if market is Market.US_EQUITY else None
    if forming is not None:
        bars.append(bar_json(VendorBar(midnight(forming.session, market), forming)))
    return {
        "latestTrade": trade,
        "latestQuote": _latest_quote(venue, symbol),
        "minuteBar": _latest_minute(venue, symbol),
        "dailyBar": bars[-1] if bars else None,
        "prevDailyBar": bars[-2] if len(bars) > 1 else None,
    }


def list_news(venue: Venue, call: ApiCall) -> Reply:
    """Newest first unless `sort=asc`; an item's id is its place in time, so it stays the same."""
    now, wanted = venue.exchange.now, set(call.words("symbols"))
    start = call.instant("start") or datetime.combine(now.date(), datetime.min.time(), tzinfo=now.tzinfo)
    end = min(call.instant("end", ends_day=True) or now, now)
    days = range(start.date().toordinal() - 1, end.date().toordinal() + 2)
    items = {item.news_id: item for day in days for item in venue.exchange.tape.market.headlines(date.fromordinal(day))}
    chosen = [item for item in items.values() if start <= item.published_at <= end and (not wanted or wanted & set(item.symbols))]
    chosen.sort(key=lambda item: (item.published_at, item.news_id), reverse=call.query.get("sort", "desc") != "asc")
    token, limit = call.query.get("page_token"), call.whole("limit", NEWS_PAGE_DEFAULT, NEWS_PAGE_MAX)
    names = [item.news_id for item in chosen]
    if token and token not in names:
        raise RefusalError(400, MALFORMED, "invalid page_token")
    first = names.index(token) if token else 0
    rows = [
        {
            "id": int(derived_id(f"news/{item.news_id}")[:8], 16),
            "headline": item.headline,
            "source": item.source,
            "url": item.url,
            "summary": "",
            "created_at": instant(item.published_at),
            "updated_at": instant(item.published_at),
            "symbols": list(item.symbols),
            "author": "",
            "content": "",
            "images": [],
        }
        for item in chosen[first : first + limit]
    ]
    return Reply(body={"news": rows, "next_page_token": names[first + limit] if first + limit < len(names) else None})


def most_actives(venue: Venue, call: ApiCall) -> Reply:
    """By the last final session's volume; symbols whose volume is unknown are not ranked."""
    ranked = sorted(
        (
            (bars[-1].traded.volume_shares, symbol)
            for symbol, bars in _recent(venue, Market.US_EQUITY)
            if bars[-1].traded.volume_shares is not None
        ),
        key=lambda entry: (-(entry[0] or 0), entry[1]),
    )[: call.whole("top", 10, 100)]
    rows = [{"symbol": symbol, "volume": float(volume or 0), "trade_count": 0} for volume, symbol in ranked]
    return Reply(body={"most_actives": rows, "last_updated": instant(venue.exchange.now)})


def movers(venue: Venue, call: ApiCall) -> Reply:
    """By the change from the close before to the price now."""
    kind = call.parts["market"]
    if kind not in ("stocks", "crypto"):
        raise RefusalError(400, MALFORMED, f"invalid market type: {kind}")
    rows: list[Json] = []
    for symbol, bars in _recent(venue, Market.CRYPTO if kind == "crypto" else Market.US_EQUITY):
        if len(bars) > 1:
            change = bars[-1].traded.close_usd - bars[-2].traded.close_usd
            percent = float(change / bars[-2].traded.close_usd * 100)
            rows.append(
                {"symbol": symbol, "percent_change": percent, "change": float(change), "price": float(bars[-1].traded.close_usd)}
            )
    top = call.whole("top", 10, 50)
    gainers = sorted((row for row in rows if row["change"] > 0), key=lambda row: (-row["percent_change"], row["symbol"]))[:top]
    losers = sorted((row for row in rows if row["change"] < 0), key=lambda row: (row["percent_change"], row["symbol"]))[:top]
    return Reply(body={"gainers": gainers, "losers": losers, "market_type": kind, "last_updated": instant(venue.exchange.now)})


def _recent(venue: Venue, market: Market) -> Iterator[tuple[str, list[VendorBar]]]:
    today = market.date_of(venue.exchange.now)
    for asset in venue.exchange.assets():
        if asset.market is market and asset.tradable:
            bars = venue.view.daily_bars(asset.symbol, today - timedelta(days=14), today, venue.exchange.now, "split")
            if bars:
                yield asset.symbol, bars


def corporate_actions(venue: Venue, call: ApiCall) -> Reply:
    """Splits whose ex-date has come; announcements of later ones would tell the future."""
    today = Market.US_EQUITY.date_of(venue.exchange.now)
    first, last = call.day("start", today), min(call.day("end", today), today)
    wanted, types = call.words("symbols"), call.words("types")
    found: dict[str, list[Json]] = {}
    for asset in venue.exchange.assets():
        if asset.market is not Market.US_EQUITY or wanted and asset.symbol not in wanted:
            continue
        for split in venue.exchange.tape.market.splits(asset.symbol):
            name = "forward_splits" if split.ratio > 1 else "reverse_splits"
            if first <= split.ex_session <= last and (not types or name[:-1] in types):
                found.setdefault(name, []).append(_split_json(asset.symbol, split.ex_session, split.ratio))
    return Reply(body={"corporate_actions": found, "next_page_token": None})


def _split_json(symbol: str, ex_session: date, ratio: Decimal) -> dict[str, Any]:
    old, new = (1.0, float(ratio)) if ratio > 1 else (float(1 / ratio), 1.0)
    cusips = {"cusip": ""} if ratio > 1 else {"old_cusip": "", "new_cusip": ""}
    day = ex_session.isoformat()
    return {
        "id": derived_id(f"split/{symbol}/{day}"),
        "symbol": symbol,
        **cusips,
        "old_rate": old,
        "new_rate": new,
        "process_date": day,
        "ex_date": day,
        "record_date": day,
        "payable_date": day,
    }


def option_chain(venue: Venue, call: ApiCall) -> Reply:
    return Reply(body={"snapshots": {}, "next_page_token": None})


def option_bars(venue: Venue, call: ApiCall) -> Reply:
    return Reply(body={"bars": {}, "next_page_token": None})


def option_trades(venue: Venue, call: ApiCall) -> Reply:
    return Reply(body={"trades": {}, "next_page_token": None})


def volatility_history(venue: Venue, call: ApiCall) -> Reply:
    """Cboe's file: the closes known now, in all four columns because only closes are known."""
    closes = venue.exchange.tape.market.volatility_index()
    if not closes:
        return Reply(status=404, text="not found", content_type="text/plain")
    known = venue.exchange.tape.calendars[Market.US_EQUITY].last_closed(venue.exchange.now - VIX_DELAY)
    rows = [f"{day:%m/%d/%Y}" + f",{close:.6f}" * 4 for day, close in sorted(closes.items()) if known and day <= known.session]
    return Reply(text="\n".join(["DATE,OPEN,HIGH,LOW,CLOSE", *rows, ""]), content_type="text/csv")


ROUTES: tuple[Route, ...] = (
    *(
        ("GET", f"{prefix}/{name}", endpoint)
        for prefix in ("/v2/stocks", "/v1beta3/crypto/us")
        for name, endpoint in (("bars", list_bars), ("quotes", list_quotes), ("trades", list_trades))
    ),
    ("GET", "/v2/stocks/quotes/latest", latest_quotes),
    ("GET", "/v2/stocks/trades/latest", latest_trades),
    ("GET", "/v2/stocks/bars/latest", latest_bars),
    ("GET", "/v2/stocks/snapshots", stock_snapshots),
    ("GET", "/v1beta3/crypto/us/latest/quotes", latest_quotes),
    ("GET", "/v1beta3/crypto/us/latest/trades", latest_trades),
    ("GET", "/v1beta3/crypto/us/latest/bars", latest_bars),
    ("GET", "/v1beta3/crypto/us/latest/orderbooks", latest_orderbooks),
    ("GET", "/v1beta3/crypto/us/snapshots", crypto_snapshots),
    ("GET", "/v1beta1/news", list_news),
    ("GET", "/v1beta1/screener/stocks/most-actives", most_actives),
    ("GET", "/v1beta1/screener/{market}/movers", movers),
    ("GET", "/v1beta1/options/snapshots/{underlying}", option_chain),
    ("GET", "/v1beta1/options/snapshots", option_chain),
    ("GET", "/v1beta1/options/bars", option_bars),
    ("GET", "/v1beta1/options/trades", option_trades),
    ("GET", "/v1/corporate-actions", corporate_actions),
    ("GET", "/cboe/VIX_History.csv", volatility_history),
)
