"""Headlines from Alpaca's news interface. The text is a stranger's: it is carried, never trusted."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from alpaca.data.historical.news import NewsClient

from closebell.adapters.alpaca_http import AlpacaHttp, Credentials, Timeouts, bare_origin
from closebell.adapters.alpaca_replies import Fields, fields_of, items_of
from closebell.model.errors import BrokerUnavailable, DataError
from closebell.model.operations import NewsItem

HEADLINES_MAX = 50
SYMBOLS_A_REQUEST = 100


class AlpacaNews:
    """`ports.market_data.News`. `limit` is always sent: without it Alpaca's clients read every page there is."""

    def __init__(self, key_id: str, secret_key: str, data_url: str, *, timeouts: Timeouts | None = None) -> None:
        credentials, origin = Credentials(key_id, secret_key), bare_origin(data_url, "the data URL")
        client = NewsClient(key_id, secret_key, raw_data=True, url_override=origin)
        self._http = AlpacaHttp(client, credentials, timeouts or Timeouts())

    def headlines(self, symbols: Sequence[str], since: datetime) -> list[NewsItem]:
        """Newest first, at most 50; symbols in our spelling. Raises DataError."""
        ours = {symbol.replace("/", ""): symbol for symbol in symbols}  # news spells a pair BTCUSD

        def parse(reply: Any) -> list[NewsItem]:
            return items_of(fields_of(reply).get("news"), lambda fields: _item_of(fields, ours))

        found: dict[str, NewsItem] = {}
        wanted = list(ours)
        for start in range(0, len(wanted), SYMBOLS_A_REQUEST):
            query: dict[str, str | int] = {
                "symbols": ",".join(wanted[start : start + SYMBOLS_A_REQUEST]), "start": since.isoformat(), "sort": "desc",
                "limit": HEADLINES_MAX, "include_content": "false",
            }
            try:
                page = self._http.read("/news", query, parse)
            except BrokerUnavailable as failure:
                raise DataError(f"headlines cannot be read: {failure}") from failure
            found |= {item.news_id: item for item in page}
        newest = sorted(found.values(), key=lambda item: (item.published_at, item.news_id), reverse=True)
        return newest[:HEADLINES_MAX]


def _item_of(fields: Fields, ours: dict[str, str]) -> NewsItem:
    symbols = [str(symbol) for symbol in fields["symbols"]]
    return NewsItem(
        news_id=str(fields["id"]), headline=str(fields["headline"]), source=str(fields["source"]), url=str(fields["url"] or ""),
        symbols=tuple(ours.get(symbol, symbol) for symbol in symbols),
        published_at=datetime.fromisoformat(fields["created_at"]).astimezone(UTC),
    )
