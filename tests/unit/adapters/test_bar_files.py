"""Bars from files: what is right is read exactly, what is wrong is named with file and line, and nothing is repaired."""

from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from closebell.adapters.bar_files import left_out_note, read_bar_folder, read_splits
from closebell.model.errors import DataError
from closebell.model.instruments import Market
from closebell.model.panel import BarPanel

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
    counts: list[tuple[int, int]] = []
    panel = read_bar_folder(tmp_path, progress=lambda *both: counts.append(both))
    assert counts == [(1, 2), (2, 2)]
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
        " 2020-03-16", "2020-03-16 ", '"  2020-03-16\t "', "2020-03-16T16:00:00 ", '"2020-03-16\n"',
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


def write_indexed(path: Path, levels: tuple[str, ...], symbols: tuple[str, ...]) -> None:
    """A Parquet file whose index names each bar's symbol beside its instant, of every symbol two days."""
    instants = pd.DatetimeIndex(["2020-03-16 04:00", "2020-03-17 04:00"], tz="UTC")
    parts: dict[str, list[Any]] = {
        "symbol": list(symbols), "Ticker": list(symbols), "timestamp": instants.tolist(), "venue": ["N"],
    }  # fmt: skip
    index = pd.MultiIndex.from_product([parts[level] for level in levels], names=list(levels))
    pd.DataFrame({"close": np.arange(1.0, 1.0 + len(index)), "vwap": 1.0}, index=index).to_parquet(path)


@pytest.mark.parametrize("levels", [("symbol", "timestamp"), ("timestamp", "Ticker")])
def test_a_parquet_file_whose_index_names_its_one_symbol_is_read(tmp_path: Path, levels: tuple[str, ...]) -> None:
    write_indexed(tmp_path / "AAA.parquet", levels, ("AAA",))
    panel = read_bar_folder(tmp_path)
    assert (panel.sessions.astype(str).tolist(), panel.close.tolist()) == (["2020-03-16", "2020-03-17"], [[1.0], [2.0]])


@pytest.mark.parametrize(
    ("levels", "symbols", "words"),
    [
        (("symbol", "timestamp"), ("AAA", "BBB", "CCC"), "it holds 3 symbols, such as AAA and BBB; write one file a symbol"),
        (("venue", "timestamp"), (), "its index has the levels venue, timestamp; write the dates as a column date"),
        (("symbol", "venue", "timestamp"), ("AAA",), "its index has the levels symbol, venue, timestamp; write the dates"),
    ],
)
def test_a_parquet_file_with_another_index_is_named(
    tmp_path: Path, levels: tuple[str, ...], symbols: tuple[str, ...], words: str
) -> None:
    write_indexed(tmp_path / "AAA.parquet", levels, symbols)
    with pytest.raises(DataError, match=rf"AAA\.parquet cannot be read: {words}"):
        read_bar_folder(tmp_path)


def test_empty_lines_are_passed_over_and_still_counted(tmp_path: Path) -> None:
    (tmp_path / "AAA.csv").write_text("date,close\n\n2020-03-16,1\n\n2020-03-17,2\n\n\n")
    assert read_bar_folder(tmp_path).close[:, 0].tolist() == [1.0, 2.0]
    assert "AAA.csv line 5: close is -2" in told(tmp_path, "date,close\n\n2020-03-16,1\n\n2020-03-17,-2\n")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('date,close,note\n2020-03-16,1,"a\nb"\n2020-03-17,-2,x\n', "AAA.csv line 4: close is -2"),
        ('date,close,"no\r\nte"\r\n2020-03-16,1, "a""\r\n\r\nb"\r\n \t\r\n2020-03-17,-2,x"\r\n', "AAA.csv line 7: close is -2"),
        ('"date",close\n2020-03-16,"-2\n"\n', "AAA.csv line 2: close is -2"),
        ("date,close\r2020-03-16,1\r\r2020-03-17,-2\r", "AAA.csv line 4: close is -2"),
        ("date,close\n2020-03-16,1\n\f\n2020-03-17,1\n", "AAA.csv line 3: '\\x0c' is no date"),
        ("date,close\n2020-03-16,1\n2020-03-17,1\n\f", "AAA.csv line 4: '\\x0c' is no date"),
        ("date,close,note\n2020-03-16,1\u2028,x\n\ufeff2020-03-17,2,\x1c\n", "AAA.csv line 2: close is '1\\u2028'"),
        ("\ufeff\ndate,close\n2020-03-16,-1\n", "AAA.csv line 3: close is -1"),
        (f"date,close,note\n2020-03-17,1,{'y' * 140_000}\n2020-03-18,-2,x\n", "AAA.csv row 2: close is -2"),
    ],
)
def test_the_line_of_a_row_is_the_one_on_which_it_begins(tmp_path: Path, text: str, words: str) -> None:
    assert words in told(tmp_path, text)


