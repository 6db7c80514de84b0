"""What files call their columns and how they write their numbers: taken as it is meant, or refused with what to write instead."""

from pathlib import Path

import pandas as pd
import pytest

from closebell.adapters.bar_files import adjusted_closes_note, read_bar_folder
from closebell.model.errors import DataError


@pytest.mark.parametrize(
    ("header", "words"),
    [
        ("<TICKER>,<PER>,<DATE>,<TIME>,<OPEN>,<HIGH>,<LOW>,<CLOSE>,<VOL>",
         "; rename <date> to date, <open> to open, <high> to high, <low> to low, <close> to close, <vol> to volume"),
        ("Date,Close/Last,Volume,Open,High,Low", "has no column close; .*; rename close/last to close$"),
        ("Datetime,Adj Close", "; rename datetime to date, adj close to close$"),
        ("when,what", "it has when, what$"),
    ],
)  # fmt: skip
def test_columns_of_other_names_are_told_with_what_to_rename(tmp_path: Path, header: str, words: str) -> None:
    (tmp_path / "AAA.csv").write_text(f"{header}\n{'1,' * header.count(',')}1\n")
    with pytest.raises(DataError, match=words):
        read_bar_folder(tmp_path)


def test_a_timestamp_is_the_date_where_there_is_no_other(tmp_path: Path) -> None:
    (tmp_path / "AAA.csv").write_text("timestamp,close\n2020-03-16T04:00:00Z,1\n")
    (tmp_path / "BBB.csv").write_text("timestamp,date,close\n1584331200,2020-03-16,1\n")
    assert read_bar_folder(tmp_path).sessions.astype(str).tolist() == ["2020-03-16"]


@pytest.mark.parametrize("number", ["1,234.5", "$101.1", "-$1,234", "1 234", "1'234.50", "101,5"])
def test_numbers_written_with_signs_and_commas_are_one_line_a_column_that_says_how(tmp_path: Path, number: str) -> None:
    rows = [f'2020-03-{day:02d},"{number}",x{day}' for day in (16, 17, 18)]
    (tmp_path / "AAA.csv").write_text("\n".join(["date,close,volume", "2020-03-13,1,5", *rows]) + "\n")
    with pytest.raises(DataError) as caught:
        read_bar_folder(tmp_path)
    said = str(caught.value)
    assert f"AAA.csv line 3: close is {number!r}, which is no number, and 2 more of the column are written so; write 1" in said
    assert "line 4: volume is 'x17', which is no number\n" in said
    assert len(said.splitlines()) == 1 + 1 + 3


def test_files_with_an_adjusted_close_too_are_named(tmp_path: Path) -> None:
    (tmp_path / "BBB.csv").write_text("date,close\n2020-03-16,1\n")
    (tmp_path / "ONLY.csv").write_text("date,adjusted close\n2020-03-16,1\n")
    assert adjusted_closes_note(tmp_path) == ()
    (tmp_path / "AAA.csv").write_text('Date,Close,"Adj Close"\n2020-03-16,1,0.9\n')
    pd.DataFrame({"date": ["2020-03-16"], "Close": [1.0], "adjusted_close": [0.9]}).to_parquet(tmp_path / "CCC.parquet")
    (told_once,) = adjusted_closes_note(tmp_path)
    assert told_once.startswith("AAA.csv, CCC.parquet: the column close is used, and the adjusted close beside it is not: ")
    assert told_once.endswith("must be adjusted in it or listed in splits.csv")
