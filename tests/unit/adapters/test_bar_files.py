"""Bars from files: what is right is read exactly, what is wrong is named with file and line, and nothing is repaired."""

from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from closebell.adapters.bar_files import read_bar_folder, read_splits
from closebell.model.errors import DataError

HEADER = "date,open,high,low,close,volume"
GOOD = f"{HEADER}\n2020-03-16,100,104.5,99.25,101.1,1000\n2020-03-17,101,105,100,104,2000\n"


def told(folder: Path, text: str | bytes, name: str = "AAA.csv") -> str:
    """The message that a file of this content brings."""
    (folder / name).write_bytes(text.encode() if isinstance(text, str) else text)
    with pytest.raises(DataError) as caught:
        read_bar_folder(folder)
    return str(caught.value)


def test_good_files_become_one_panel_over_the_union_of_their_dates(tmp_path: Path) -> None:
    (tmp_path / "AAA.csv").write_text(GOOD)
    (tmp_path / "BTC-USD.csv").write_text("Close,DATE\n7.25,2020-03-17\n7.5,2020-03-18\n")
    (tmp_path / "notes.txt").write_text("not a bar")
    panel = read_bar_folder(tmp_path)
    assert panel.symbols == ("AAA", "BTC/USD")
    assert panel.sessions.astype(str).tolist() == ["2020-03-16", "2020-03-17", "2020-03-18"]
    np.testing.assert_array_equal(panel.close, [[101.1, np.nan], [104.0, 7.25], [np.nan, 7.5]])
    np.testing.assert_array_equal(panel.open[:, 1], [np.nan] * 3)
    assert panel.volume[1, 0] == 2000.0


@settings(max_examples=40, deadline=None)
@given(st.lists(st.decimals(min_value="0.0001", max_value="99999", places=4), min_size=1, max_size=12), st.integers(0, 3))
def test_a_price_is_the_float_of_its_text(tmp_path_factory: pytest.TempPathFactory, closes: list[object], gap: int) -> None:
    folder = tmp_path_factory.mktemp("bars")
    days = [date(2020, 1, 1) + timedelta(days=number * (gap + 1)) for number in range(len(closes))]
    rows = [f"{day},{close}" for day, close in zip(days, closes, strict=True)]
    (folder / "AAA.csv").write_text("\n".join(["date,close", *rows]))
    assert read_bar_folder(folder).close[:, 0].tolist() == [float(str(close)) for close in closes]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(1e-6, 1e9), min_size=1, max_size=12))
def test_a_price_of_any_length_is_read_to_its_last_digit(tmp_path_factory: pytest.TempPathFactory, closes: list[float]) -> None:
    folder = tmp_path_factory.mktemp("bars")
    rows = [f"{date(2020, 1, 1) + timedelta(days=number)},{close!r}" for number, close in enumerate(closes)]
    (folder / "AAA.csv").write_text("\n".join(["date,close", *rows]))
    assert read_bar_folder(folder).close[:, 0].tolist() == closes


@pytest.mark.parametrize(
    "written",
    [
        "2020-03-16 00:00:00-04:00", "2020-03-16T16:00:00", "2020-03-16T20:00:00-05:00", "2020-03-16T04:00:00Z", "20200316",
        " 2020-03-16",
    ],
)
def test_a_date_is_the_day_that_is_written_whatever_time_and_zone_follow(tmp_path: Path, written: str) -> None:
    (tmp_path / "AAA.csv").write_text(f"date,close\n{written},1\n")
    assert read_bar_folder(tmp_path).sessions.astype(str).tolist() == ["2020-03-16"]


def test_a_parquet_date_with_a_zone_is_the_day_in_that_zone(tmp_path: Path) -> None:
    evening = pd.Timestamp("2020-03-16 20:00", tz="America/New_York")  # the 17th in UTC
    pd.DataFrame({"close": [1.5]}, index=pd.DatetimeIndex([evening], name="Date")).to_parquet(tmp_path / "AAA.parquet")
    panel = read_bar_folder(tmp_path)
    assert (panel.sessions.astype(str).tolist(), panel.close.tolist()) == (["2020-03-16"], [[1.5]])


def test_empty_lines_are_passed_over_and_still_counted(tmp_path: Path) -> None:
    (tmp_path / "AAA.csv").write_text("date,close\n\n2020-03-16,1\n\n2020-03-17,2\n\n\n")
    assert read_bar_folder(tmp_path).close[:, 0].tolist() == [1.0, 2.0]
    assert "AAA.csv line 5: close is -2" in told(tmp_path, "date,close\n\n2020-03-16,1\n\n2020-03-17,-2\n")


