"""One file as a table: its columns by name, texts as dates and numbers, and the line of the file on which a row stands.

What is wrong with a column is named by its row. A file that is right is parsed by pandas as numbers; only a column that is not is
looked at as text.
"""

import csv
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from datetime import date
from io import BytesIO, StringIO
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from closebell.model.errors import DataError

PROBLEMS_SHOWN_MAX = 20

_DAY_CHARS = len("2020-03-16")
_OLDEST_PLAIN = np.datetime64("1000-01-01")
"""numpy takes years before Christ too."""
_OLDEST_DAY, _LATEST_DAY = np.datetime64("1880-01-01"), np.datetime64("2199-12-31")
_SYMBOL_LEVELS = ("symbol", "ticker")
_MARKED_NUMBER = r"[-+]?\s*[$€£]?\s*\d[\d,'\s]*(\.\d*)?\s*[$€£]?"
"""A number with a currency's sign, or with commas, apostrophes or blanks between its digits."""
_BLANKS = ("", "nan", "null", "none", "<na>")

Floats = NDArray[np.float64]
Column: TypeAlias = "pd.Series[Any]"

Fault = tuple[int, str]
"""Which row of a file (0 is the first), and what is wrong with it."""


def table_of(path: Path) -> pd.DataFrame:
    """A file's columns, named in lower case. Raises DataError when it cannot be read."""
    try:
        table = _parquet_table(path) if path.suffix.lower() == ".parquet" else _csv_table(path.read_bytes())
    except pd.errors.EmptyDataError as error:
        raise DataError(f"{path.name} is empty") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path.name} is no UTF-8 text: save it as UTF-8") from error
    except pd.errors.ParserError as error:
        said = str(error).strip().removeprefix("Error tokenizing data. C error: ")
        raise DataError(f"{path.name} is no table: {said}; write commas between columns, points in numbers") from error
    except ImportError as error:
        raise DataError(f"{path.name} needs pyarrow, which is not installed: convert it to CSV, or run `make setup`") from error
    except OSError as error:
        raise DataError(f"{path.name} cannot be read: {error.strerror or error}") from error
    except ValueError as error:
        raise DataError(f"{path.name} cannot be read: {error}") from error
    table.columns = pd.Index([str(name).strip().lower() for name in table.columns])
    doubled = [name for name, count in Counter(table.columns).items() if count > 1]
    if doubled:
        raise DataError(f"{path.name} has more than one column {', '.join(doubled)}: keep one of them")
    return table


def _csv_table(content: bytes) -> pd.DataFrame:
    """Columns of numbers as numbers, to the last digit; a column with anything else in it as text."""
    table = _parsed_csv(content, {})
    infinite = [str(name) for name, column in table.items() if column.dtype.kind == "f" and np.isinf(column.to_numpy()).any()]
    if infinite:  # what is wrong is shown as it is written: 1e400 is no float, `inf` is no word of the file's
        table = _parsed_csv(content, dict.fromkeys(infinite, str))
    if not isinstance(table.index, pd.RangeIndex):
        raise pd.errors.ParserError("its rows have more columns than its header")
    if len(table.columns) == 1 and any(mark in str(table.columns[0]) for mark in ";\t|"):
        raise pd.errors.ParserError("its header is one column")
    # The second of two columns `close` is called `close.1` by pandas.
    table.columns = pd.Index([name.removesuffix(".1") for name in table.columns])
    return table


def _parsed_csv(content: bytes, dtypes: dict[str, type[str]]) -> pd.DataFrame:
    return pd.read_csv(
        BytesIO(content), encoding="utf-8-sig", skipinitialspace=True, keep_default_na=False, low_memory=False, dtype=dtypes
    )


def _parquet_table(path: Path) -> pd.DataFrame:
    table = pd.read_parquet(path)
    has_date = "date" in {str(name).strip().lower() for name in table.columns}
    return table if has_date or isinstance(table.index, pd.RangeIndex) else _of_one_symbol(table).reset_index(names="date")


def _of_one_symbol(table: pd.DataFrame) -> pd.DataFrame:
    """A table whose index names a symbol beside each date, as some vendors' libraries make it, with the dates alone as its index.

    Raises ValueError when the index has other levels, or several symbols.
    """
    if not isinstance(table.index, pd.MultiIndex):
        return table
    names = [str(name).strip().lower() for name in table.index.names]
    level = next((place for place, name in enumerate(names) if name in _SYMBOL_LEVELS), None)
    if level is None or len(names) != len(("symbol", "date")):
        raise ValueError(f"its index has the levels {', '.join(names)}; write the dates as a column date, one symbol a file")
    symbols = table.index.unique(level).astype(str).tolist()
    if len(symbols) > 1:
        raise ValueError(f"it holds {len(symbols)} symbols, such as {symbols[0]} and {symbols[1]}; write one file a symbol")
    return table.droplevel(level)


