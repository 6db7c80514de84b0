"""Fetched bars on disk: what is written is read back, a file is whole or not there, and nobody's own file is replaced."""

import json
import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from closebell.adapters import bar_store
from closebell.adapters.bar_files import read_bar_folder
from closebell.adapters.bar_store import RECEIPTS_FILE, BarFormat, BarStore, alone_in
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


class KilledWhileWriting(BaseException):
    """The end of a process, as nothing of it catches it."""


def kill_after(patched: pytest.MonkeyPatch, moves_count: int) -> None:
    """End the process when so many files have been moved to their places; nothing is cleaned up after it."""
    moves, move = iter(range(moves_count)), os.replace

    def replace(source: Path, target: Path) -> None:
        if next(moves, None) is None:
            raise KilledWhileWriting
        move(source, target)

    patched.setattr(os, "replace", replace)
    patched.setattr(bar_store, "_remove", list)


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


def asked(store: BarStore, symbol: str = "AAA", first: date = FIRST, last: date = LAST, *, replaces: bool = False) -> object:
    return store.dates_to_fetch(symbol, first, last, replaces=replaces)


def test_a_file_is_there_for_the_dates_it_was_fetched_for_whoever_asks_later(tmp_path: Path) -> None:
    BarStore(tmp_path, BarFormat.CSV).keep(FIRST, LAST, bars_of([1.0]))
    store = BarStore(tmp_path, BarFormat.CSV)
    assert asked(store) is None
    assert asked(store, first=date(2020, 3, 5), last=date(2020, 3, 6)) is None
    assert asked(store, "BBB") == (FIRST, LAST)
    (tmp_path / "AAA.csv").unlink()
    assert asked(store, first=date(2020, 3, 5)) == (date(2020, 3, 5), LAST), "nothing of it is left to be kept"


@pytest.mark.parametrize("replaces", [False, True])
def test_other_dates_are_fetched_together_with_those_that_the_file_has(tmp_path: Path, replaces: bool) -> None:
    store = BarStore(tmp_path, BarFormat.CSV)
    store.keep(FIRST, LAST, bars_of([1.0]))
    february, april, may = date(2020, 2, 1), date(2020, 4, 1), date(2020, 5, 1)
    assert asked(store, first=february, last=date(2020, 3, 5), replaces=replaces) == (february, LAST)
    assert asked(store, first=date(2020, 3, 5), last=april, replaces=replaces) == (FIRST, april)
    assert asked(store, first=april, last=may, replaces=replaces) == (FIRST, may)
    assert asked(store, first=february, last=may, replaces=replaces) == (february, may)
    assert asked(store, first=date(2020, 3, 5), replaces=True) == (FIRST, LAST)


def test_shares_of_another_feed_are_not_mixed_in_unasked_and_coins_have_one(tmp_path: Path) -> None:
    sip = BarStore(tmp_path, BarFormat.CSV)
    for symbol in ("AAA", "BTC/USD"):
        sip.keep(FIRST, LAST, bars_of([1.0], symbol))
    iex = BarStore(tmp_path, BarFormat.CSV, "iex")
    for symbol in ("AAA", "BBB"):
        with pytest.raises(DataError, match=rf"AAA\.csv has bars of the feed sip.*: add --feed sip.*fetches {symbol} from iex"):
            asked(iex, symbol)
        assert asked(iex, symbol, replaces=True) == (FIRST, LAST)
    assert asked(iex, "BTC/USD") is None
    iex.keep(FIRST, LAST, bars_of([2.0]))
    assert asked(iex) is None
    assert asked(iex, "BBB") == (FIRST, LAST)


def test_a_file_that_is_gone_keeps_no_other_feed_out(tmp_path: Path) -> None:
    BarStore(tmp_path, BarFormat.CSV, "sip").keep(FIRST, LAST, bars_of([1.0]))
    (tmp_path / "AAA.csv").unlink()
    store = BarStore(tmp_path, BarFormat.CSV, "iex")
    assert store.dates_to_fetch("BBB", FIRST, LAST, replaces=False) == (FIRST, LAST)


