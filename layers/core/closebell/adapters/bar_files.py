"""Daily bars from a folder: SYMBOL.csv or SYMBOL.parquet, a file a symbol, and splits.csv where the bars are not adjusted.

A file has the columns date, open, high, low, close and volume, in any order and case; date and close alone are enough, the others
are then NaN. `BTC-USD.csv` is BTC/USD. Everything that is wrong is named at once, with file, line and what to do; nothing is
repaired, dropped or guessed.
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from datetime import date
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from closebell.model.errors import DataError
from closebell.model.panel import FIELDS, BarPanel

SPLITS_FILE = "splits.csv"
PROBLEMS_SHOWN_MAX = 20
RANGE_TOLERANCE_FRAC = 1e-4
"""How far open and close may lie outside low and high: adjusted prices are rounded each on its own."""

_REQUIRED = ("date", "close")
_HEADER_LINES = 2
"""A row's line in its file: the first row is line two."""

Floats = NDArray[np.float64]
SessionDates = Callable[[date, date], Collection[date]]


class SymbolBars(NamedTuple):
    """One file: its dates, `datetime64[D]` ascending, and for each field of a panel one number a date."""

    symbol: str
    dates: NDArray[np.datetime64]
    fields: dict[str, Floats]


def read_bar_folder(folder: Path, sessions_between: SessionDates | None = None) -> BarPanel:
    """Every file's bars as one panel over the union of their dates; what a file does not have is NaN.

    Parameters
    ----------
    folder
        Holds the files; others than .csv and .parquet are ignored.
    sessions_between
        The dates of the exchange's sessions from one date to another; a bar of any other date is an error. None checks nothing.

    Raises
    ------
    DataError
        The folder or a file is missing, unreadable or wrong; the message lists up to 20 problems by file and line.
    """
    paths = _bar_paths(folder)
    problems: list[str] = []
    found = [bars for path in paths if (bars := _read(path, problems.append)) is not None]
    if sessions_between is not None and found:
        first, last = min(bars.dates[0] for bars in found), max(bars.dates[-1] for bars in found)
        sessions = np.array(sorted(sessions_between(first.astype(object), last.astype(object))), dtype="datetime64[D]")
        for bars in found:
            problems += _foreign_dates(bars, sessions)
    if not problems:
        problems += _without_overlap(found)
    if problems:
        raise DataError(_told(folder, problems))
    return _panel(found)


def read_splits(folder: Path) -> dict[str, dict[date, float]]:
    """Symbol -> ex-date -> ratio (2.0: two new shares for one old) from splits.csv (symbol,ex_date,ratio); empty without one."""
    path = folder / SPLITS_FILE
    if not path.exists():
        return {}
    table = _table(path)
    absent = [name for name in ("symbol", "ex_date", "ratio") if name not in table.columns]
    if absent:
        raise DataError(f"{path.name} has no column {', '.join(absent)}: it needs symbol,ex_date,ratio")
    splits: dict[str, dict[date, float]] = {}
    rows = zip(table["symbol"], table["ex_date"], table["ratio"], strict=True)
    for line, (symbol, day, ratio) in enumerate(rows, _HEADER_LINES):
        try:
            value = float(ratio)
            if not 0 < value < np.inf:
                raise ValueError
            splits.setdefault(str(symbol).strip(), {})[date.fromisoformat(str(day).strip())] = value
        except ValueError as error:
            raise DataError(
                f"{path.name} line {line}: {symbol},{day},{ratio} is no split: write a date as 2020-08-31 and a ratio such as 4"
            ) from error
    return splits


def symbol_of(path: Path) -> str:
    """The symbol that a file holds."""
    return path.stem.replace("-", "/") if "-" in path.stem else path.stem


def _bar_paths(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise DataError(f"there is no folder {folder}: name one that holds SYMBOL.csv files")
    paths = sorted(path for path in folder.iterdir() if path.suffix in {".csv", ".parquet"} and path.name != SPLITS_FILE)
    if not paths:
        raise DataError(f"{folder} holds no SYMBOL.csv and no SYMBOL.parquet")
    doubled = {path.stem for path in paths if sum(other.stem == path.stem for other in paths) > 1}
    if doubled:
        raise DataError(f"{folder} has both a .csv and a .parquet of {', '.join(sorted(doubled))}: keep one of them")
    return paths


def _table(path: Path) -> pd.DataFrame:
    """A file as text (CSV) or as it is (Parquet), its columns in lower case. Raises DataError when it cannot be read."""
    try:
        if path.suffix == ".parquet":
            table = pd.read_parquet(path)
            table = table if "date" in {str(name).lower() for name in table.columns} else table.reset_index(names="date")
        else:
            table = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8-sig", skipinitialspace=True)
    except pd.errors.EmptyDataError as error:
        raise DataError(f"{path.name} is empty") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path.name} is no UTF-8 text: save it as UTF-8") from error
    except pd.errors.ParserError as error:
        raise DataError(f"{path.name} is no table: {str(error).strip()}") from error
    except ImportError as error:
        raise DataError(f"{path.name} needs pyarrow, which is not installed: convert it to CSV, or run `make setup`") from error
    except (OSError, ValueError) as error:
        raise DataError(f"{path.name} cannot be read: {error}") from error
    table.columns = [str(name).strip().lower() for name in table.columns]
    return table