def dates_in(column: Column, faults: list[Fault]) -> NDArray[np.datetime64]:
    """The dates as they are written: a time of day and its zone are left out, not converted."""
    is_instant = column.dtype.kind == "M"
    dates = column.dt.tz_localize(None).to_numpy() if is_instant else _written_dates(_texts(column).tolist())
    wrong = np.flatnonzero(np.isnat(dates)).tolist()
    texts = _texts(column).tolist() if wrong else []
    for place in wrong:
        faults.append((place, f"{texts[place]!r} is no date; write it as 2020-03-16"))
    days = dates.astype("datetime64[D]")
    for place in np.flatnonzero((days < _OLDEST_DAY) | (days > _LATEST_DAY)).tolist():
        faults.append((place, f"{days[place]} is no date of a bar: those are of {_OLDEST_DAY} to {_LATEST_DAY}"))
    return days


def _texts(column: Column) -> Column:
    """A column as it is written; "" for what is missing."""
    return column.astype(str).fillna("")


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
    stripped = [text.strip() for text in texts]
    is_instant = pd.to_datetime(pd.Series(stripped), format="ISO8601", errors="coerce", utc=True).notna().tolist()
    days = [_day(text) if valid else None for text, valid in zip(stripped, is_instant, strict=True)]
    return np.array(days, dtype="datetime64[D]")


def _day(text: str) -> date | None:
    """The date that a text begins with."""
    for shape in (text[:_DAY_CHARS], text):
        try:
            return date.fromisoformat(shape)
        except ValueError:
            continue
    return None


def numbers_in(column: Column, field: str, faults: list[Fault]) -> Floats:
    """A column as numbers. An empty open, high, low or volume is unknown; an empty close is an error."""
    is_numeric = column.dtype.kind in "iuf"
    numbers = column.to_numpy(dtype=float, na_value=np.nan) if is_numeric else _parsed(column)
    if np.isfinite(numbers).all():
        return numbers
    texts = _texts(column).str.strip()
    is_wrong = ~np.isfinite(numbers) & ~texts.str.lower().isin(_BLANKS).to_numpy()
    is_marked = is_wrong & texts.str.fullmatch(_MARKED_NUMBER).to_numpy(dtype=bool)
    faults += _marked_numbers(column, field, np.flatnonzero(is_marked).tolist())
    for place in np.flatnonzero(is_wrong & ~is_marked).tolist():
        faults.append((place, f"{field} is {str(column.iloc[place])!r}, which is no number"))
    return numbers


def _marked_numbers(column: Column, field: str, places: Sequence[int]) -> Iterator[Fault]:
    """One fault for all that are numbers but for their commas and signs: they are written so in the whole column."""
    if places:
        others = f", and {len(places) - 1} more of the column are written so" if len(places) > 1 else ""
        hint = "write 1234.5: a point before the decimals, no comma, blank or currency sign"
        yield places[0], f"{field} is {str(column.iloc[places[0]])!r}, which is no number{others}; {hint}"


def _parsed(column: Column) -> Floats:
    return pd.to_numeric(column.astype(str), errors="coerce").to_numpy(dtype=float, na_value=np.nan)


def located(path: Path, faults: Collection[Fault] | Iterator[Fault]) -> list[str]:
    """Faults in the order of their rows, with file and line; a Parquet file has rows, the first is row 1."""
    found = sorted(faults)
    if not found:
        return []
    if path.suffix.lower() == ".parquet":
        return [f"{path.name} row {place + 1}: {what}" for place, what in found]
    lines = _first_lines(path.read_bytes().decode("utf-8-sig"))[1:]
    told = {place: f"line {line}" for place, line in enumerate(lines)}
    return [f"{path.name} {told.get(place, f'row {place + 1}')}: {what}" for place, what in found]


def _first_lines(text: str) -> list[int]:
    """The lines (1 is the first) on which the header and each row of a CSV file begin. A quoted field may hold ends of lines;
    pandas passes over lines of nothing but spaces and tabs. What follows a field too long for Python's reader is left out."""
    lines = list(StringIO(text, newline=""))
    begins, number = [], 1
    rows = csv.reader(lines, skipinitialspace=True)
    with suppress(csv.Error):
        for _ in rows:
            if lines[number - 1].strip(" \t\r\n"):
                begins.append(number)
            number = rows.line_num + 1
    return begins


def all_told(folder: Path, problems: Sequence[str]) -> str:
    """The message of all that is wrong in a folder: the first 20 problems, and how many more there are."""
    shown = "\n  ".join(problems[:PROBLEMS_SHOWN_MAX])
    more_count = len(problems) - PROBLEMS_SHOWN_MAX
    more = f"\n  and {more_count} more" if more_count > 0 else ""
    return f"the files in {folder} cannot be used; mend what is named, or take the file out:\n  {shown}{more}"