def test_a_fault_in_a_parquet_file_is_named_by_its_row(tmp_path: Path) -> None:
    pd.DataFrame({"date": ["2020-03-16", "2020-03-17"], "close": [1.0, None]}).to_parquet(tmp_path / "AAA.parquet")
    with pytest.raises(DataError, match=r"AAA\.parquet row 2: close is missing"):
        read_bar_folder(tmp_path)


def test_a_close_without_the_rest_of_its_bar_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "AAA.csv").write_text(f"{HEADER}\n2020-03-16,,,,101,\n2020-03-17,101,105,100,104,2000\n")
    panel = read_bar_folder(tmp_path)
    np.testing.assert_array_equal(panel.open[:, 0], [np.nan, 101])
    np.testing.assert_array_equal(panel.volume[:, 0], [np.nan, 2000])


def test_as_much_as_any_coin_has_can_trade(tmp_path: Path) -> None:
    (tmp_path / "AAA.csv").write_text("date,close,volume\n2020-03-16,1,1e15\n")
    assert read_bar_folder(tmp_path).volume.tolist() == [[1e15]]


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
        ("2020-03-17,101,105,100,1e400,2000", "AAA.csv line 3: close is '1e400', which is no number"),
        ("2020-03-17,101,105,100,104,-1e999", "AAA.csv line 3: volume is '-1e999', which is no number"),
        ("2020-03-17,101,105,-100,104,2000", "AAA.csv line 3: low is -100; a price is above zero"),
        ("2020-03-17,101,105,100,-104,2000", "AAA.csv line 3: close is -104; a price is above zero"),
        ("2020-03-17,101,105,100,0,2000", "AAA.csv line 3: close is 0; a price is above zero"),
        ("2020-03-17,101,99,100,104,2000", "AAA.csv line 3: high 99 is below low 100"),
        ("2020-03-17,101,105,100,106,2000", "AAA.csv line 3: close 106 lies outside low 100 and high 105"),
        ("2020-03-17,99,105,100,104,2000", "AAA.csv line 3: open 99 lies outside low 100 and high 105"),
        ("2020-03-17,101,105,100,104,-5", "AAA.csv line 3: volume is -5; it is not negative"),
        ("2020-03-17,101,105,100,104,1e300", "AAA.csv line 3: volume is 1e+300; at most 1e+15 trade in a day; leave it empty"),
        ("2020-03-17,one,105,100,104,5", "AAA.csv line 3: open is 'one', which is no number"),
    ],
)
def test_a_wrong_row_is_named_by_file_and_line(tmp_path: Path, row: str, words: str) -> None:
    said = told(tmp_path, f"{HEADER}\n2020-03-16,100,104.5,99.25,101.1,1000\n{row}\n")
    assert words in said
    assert len(said.splitlines()) == 2, "one fault, one line"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "AAA.csv is empty"),
        (f"{HEADER}\n", "AAA.csv has a header and no bars"),
        ("date,open,high,low,close\n2020-03-16,,2,1,1\n", "AAA.csv line 2: there is no open: fill it in, or leave out"),
        ("date,close\n2915-03-16,1\n", "AAA.csv line 2: 2915-03-16 is no date of a bar: those are of 1880-01-01 to 2199-12-31"),
        ("date,open,close\n2020-03-16,1,1\n", "AAA.csv line 2: there is no high and no low: fill it in"),
        ("date,close\n2020-03-16,1e-10\n", "AAA.csv line 2: close is 1e-10; a price is above zero, 1e-09 to 1e+09"),
        ("date,close\n2020-03-16,1e27\n", "AAA.csv line 2: close is 1e+27; a price is above zero, 1e-09 to 1e+09"),
        ("date,open\n2020-03-16,1\n", "AAA.csv has no column close; it has date, open"),
        ("2020-03-16,1\n2020-03-17,1\n", "AAA.csv has no column date and no column close"),
        (b"date,close\n2020-03-16,1\xff\n", "AAA.csv is no UTF-8 text"),
        ('date,close\n2020-03-16,1\n2020-03-17,1,2,3\n', "AAA.csv is no table"),
        ("date,close\n2020-03-16,1,5\n2020-03-17,1,5\n", "AAA.csv is no table: its rows have more columns than its header"),
        ("date,close,close\n2020-03-16,1,2\n", "AAA.csv has more than one column close"),
        ("date,close,Close\n2020-03-16,1,2\n", "AAA.csv has more than one column close"),
        ("date;close\n2020-03-16;1\n", "AAA.csv is no table: its header is one column; write commas between columns"),
        ("date,1\n2020-03-16,1\n", "AAA.csv has no column close; it has date, 1"),
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
    assert "AAA.csv: its bars, 1999-01-04 to 1999-01-05, overlap with no other symbol's" in told(
        tmp_path, "date,close\n1999-01-04,1\n1999-01-05,1\n"
    )