def _read(path: Path, complain: Callable[[str], None]) -> SymbolBars | None:
    """One file's bars; None after complaining of all that is wrong with it."""
    try:
        table = _table(path)
    except DataError as error:
        complain(str(error))
        return None
    absent = [name for name in _REQUIRED if name not in table.columns]
    if absent:
        complain(f"{path.name} has no column {' and no column '.join(absent)}; it has {', '.join(table.columns)}")
        return None
    if table.empty:
        complain(f"{path.name} has a header and no bars")
        return None
    complaints: list[str] = []
    dates = _dates(path, table["date"], complaints)
    fields = {
        field: _numbers(path, table, field, complaints) if field in table.columns else np.full(len(table), np.nan)
        for field in FIELDS
    }
    if not complaints:
        complaints += _wrong_order(path, dates)
        complaints += _wrong_prices(path, fields)
    for complaint in complaints:
        complain(complaint)
    return None if complaints else SymbolBars(symbol_of(path), dates, fields)


def _dates(path: Path, column: "pd.Series[str]", complaints: list[str]) -> NDArray[np.datetime64]:
    parsed = pd.to_datetime(column, format="ISO8601", errors="coerce", utc=True) if column.dtype == object or (
        pd.api.types.is_string_dtype(column)
    ) else pd.to_datetime(column, errors="coerce", utc=True)
    for place in np.flatnonzero(parsed.isna().to_numpy()).tolist():
        complaints.append(f"{_at(path, place)}: {column.iloc[place]!r} is no date; write it as 2020-03-16")
    return parsed.dt.tz_localize(None).to_numpy().astype("datetime64[D]")


def _numbers(path: Path, table: pd.DataFrame, field: str, complaints: list[str]) -> Floats:
    """A column as numbers. An empty open, high, low or volume is unknown; an empty close is an error."""
    column = table[field]
    numbers = pd.to_numeric(column, errors="coerce").to_numpy(dtype=float)
    texts = column.astype(str).str.strip().str.lower()
    is_blank = texts.isin(("", "nan", "null", "none", "<na>")).to_numpy()
    for place in np.flatnonzero(~np.isfinite(numbers) & ~is_blank).tolist():
        complaints.append(f"{_at(path, place)}: {field} is {column.iloc[place]!r}, which is no number")
    if field == "close":
        for place in np.flatnonzero(is_blank).tolist():
            complaints.append(f"{_at(path, place)}: close is missing; leave out the row if there was no trading")
    return numbers


def _wrong_order(path: Path, dates: NDArray[np.datetime64]) -> Iterator[str]:
    steps = np.diff(dates).astype(int)
    for place in np.flatnonzero(steps == 0).tolist():
        yield f"{_at(path, place + 1)}: {dates[place + 1]} is there twice; keep one of the rows"
    for place in np.flatnonzero(steps < 0).tolist():
        yield f"{_at(path, place + 1)}: {dates[place + 1]} comes after {dates[place]}; sort the rows by date, oldest first"


def _wrong_prices(path: Path, fields: dict[str, Floats]) -> Iterator[str]:
    opened, high, low, close, volume = (fields[field] for field in FIELDS)
    for field in FIELDS[:4]:
        for place in np.flatnonzero(fields[field] <= 0).tolist():
            yield f"{_at(path, place)}: {field} is {fields[field][place]:g}; a price is above zero"
    for place in np.flatnonzero(volume < 0).tolist():
        yield f"{_at(path, place)}: volume is {volume[place]:g}; it is not negative"
    for place in np.flatnonzero(high < low * (1 - RANGE_TOLERANCE_FRAC)).tolist():
        yield f"{_at(path, place)}: high {high[place]:g} is below low {low[place]:g}"
    for name, price in (("open", opened), ("close", close)):
        outside = (price > high * (1 + RANGE_TOLERANCE_FRAC)) | (price < low * (1 - RANGE_TOLERANCE_FRAC))
        for place in np.flatnonzero(outside & (high >= low)).tolist():
            yield f"{_at(path, place)}: {name} {price[place]:g} lies outside low {low[place]:g} and high {high[place]:g}"


def _foreign_dates(bars: SymbolBars, sessions: NDArray[np.datetime64]) -> list[str]:
    foreign = np.flatnonzero(~np.isin(bars.dates, sessions)).tolist()
    return [f"{bars.symbol}: {bars.dates[place]} is no session of the exchange" for place in foreign]


def _without_overlap(found: Sequence[SymbolBars]) -> list[str]:
    """The symbols whose span of dates meets no other's."""
    lonely = []
    for bars in found:
        others = [other for other in found if other is not bars]
        if others and all(other.dates[-1] < bars.dates[0] or bars.dates[-1] < other.dates[0] for other in others):
            lonely.append(f"{bars.symbol}: its bars, {bars.dates[0]} to {bars.dates[-1]}, overlap with no other symbol's")
    return lonely


def _panel(found: Sequence[SymbolBars]) -> BarPanel:
    sessions = np.unique(np.concatenate([bars.dates for bars in found]))
    matrices = {field: np.full((len(sessions), len(found)), np.nan) for field in FIELDS}
    for column, bars in enumerate(found):
        rows = np.searchsorted(sessions, bars.dates)
        for field in FIELDS:
            matrices[field][rows, column] = bars.fields[field]
    opened, high, low, close, volume = (matrices[field] for field in FIELDS)
    return BarPanel(sessions, tuple(bars.symbol for bars in found), opened, high, low, close, volume)


def _at(path: Path, place: int) -> str:
    return f"{path.name} line {place + _HEADER_LINES}"


def _told(folder: Path, problems: Sequence[str]) -> str:
    shown = "\n  ".join(problems[:PROBLEMS_SHOWN_MAX])
    more = len(problems) - PROBLEMS_SHOWN_MAX
    return f"the bars in {folder} cannot be used:\n  {shown}" + (f"\n  and {more} more" if more > 0 else "")
