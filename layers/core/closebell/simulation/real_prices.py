"""Real prices for the simulated exchange, read in place from the packages that ship them.

Source                               | what                                               | span
`skfolio/datasets/data/sp500_dataset`| closes of 20 stocks, adjusted for splits, dividends | 1990-2022
`arch/data/{sp500,nasdaq}`           | open, high, low, close, volume of the two indices   | 1999-2018
`arch/data/vix`                      | closes of the VIX                                   | 2014-2019

Both packages are installed without their dependencies, so neither is imported: only their files are found and read.
"""

import csv
import gzip
import importlib.util
from collections.abc import Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from importlib import resources
from pathlib import Path
from typing import NamedTuple

import numpy as np

from closebell.model.errors import ConfigurationError
from closebell.model.instruments import Instrument, Market, SessionHours
from closebell.model.operations import NewsItem
from closebell.model.panel import FIELDS, BarPanel
from closebell.ports.market_data import Calendar
from closebell.simulation.market import DayBar, ListedAsset, Print, Split

FIRST_SESSION, LAST_SESSION = date(1999, 1, 4), date(2018, 12, 31)


class _Stock(NamedTuple):
    name: str
    exchange: str
    sector: str


# Listing exchange at the end of 2018 and GICS sector.
_STOCKS = {
    "AAPL": _Stock("Apple Inc.", "NASDAQ", "Information Technology"),
    "AMD": _Stock("Advanced Micro Devices, Inc.", "NASDAQ", "Information Technology"),
    "BAC": _Stock("Bank of America Corporation", "NYSE", "Financials"),
    "BBY": _Stock("Best Buy Co., Inc.", "NYSE", "Consumer Discretionary"),
    "CVX": _Stock("Chevron Corporation", "NYSE", "Energy"),
    "GE": _Stock("General Electric Company", "NYSE", "Industrials"),
    "HD": _Stock("The Home Depot, Inc.", "NYSE", "Consumer Discretionary"),
    "JNJ": _Stock("Johnson & Johnson", "NYSE", "Health Care"),
    "JPM": _Stock("JPMorgan Chase & Co.", "NYSE", "Financials"),
    "KO": _Stock("The Coca-Cola Company", "NYSE", "Consumer Staples"),
    "LLY": _Stock("Eli Lilly and Company", "NYSE", "Health Care"),
    "MRK": _Stock("Merck & Co., Inc.", "NYSE", "Health Care"),
    "MSFT": _Stock("Microsoft Corporation", "NASDAQ", "Information Technology"),
    "PEP": _Stock("PepsiCo, Inc.", "NASDAQ", "Consumer Staples"),
    "PFE": _Stock("Pfizer Inc.", "NYSE", "Health Care"),
    "PG": _Stock("The Procter & Gamble Company", "NYSE", "Consumer Staples"),
    "RRC": _Stock("Range Resources Corporation", "NYSE", "Energy"),
    "UNH": _Stock("UnitedHealth Group Incorporated", "NYSE", "Health Care"),
    "WMT": _Stock("Walmart Inc.", "NYSE", "Consumer Staples"),
    "XOM": _Stock("Exxon Mobil Corporation", "NYSE", "Energy"),
}
_INDICES = {"SPX": ("S&P 500 Index", "sp500"), "IXIC": ("NASDAQ Composite Index", "nasdaq")}


def real_desk_toml() -> str:
    """The configuration of a desk that trades these prices."""
    return resources.files("closebell.simulation").joinpath("real_desk.toml").read_text()


