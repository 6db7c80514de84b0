"""Alpaca's daily bars and splits, turned into arrays page by page.

alpaca-py's own reading keeps every bar of every page as a dict: 500 symbols x 300 sessions would be 150 000 of them. Here a page
(at most 10 000 bars) becomes rows of numbers before the next one is asked for.
"""

from collections.abc import Callable, Iterator, Sequence
from datetime import date, datetime, time
from typing import Any, TypeVar

import numpy as np
from alpaca.data.historical.corporate_actions import CorporateActionsClient
from alpaca.data.historical.crypto import CryptoHistoricalDataClient
from alpaca.data.historical.stock import StockHistoricalDataClient
from numpy.typing import NDArray

from closebell.adapters.alpaca_errors import UnreadableReplyError
from closebell.adapters.alpaca_http import AlpacaHttp, Credentials, Timeouts, bare_origin
from closebell.adapters.alpaca_replies import Fields, fields_of
from closebell.model.errors import BrokerUnavailable
from closebell.model.instruments import Market
from closebell.model.panel import FIELDS, BarPanel

T = TypeVar("T")

SYMBOLS_A_REQUEST = 100
BARS_A_PAGE = 10_000
ACTIONS_A_PAGE = 1_000
PAGES_MAX = 1_000
_WIRE_FIELDS = ("o", "h", "l", "c", "v")


class AlpacaMarketData:
    """`ports.market_data.MarketData` over Alpaca's data interface.

    Parameters
    ----------
    key_id, secret_key, data_url
        The key and the bare origin, such as https://data.alpaca.markets.
    feed
        "sip" is every US exchange, free for what is older than 15 minutes, and a daily bar of a closed session is; "iex" is one
        exchange, some 3 % of the volume, and may miss a day of a thin stock.
    timeouts
        Per connection and per read of a reply.
    """

    def __init__(
        self, key_id: str, secret_key: str, data_url: str, *, feed: str = "sip", timeouts: Timeouts | None = None
    ) -> None:
        credentials, origin = Credentials(key_id, secret_key), bare_origin(data_url, "the data URL")
        timeouts = timeouts or Timeouts()
        self._feed = feed
        self._stocks = AlpacaHttp(
            StockHistoricalDataClient(key_id, secret_key, raw_data=True, url_override=origin), credentials, timeouts
        )
        self._crypto = AlpacaHttp(
            CryptoHistoricalDataClient(key_id, secret_key, raw_data=True, url_override=origin), credentials, timeouts
        )
        self._actions = AlpacaHttp(
            CorporateActionsClient(key_id, secret_key, raw_data=True, url_override=origin), credentials, timeouts
        )

    def daily_bars(self, symbols: Sequence[str], market: Market, first: date, last: date) -> BarPanel:
        """Bars of `first`..`last`; a bar of a later session (crypto's forming one) is not taken.

        A daily bar is stamped with its session's midnight, so noon of `last` takes it in and, after the close, still lies behind
        the 15 minutes that the free plan withholds.
        """
        query: dict[str, str | int] = {
            "timeframe": "1Day", "start": _zoned(first, time.min, market), "end": _zoned(last, time(12), market),
            "limit": BARS_A_PAGE, "sort": "asc",
        }
        if market is Market.US_EQUITY:
            query |= {"adjustment": "all", "feed": self._feed}
        columns = {symbol: column for column, symbol in enumerate(symbols)}
        pages = [_no_bars()]
        for chunk in _chunks(symbols):
            asked = {**query, "symbols": ",".join(chunk)}
            if market is Market.CRYPTO:
                pages += _pages(self._crypto, "/crypto/us/bars", asked, lambda reply: _page_of_bars(reply, columns, market))
            else:
                pages += _pages(self._stocks, "/stocks/bars", asked, lambda reply: _page_of_bars(reply, columns, market))
        return _panel(tuple(symbols), pages, first, last)

    def split_dates(self, symbols: Sequence[str], first: date, last: date) -> dict[str, dict[date, float]]:
        """Ex-dates and ratios (0.1: one new share for ten old). Coins have none. Raises BrokerUnavailable."""
        found: dict[str, dict[date, float]] = {}
        query: dict[str, str | int] = {
            "types": "forward_split,reverse_split", "start": first.isoformat(), "end": last.isoformat(), "limit": ACTIONS_A_PAGE,
        }
        for chunk in _chunks([symbol for symbol in symbols if "/" not in symbol]):
            for page in _pages(self._actions, "/corporate-actions", {**query, "symbols": ",".join(chunk)}, _page_of_splits):
                for symbol, ex_date, ratio in page:
                    if symbol in chunk and first <= ex_date <= last:
                        found.setdefault(symbol, {})[ex_date] = ratio
        return found


