"""Fetched bars on disk: what is written is read back, a file is whole or not there, and nobody's own file is replaced."""

import json
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from closebell.adapters.bar_files import read_bar_folder
from closebell.adapters.bar_store import RECEIPTS_FILE, BarFormat, BarStore
from closebell.model.errors import ConfigurationError, DataError, StoreUnavailable
from closebell.model.panel import BarPanel

FIRST, LAST = date(2020, 3, 1), date(2020, 3, 31)
PRICES = st.floats(1e-4, 1e6)


def bars_of(closes: list[float], symbol: str = "AAA", volume: float = np.nan) -> BarPanel:
    """Consecutive days from 2020-03-02; open, high and low are the close."""
    close = np.array(closes)[:, np.newaxis]
    days = np.datetime64("2020-03-02") + np.arange(len(closes))
    return BarPanel(days, (symbol,), close, close, close, close, np.full_like(close, volume))


@contextmanager
def full_disk(limit_bytes: int) -> Iterator[None]:
    """No file of this process may grow beyond the limit."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.tuples(PRICES, PRICES, st.one_of(st.just(np.nan), st.floats(0, 1e12))), min_size=1, max_size=8),
    st.sampled_from(["AAA", "BRK.B", "BTC/USD"]), st.sampled_from(list(BarFormat)),
)  # fmt: skip
def test_what_is_written_is_read_back(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[float, float, float]], symbol: str, bar_format: BarFormat
) -> None:
    opened, close, volume = (np.array(column)[:, np.newaxis] for column in zip(*rows, strict=True))
    days = np.datetime64("2020-03-02") + np.arange(len(rows))
    bars = BarPanel(days, (symbol,), opened, np.maximum(opened, close), np.minimum(opened, close), close, volume)
    folder = tmp_path_factory.mktemp("bars")
    BarStore(folder, bar_format).keep(FIRST, LAST, bars)
    assert read_bar_folder(folder).sha256() == bars.sha256()


def test_a_whole_number_is_written_without_a_fraction_and_an_unknown_one_empty(tmp_path: Path) -> None:
    BarStore(tmp_path, BarFormat.CSV).keep(FIRST, LAST, bars_of([7.0, 7.25]))
    rows = "2020-03-02,7,7,7,7,\n2020-03-03,7.25,7.25,7.25,7.25,\n"
    assert (tmp_path / "AAA.csv").read_text() == f"date,open,high,low,close,volume\n{rows}"


def test_a_file_is_there_for_the_dates_it_was_fetched_for_whoever_asks_later(tmp_path: Path) -> None:
    BarStore(tmp_path, BarFormat.CSV).keep(FIRST, LAST, bars_of([1.0]))
    store = BarStore(tmp_path, BarFormat.CSV)
    assert store.has("AAA", FIRST, LAST)
    assert store.has("AAA", date(2020, 3, 5), date(2020, 3, 6))
    assert not store.has("AAA", date(2020, 2, 29), LAST)
    assert not store.has("AAA", FIRST, date(2020, 4, 1))
    assert not store.has("BBB", FIRST, LAST)


def test_a_file_of_the_owners_or_one_changed_since_is_not_taken_for_ours(tmp_path: Path) -> None:
    store = BarStore(tmp_path, BarFormat.CSV)
    store.keep(FIRST, LAST, bars_of([1.0]))
    (tmp_path / "AAA.csv").write_text("date,close\n2020-03-02,1\n")
    (tmp_path / "BBB.csv").write_text("date,close\n2020-03-02,1\n")
    for symbol in ("AAA", "BBB"):
        with pytest.raises(DataError, match=f"{symbol}.csv was not fetched, or was changed since: --refresh replaces it"):
            store.has(symbol, FIRST, LAST)


def test_the_same_symbol_in_the_other_format_is_refused(tmp_path: Path) -> None:
    BarStore(tmp_path, BarFormat.PARQUET).keep(FIRST, LAST, bars_of([1.0]))
    store = BarStore(tmp_path, BarFormat.CSV)
    with pytest.raises(DataError, match=r"AAA\.parquet is there already: add --format parquet"):
        store.has("AAA", FIRST, LAST)
    with pytest.raises(DataError, match=r"AAA\.parquet is there already"):
        store.keep(FIRST, LAST, bars_of([1.0]))
    assert names_in(tmp_path) == ["AAA.parquet", RECEIPTS_FILE]


@pytest.mark.parametrize("limit_bytes", [0, 30, 300])
def test_a_full_disk_leaves_what_was_there_and_no_half_file(tmp_path: Path, limit_bytes: int) -> None:
    """The last limit is enough for the bars and not for the receipts."""
    store = BarStore(tmp_path, BarFormat.CSV)
    for symbol in ("AAA", "BBB", "CCC"):
        store.keep(FIRST, LAST, bars_of([1.0], symbol))
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert len(before[RECEIPTS_FILE]) > 300
    with full_disk(limit_bytes), pytest.raises(StoreUnavailable, match=r"AAA\.csv could not be written: File too large"):
        store.keep(FIRST, LAST, bars_of([2.0, 3.0]))
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    assert store.has("AAA", FIRST, LAST)
    store.keep(FIRST, LAST, bars_of([2.0, 3.0]))
    assert read_bar_folder(tmp_path).close.shape == (2, 3)


def test_bars_that_a_reader_would_refuse_are_not_written(tmp_path: Path) -> None:
    store = BarStore(tmp_path, BarFormat.CSV)
    with pytest.raises(DataError, match=r"\(2 faults\): 2020-03-03: close is missing.*; 2020-03-04: volume is -1"):
        store.keep(FIRST, LAST, BarPanel(
            np.datetime64("2020-03-02") + np.arange(3), ("AAA",), np.ones((3, 1)), np.ones((3, 1)), np.ones((3, 1)),
            np.array([[1.0], [np.nan], [1.0]]), np.array([[1.0], [1.0], [-1.0]]),
        ))  # fmt: skip
    assert names_in(tmp_path) == []


def test_a_folder_that_fetched_bars_cannot_go_into_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigurationError, match="is no folder"):
        BarStore(tmp_path / "file", BarFormat.CSV)
    (tmp_path / "splits.csv").write_text("symbol,ex_date,ratio\n")
    with pytest.raises(ConfigurationError, match=r"has a splits\.csv, which is for bars as traded"):
        BarStore(tmp_path, BarFormat.CSV)


@pytest.mark.parametrize("content", ["", "{", "[]", json.dumps({"AAA.csv": {"first": "soon"}})])
def test_damaged_receipts_are_said(tmp_path: Path, content: str) -> None:
    (tmp_path / RECEIPTS_FILE).write_text(content)
    with pytest.raises(DataError, match=r"fetched\.json cannot be read: delete it"):
        BarStore(tmp_path, BarFormat.CSV)