def test_a_fault_in_a_parquet_file_is_named_by_its_row(tmp_path: Path) -> None:
    pd.DataFrame({"date": ["2020-03-16", "2020-03-17"], "close": [1.0, None]}).to_parquet(tmp_path / "AAA.parquet")
    with pytest.raises(DataError, match=r"AAA\.parquet row 2: close is missing"):
        read_bar_folder(tmp_path)


def test_an_unknown_open_or_volume_is_nan_and_no_error(tmp_path: Path) -> None:
    (tmp_path / "AAA.csv").write_text(f"{HEADER}\n2020-03-16,,104,99,101,\n2020-03-17,101,105,100,104,2000\n")
    panel = read_bar_folder(tmp_path)
    np.testing.assert_array_equal(panel.open[:, 0], [np.nan, 101])
    np.testing.assert_array_equal(panel.volume[:, 0], [np.nan, 2000])


def test_parquet_gives_the_same_panel_as_csv(tmp_path: Path) -> None:
    for name in ("csv", "parquet"):
        (tmp_path / name).mkdir()
    (tmp_path / "csv" / "AAA.csv").write_text(GOOD)
    table = pd.read_csv(tmp_path / "csv" / "AAA.csv", parse_dates=["date"])
    table.to_parquet(tmp_path / "parquet" / "AAA.parquet")
    one, other = read_bar_folder(tmp_path / "csv"), read_bar_folder(tmp_path / "parquet")
    assert one.sha256() == other.sha256()
    table.set_index("date").to_parquet(tmp_path / "parquet" / "AAA.parquet")
    assert read_bar_folder(tmp_path / "parquet").sha256() == one.sha256()


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ("2020-03-13,101,105,100,104,2000", "AAA.csv line 3: 2020-03-13 comes after 2020-03-16; sort the rows by date"),
        ("2020-03-16,101,105,100,104,2000", "AAA.csv line 3: 2020-03-16 is there twice; keep one of the rows"),
        ("16 Mars,101,105,100,104,2000", "AAA.csv line 3: '16 Mars' is no date; write it as 2020-03-16"),
        (",101,105,100,104,2000", "AAA.csv line 3: '' is no date"),
        ("2020-03-17,101,105,100,abc,2000", "AAA.csv line 3: close is 'abc', which is no number"),
        ("2020-03-17,101,105,100,,2000", "AAA.csv line 3: close is missing; leave out the row"),
        ("2020-03-17,101,105,100,NaN,2000", "AAA.csv line 3: close is missing"),
        ("2020-03-17,101,105,100,inf,2000", "AAA.csv line 3: close is 'inf', which is no number"),
        ("2020-03-17,101,105,-100,104,2000", "AAA.csv line 3: low is -100; a price is above zero"),
        ("2020-03-17,101,105,100,0,2000", "AAA.csv line 3: close is 0; a price is above zero"),
        ("2020-03-17,101,99,100,104,2000", "AAA.csv line 3: high 99 is below low 100"),
        ("2020-03-17,101,105,100,106,2000", "AAA.csv line 3: close 106 lies outside low 100 and high 105"),
        ("2020-03-17,99,105,100,104,2000", "AAA.csv line 3: open 99 lies outside low 100 and high 105"),
        ("2020-03-17,101,105,100,104,-5", "AAA.csv line 3: volume is -5; it is not negative"),
        ("2020-03-17,one,105,100,104,5", "AAA.csv line 3: open is 'one', which is no number"),
    ],
)
def test_a_wrong_row_is_named_by_file_and_line(tmp_path: Path, row: str, words: str) -> None:
    assert words in told(tmp_path, f"{HEADER}\n2020-03-16,100,104.5,99.25,101.1,1000\n{row}\n")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "AAA.csv is empty"),
        (f"{HEADER}\n", "AAA.csv has a header and no bars"),
        ("date,open\n2020-03-16,1\n", "AAA.csv has no column close; it has date, open"),
        ("2020-03-16,1\n2020-03-17,1\n", "AAA.csv has no column date and no column close"),
        (b"date,close\n2020-03-16,1\xff\n", "AAA.csv is no UTF-8 text"),
        ('date,close\n2020-03-16,1\n2020-03-17,1,2,3\n', "AAA.csv is no table"),
        ("date,close\n2020-03-16,1,5\n2020-03-17,1,5\n", "AAA.csv is no table: its rows have more columns than its header"),
        ("date,close,close\n2020-03-16,1,2\n", "AAA.csv has more than one column close"),
        ("date,close,Close\n2020-03-16,1,2\n", "AAA.csv has more than one column close"),
        ("date;close\n2020-03-16;1\n", "AAA.csv has no column date and no column close; it has date;close"),
        ("date,close\n2020-03-16,True\n", "AAA.csv line 2: close is 'True', which is no number"),
        ("date,close\n-200-03-16,1\n", "AAA.csv line 2: '-200-03-16' is no date"),
        ("close,date\n1,2020-03-16\n1\n", "AAA.csv line 3: '' is no date"),
        ("date,close\n2020-02-30,1\n", "AAA.csv line 2: '2020-02-30' is no date"),
    ],
)
def test_a_file_that_is_no_table_of_bars_is_named(tmp_path: Path, text: str | bytes, words: str) -> None:
    assert words in told(tmp_path, text)


