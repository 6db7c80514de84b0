"""Builds what `closebell bars fetch` works with: Alpaca's data with the user's own key, and a folder."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from closebell.adapters.alpaca_data import AlpacaMarketData
from closebell.adapters.bar_store import BarFormat, BarStore, alone_in
from closebell.adapters.exchange_calendar import ExchangeCalendar
from closebell.app.fetch_bars import FetchBars
from closebell.settings import read_data_key


@contextmanager
def bar_fetch(folder: Path, bar_format: BarFormat, feed: str) -> Iterator[FetchBars]:
    """Fetches into a folder, which is its own until the block ends.

    Raises ConfigurationError (no key, a folder that is no place for it, or another fetch in it), DataError (its receipts),
    StoreUnavailable (the disk).
    """
    key = read_data_key()
    data = AlpacaMarketData(key.alpaca_key_id, key.alpaca_secret_key.get_secret_value(), key.alpaca_data_url, feed=feed)
    with alone_in(folder):
        yield FetchBars(data, ExchangeCalendar(), BarStore(folder, bar_format, feed))
