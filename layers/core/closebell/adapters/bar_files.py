"""Daily bars from a folder: SYMBOL.csv or SYMBOL.parquet, a file a symbol, and splits.csv where the bars are not adjusted.

A file has the columns date (or timestamp), open, high, low, close and volume, in any order and case; date and close alone are
enough, the others are then NaN. Open, high and low are known together or not at all. `BTC-USD.csv` is BTC/USD, `brk-b.csv`
BRK.B. Everything that is wrong is named at once, with file, line and what to do; nothing is repaired, dropped or guessed.
"""

import re
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from datetime import date
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from closebell.adapters.bar_columns import columns_of, has_adjusted_close, renames_hint
from closebell.adapters.bar_tables import Fault, Floats, all_told, dates_in, located, numbers_in, table_of
from closebell.model.errors import DataError
from closebell.model.instruments import Market
from closebell.model.panel import FIELDS, BarPanel
from closebell.ports.progress import Progress, untold

SPLITS_FILE = "splits.csv"
FILES_SHOWN_MAX, FILES_LOOKED_AT_MAX = 5, 20
RANGE_TOLERANCE_FRAC = 1e-4
"""How far open and close may lie outside low and high: adjusted prices are rounded each on its own."""
PRICE_USD_MIN, PRICE_USD_MAX = 1e-9, 1e9
"""What the broker can show, in nine decimals, and what no share or coin has ever cost."""
VOLUME_SHARES_MAX = 1e15
"""More than the coins with the most units have; far below what would not be exact as a decimal of nine places."""

_SUFFIXES = {".csv", ".parquet"}
_USD_PAIR = re.compile(r"([A-Z0-9]{2,}?)[-_]?USD")
_REQUIRED = ("date", "close")

SessionDates = Callable[[date, date], Collection[date]]


class SymbolBars(NamedTuple):
    """One file: its dates, `datetime64[D]` ascending, and for each field of a panel one number a date."""

    path: Path
    symbol: str
    dates: NDArray[np.datetime64]
    fields: dict[str, Floats]


def read_bar_folder(
    folder: Path, sessions_between: SessionDates | None = None, *, gaps_are_allowed: bool = False,
    market: Market = Market.US_EQUITY, progress: Progress = untold,
) -> BarPanel:
    """Every file's bars as one panel over the union of their dates; what a file does not have is NaN.

    Parameters
    ----------
    folder
        Holds the files; others than .csv and .parquet are ignored, and those whose name begins with a dot.
    sessions_between
        The dates of the market's sessions from one date to another; a bar of any other date is an error, and so are a session
        that no file reaches across and a symbol of the other market, which has other sessions. None checks nothing.
    gaps_are_allowed
        A session between a file's first and last without a bar is one in which the symbol did not trade; otherwise an error. A
        session that no file has is then a row of NaN.
    market
        How files are called: crypto pairs are all in USD, and `BTC-USD`, `BTC_USD` and `BTCUSD` are the same.
    progress
        Told after each file, also one that is wrong.

    Raises
    ------
    DataError
        The folder or a file is missing, unreadable or wrong; the message lists up to 20 problems by file and line.
    """
    paths = _bar_paths(folder)
    problems: list[str] = []
    symbols = _symbols(paths, market, problems)
    found = []
    for count, (path, symbol) in enumerate(symbols.items(), start=1):
        if (bars := _read(path, symbol, problems)) is not None:
            found.append(bars)
        progress(count, len(symbols))
    sessions = _known_sessions(found, sessions_between)
    if sessions is not None:
        problems += _wrong_market(found, market) or _wrong_sessions(found, paths, sessions, gaps_are_allowed)
    if not problems:
        problems += _without_overlap(found)
    if problems:
        raise DataError(all_told(folder, problems))
    return _panel(found, _dates_of(found) if sessions is None else sessions)


def left_out_note(folder: Path) -> tuple[str, ...]:
    """One sentence that names what a folder holds beside its files of bars and may hold bars too: packed files, and folders."""
    others = [path for path in sorted(folder.iterdir()) if not _is_bar_file(path) and not path.name.startswith(".")]
    packed = [path.name for path in others if _SUFFIXES & {suffix.lower() for suffix in path.suffixes[:-1]}]
    folders = [f"{path.name}/" for path in others if path.is_dir() and _holds_bars(path)]
    if not packed and not folders:
        return ()
    return (f"left out of the bars: {_first_of([*packed, *folders])}; only files of the folder itself are read, and not packed",)


def adjusted_closes_note(folder: Path) -> tuple[str, ...]:
    """One sentence that names the files of bars that have an adjusted close too, which is not read. Raises DataError as
    `read_bar_folder` does for the folder."""
    named = [path.name for path in _bar_paths(folder) if has_adjusted_close(columns_of(path))]
    if not named:
        return ()
    used = "the column close is used, and the adjusted close beside it is not: dividends are missing from the results, and splits"
    return (f"{_first_of(named)}: {used} must be adjusted in it or listed in {SPLITS_FILE}",)


