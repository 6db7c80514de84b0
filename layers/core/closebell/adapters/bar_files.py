"""Daily bars from a folder: SYMBOL.csv or SYMBOL.parquet, a file a symbol, and splits.csv where the bars are not adjusted.

A file has the columns date, open, high, low, close and volume, in any order and case; date and close alone are enough, the others
are then NaN. `BTC-USD.csv` is BTC/USD. Everything that is wrong is named at once, with file, line and what to do; nothing is
repaired, dropped or guessed. A file that is right is parsed by pandas as numbers; only a column that is not is looked at as text.
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from datetime import date
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

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
_DAY_CHARS = len("2020-03-16")
_OLDEST_PLAIN = np.datetime64("1000-01-01")
"""numpy takes years before Christ too."""
_BLANKS = ("", "nan", "null", "none", "<na>")

Floats = NDArray[np.float64]
Column: TypeAlias = "pd.Series[Any]"
SessionDates = Callable[[date, date], Collection[date]]

Fault = tuple[int, str]
"""Which row of a file (0 is the first), and what is wrong with it."""


class SymbolBars(NamedTuple):
    """One file: its dates, `datetime64[D]` ascending, and for each field of a panel one number a date."""

    path: Path
    dates: NDArray[np.datetime64]
    fields: dict[str, Floats]

    @property
    def symbol(self) -> str:
        """The symbol that the file holds."""
        return symbol_of(self.path)


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
    found = [bars for path in paths if (bars := _read(path, problems)) is not None]
    if sessions_between is not None and found:
        first, last = min(bars.dates[0] for bars in found), max(bars.dates[-1] for bars in found)
        sessions = np.array(sorted(sessions_between(first.astype(object), last.astype(object))), dtype="datetime64[D]")
        for bars in found:
            problems += _located(bars.path, _foreign_dates(bars.dates, sessions))
    if not problems:
        problems += _without_overlap(found)
    if problems:
        raise DataError(_told(folder, problems))
    return _panel(found)


def read_splits(folder: Path) -> dict[str, dict[date, float]]:
    """Symbol -> ex-date -> ratio (2.0: two new shares for one old) from splits.csv (symbol,ex_date,ratio); empty without one.

    Raises
    ------
    DataError
        The file is wrong; the message lists up to 20 problems by line.
    """
    path = folder / SPLITS_FILE
    if not path.exists():
        return {}
    table = _table(path)
    absent = [name for name in ("symbol", "ex_date", "ratio") if name not in table.columns]
    if absent:
        raise DataError(f"{path.name} has no column {' and no column '.join(absent)}: it needs symbol,ex_date,ratio")
    splits: dict[str, dict[date, float]] = {}
    faults: list[Fault] = []
    rows = zip(table["symbol"].astype(str), table["ex_date"].astype(str), table["ratio"].astype(str), strict=True)
    for place, (symbol, day, ratio) in enumerate(rows):
        try:
            value, ex_date = float(ratio), date.fromisoformat(day.strip())
            if not 0 < value < np.inf:
                raise ValueError
        except ValueError:
            faults.append((place, f"{symbol},{day},{ratio} is no split: write a date as 2020-08-31 and a ratio such as 4"))
            continue
        if ex_date in splits.setdefault(symbol.strip(), {}):
            faults.append((place, f"{symbol} has two splits on {ex_date}; keep one of the rows"))
        splits[symbol.strip()][ex_date] = value
    if faults:
        raise DataError(_told(folder, _located(path, faults)))
    return splits


def symbol_of(path: Path) -> str:
    """The symbol that a file holds."""
    return path.stem.replace("-", "/")


def file_name(symbol: str, suffix: str) -> str:
    """What a symbol's file is called: BTC/USD is BTC-USD."""
    return f"{symbol.replace('/', '-')}.{suffix}"


def faults_of(dates: NDArray[np.datetime64], fields: dict[str, Floats]) -> list[Fault]:
    """What is wrong with one symbol's bars, by row: a reader would refuse them."""
    missing = np.flatnonzero(np.isnan(fields["close"])).tolist()
    return [
        *((place, "close is missing; leave out the row if there was no trading") for place in missing),
        *_wrong_order(dates),
        *_wrong_prices(fields),
    ]


