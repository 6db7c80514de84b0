"""The bar panel: research's float64 view of the market."""

import hashlib
import io
import zlib
from dataclasses import dataclass
from datetime import date
from zipfile import BadZipFile, is_zipfile

import numpy as np
from numpy.typing import NDArray

from closebell.model.errors import DataError

Matrix = NDArray[np.float64]
"""float64, sessions x symbols."""

FIELDS = ("open", "high", "low", "close", "volume")


@dataclass(frozen=True, eq=False)
class BarPanel:
    """Daily bars of one market: one float64 array a field, sessions (rows, oldest first) x symbols (columns).

    NaN means unknown: a missing bar, or a field the source does not have (a close-only source knows no volume).
    Prices are in USD, volume in shares (coins for crypto). Row t is known at the close of `sessions[t]`.

    Parameters
    ----------
    sessions
        `datetime64[D]`, ascending, unique.
    symbols
        One name a column.
    """

    sessions: NDArray[np.datetime64]
    symbols: tuple[str, ...]
    open: Matrix
    high: Matrix
    low: Matrix
    close: Matrix
    volume: Matrix

    def __post_init__(self) -> None:
        shape = (len(self.sessions), len(self.symbols))
        for field in FIELDS:
            if getattr(self, field).shape != shape:
                raise ValueError(f"panel field {field!r} has shape {getattr(self, field).shape}, the panel is {shape}")
        if len(self.sessions) > 1 and not (self.sessions[1:] > self.sessions[:-1]).all():
            raise ValueError("panel sessions must be ascending and unique")

    @classmethod
    def empty(cls, symbols: tuple[str, ...]) -> "BarPanel":
        """A panel of no sessions."""
        blank = np.empty((0, len(symbols)))
        return cls(np.empty(0, dtype="datetime64[D]"), symbols, blank, blank, blank, blank, blank)

    @property
    def days(self) -> list[date]:
        """The sessions as dates, ascending."""
        found: list[date] = self.sessions.astype("datetime64[D]").astype(object).tolist()
        return found

    def through(self, session: date) -> "BarPanel":
        """The rows up to and including `session`: what was known at its close."""
        return self.rows(slice(0, int(np.searchsorted(self.sessions, np.datetime64(session), side="right"))))

    def rows(self, rows: slice) -> "BarPanel":
        """A view of some sessions."""
        return BarPanel(self.sessions[rows], self.symbols, *(getattr(self, field)[rows] for field in FIELDS))

    def columns(self, symbols: tuple[str, ...]) -> "BarPanel":
        """The same sessions for `symbols`, in that order; an unknown symbol is a KeyError."""
        if symbols == self.symbols:
            return self
        place = {symbol: column for column, symbol in enumerate(self.symbols)}
        columns = [place[symbol] for symbol in symbols]
        return BarPanel(self.sessions, symbols, *(getattr(self, field)[:, columns] for field in FIELDS))

    def to_npz(self) -> bytes:
        """The panel as a compressed npz, for the archive."""
        buffer = io.BytesIO()
        fields = {field: getattr(self, field) for field in FIELDS}
        np.savez_compressed(buffer, sessions=self.sessions, symbols=np.array(self.symbols, dtype=np.str_), **fields)
        return buffer.getvalue()

    @classmethod
    def from_npz(cls, content: bytes) -> "BarPanel":
        """The panel that `to_npz` wrote. Raises DataError for anything else."""
        if not is_zipfile(io.BytesIO(content)):  # numpy would take it for a pickle, and advise to load it unsafely
            raise DataError("stored bars are damaged: they are no npz file, or only a part of one")
        try:
            with np.load(io.BytesIO(content), allow_pickle=False) as stored:
                symbols = tuple(str(symbol) for symbol in stored["symbols"])
                return cls(stored["sessions"], symbols, *(stored[field] for field in FIELDS))
        except (AttributeError, KeyError, OSError, TypeError, ValueError, EOFError, BadZipFile, zlib.error) as error:
            raise DataError(f"stored bars are damaged: {error}") from error

    def sha256(self) -> str:
        """A fingerprint of everything in the panel, for the input hash that plans carry."""
        digest = hashlib.sha256(",".join(self.symbols).encode())
        digest.update(self.sessions.astype("datetime64[D]").astype(np.int64).tobytes())
        fields = (getattr(self, field) for field in FIELDS)
        for row in zip(*fields, strict=True):
            digest.update(hashlib.sha256(np.concatenate(row).data).digest())
        return digest.hexdigest()