def test_receipts_of_before_feeds_were_noted_stand_for_any(tmp_path: Path) -> None:
    BarStore(tmp_path, BarFormat.CSV).keep(FIRST, LAST, bars_of([1.0]))
    receipts = json.loads((tmp_path / RECEIPTS_FILE).read_bytes())
    receipts["AAA.csv"] = {name: receipts["AAA.csv"][name] for name in ("first", "last", "sha256")}
    (tmp_path / RECEIPTS_FILE).write_text(json.dumps(receipts))
    for feed in ("sip", "iex"):
        assert asked(BarStore(tmp_path, BarFormat.CSV, feed)) is None


@pytest.mark.parametrize("moves_count", [0, 1])
@pytest.mark.parametrize("is_there", [False, True])
def test_killed_before_any_move_the_next_run_fetches_the_file_again_and_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moves_count: int, is_there: bool
) -> None:
    """KilledWhileWriting twice at the same place: the second run must still know the file of before the first."""
    if is_there:
        BarStore(tmp_path, BarFormat.CSV).keep(FIRST, LAST, bars_of([1.0]))
    until = date(2020, 4, 30)
    for close in (2.0, 3.0):
        with monkeypatch.context() as patched:
            kill_after(patched, moves_count)
            killed = BarStore(tmp_path, BarFormat.CSV)
            assert asked(killed, last=until) == (FIRST, until)
            with pytest.raises(KilledWhileWriting):
                killed.keep(FIRST, until, bars_of([close]))
    assert [name for name in names_in(tmp_path) if name.endswith(".part")]
    store = BarStore(tmp_path, BarFormat.CSV)
    assert asked(store, last=until) == (FIRST, until)
    assert not [name for name in names_in(tmp_path) if name.endswith(".part")]
    store.keep(FIRST, until, bars_of([4.0]))
    assert asked(store, last=until) is None
    assert read_bar_folder(tmp_path).close.tolist() == [[4.0]]


def test_an_owners_file_that_a_killed_refresh_was_to_replace_stays_the_owners(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    BarStore(tmp_path, BarFormat.CSV).keep(FIRST, LAST, bars_of([1.0]))
    (tmp_path / "AAA.csv").write_text("date,close\n2020-03-02,1\n")
    with monkeypatch.context() as patched:
        kill_after(patched, 1)
        with pytest.raises(KilledWhileWriting):
            BarStore(tmp_path, BarFormat.CSV).keep(FIRST, LAST, bars_of([2.0]))
    with pytest.raises(DataError, match=r"AAA\.csv was not fetched, or was changed since"):
        asked(BarStore(tmp_path, BarFormat.CSV))


def test_a_file_of_the_owners_or_one_changed_since_is_not_taken_for_ours(tmp_path: Path) -> None:
    store = BarStore(tmp_path, BarFormat.CSV)
    store.keep(FIRST, LAST, bars_of([1.0]))
    (tmp_path / "AAA.csv").write_text("date,close\n2020-03-02,1\n")
    (tmp_path / "BBB.csv").write_text("date,close\n2020-03-02,1\n")
    for symbol in ("AAA", "BBB"):
        with pytest.raises(DataError, match=f"{symbol}.csv was not fetched, or was changed since: --refresh replaces it"):
            asked(store, symbol)
        assert asked(store, symbol, replaces=True) == (FIRST, LAST)


def test_the_same_symbol_in_the_other_format_is_refused(tmp_path: Path) -> None:
    BarStore(tmp_path, BarFormat.PARQUET).keep(FIRST, LAST, bars_of([1.0]))
    store = BarStore(tmp_path, BarFormat.CSV)
    with pytest.raises(DataError, match=r"AAA\.parquet is there already: add --format parquet"):
        asked(store)
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
    assert asked(store) is None
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
    with pytest.raises(ConfigurationError, match="file is no folder: name another one"), alone_in(tmp_path / "file"):
        pass
    (tmp_path / "splits.csv").write_text("symbol,ex_date,ratio\n")
    with pytest.raises(ConfigurationError, match=r"has a splits\.csv, which is for bars as traded"):
        BarStore(tmp_path, BarFormat.CSV)


@pytest.mark.parametrize("content", ["", "{", "[]", json.dumps({"AAA.csv": {"first": "soon"}})])
def test_damaged_receipts_are_said(tmp_path: Path, content: str) -> None:
    (tmp_path / RECEIPTS_FILE).write_text(content)
    with pytest.raises(DataError, match=r"fetched\.json cannot be read: delete it"):
        BarStore(tmp_path, BarFormat.CSV)