def test_a_bar_of_a_weekend_is_named_when_the_sessions_are_known(tmp_path: Path) -> None:
    (tmp_path / "AAA.csv").write_text("date,close\n2020-03-13,1\n2020-03-14,1\n")
    with pytest.raises(DataError, match=r"AAA\.csv line 3: 2020-03-14, a Saturday, is no session of the exchange"):
        read_bar_folder(tmp_path, lambda first, last: {first})


def test_a_session_that_a_file_lacks_is_named_unless_the_symbol_may_have_rested(tmp_path: Path) -> None:
    days = [date(2020, 3, 9) + timedelta(days=number) for number in range(5)]
    (tmp_path / "AAA.csv").write_text("date,close\n2020-03-09,1\n2020-03-12,1\n2020-03-13,1\n")
    (tmp_path / "BBB.csv").write_text("date,close\n" + "".join(f"{day},1\n" for day in days))
    (tmp_path / "LATE.csv").write_text("date,close\n2020-03-11,1\n2020-03-13,1\n")
    with pytest.raises(DataError) as caught:
        read_bar_folder(tmp_path, lambda first, last: days)
    assert "AAA.csv line 3: 2 sessions, 2020-03-10 to 2020-03-11, are missing before it" in str(caught.value)
    assert "LATE.csv line 3: 2020-03-12 is missing before it; bring the bars, or say --allow-gaps" in str(caught.value)
    assert len(str(caught.value).splitlines()) == 3
    panel = read_bar_folder(tmp_path, lambda first, last: days, gaps_are_allowed=True)
    assert np.isnan(panel.close[:, 0]).tolist() == [False, True, True, False, False]


