"""The VIX from Cboe's public history file (`VIX_History.csv`: DATE,OPEN,HIGH,LOW,CLOSE with MM/DD/YYYY dates, no key)."""

import math
import time
from datetime import date, datetime

import numpy as np
import requests
from urllib3.exceptions import HTTPError

from closebell.model.errors import DataError
from closebell.ports.market_data import VolatilitySeries

_HEADER = "DATE,OPEN,HIGH,LOW,CLOSE"
# The file is about 0.5 MB after 35 years.
_BYTES_MAX = 4_000_000
_CHUNK_BYTES = 65_536


class CboeVolatilityIndex:
    """`ports.market_data.VolatilityIndex` over HTTP.

    Parameters
    ----------
    url
        Where the file lies. Redirects are refused: a moved file is news for the owner.
    timeout_s
        Limit for connecting and for each wait on the socket, and again for the whole body.
    """

    def __init__(self, url: str, timeout_s: float) -> None:
        self._url = url
        self._timeout_s = timeout_s

    def closes(self, last: date) -> VolatilitySeries:
        """Closes up to and including `last`, oldest first; later rows are dropped.

        Raises
        ------
        DataError
            The file could not be had (timeout, redirect, any status but 200, too large) or one of its rows is not what the
            format says. A doubtful file is refused whole.
        """
        try:
            rows = _parsed(self._download().decode("utf-8"))
        except (requests.RequestException, HTTPError) as error:
            raise DataError(f"the VIX could not be read from {self._url}: {type(error).__name__}: {error}") from error
        except ValueError as error:
            raise DataError(f"the VIX file at {self._url} is not usable: {error}") from error
        known = [(session, close) for session, close in rows if session <= last]
        return VolatilitySeries(
            sessions=np.array([session for session, _ in known], dtype="datetime64[D]"),
            closes=np.array([close for _, close in known], dtype=np.float64),
        )

    def _download(self) -> bytes:
        # Uncompressed, so that the size limit is about what arrives.
        headers = {"Accept-Encoding": "identity"}
        with requests.get(self._url, headers=headers, timeout=self._timeout_s, allow_redirects=False, stream=True) as reply:
            if reply.status_code != requests.codes.ok:
                raise ValueError(f"HTTP status {reply.status_code} instead of 200")
            deadline, body = time.monotonic() + self._timeout_s, bytearray()
            # `read1` gives what has arrived: waiting for full chunks, a body that drips would never meet the deadline.
            while chunk := reply.raw.read1(_CHUNK_BYTES, decode_content=False):
                body += chunk
                if len(body) > _BYTES_MAX:
                    raise ValueError(f"more than {_BYTES_MAX} bytes")
                if time.monotonic() > deadline:
                    raise ValueError(f"not complete after {self._timeout_s} s")
        return bytes(body)


def _parsed(text: str) -> list[tuple[date, float]]:
    """Sessions and closes of a whole file. Raises ValueError naming the first line that is wrong."""
    header, _, body = text.partition("\n")
    if header.strip() != _HEADER:
        raise ValueError(f"line 1 is {header[:80]!r} instead of {_HEADER!r}")
    rows: list[tuple[date, float]] = []
    for number, line in enumerate(body.splitlines(), start=2):
        try:
            session, close = _row(line)
        except ValueError as error:
            raise ValueError(f"line {number}, {line[:80]!r}: {error}") from error
        if rows and session <= rows[-1][0]:
            raise ValueError(f"line {number}: {session} does not come after {rows[-1][0]}")
        rows.append((session, close))
    if not rows:
        raise ValueError("it has no rows")
    return rows


def _row(line: str) -> tuple[date, float]:
    day, *points = line.split(",")
    if len(points) != 4:
        raise ValueError(f"{len(points) + 1} fields instead of 5")
    session = datetime.strptime(day, "%m/%d/%Y").date()  # noqa: DTZ007 - a date without a time needs no zone
    opened, high, low, close = map(float, points)
    if not all(math.isfinite(value) and value > 0 for value in (opened, high, low, close)):
        raise ValueError("a price is not a positive number")
    return session, close