def _bar_paths(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise DataError(f"there is no folder {folder}: name one that holds SYMBOL.csv files")
    paths = sorted(path for path in folder.iterdir() if path.suffix in {".csv", ".parquet"} and path.name != SPLITS_FILE)
    if not paths:
        raise DataError(f"{folder} holds no SYMBOL.csv and no SYMBOL.parquet: `closebell bars fetch` gets some")
    doubled = sorted(stem for stem, count in Counter(path.stem for path in paths).items() if count > 1)
    if doubled:
        raise DataError(f"{folder} has both a .csv and a .parquet of {', '.join(doubled)}: keep one of them")
    return paths


def _table(path: Path) -> pd.DataFrame:
    """A file's columns, named in lower case. Raises DataError when it cannot be read."""
    try:
        table = _parquet_table(path) if path.suffix == ".parquet" else _csv_table(path.read_bytes())
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
    table.columns = pd.Index([str(name).strip().lower() for name in table.columns])
    doubled = [name for name, count in Counter(table.columns).items() if count > 1]
    if doubled:
        raise DataError(f"{path.name} has more than one column {', '.join(doubled)}: keep one of them")
    return table


def _csv_table(content: bytes) -> pd.DataFrame:
    """Columns of numbers as numbers, to the last digit; a column with anything else in it as text."""
    table = pd.read_csv(BytesIO(content), encoding="utf-8-sig", skipinitialspace=True, keep_default_na=False, low_memory=False)
    if not isinstance(table.index, pd.RangeIndex):
        raise pd.errors.ParserError("its rows have more columns than its header")
    # The second of two columns `close` is called `close.1` by pandas.
    return table.rename(columns={name: name.removesuffix(".1") for name in table.columns})


def _parquet_table(path: Path) -> pd.DataFrame:
    table = pd.read_parquet(path)
    has_date = "date" in {str(name).strip().lower() for name in table.columns}
    return table if has_date or isinstance(table.index, pd.RangeIndex) else table.reset_index(names="date")


def _read(path: Path, problems: list[str]) -> SymbolBars | None:
    """One file's bars; None after adding all that is wrong with it to `problems`."""
    try:
        table = _table(path)
    except DataError as error:
        problems.append(str(error))
        return None
    absent = [name for name in _REQUIRED if name not in table.columns]
    if absent:
        problems.append(f"{path.name} has no column {' and no column '.join(absent)}; it has {', '.join(table.columns)}")
        return None
    if table.empty:
        problems.append(f"{path.name} has a header and no bars")
        return None
    faults: list[Fault] = []
    dates = _dates(table["date"], faults)
    fields = {
        field: _numbers(table[field], field, faults) if field in table.columns else np.full(len(table), np.nan)
        for field in FIELDS
    }
    if not faults:
        faults += faults_of(dates, fields)
    problems += _located(path, faults)
    return None if faults else SymbolBars(path, dates, fields)


def _dates(column: Column, faults: list[Fault]) -> NDArray[np.datetime64]:
    """The dates as they are written: a time of day and its zone are left out, not converted."""
    texts = column.astype(str).fillna("").tolist()
    dates = column.dt.tz_localize(None).to_numpy() if column.dtype.kind == "M" else _written_dates(texts)
    for place in np.flatnonzero(np.isnat(dates)).tolist():
        faults.append((place, f"{texts[place]!r} is no date; write it as 2020-03-16"))
    return dates.astype("datetime64[D]")


def _written_dates(texts: Sequence[str]) -> NDArray[np.datetime64]:
    """Dates as files write them; NaT for what is none. Nearly every file writes all of them as 2020-03-16: that is quick."""
    if all(len(text) == _DAY_CHARS and text[4] == text[7] == "-" for text in texts):
        try:
            dates = np.array(texts, dtype="datetime64[D]")
        except ValueError:
            pass
        else:
            if dates.min() >= _OLDEST_PLAIN:
                return dates
    is_instant = pd.to_datetime(pd.Series(texts), format="ISO8601", errors="coerce", utc=True).notna().tolist()
    days = [_day(text) if valid else None for text, valid in zip(texts, is_instant, strict=True)]
    return np.array(days, dtype="datetime64[D]")


def _day(text: str) -> date | None:
    """The date that a text begins with."""
    for shape in (text.strip()[:_DAY_CHARS], text.strip()):
        try:
            return date.fromisoformat(shape)
        except ValueError:
            continue
    return None


def _numbers(column: Column, field: str, faults: list[Fault]) -> Floats:
    """A column as numbers. An empty open, high, low or volume is unknown; an empty close is an error."""
    is_numeric = column.dtype.kind in "iuf"
    numbers = column.to_numpy(dtype=float, na_value=np.nan) if is_numeric else _parsed(column)
    if np.isfinite(numbers).all():
        return numbers
    is_blank = column.astype(str).fillna("").str.strip().str.lower().isin(_BLANKS).to_numpy()
    for place in np.flatnonzero(~np.isfinite(numbers) & ~is_blank).tolist():
        faults.append((place, f"{field} is {str(column.iloc[place])!r}, which is no number"))
    return numbers


def _parsed(column: Column) -> Floats:
    return pd.to_numeric(column.astype(str), errors="coerce").to_numpy(dtype=float, na_value=np.nan)


def _wrong_order(dates: NDArray[np.datetime64]) -> Iterator[Fault]:
    steps = np.diff(dates).astype(int)
    for place in np.flatnonzero(steps == 0).tolist():
        yield place + 1, f"{dates[place + 1]} is there twice; keep one of the rows"
    for place in np.flatnonzero(steps < 0).tolist():
        yield place + 1, f"{dates[place + 1]} comes after {dates[place]}; sort the rows by date, oldest first"


def _wrong_prices(fields: dict[str, Floats]) -> Iterator[Fault]:
    opened, high, low, close, volume = (fields[field] for field in FIELDS)
    for field in FIELDS[:4]:
        for place in np.flatnonzero(fields[field] <= 0).tolist():
            yield place, f"{field} is {fields[field][place]:g}; a price is above zero"
    for place in np.flatnonzero(volume < 0).tolist():
        yield place, f"volume is {volume[place]:g}; it is not negative"
    for place in np.flatnonzero(high < low * (1 - RANGE_TOLERANCE_FRAC)).tolist():
        yield place, f"high {high[place]:g} is below low {low[place]:g}"
    for name, price in (("open", opened), ("close", close)):
        outside = (price > high * (1 + RANGE_TOLERANCE_FRAC)) | (price < low * (1 - RANGE_TOLERANCE_FRAC))
        for place in np.flatnonzero(outside & ~(high < low)).tolist():
            yield place, f"{name} {price[place]:g} lies outside low {low[place]:g} and high {high[place]:g}"


def _foreign_dates(dates: NDArray[np.datetime64], sessions: NDArray[np.datetime64]) -> Iterator[Fault]:
    for place in np.flatnonzero(~np.isin(dates, sessions)).tolist():
        yield place, f"{dates[place]}, a {dates[place].astype(object):%A}, is no session of the exchange; leave out the row"


def _without_overlap(found: Sequence[SymbolBars]) -> list[str]:
    """The symbols whose span of dates meets no other's."""
    firsts = np.array([bars.dates[0] for bars in found])
    lasts = np.array([bars.dates[-1] for bars in found])
    others_before = np.searchsorted(np.sort(lasts), firsts, side="left")
    others_after = len(found) - np.searchsorted(np.sort(firsts), lasts, side="right")
    is_lonely = (others_before + others_after == len(found) - 1) & (len(found) > 1)
    lonely = [bars for bars, alone in zip(found, is_lonely.tolist(), strict=True) if alone]
    return [f"{it.symbol}: its bars, {it.dates[0]} to {it.dates[-1]}, overlap with no other symbol's" for it in lonely]


def _panel(found: Sequence[SymbolBars]) -> BarPanel:
    sessions = np.unique(np.concatenate([bars.dates for bars in found]))
    matrices = {field: np.full((len(sessions), len(found)), np.nan) for field in FIELDS}
    for column, bars in enumerate(found):
        rows = np.searchsorted(sessions, bars.dates)
        for field in FIELDS:
            matrices[field][rows, column] = bars.fields[field]
    return BarPanel(sessions, tuple(bars.symbol for bars in found), **matrices)


def _located(path: Path, faults: Collection[Fault] | Iterator[Fault]) -> list[str]:
    """Faults in the order of their rows, with file and line; a Parquet file has rows, the first is row 1."""
    found = sorted(faults)
    if not found:
        return []
    if path.suffix == ".parquet":
        return [f"{path.name} row {place + 1}: {what}" for place, what in found]
    lines = [number for number, line in enumerate(path.read_bytes().splitlines(), 1) if line.strip()]
    return [f"{path.name} line {lines[place + 1]}: {what}" for place, what in found]


def _told(folder: Path, problems: Sequence[str]) -> str:
    shown = "\n  ".join(problems[:PROBLEMS_SHOWN_MAX])
    more = len(problems) - PROBLEMS_SHOWN_MAX
    return f"the files in {folder} cannot be used:\n  {shown}" + (f"\n  and {more} more" if more > 0 else "")