Page = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]
"""Bars: column in the panel, session as days since 1970, and o, h, l, c, v; one row a bar."""


def _no_bars() -> Page:
    return np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64), np.empty((0, len(FIELDS)))


def _pages(http: AlpacaHttp, path: str, query: dict[str, str | int], parse: Callable[[Fields], T]) -> Iterator[T]:
    """Every page. Raises BrokerUnavailable, also when the pages do not end."""

    def parse_page(reply: Any) -> tuple[T, str]:
        fields = fields_of(reply)
        return parse(fields), str(fields.get("next_page_token") or "")

    seen: set[str] = set()
    while len(seen) < PAGES_MAX:
        page, token = http.read(path, query, parse_page)
        yield page
        if not token:
            return
        if token in seen:
            break
        seen.add(token)
        query = {**query, "page_token": token}
    raise BrokerUnavailable(f"GET {path}: the pages do not come to an end")


def _page_of_bars(reply: Fields, columns: dict[str, int], market: Market) -> Page:
    if "bars" not in reply:
        raise UnreadableReplyError("'bars' is missing")
    listed = {} if reply["bars"] is None else fields_of(reply["bars"])  # null when no symbol has any
    bars = [(columns[symbol], fields_of(bar)) for symbol in listed if symbol in columns for bar in listed[symbol] or ()]
    if not bars:
        return _no_bars()
    places = np.array([column for column, _ in bars], dtype=np.int64)
    days = np.array([_day(bar["t"], market) for _, bar in bars], dtype=np.int64)
    values = np.array([[_number(bar[name]) for name in _WIRE_FIELDS] for _, bar in bars], dtype=np.float64)
    return places, days, values


def _page_of_splits(reply: Fields) -> list[tuple[str, date, float]]:
    actions = fields_of(reply["corporate_actions"])
    listed = [fields_of(split) for name in ("forward_splits", "reverse_splits") for split in actions.get(name) or ()]
    splits = [
        (str(split["symbol"]), date.fromisoformat(split["ex_date"]), float(split["new_rate"]) / float(split["old_rate"]))
        for split in listed
    ]
    if not all(0 < ratio < float("inf") for _, _, ratio in splits):
        raise UnreadableReplyError("a split without a ratio")
    return splits


def _panel(symbols: tuple[str, ...], pages: list[Page], first: date, last: date) -> BarPanel:
    places, days, values = (np.concatenate(parts) for parts in zip(*pages, strict=True))
    epoch = date(1970, 1, 1).toordinal()
    wanted = (days >= first.toordinal() - epoch) & (days <= last.toordinal() - epoch)
    sessions, rows = np.unique(days[wanted], return_inverse=True)
    cube = np.full((len(FIELDS), len(sessions), len(symbols)), np.nan)
    cube[:, rows, places[wanted]] = values[wanted].T
    return BarPanel(sessions.astype("datetime64[D]"), symbols, *cube)


def _day(stamp: str, market: Market) -> int:
    """The session of a bar's instant, as days since 1970."""
    at = datetime.fromisoformat(stamp)
    if at.tzinfo is None:
        raise UnreadableReplyError(f"a bar's 't' is {stamp!r}: an instant without its zone")
    return market.date_of(at).toordinal() - date(1970, 1, 1).toordinal()


def _number(value: Any) -> float:
    return float("nan") if value is None else float(value)


def _zoned(day: date, clock_time: time, market: Market) -> str:
    return datetime.combine(day, clock_time, market.zone).isoformat()


def _chunks(symbols: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(symbols), SYMBOLS_A_REQUEST):
        yield symbols[start : start + SYMBOLS_A_REQUEST]
