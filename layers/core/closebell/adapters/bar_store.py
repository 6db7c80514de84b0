"""A folder that fetched bars are written to: one file a symbol, each whole or not there, and a receipt of what was fetched."""

import hashlib
import os
from collections.abc import Mapping
from contextlib import suppress
from datetime import date
from enum import StrEnum
from pathlib import Path

import numpy as np
import pandas as pd
from pydantic import BaseModel, TypeAdapter, ValidationError

from closebell.adapters.bar_files import SPLITS_FILE, faults_of, file_name
from closebell.model.errors import ConfigurationError, DataError, StoreUnavailable
from closebell.model.panel import FIELDS, BarPanel

RECEIPTS_FILE = "fetched.json"
_FAULTS_SHOWN_MAX = 3


class BarFormat(StrEnum):
    """How a file of bars is written; the value is its suffix."""

    CSV = "csv"
    PARQUET = "parquet"


class FileReceipt(BaseModel, frozen=True):
    """The dates that a file was fetched for, which may reach beyond its bars, and the fingerprint of its content."""

    first: date
    last: date
    sha256: str


_RECEIPTS = TypeAdapter(dict[str, FileReceipt])


class BarStore:
    """Implements `ports.market_data.BarFiles`. What it did not write, or was changed since, is never replaced unasked.

    Parameters
    ----------
    folder
        Made when the first file is written.

    Raises
    ------
    ConfigurationError
        The folder has a splits.csv: the bars that are written here are adjusted already.
    DataError
        The receipts cannot be read.
    """

    def __init__(self, folder: Path, bar_format: BarFormat) -> None:
        if folder.exists() and not folder.is_dir():
            raise ConfigurationError(f"{folder} is no folder: name another one")
        if (folder / SPLITS_FILE).exists():
            raise ConfigurationError(
                f"{folder} has a {SPLITS_FILE}, which is for bars as traded, and fetched bars are adjusted: name another folder"
            )
        self._folder, self._format = folder, bar_format
        self._receipts = _receipts_in(folder / RECEIPTS_FILE)

    def has(self, symbol: str, first: date, last: date) -> bool:
        """Whether the symbol's file is there as it was written, for these dates at least. Raises DataError, StoreUnavailable."""
        path = self._path(symbol)
        if not path.exists():
            return False
        receipt = self._receipts.get(path.name)
        try:
            is_as_written = receipt is not None and _sha256(path.read_bytes()) == receipt.sha256
        except OSError as error:
            raise StoreUnavailable(f"{path} could not be read: {error.strerror or error}") from error
        if receipt is None or not is_as_written:
            raise DataError(f"{path} was not fetched, or was changed since: --refresh replaces it, another --out leaves it alone")
        return receipt.first <= first and last <= receipt.last

    def keep(self, first: date, last: date, bars: BarPanel) -> None:
        """Write one symbol's bars, fetched for `first`..`last`. Raises DataError (they are wrong), StoreUnavailable."""
        path = self._path(bars.symbols[0])
        fields = {field: getattr(bars, field)[:, 0] for field in FIELDS}
        faults = faults_of(bars.sessions, fields)
        if faults:
            shown = [f"{bars.sessions[row]}: {what}" for row, what in sorted(faults)[:_FAULTS_SHOWN_MAX]]
            raise DataError(f"the feed's bars cannot be used ({len(faults)} faults): {'; '.join(shown)}")
        content = (_csv if self._format is BarFormat.CSV else _parquet)(pd.DataFrame({"date": bars.sessions, **fields}))
        receipts = {**self._receipts, path.name: FileReceipt(first=first, last=last, sha256=_sha256(content))}
        self._publish({path: content, self._folder / RECEIPTS_FILE: _RECEIPTS.dump_json(receipts, indent=1)})
        self._receipts = receipts

    def _path(self, symbol: str) -> Path:
        """Where the symbol's file is. Raises DataError when there is one of the other format, which a reader would refuse."""
        for other in set(BarFormat) - {self._format}:
            twin = self._folder / file_name(symbol, other)
            if twin.exists():
                raise DataError(f"{twin} is there already: add --format {other}, or name another --out")
        return self._folder / file_name(symbol, self._format)

    def _publish(self, files: Mapping[Path, bytes]) -> None:
        """Write all beside their places, then move all there: a disk that is full is noticed before anything is replaced."""
        parts = {path: path.with_name(f".{path.name}.part") for path in files}
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            for path, content in files.items():
                with parts[path].open("wb") as part:
                    part.write(content)
                    part.flush()
                    os.fsync(part.fileno())
            for path, written in parts.items():
                os.replace(written, path)
        except OSError as error:
            for written in parts.values():
                with suppress(OSError):
                    written.unlink()
            raise StoreUnavailable(f"{next(iter(files))} could not be written: {error.strerror or error}") from error


def _receipts_in(path: Path) -> dict[str, FileReceipt]:
    if not path.exists():
        return {}
    try:
        return _RECEIPTS.validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        raise DataError(f"{path} cannot be read: delete it and add --refresh, or name another --out") from error


def _csv(table: pd.DataFrame) -> bytes:
    """Each number as the shortest text that reads back as it; what is unknown is empty."""
    days = table["date"].to_numpy().astype("datetime64[D]").astype(str).tolist()
    columns = [[_text(value) for value in table[field].tolist()] for field in FIELDS]
    lines = [",".join(("date", *FIELDS)), *(",".join(row) for row in zip(days, *columns, strict=True))]
    return ("\n".join(lines) + "\n").encode()


def _text(value: float) -> str:
    return "" if np.isnan(value) else repr(value).removesuffix(".0")


def _parquet(table: pd.DataFrame) -> bytes:
    try:
        return table.to_parquet(index=False)
    except ImportError as error:
        raise ConfigurationError("Parquet needs pyarrow, which is not installed: fetch as csv, or run `make setup`") from error


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