def _holds_bars(folder: Path) -> bool:
    """Whether one of a folder's first files is of bars; what a backtest has written is not."""
    try:
        files = list(islice((path for path in folder.iterdir() if _is_bar_file(path)), FILES_LOOKED_AT_MAX))
        return any(path.suffix.lower() == ".parquet" or columns_of(path).issuperset(_REQUIRED) for path in files)
    except OSError:  # a folder that cannot be looked into is nothing that a backtest should stop at
        return False


def _is_bar_file(path: Path) -> bool:
    return path.suffix.lower() in _SUFFIXES and path.name != SPLITS_FILE and not path.name.startswith(".")


def _first_of(names: Sequence[str]) -> str:
    """The first few names, and how many more there are."""
    more = f" and {len(names) - FILES_SHOWN_MAX} more" if len(names) > FILES_SHOWN_MAX else ""
    return ", ".join(names[:FILES_SHOWN_MAX]) + more


def read_splits(folder: Path, panel: BarPanel) -> dict[str, dict[date, float]]:
    """Symbol -> ex-date -> ratio (2.0: two new shares for one old) from splits.csv (symbol,ex_date,ratio); empty without one.

    `panel` are the folder's bars, which have to show the splits: they are for bars that are not adjusted.

    Raises
    ------
    DataError
        The file is wrong, or does not go with the bars; the message lists up to 20 problems by line.
    """
    path = folder / SPLITS_FILE
    if not path.exists():
        return {}
    table = table_of(path)
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
        written, symbol = symbol.strip(), _unfiled(symbol.strip())
        if ex_date in splits.setdefault(symbol, {}):
            faults.append((place, f"{written} has two splits on {ex_date}; keep one of the rows"))
        elif unfit := _unfit_split(panel, symbol, ex_date, value):
            faults.append((place, f"{written} {unfit}"))
        splits[symbol][ex_date] = value
    if faults:
        raise DataError(all_told(folder, located(path, faults)))
    return splits


def _unfit_split(panel: BarPanel, symbol: str, ex_date: date, ratio: float) -> str:
    """What of a split cannot be one of the bars; one before the first or after the last of them is none of theirs, and fits."""
    if "/" in symbol and symbol in panel.symbols:
        return "is a crypto pair, and those are not split; remove the row"
    if symbol not in panel.symbols:
        return "has a split and no bars; add its file or remove the row"
    day = np.datetime64(ex_date)
    if not panel.sessions[0] < day <= panel.sessions[-1]:
        return ""
    row, column = int(np.searchsorted(panel.sessions, day)), panel.symbols.index(symbol)
    if panel.sessions[row] != day:
        return f"has a split on {ex_date}, which is no session; write the first session at the new price"
    after = panel.open[row, column] if np.isfinite(panel.open[row, column]) else panel.close[row, column]
    shown = float(np.log(panel.close[row - 1, column] / after))
    if abs(shown - np.log(ratio)) > abs(shown):  # nearer to no split at all
        return f"does not show its split of {ratio:g} on {ex_date}; remove the row if the bars are adjusted"
    return ""


def symbol_of(path: Path, market: Market = Market.US_EQUITY) -> str:
    """The symbol that a file holds. Raises DataError when a crypto market's file is not called after a pair in USD."""
    if market is Market.US_EQUITY:
        return _unfiled(path.stem)
    pair = _USD_PAIR.fullmatch(path.stem.upper())
    if pair is None:
        raise DataError(f"{path.name} is not called after a crypto pair in USD, such as BTC-USD{path.suffix}")
    return f"{pair[1]}/USD"


def _unfiled(name: str) -> str:
    """What is called `BTC-USD` in files is BTC/USD, `BRK-B` is BRK.B, `aapl` AAPL: the broker has no small letters."""
    capitals = name.upper()
    return capitals.replace("-", "/" if capitals.endswith("-USD") else ".")


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


def _symbols(paths: Sequence[Path], market: Market, problems: list[str]) -> dict[Path, str]:
    """Each file's symbol; what is called wrong, or as another file is, is added to `problems`."""
    symbols: dict[Path, str] = {}
    for path in paths:
        try:
            symbol = symbol_of(path, market)
        except DataError as error:
            problems.append(str(error))
            continue
        same = next((other.name for other, known in symbols.items() if known == symbol), None)
        if same is None:
            symbols[path] = symbol
        else:
            problems.append(f"{same} and {path.name} are both of {symbol}: keep one of them")
    return symbols


