"""A backtest's directory: result.json, its tables, decisions and the report, written whole or not at all."""

import csv
import io
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

from closebell.backtest.records import BacktestRecords, DecisionRow, EquityRow, OrderRow, ShareRow, TradeRow
from closebell.backtest.results.attribution import by_exit, by_regime, by_strategy
from closebell.backtest.results.comparison import ComparedBacktest, ComparisonRow, comparison_rows
from closebell.backtest.results.comparison_charts import comparison_pictures
from closebell.backtest.results.comparison_page import comparison_html
from closebell.backtest.results.report_page import report_html
from closebell.backtest.whole_files import replace_folder
from closebell.model.errors import ConfigurationError, DataError

MARKER = "result.json"
RESULT_NAMES = frozenset({
    MARKER, "trades.csv", "equity.csv", "orders.csv", "decisions.csv", "attribution.csv", "report.html", "comparison.html",
    "strategy_comparison.csv", "return_against_drawdown.png", "win_rate_against_sharpe.png", "equity_curves.png",
})  # fmt: skip
"""Every name a file of a result can have: a folder with any other is somebody's own."""


def backtest_files(records: BacktestRecords, summary: Mapping[str, Any]) -> dict[str, bytes]:
    """The files of one backtest by name: numbers, tables and the report."""
    result = {
        "label": records.label,
        "strategies": list(records.strategies),
        "warnings": list(records.warnings),
        **summary,
        "terms": dict(records.terms),
    }
    return {
        MARKER: (json.dumps(result, indent=2) + "\n").encode(),
        "trades.csv": csv_of(TradeRow, records.trades),
        "equity.csv": csv_of(EquityRow, records.equity),
        "orders.csv": csv_of(OrderRow, records.orders),
        "decisions.csv": csv_of(DecisionRow, records.decisions),
        "attribution.csv": csv_of(ShareRow, _attributed(records.trades)),
        "report.html": report_html(records, summary).encode(),
    }


def comparison_files(backtests: Sequence[ComparedBacktest]) -> dict[str, bytes]:
    """The files of a comparison by name: its table, pictures and page, and each backtest's own in a folder of its name."""
    pictures = comparison_pictures(backtests)
    files = {
        "strategy_comparison.csv": csv_of(ComparisonRow, comparison_rows(backtests)),
        "comparison.html": comparison_html(backtests, pictures).encode(),
        MARKER: (json.dumps({it.name: dict(it.summary) for it in backtests}, indent=2) + "\n").encode(),
        **pictures,
    }
    for it in backtests:
        files |= {f"{it.name}/{name}": content for name, content in backtest_files(it.records, it.summary).items()}
    return files


def _attributed(trades: Sequence[TradeRow]) -> list[ShareRow]:
    return [*by_strategy(trades), *by_regime(trades), *by_exit(trades)]


def csv_of(row_type: type[NamedTuple], rows: Sequence[NamedTuple]) -> bytes:
    """Rows as CSV, the fields' names first."""
    stream = io.StringIO(newline="")
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(row_type._fields)
    writer.writerows([_shown(value) for value in row] for row in rows)
    return stream.getvalue().encode()


def refuse_unfit(folder: Path) -> None:
    """Raises ConfigurationError when a folder cannot be replaced by results, or is not to be: it holds something that is none."""
    try:
        place = folder.resolve()
        if place.exists() and not place.is_dir():
            raise ConfigurationError(f"{folder} is a file: name a folder")
        others = (path for path in place.rglob("*") if path.is_symlink() or not (path.is_dir() or path.name in RESULT_NAMES))
        other = next(others, None)  # the first will do: a folder of somebody's own may be large
        is_filled = place.exists() and any(place.iterdir())
    except OSError as error:
        raise ConfigurationError(f"{folder} cannot be used for the results: {error.strerror or error}") from error
    if other or (is_filled and not (place / MARKER).exists()):
        named = f" ({other.relative_to(place)})" if other else ""
        raise ConfigurationError(f"{folder} holds other files{named}: name an empty folder, or one of an earlier backtest")
    for reason in _reasons_against(place):
        raise ConfigurationError(f"the results cannot be {folder}: {reason}")


def _reasons_against(place: Path) -> Iterator[str]:
    """Why a folder cannot be put at a place, and where it can; `place` is absolute."""
    above = next(parent for parent in place.parents if parent.exists())
    inside = f"name a folder inside, such as {place / 'results'}"
    longest, allowed = max(len(os.fsencode(part)) for part in place.parts), os.pathconf(above, "PC_NAME_MAX")
    if not above.is_dir():
        yield f"{above} is a file, in which there is no folder; name another"
    elif longest > allowed:
        yield f"a name in it has {longest} bytes, and the disk takes at most {allowed}; name a shorter one"
    elif place in (Path.cwd(), *Path.cwd().parents):
        yield f"a result takes its folder's place, and you are in it; {inside}"
    elif place.is_mount():
        yield f"a result takes its folder's place, and this one is a disk's own; {inside}"
    elif os.statvfs(above).f_flag & os.ST_RDONLY:
        yield f"{above} is on a disk that can only be read; name a folder on another"
    elif not os.access(above, os.W_OK | os.X_OK):
        is_mine = place.is_dir() and os.access(place, os.W_OK | os.X_OK)
        yield f"you may not write in {above}; " + (inside if is_mine else "name a folder where you may")


def write_directory(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write a directory of results beside its place, then move it there; an earlier result is replaced, anything else is not.

    Raises
    ------
    ConfigurationError
        As `refuse_unfit`.
    DataError
        The disk is full or cannot be written to; what was there before is still there.
    """
    refuse_unfit(folder)
    folder = folder.resolve()  # a link keeps leading there
    try:
        replace_folder(folder, files)
    except OSError as error:
        raise DataError(f"the results could not be written to {folder}: {error.strerror or error}") from error


def _shown(value: object) -> str:
    match value:
        case None:
            return ""
        case Decimal():
            return f"{value.normalize():f}" if value else "0"
        case datetime():
            return f"{value:%Y-%m-%dT%H:%M:%S.%fZ}"
        case date():
            return f"{value}"
        case tuple():
            return " ".join(map(str, value))
        case _:
            return str(value)
