"""Real prices for tests, read in place from the data files inside skfolio and arch; neither package is imported."""

import csv
import gzip
from datetime import datetime
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from closebell.model.panel import BarPanel
from closebell.ports.market_data import VolatilitySeries


def _rows(package: str, file: str) -> list[list[str]]:
    spec = find_spec(package)
    assert spec is not None
    assert spec.submodule_search_locations, f"{package} is not installed"
    with gzip.open(Path(spec.submodule_search_locations[0]) / file, "rt", encoding="utf-8") as lines:
        return list(csv.reader(lines))


@cache
def stocks() -> BarPanel:
    """20 S&P 500 stocks, adjusted closes 1990-2022; a session has one price and no volume."""
    head, *rows = _rows("skfolio", "datasets/data/sp500_dataset.csv.gz")
    sessions = np.array([row[0] for row in rows], dtype="datetime64[D]")
    closes = np.array([[float(text) if text else np.nan for text in row[1:]] for row in rows])
    return BarPanel(sessions, tuple(head[1:]), closes, closes, closes, closes, np.full(closes.shape, np.nan))


@cache
def sp500_closes() -> NDArray[np.float64]:
    """S&P 500 closes for the sessions of `stocks()`."""
    _, *rows = _rows("skfolio", "datasets/data/sp500_index.csv.gz")
    by_session = {np.datetime64(session): float(close) for session, close in rows}
    return np.array([by_session[session] for session in stocks().sessions])


@cache
def vix() -> VolatilitySeries:
    """VIX closes 2014-2019."""
    _, *rows = _rows("arch", "data/vix/vix.csv.gz")
    known = [(datetime.strptime(day, "%m/%d/%Y").date(), float(close)) for day, close in rows if close != "."]  # noqa: DTZ007 (a date)
    return VolatilitySeries(np.array([day for day, _ in known], dtype="datetime64[D]"), np.array([close for _, close in known]))


def between(panel: BarPanel, first: str, last: str) -> slice:
    """The rows of the sessions `first`..`last`."""
    begin = np.searchsorted(panel.sessions, np.datetime64(first))
    return slice(int(begin), int(np.searchsorted(panel.sessions, np.datetime64(last), "right")))