def _bar_paths(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise DataError(f"there is no folder {folder}: name one that holds SYMBOL.csv files")
    try:
        found = sorted(folder.iterdir())
    except OSError as error:
        raise DataError(f"the folder {folder} cannot be read: {error.strerror or error}") from error
    paths = [path for path in found if _is_bar_file(path)]
    if not paths:
        raise DataError(f"{folder} holds no SYMBOL.csv and no SYMBOL.parquet: `closebell bars fetch` gets some")
    doubled = sorted(stem for stem, count in Counter(path.stem for path in paths).items() if count > 1)
    if doubled:
        raise DataError(f"{folder} has two files of {', '.join(doubled)}, such as a .csv and a .parquet: keep one of them")
    return paths


def _read(path: Path, symbol: str, problems: list[str]) -> SymbolBars | None:
    """One file's bars; None after adding all that is wrong with it to `problems`."""
    try:
        table = table_of(path)
    except DataError as error:
        problems.append(str(error))
        return None
    if "date" not in table.columns:
        table = table.rename(columns={"timestamp": "date"})  # as Alpaca calls it
    absent = [name for name in _REQUIRED if name not in table.columns]
    if absent:
        named = f"{path.name} has no column {' and no column '.join(absent)}; it has {', '.join(table.columns)}"
        problems.append(named + renames_hint(list(table.columns)))
        return None
    if table.empty:
        problems.append(f"{path.name} has a header and no bars")
        return None
    faults: list[Fault] = []
    dates = dates_in(table["date"], faults)
    fields = {
        field: numbers_in(table[field], field, faults) if field in table.columns else np.full(len(table), np.nan)
        for field in FIELDS
    }
    if not faults:
        faults += faults_of(dates, fields)
    problems += located(path, faults)
    return None if faults else SymbolBars(path, symbol, dates, fields)


def _wrong_order(dates: NDArray[np.datetime64]) -> Iterator[Fault]:
    steps = np.diff(dates).astype(int)
    for place in np.flatnonzero(steps == 0).tolist():
        yield place + 1, f"{dates[place + 1]} is there twice; keep one of the rows"
    for place in np.flatnonzero(steps < 0).tolist():
        yield place + 1, f"{dates[place + 1]} comes after {dates[place]}; sort the rows by date, oldest first"


def _wrong_prices(fields: dict[str, Floats]) -> Iterator[Fault]:
    opened, high, low, close, volume = (fields[field] for field in FIELDS)
    for field in FIELDS[:4]:
        for place in np.flatnonzero((fields[field] < PRICE_USD_MIN) | (fields[field] > PRICE_USD_MAX)).tolist():
            yield place, f"{field} is {fields[field][place]:g}; a price is above zero, {PRICE_USD_MIN:g} to {PRICE_USD_MAX:g}"
    known = np.isfinite([opened, high, low])
    for place in np.flatnonzero(known.any(axis=0) & ~known.all(axis=0)).tolist():
        missing = " and no ".join(name for name, is_known in zip(FIELDS, known[:, place], strict=False) if not is_known)
        yield place, f"there is no {missing}: fill it in, or leave out open, high and low, all three"
    is_priced = ~np.any([fields[field] < PRICE_USD_MIN for field in FIELDS[:4]], axis=0)
    for place in np.flatnonzero(volume < 0).tolist():
        yield place, f"volume is {volume[place]:g}; it is not negative"
    for place in np.flatnonzero(volume > VOLUME_SHARES_MAX).tolist():
        yield place, f"volume is {volume[place]:g}; at most {VOLUME_SHARES_MAX:g} trade in a day; leave it empty if unknown"
    for place in np.flatnonzero(is_priced & (high < low * (1 - RANGE_TOLERANCE_FRAC))).tolist():
        yield place, f"high {high[place]:g} is below low {low[place]:g}"
    for name, price in (("open", opened), ("close", close)):
        outside = (price > high * (1 + RANGE_TOLERANCE_FRAC)) | (price < low * (1 - RANGE_TOLERANCE_FRAC))
        for place in np.flatnonzero(is_priced & outside & ~(high < low)).tolist():
            yield place, f"{name} {price[place]:g} lies outside low {low[place]:g} and high {high[place]:g}"


def _wrong_market(found: Sequence[SymbolBars], market: Market) -> list[str]:
    """Crypto pairs among shares: one backtest trades one market. What is called after a pair in USD is one."""
    pairs = [bars.path.name for bars in found if "/" in bars.symbol and market is Market.US_EQUITY]
    hint = "take it out of the folder; trade a folder of pairs alone with --market crypto"
    return [f"{', '.join(pairs)}: a crypto pair has other sessions and fees than shares; {hint}"] if pairs else []


def _known_sessions(found: Sequence[SymbolBars], sessions_between: SessionDates | None) -> NDArray[np.datetime64] | None:
    """The market's sessions from the first bar to the last, ascending; None where they are not known or nothing was found."""
    if sessions_between is None or not found:
        return None
    first, last = min(bars.dates[0] for bars in found), max(bars.dates[-1] for bars in found)
    return np.array(sorted(sessions_between(first.astype(object), last.astype(object))), dtype="datetime64[D]")


def _wrong_sessions(
    found: Sequence[SymbolBars], paths: Sequence[Path], sessions: NDArray[np.datetime64], gaps_are_allowed: bool
) -> Iterator[str]:
    """What the market's sessions say against the files. What no file has is not known before all of `paths` could be read."""
    for bars in found:
        yield from located(bars.path, _foreign_dates(bars.dates, sessions))
        if not gaps_are_allowed:
            yield from located(bars.path, _gaps(bars.dates, sessions))
    absent = np.setdiff1d(sessions, _dates_of(found))
    apart = _apart(found, absent)
    if len(absent) and len(found) == len(paths) and (apart or not gaps_are_allowed):
        told = f"{absent[0]}" + (f" and {len(absent) - 1} more sessions up to {absent[-1]}" if len(absent) > 1 else "")
        hint = "; bring the bars, or say --allow-gaps if nothing traded"
        yield f"no file has a bar of {told}, though the market was open{apart or hint}"


def _apart(found: Sequence[SymbolBars], absent: NDArray[np.datetime64]) -> str:
    """Which files lie on one side of a session that no file reaches across, and what to do; nothing without such a session."""
    firsts, lasts = (np.sort([bars.dates[place] for bars in found]) for place in (0, -1))
    ended_count, begun_count = np.searchsorted(lasts, absent), np.searchsorted(firsts, absent)
    unspanned = absent[ended_count == begun_count]  # whatever has begun before it has ended before it
    if not len(unspanned):
        return ""
    before = [bars.path.name for bars in found if bars.dates[-1] < unspanned[0]]
    after = [bars.path.name for bars in found if bars.dates[0] > unspanned[0]]
    earlier, later = (before, "end before", "begin after"), (after, "begin after", "end before")
    fewer, lie, others_lie = earlier if len(before) <= len(after) else later
    hint = "bring what is between, or take those out"
    return f": the bars of {_first_of(fewer)} {lie} {unspanned[0]}, and all others {others_lie} it; {hint}"


def _gaps(dates: NDArray[np.datetime64], sessions: NDArray[np.datetime64]) -> Iterator[Fault]:
    """Sessions between the first date and the last without a bar, told at the bar that follows them."""
    inside = sessions[np.searchsorted(sessions, dates[0]) : np.searchsorted(sessions, dates[-1], side="right")]
    absent = np.setdiff1d(inside, dates, assume_unique=True)
    following = np.searchsorted(dates, absent)
    for place in np.unique(following).tolist():
        gap = absent[following == place]
        span = f"{gap[0]} is" if len(gap) == 1 else f"{len(gap)} sessions, {gap[0]} to {gap[-1]}, are"
        yield place, f"{span} missing before it; bring the bars, or say --allow-gaps if the symbol did not trade"


def _foreign_dates(dates: NDArray[np.datetime64], sessions: NDArray[np.datetime64]) -> Iterator[Fault]:
    for place in np.flatnonzero(~np.isin(dates, sessions)).tolist():
        yield place, f"{dates[place]}, a {dates[place].astype(object):%A}, is no session of the exchange; leave out the row"


def _without_overlap(found: Sequence[SymbolBars]) -> list[str]:
    """The files whose span of dates meets no other's."""
    firsts = np.array([bars.dates[0] for bars in found])
    lasts = np.array([bars.dates[-1] for bars in found])
    others_before = np.searchsorted(np.sort(lasts), firsts, side="left")
    others_after = len(found) - np.searchsorted(np.sort(firsts), lasts, side="right")
    is_lonely = (others_before + others_after == len(found) - 1) & (len(found) > 1)
    lonely = [bars for bars, alone in zip(found, is_lonely.tolist(), strict=True) if alone]
    return [
        f"{it.path.name}: its bars, {it.dates[0]} to {it.dates[-1]}, overlap with no other symbol's; bring more, or take it out"
        for it in lonely
    ]


def _dates_of(found: Sequence[SymbolBars]) -> NDArray[np.datetime64]:
    """The dates of which any file has a bar, ascending."""
    return np.unique(np.concatenate([bars.dates for bars in found]))


def _panel(found: Sequence[SymbolBars], sessions: NDArray[np.datetime64]) -> BarPanel:
    """The bars over `sessions`, which are ascending and hold every date of theirs."""
    matrices = {field: np.full((len(sessions), len(found)), np.nan) for field in FIELDS}
    for column, bars in enumerate(found):
        rows = np.searchsorted(sessions, bars.dates)
        for field in FIELDS:
            matrices[field][rows, column] = bars.fields[field]
    return BarPanel(sessions, tuple(bars.symbol for bars in found), **matrices)
