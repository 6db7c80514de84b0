"""Builds what `closebell bars fetch` works with: Alpaca's data with the user's own key, and a folder."""

from pathlib import Path

from closebell.adapters.alpaca_data import AlpacaMarketData
from closebell.adapters.bar_store import BarFormat, BarStore
from closebell.adapters.exchange_calendar import ExchangeCalendar
from closebell.app.fetch_bars import FetchBars
from closebell.settings import read_data_key


def bar_fetch(folder: Path, bar_format: BarFormat, feed: str) -> FetchBars:
    """Fetches into a folder. Raises ConfigurationError (no key, or a folder that cannot be used), DataError (its receipts)."""
    key = read_data_key()
    store = BarStore(folder, bar_format, feed)
    data = AlpacaMarketData(key.alpaca_key_id, key.alpaca_secret_key.get_secret_value(), key.alpaca_data_url, feed=feed)
    return FetchBars(data, ExchangeCalendar(), store)
