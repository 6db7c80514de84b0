"""A folder that fetched bars are written to: one file a symbol, each whole or not there, and a receipt of what was fetched."""

import fcntl
import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
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
    """What a file was fetched for, which may reach beyond its bars, from which feed, and the fingerprint of its content.

    A receipt is written before its file. Killed between the two, the file is still the one before, known by `sha256_before`.
    """

    first: date
    last: date
    sha256: str
    sha256_before: str | None = None
    feed: str | None = None
    """None for coins, which have one feed, and in receipts of before feeds were noted."""


_RECEIPTS = TypeAdapter(dict[str, FileReceipt])


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Make the folder, and keep every other fetch out of it until the block or the process ends, however it ends.

    Raises
    ------
    ConfigurationError
        It is no folder, or another fetch is writing to it.
    StoreUnavailable
        It cannot be made or opened.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        opened = os.open(folder, os.O_RDONLY)
    except FileExistsError as error:
        raise ConfigurationError(f"{folder} is no folder: name another one") from error
    except OSError as error:
        raise StoreUnavailable(f"the folder {folder} cannot be used: {error.strerror or error}") from error
    try:
        _lock(folder, opened)
        yield
    finally:
        os.close(opened)


def _lock(folder: Path, opened: int) -> None:
    try:
        fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise ConfigurationError(
            f"another `closebell bars fetch` is writing to {folder}: wait for it, or name another folder"
        ) from error
    except OSError:
        pass  # some disks of a network lock files only: there nobody is kept out, which is no reason to fetch nothing


class BarStore:
    """Implements `ports.market_data.BarFiles`. What it did not write, or was changed since, is never replaced unasked.

    The receipts are read once: be `alone_in` the folder before.

    Parameters
    ----------
    folder
        Made, if it is not there, with the first file. What a killed run has left of a file half written is removed.
    feed
        What the bars of shares come from. The volumes of two feeds do not compare: a folder has one, unless asked otherwise.

    Raises
    ------
    ConfigurationError
        The folder has a splits.csv: the bars that are written here are adjusted already.
    DataError
        The receipts cannot be read.
    """

    def __init__(self, folder: Path, bar_format: BarFormat, feed: str = "sip") -> None:
        if (folder / SPLITS_FILE).exists():
            raise ConfigurationError(
                f"{folder} has a {SPLITS_FILE}, which is for bars as traded, and fetched bars are adjusted: name another folder"
            )
        self._folder, self._format, self._feed = folder, bar_format, feed
        self._receipts = _receipts_in(folder / RECEIPTS_FILE)
        for name in (RECEIPTS_FILE, *(f"*.{suffix}" for suffix in BarFormat)):
            _remove(folder.glob(f".{name}.part"))

    def dates_to_fetch(self, symbol: str, first: date, last: date, *, replaces: bool) -> tuple[date, date] | None:
        """The union of these dates and those of the file's receipt; None when the file is there as written, with them all.

        Raises
        ------
        DataError
            The file was not fetched or was changed since, or the folder has bars of another feed (neither when it `replaces`), or
            the symbol is there in the other format.
        StoreUnavailable
            The file cannot be read.
        """
        path = self._path(symbol)
        if not replaces:
            self._refuse_another_feed(symbol, path)
        if not path.exists():
            return first, last
        receipt, sha256 = self._receipts.get(path.name), self._sha256_fetched(path)
        if sha256 is None and not replaces:
            raise DataError(f"{path} was not fetched, or was changed since: --refresh replaces it, another --out leaves it alone")
        if receipt is None:
            return first, last
        if not replaces and sha256 == receipt.sha256 and receipt.first <= first and last <= receipt.last:
            return None
        return min(first, receipt.first), max(last, receipt.last)

    def keep(self, first: date, last: date, bars: BarPanel) -> None:
        """Write one symbol's bars, fetched for `first`..`last`. Raises DataError (they are wrong), StoreUnavailable."""
        symbol = bars.symbols[0]
        path = self._path(symbol)
        fields = {field: getattr(bars, field)[:, 0] for field in FIELDS}
        faults = faults_of(bars.sessions, fields)
        if faults:
            shown = [f"{bars.sessions[row]}: {what}" for row, what in sorted(faults)[:_FAULTS_SHOWN_MAX]]
            raise DataError(f"the feed's bars cannot be used ({len(faults)} faults): {'; '.join(shown)}")
        content = (_csv if self._format is BarFormat.CSV else _parquet)(pd.DataFrame({"date": bars.sessions, **fields}))
        before, feed = self._sha256_fetched(path), self._feed_of(symbol)
        receipt = FileReceipt(first=first, last=last, sha256=_sha256(content), sha256_before=before, feed=feed)
        receipts = {**self._receipts, path.name: receipt}
        self._publish({self._folder / RECEIPTS_FILE: _RECEIPTS.dump_json(receipts, indent=1, exclude_none=True), path: content})
        self._receipts = receipts

    def _path(self, symbol: str) -> Path:
        """Where the symbol's file is. Raises DataError when there is one of the other format, which a reader would refuse."""
        for other in set(BarFormat) - {self._format}:
            twin = self._folder / file_name(symbol, other)
            if twin.exists():
                raise DataError(f"{twin} is there already: add --format {other}, or name another --out")
        return self._folder / file_name(symbol, self._format)

    def _feed_of(self, symbol: str) -> str | None:
        return None if "/" in symbol else self._feed

    def _refuse_another_feed(self, symbol: str, path: Path) -> None:
        """Raises DataError when the symbol's file has bars of another feed, or there is none yet and another file has."""
        feed = self._feed_of(symbol)
        for name in [path.name] if path.exists() else self._receipts:
            receipt = self._receipts.get(name)
            if feed and receipt and receipt.feed not in (None, feed) and (self._folder / name).exists():
                raise DataError(
                    f"{self._folder / name} has bars of the feed {receipt.feed}, whose volumes are not those of {feed}: "
                    f"add --feed {receipt.feed}, or name another --out; --refresh fetches {symbol} from {feed} all the same"
                )

    def _sha256_fetched(self, path: Path) -> str | None:
        """The fingerprint of what the file holds now; None when that was not fetched, or there is no file."""
        receipt = self._receipts.get(path.name)
        if receipt is None or not path.exists():
            return None
        sha256 = _sha256_of(path)
        return sha256 if sha256 in (receipt.sha256, receipt.sha256_before) else None

    def _publish(self, files: Mapping[Path, bytes]) -> None:
        """Write all beside their places, then move all there in this order: a disk that is full is noticed before anything is
        replaced."""
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
            raise StoreUnavailable(f"{list(files)[-1]} could not be written: {error.strerror or error}") from error
        finally:
            _remove(parts.values())


def _remove(parts: Iterable[Path]) -> None:
    for part in parts:
        with suppress(OSError):
            part.unlink()


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


def _sha256_of(path: Path) -> str:
    try:
        return _sha256(path.read_bytes())
    except OSError as error:
        raise StoreUnavailable(f"{path} could not be read: {error.strerror or error}") from error


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