def test_a_session_that_no_file_has_is_named_or_is_a_row_of_nothing_where_symbols_may_rest(tmp_path: Path) -> None:
    (tmp_path / "AAA.csv").write_text("date,close\n2020-03-09,1\n2020-03-12,1\n")
    days = [date(2020, 3, 9) + timedelta(days=number) for number in range(4)]
    with pytest.raises(DataError, match="no file has a bar of 2020-03-10 and 1 more sessions up to 2020-03-11, .*; bring the"):
        read_bar_folder(tmp_path, lambda first, last: days)
    panel = read_bar_folder(tmp_path, lambda first, last: days, gaps_are_allowed=True)
    assert panel.days == days
    np.testing.assert_array_equal(panel.close[:, 0], [1, np.nan, np.nan, 1])


@pytest.mark.parametrize("gaps_are_allowed", [False, True])
@pytest.mark.parametrize(
    ("spans", "words"),
    [
        (
            {"OLD": (0, 1), "SPY": (5, 8)},
            "the bars of OLD.csv end before 2020-03-11, and all others begin after it; bring what is between, or take those out",
        ),
        (
            {"A": (0, 1), "B": (0, 2), "C": (1, 2), "NEW": (5, 8)},
            "the bars of NEW.csv begin after 2020-03-12, and all others end before it; bring what is between, or take those out",
        ),
        (
            {f"OLD{number}": (0, 1) for number in range(7)} | {f"NEW{number}": (5, 8) for number in range(7)},
            "the bars of OLD0.csv, OLD1.csv, OLD2.csv, OLD3.csv, OLD4.csv and 2 more end before 2020-03-11",
        ),
    ],
)
def test_files_that_lie_apart_from_the_others_are_named(
    tmp_path: Path, spans: dict[str, tuple[int, int]], words: str, gaps_are_allowed: bool
) -> None:
    days = [date(2020, 3, 9) + timedelta(days=number) for number in range(9)]
    for name, (first, last) in spans.items():
        (tmp_path / f"{name}.csv").write_text("date,close\n" + "".join(f"{day},1\n" for day in days[first : last + 1]))
    with pytest.raises(DataError) as caught:
        read_bar_folder(tmp_path, lambda first, last: days, gaps_are_allowed=gaps_are_allowed)
    assert words in str(caught.value)


def test_what_no_file_has_is_not_told_while_a_file_cannot_be_read(tmp_path: Path) -> None:
    days = [date(2020, 3, 9) + timedelta(days=number) for number in range(4)]
    (tmp_path / "AAA.csv").write_text("date,close\n2020-03-09,1\n")
    (tmp_path / "BBB.csv").write_text("date,close\n2020-03-12,1\n")
    (tmp_path / "CCC.csv").write_text("date,close\n" + "".join(f"{day},{day.day - 10}\n" for day in days))
    with pytest.raises(DataError) as caught:
        read_bar_folder(tmp_path, lambda first, last: days)
    assert [line.split(":")[0].strip() for line in str(caught.value).splitlines()[1:]] == ["CCC.csv line 2", "CCC.csv line 3"]


def test_a_class_of_shares_is_written_as_the_broker_writes_it(tmp_path: Path) -> None:
    (tmp_path / "BRK-B.csv").write_text(GOOD)
    assert read_bar_folder(tmp_path, lambda first, last: {date(2020, 3, 16), date(2020, 3, 17)}).symbols == ("BRK.B",)


def test_small_letters_are_the_same_symbol(tmp_path: Path) -> None:
    (tmp_path / "spy.csv").write_text(GOOD)
    (tmp_path / "brk-b.CSV").write_text(GOOD)
    panel = read_bar_folder(tmp_path)
    assert panel.symbols == ("BRK.B", "SPY")
    (tmp_path / "splits.csv").write_text("symbol,ex_date,ratio\nspy,2003-02-18,2\n")
    assert read_splits(tmp_path, panel) == {"SPY": {date(2003, 2, 18): 2.0}}


@pytest.mark.parametrize("names", [("AAA.csv", "aaa.csv"), ("AAA.parquet", "aaa.csv"), ("BRK-B.csv", "brk.b.csv")])
def test_two_files_of_one_symbol_are_named(tmp_path: Path, names: tuple[str, str]) -> None:
    for name in names:
        (tmp_path / name).write_text(GOOD)
    with pytest.raises(DataError, match=f"{names[0]} and {names[1]} are both of (AAA|BRK.B): keep one of them"):
        read_bar_folder(tmp_path)