def test_every_problem_is_told_at_once_but_not_more_than_twenty(tmp_path: Path) -> None:
    (tmp_path / "BBB.csv").write_text("date,close\n2020-03-16,x\n")
    rows = "\n".join(f"2020-{month:02d}-01,-1" for month in range(1, 13))
    message = told(tmp_path, f"date,close\n{rows}\n2021-01-01,y")
    assert "BBB.csv line 2" in message
    assert "AAA.csv line 14: close is 'y'" in message
    (tmp_path / "CCC.csv").write_text("date,close\n" + "\n".join(f"20{year:02d}-01-01,-1" for year in range(40)))
    assert "more" in told(tmp_path, GOOD).splitlines()[-1]


def test_a_symbol_without_any_overlap_is_named(tmp_path: Path) -> None:
    (tmp_path / "BBB.csv").write_text(GOOD)
    assert "AAA: its bars, 1999-01-04 to 1999-01-05, overlap with no other symbol's" in told(
        tmp_path, "date,close\n1999-01-04,1\n1999-01-05,1\n"
    )


def test_a_bar_of_a_weekend_is_named_when_the_sessions_are_known(tmp_path: Path) -> None:
    (tmp_path / "AAA.csv").write_text("date,close\n2020-03-13,1\n2020-03-14,1\n")
    with pytest.raises(DataError, match=r"AAA\.csv line 3: 2020-03-14, a Saturday, is no session of the exchange"):
        read_bar_folder(tmp_path, lambda first, last: {first})


def test_no_folder_no_files_and_two_of_a_kind_are_said(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="there is no folder"):
        read_bar_folder(tmp_path / "absent")
    with pytest.raises(DataError, match=r"holds no SYMBOL\.csv"):
        read_bar_folder(tmp_path)
    for name in ("AAA.csv", "AAA.parquet"):
        (tmp_path / name).write_text(GOOD)
    with pytest.raises(DataError, match=r"both a \.csv and a \.parquet of AAA"):
        read_bar_folder(tmp_path)


def test_a_parquet_file_that_is_none_is_said(tmp_path: Path) -> None:
    assert "AAA.parquet" in told(tmp_path, "no parquet", name="AAA.parquet")


def test_splits_are_read_and_a_wrong_one_is_named(tmp_path: Path) -> None:
    assert read_splits(tmp_path) == {}
    (tmp_path / "splits.csv").write_text("symbol,ex_date,ratio\nAAPL,2020-08-31,4\nTSLA,2020-08-31,5\n")
    assert read_splits(tmp_path) == {"AAPL": {date(2020, 8, 31): 4.0}, "TSLA": {date(2020, 8, 31): 5.0}}
    for row in ("AAPL,2020-08-31,0", "AAPL,31.8.2020,4", "AAPL,2020-08-31,four", "AAPL,2020-08-31,inf"):
        (tmp_path / "splits.csv").write_text(f"symbol,ex_date,ratio\n{row}\n")
        with pytest.raises(DataError, match=r"splits\.csv line 2"):
            read_splits(tmp_path)
    (tmp_path / "splits.csv").write_text("symbol,ex_date,ratio\nAAPL,x,4\nTSLA,2020-08-31,-5\n")
    with pytest.raises(DataError, match=r"(?s)line 2.*line 3"):
        read_splits(tmp_path)
    (tmp_path / "splits.csv").write_text("symbol,ex_date,ratio\nAAPL,2020-08-31,4\nAAPL,2020-08-31,4\n")
    with pytest.raises(DataError, match="two splits on 2020-08-31"):
        read_splits(tmp_path)
