"""A sweep's folder: one line a point, written the moment it is done, and the table of all of them.

A line is found again by a fingerprint of the point, the bars, the costs and the code that traded them; so a sweep that was
interrupted goes on where it was, and one whose bars or code have changed begins anew beside the old lines.
"""

import csv
import fcntl
import hashlib
import io
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

from pydantic import ConfigDict, TypeAdapter, ValidationError

import closebell
from closebell.backtest.appended_lines import whole_lines
from closebell.backtest.sweeps.points import SweepPoint
from closebell.backtest.whole_files import replace_files
from closebell.model.errors import ConfigurationError, DataError
from closebell.model.instruments import Market
from closebell.simulation.bar_market import BarMarket

POINTS, TABLE = "points.jsonl", "sweep.csv"
_NOT_TRADING = ("adapters", "cli", "rehearsal", "reports", "research_wiring", "wiring")
"""Packages that no backtest runs."""


@dataclass(frozen=True)
class PointResult:
    """What became of one point: its summary, or the error that ended it."""

    __pydantic_config__ = ConfigDict(extra="forbid")  # for lines that are read

    key: str
    values: Mapping[str, str]
    summary: Mapping[str, Any] | None
    error: str | None


_RESULTS = TypeAdapter(PointResult)


def key_of(point: SweepPoint, sweep_sha256: str) -> str:
    """A point's fingerprint; `sweep_sha256` is that of everything the points have in common."""
    desk = point.parameters.model_dump_json() if point.parameters else json.dumps([dict(point.values), point.fault])
    return hashlib.sha256(f"{sweep_sha256}|{desk}".encode()).hexdigest()


def code_sha256() -> str:
    """The fingerprint of the code that trades a backtest."""
    root = Path(closebell.__file__).parent
    digest = hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        if path.relative_to(root).parts[0] not in _NOT_TRADING:
            digest.update(f"{path.relative_to(root)}".encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def market_sha256(market: BarMarket) -> str:
    """The fingerprint of everything that a market shows: bars, sessions (the account's too), splits, spread, volatility."""
    assets = market.assets()
    shown = (
        market.as_traded.sha256(), market.asset_class,
        [[(day.session, day.opens_at, day.closes_at) for day in market.sessions(each)] for each in Market],
        [(asset.symbol, asset.spread_frac, market.splits(asset.symbol)) for asset in assets],
        sorted(market.volatility_index().items()),
    )
    return hashlib.sha256(json.dumps(shown, default=str).encode()).hexdigest()


class PointStore:
    """A folder's results, by key; the last line of a key counts. A context: two sweeps at once in one folder are refused.

    Raises
    ------
    ConfigurationError
        The folder holds something else, or another sweep is writing there.
    DataError
        A line is not one of a sweep's, or the disk cannot be read or written.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.results = folder, dict[str, PointResult]()
        self._file: BinaryIO | None = None

    def __enter__(self) -> Self:
        path = self.folder / POINTS
        try:
            if self.folder.exists() and not path.exists() and any(self.folder.iterdir()):
                raise ConfigurationError(f"{self.folder} holds other files: name an empty folder, or one of an earlier sweep")
            self.folder.mkdir(parents=True, exist_ok=True)
            self._file = path.open("a+b", buffering=0)
            self._lock(self._file)
            self._read(self._file)
        except OSError as error:
            self._close()
            raise DataError(f"the sweep's folder {self.folder} cannot be used: {error.strerror or error}") from error
        except (ConfigurationError, DataError):
            self._close()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._close()

    def add(self, result: PointResult) -> None:
        """Keep a result; once this has returned it survives whatever ends the sweep."""
        if self._file is None:
            raise ValueError("the store is not open")
        if self.results.get(result.key) == result:
            return
        line = (json.dumps(asdict(result)) + "\n").encode()
        try:
            written_count = self._file.write(line)
            os.fsync(self._file.fileno())
        except OSError as error:
            raise DataError(f"a result could not be written to {self.folder / POINTS}: {error.strerror or error}") from error
        if written_count != len(line):
            raise DataError(f"a result could not be written to {self.folder / POINTS}: the disk is full")
        self.results[result.key] = result

    def _lock(self, file: BinaryIO) -> None:
        try:
            fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ConfigurationError(f"another sweep is writing to {self.folder}: wait for it, or name another folder") from error

    def _read(self, file: BinaryIO) -> None:
        """Read the lines; the point whose line a killed sweep has not ended is done again."""
        for number, line in enumerate(whole_lines(file), start=1):
            try:
                result = _RESULTS.validate_json(line, strict=True)
            except ValidationError as error:
                raise self._foreign(number, _in_words(error)) from error
            if (result.summary is None) is (result.error is None):
                raise self._foreign(number, "one of summary and error is null, and only one")
            self.results[result.key] = result

    def _foreign(self, number: int, why: str) -> DataError:
        place = f"{self.folder / POINTS} line {number}"
        return DataError(f"{place} is no result of a sweep: {why}; take the line out, and its point is traded again")

    def _close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None


def _in_words(error: ValidationError) -> str:
    """The first of what is wrong with a line."""
    first = error.errors()[0]
    name = first["loc"][0] if first["loc"] else ""
    match first["type"]:
        case "json_invalid":
            return "it is not JSON"
        case "missing":
            return f"it has no {name}"
        case "unexpected_keyword_argument":
            return f"it has a {name}, which no result has"
        case _:
            return f"{name or 'it'} is {json.dumps(first['input'])[:40]}"


def write_table(folder: Path, ranked: Sequence[PointResult]) -> None:
    """Write `sweep.csv`, in the order given: rank, swept values, every number of the summary, the error. Raises DataError."""
    swept = list(dict.fromkeys(name for result in ranked for name in result.values))
    numbers = list(dict.fromkeys(name for result in ranked for name in result.summary or {}))
    stream = io.StringIO(newline="")
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(["rank_count", *swept, *numbers, "error"])
    writer.writerows(_rows(ranked, swept, numbers))
    try:
        replace_files(folder, {TABLE: stream.getvalue().encode()})
    except OSError as error:
        raise DataError(f"the table could not be written to {folder}: {error.strerror or error}") from error


def _rows(ranked: Sequence[PointResult], swept: Sequence[str], numbers: Sequence[str]) -> Iterable[list[object]]:
    for rank, result in enumerate(ranked, start=1):
        summary = result.summary or {}
        yield [rank, *(result.values.get(name, "") for name in swept), *(summary.get(name) for name in numbers), result.error]
