"""A backtest's directory: result.json, its tables, decisions and the report, written whole or not at all."""

import csv
import io
import json
import os
import shutil
from collections.abc import Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from tempfile import mkdtemp
from typing import Any, NamedTuple

from closebell.backtest.records import BacktestRecords, EquityRow, OrderRow, TradeRow
from closebell.model.errors import ConfigurationError, DataError

MARKER = "result.json"


def backtest_files(records: BacktestRecords, summary: Mapping[str, Any]) -> dict[str, bytes]:
    """The files of one backtest but for its report, by name."""
    result = {
        "label": records.label,
        "strategies": list(records.strategies),
        "warnings": list(records.warnings),
        **summary,
    }
    return {
        MARKER: (json.dumps(result, indent=2) + "\n").encode(),
        "trades.csv": csv_of(TradeRow, records.trades),
        "equity.csv": csv_of(EquityRow, records.equity),
        "orders.csv": csv_of(OrderRow, records.orders),
    }


def csv_of(row_type: type[NamedTuple], rows: Sequence[NamedTuple]) -> bytes:
    """Rows as CSV, the fields' names first."""
    stream = io.StringIO(newline="")
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(row_type._fields)
    writer.writerows([_shown(value) for value in row] for row in rows)
    return stream.getvalue().encode()


def write_directory(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write a directory of results beside its place, then move it there; an earlier result is replaced, anything else is not.

    Raises
    ------
    ConfigurationError
        The folder holds something that is no result.
    DataError
        The disk is full or cannot be written to; what was there before is still there.
    """
    if folder.exists() and any(folder.iterdir()) and not (folder / MARKER).exists():
        raise ConfigurationError(f"{folder} holds other files: name an empty folder, or one of an earlier backtest")
    written: Path | None = None
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        written = Path(mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
        for name, content in files.items():
            (written / name).parent.mkdir(parents=True, exist_ok=True)
            (written / name).write_bytes(content)
        if folder.exists():
            shutil.rmtree(folder)
        written.chmod(0o755)
        os.replace(written, folder)
    except OSError as error:
        if written is not None:
            shutil.rmtree(written, ignore_errors=True)
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