class RealPrices:
    """A `SimulatedMarket` of 20 stocks and two indices on NYSE sessions 1999-2018. Crypto has no sessions.

    A stock has one price a session, its adjusted close: one print at the closing instant, of unknown size, and a bar with
    open = high = low = close and no volume. Prices are rounded to what a US venue prints: cents, or 0.0001 below one
    dollar. Being adjusted, they show no splits and no dividends.

    The indices are for reading only (not tradable). Their prints are the real open, low, high and close; which of low and
    high came first is unknown, the low is put first because that is the worse order for an owner with a stop.

    Raises
    ------
    ConfigurationError
        A package is not installed, or its file is not what this class expects.
    """

    label = "real adjusted closes (skfolio), index OHLCV and VIX (arch)"
    is_synthetic = False

    def __init__(self, calendar: Calendar) -> None:
        sessions = calendar.sessions(Market.US_EQUITY, FIRST_SESSION, LAST_SESSION)
        self._hours = {hours.session: hours for hours in sessions}
        self._bars = _stock_bars(self._hours) | {symbol: _index_bars(file, self._hours) for symbol, (_, file) in _INDICES.items()}
        self._volatility_index = _vix_closes(self._hours)

    def assets(self) -> tuple[ListedAsset, ...]:
        """The stocks, then the indices."""
        return tuple(_listed(symbol, stock.name, stock.exchange, is_stock=True) for symbol, stock in _STOCKS.items()) + tuple(
            _listed(symbol, name, "", is_stock=False) for symbol, (name, _) in _INDICES.items()
        )

    def instruments(self) -> tuple[Instrument, ...]:
        """The tradable symbols with their GICS sectors: a universe for the configuration."""
        return tuple(Instrument(symbol=symbol, sector=stock.sector) for symbol, stock in _STOCKS.items())

    def sessions(self, market: Market) -> tuple[SessionHours, ...]:
        """NYSE sessions 1999-2018; none for crypto."""
        return tuple(self._hours.values()) if market is Market.US_EQUITY else ()

    def prints(self, symbol: str, session: date) -> tuple[Print, ...]:
        """A stock's close at the closing instant; an index's open, low, high and close, evenly spread over the session."""
        bar = self._bars.get(symbol, {}).get(session)
        if bar is None:
            return ()
        hours = self._hours[session]
        if symbol in _STOCKS:
            return (Print(hours.closes_at, bar.close_usd, None),)
        third = (hours.closes_at - hours.opens_at) / 3
        path = (bar.open_usd, bar.low_usd, bar.high_usd, bar.close_usd)
        return tuple(Print(hours.opens_at + third * step, price_usd, None) for step, price_usd in enumerate(path))

    def day_bars(self, symbol: str, first: date, last: date) -> tuple[DayBar, ...]:
        """Bars of the sessions `first`..`last`."""
        bars = self._bars.get(symbol, {})
        days = range(max(first, FIRST_SESSION).toordinal(), min(last, LAST_SESSION).toordinal() + 1)
        return tuple(bars[day] for day in map(date.fromordinal, days) if day in bars)

    def splits(self, symbol: str) -> tuple[Split, ...]:
        """None: the prices are adjusted."""
        return ()

    def halts(self, symbol: str, session: date) -> tuple[tuple[datetime, datetime], ...]:
        """None: the sources do not know them."""
        return ()

    def volatility_index(self) -> Mapping[date, Decimal]:
        """VIX closes 2014-2018, in index points."""
        return self._volatility_index

    def panel(self) -> BarPanel:
        """Every bar as float64: of a stock its close alone, of an index all five fields."""
        symbols, days = (*_STOCKS, *_INDICES), list(self._hours)
        fields = {field: np.full((len(days), len(symbols)), np.nan) for field in FIELDS}
        for column, symbol in enumerate(symbols):
            bars = self._bars[symbol]
            for row, day in enumerate(days):
                bar = bars.get(day)
                if bar is None:
                    continue
                fields["close"][row, column] = float(bar.close_usd)
                if symbol in _INDICES:
                    values = (bar.open_usd, bar.high_usd, bar.low_usd, bar.close_usd, bar.volume_shares)
                    for field, value in zip(FIELDS, values, strict=True):
                        fields[field][row, column] = np.nan if value is None else float(value)
        return BarPanel(np.array(days, dtype="datetime64[D]"), symbols, **fields)

    def headlines(self, session: date) -> tuple[NewsItem, ...]:
        """None: the sources have no news."""
        return ()


def _listed(symbol: str, name: str, exchange: str, *, is_stock: bool) -> ListedAsset:
    return ListedAsset(
        symbol=symbol, name=name, market=Market.US_EQUITY, exchange=exchange, tradable=is_stock, fractionable=is_stock,
        shortable=is_stock, increment_shares=Decimal("1e-9") if is_stock else Decimal(1), spread_frac=Decimal(0),
    )


def _stock_bars(hours: Mapping[date, SessionHours]) -> dict[str, dict[date, DayBar]]:
    rows = _rows("skfolio", "datasets/data/sp500_dataset.csv.gz", ("Date", *_STOCKS))
    bars: dict[str, dict[date, DayBar]] = {symbol: {} for symbol in _STOCKS}
    for day, *closes in rows:
        session = date.fromisoformat(day)
        if session in hours:
            for symbol, text in zip(_STOCKS, closes, strict=True):
                close = _as_printed(text)
                bars[symbol][session] = DayBar(session, close, close, close, close, None)
    return bars


def _index_bars(file: str, hours: Mapping[date, SessionHours]) -> dict[date, DayBar]:
    rows = _rows("arch", f"data/{file}/{file}.csv.gz", ("Date", "Open", "High", "Low", "Close", "Adj Close", "Volume"))
    bars = {}
    for day, opened, high, low, close, _, volume in rows:
        session = _american(day)
        if session in hours:
            bars[session] = DayBar(
                session, _as_printed(opened), _as_printed(high), _as_printed(low), _as_printed(close), Decimal(volume)
            )
    return bars


def _vix_closes(hours: Mapping[date, SessionHours]) -> dict[date, Decimal]:
    # On holidays the file has a ".": they are no sessions.
    rows = _rows("arch", "data/vix/vix.csv.gz", ("Date", "vix"))
    return {session: Decimal(close) for day, close in rows if (session := _american(day)) in hours}


def _rows(package: str, file: str, columns: Sequence[str]) -> list[list[str]]:
    """The data rows of a gzipped CSV inside an installed package, without importing it."""
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise ConfigurationError(f"the real prices lie in the package {package!r}, which is not installed: run `make setup`")
    path = Path(spec.submodule_search_locations[0], file)
    if not path.is_file():
        raise ConfigurationError(f"the package {package!r} has no file {file}: run `make setup` to install the locked version")
    with gzip.open(path, "rt", encoding="utf-8", newline="") as stream:
        header, *rows = csv.reader(stream)
    if tuple(header) != tuple(columns):
        raise ConfigurationError(f"{package}/{file} has unexpected columns: run `make setup` to install the locked version")
    return rows


def _american(day: str) -> date:
    month, day_of_month, year = day.split("/")
    return date(int(year), int(month), int(day_of_month))


def _as_printed(text: str) -> Decimal:
    """A price as a US venue prints it: cents, or 0.0001 below one dollar."""
    price = Decimal(text)
    return price.quantize(Decimal("0.01") if price >= 1 else Decimal("0.0001"))