def test_a_crypto_pair_is_named_where_the_exchanges_sessions_count(tmp_path: Path) -> None:
    (tmp_path / "BTC-USD.csv").write_text(GOOD)
    assert read_bar_folder(tmp_path).symbols == ("BTC/USD",)
    with pytest.raises(DataError, match=r"BTC-USD\.csv: a crypto pair has other sessions"):
        read_bar_folder(tmp_path, lambda first, last: {first, last})


def test_crypto_pairs_are_called_in_three_ways(tmp_path: Path) -> None:
    for name in ("BTC-USD.csv", "ETHUSD.csv", "SOL_USD.csv", "usdt-usd.csv"):
        (tmp_path / name).write_text("date,close\n2020-03-14,1\n2020-03-15,1\n")  # a weekend
    days = {date(2020, 3, 14), date(2020, 3, 15)}
    panel = read_bar_folder(tmp_path, lambda first, last: days, market=Market.CRYPTO)
    assert sorted(panel.symbols) == ["BTC/USD", "ETH/USD", "SOL/USD", "USDT/USD"]


@pytest.mark.parametrize("name", ["AAPL.csv", "BTC-EUR.csv", "BTCUSDT.csv", "BTC.USD.csv", "USD.csv"])
def test_what_is_no_pair_in_usd_is_named_in_a_crypto_market(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text(GOOD)
    (tmp_path / "BTC-USD.csv").write_text(GOOD)
    with pytest.raises(DataError, match=f"{name} is not called after a crypto pair in USD, such as BTC-USD.csv"):
        read_bar_folder(tmp_path, market=Market.CRYPTO)


def test_two_files_of_one_pair_are_named(tmp_path: Path) -> None:
    for name in ("BTC-USD.csv", "BTCUSD.csv"):
        (tmp_path / name).write_text(GOOD)
    with pytest.raises(DataError, match=r"BTC-USD\.csv and BTCUSD\.csv are both of BTC/USD: keep one"):
        read_bar_folder(tmp_path, market=Market.CRYPTO)


def test_capital_suffixes_are_read_hidden_files_are_not_and_a_folder_is_said_to_be_one(tmp_path: Path) -> None:
    (tmp_path / "AAA.CSV").write_text(GOOD)
    (tmp_path / "._AAA.csv").write_bytes(b"\0\1 what a Mac leaves beside it")
    assert read_bar_folder(tmp_path).symbols == ("AAA",)
    (tmp_path / "BBB.csv").mkdir()
    with pytest.raises(DataError, match=r"BBB\.csv cannot be read: Is a directory$"):
        read_bar_folder(tmp_path)


def test_what_is_left_out_of_a_folder_and_may_be_bars_is_told(tmp_path: Path) -> None:
    for folder in ("energy", "tech", "notes", ".hidden", "results", "odd"):
        (tmp_path / folder).mkdir()
    (tmp_path / "results" / "trades.csv").write_text("symbol,entered_at,exited_at\n")
    (tmp_path / "odd" / "AAA.csv").mkdir()
    for name in ("AAA.csv", "splits.csv", "notes.txt", "fetched.json", "notes/read.me", ".hidden/BBB.csv", ".CCC.csv.part"):
        (tmp_path / name).write_text(GOOD)
    assert left_out_note(tmp_path) == ()
    for name in ("BBB.CSV.gz", "energy/CCC.parquet", "tech/EEE.csv", "DDD.parquet.zip"):
        (tmp_path / name).write_text(GOOD)
    (told,) = left_out_note(tmp_path)
    assert told.startswith("left out of the bars: BBB.CSV.gz, DDD.parquet.zip, energy/, tech/; only files of the folder")
    for number in range(4):
        (tmp_path / f"E{number}.csv.gz").write_text(GOOD)
    assert "BBB.CSV.gz, DDD.parquet.zip, E0.csv.gz, E1.csv.gz, E2.csv.gz and 3 more; only" in left_out_note(tmp_path)[0]


def test_no_folder_no_files_and_two_of_a_kind_are_said(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="there is no folder"):
        read_bar_folder(tmp_path / "absent")
    with pytest.raises(DataError, match=r"holds no SYMBOL\.csv"):
        read_bar_folder(tmp_path)
    for name in ("AAA.csv", "AAA.parquet"):
        (tmp_path / name).write_text(GOOD)
    with pytest.raises(DataError, match=r"two files of AAA, such as"):
        read_bar_folder(tmp_path)


def test_a_parquet_file_that_is_none_is_said(tmp_path: Path) -> None:
    assert "AAA.parquet" in told(tmp_path, "no parquet", name="AAA.parquet")


def split_panel() -> BarPanel:
    """Two sessions around a split of 4 (AAPL) and one of 5 (TSLA); MSFT and BTC/USD have none."""
    closes = np.array([[500.0, 2000.0, 220.0, 11000.0], [128.0, 410.0, 225.0, 11500.0]])
    days = np.array(["2020-08-28", "2020-08-31"], dtype="datetime64[D]")
    return BarPanel(days, ("AAPL", "TSLA", "MSFT", "BTC/USD"), closes, closes, closes, closes, closes)


def test_splits_are_read_with_the_bars_that_show_them(tmp_path: Path) -> None:
    assert read_splits(tmp_path, split_panel()) == {}
    (tmp_path / "splits.csv").write_text("symbol,ex_date,ratio\nAAPL,2020-08-31,4\nTSLA,2020-08-31,5\nMSFT,2003-02-18,2\n")
    day = date(2020, 8, 31)
    assert read_splits(tmp_path, split_panel()) == {"AAPL": {day: 4.0}, "TSLA": {day: 5.0}, "MSFT": {date(2003, 2, 18): 2.0}}
    (tmp_path / "splits.csv").write_text("symbol,ex_date,ratio\nBRK-B,2020-08-31,4\n")
    shares = replace(split_panel(), symbols=("BRK.B", "TSLA", "MSFT", "BTC/USD"))
    assert read_splits(tmp_path, shares) == {"BRK.B": {day: 4.0}}


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ("AAPL,2020-08-31,0", "line 2"),
        ("AAPL,31.8.2020,4", "line 2"),
        ("AAPL,2020-08-31,four", "line 2"),
        ("AAPL,2020-08-31,inf", "line 2"),
        ("AAPL,x,4\nTSLA,2020-08-31,-5", "line 2.*line 3"),
        ("AAPL,2020-08-31,4\nAAPL,2020-08-31,4", "two splits on 2020-08-31"),
        ("NVDA,2020-08-31,4", "line 2: NVDA has a split and no bars"),
        ("AAPL,2020-08-30,4", "line 2: AAPL has a split on 2020-08-30, which is no session"),
        ("BTC-USD,2020-08-31,2", "line 2: BTC-USD is a crypto pair, and those are not split; remove the row"),
        ("BTC/USD,2020-08-31,2", "line 2: BTC/USD is a crypto pair"),
        ("BRK-B,2020-08-31,2", "line 2: BRK-B has a split and no bars"),
        ("MSFT,2020-08-31,2", "line 2: MSFT does not show its split of 2 on 2020-08-31"),
    ],
)
def test_a_split_that_is_wrong_or_that_the_bars_do_not_show_is_named(tmp_path: Path, rows: str, words: str) -> None:
    (tmp_path / "splits.csv").write_text(f"symbol,ex_date,ratio\n{rows}\n")
    with pytest.raises(DataError, match=rf"(?s)splits\.csv.*{words}"):
        read_splits(tmp_path, split_panel())
