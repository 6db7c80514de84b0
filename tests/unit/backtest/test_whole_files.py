"""A folder of results is the earlier one or the new one, also where a disk does not let it be moved."""

import os
from pathlib import Path

import pytest

from closebell.backtest.whole_files import replace_folder


def test_a_folder_that_cannot_be_moved_to_its_place_leaves_the_earlier_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, rename = tmp_path / "r", os.rename
    replace_folder(folder, {"result.json": b"first"})

    def renamed(source: Path, target: Path) -> None:
        if source.name == "new":
            raise OSError(5, "Input/output error")
        rename(source, target)

    monkeypatch.setattr(os, "rename", renamed)
    with pytest.raises(OSError, match="Input/output error"):
        replace_folder(folder, {"result.json": b"second"})
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == {"result.json": b"first"}
    assert [path.name for path in tmp_path.iterdir()] == ["r"], "nothing is left beside"


def test_an_earlier_result_that_cannot_be_brought_back_is_not_deleted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, rename = tmp_path / "r", os.rename
    replace_folder(folder, {"result.json": b"first"})

    def renamed(source: Path, target: Path) -> None:
        if source != folder:
            raise OSError(5, "Input/output error")
        rename(source, target)

    monkeypatch.setattr(os, "rename", renamed)
    with pytest.raises(OSError, match="Input/output error"):
        replace_folder(folder, {"result.json": b"second"})
    assert [path.read_bytes() for path in tmp_path.rglob("earlier/result.json")] == [b"first"]


def test_a_folder_may_be_called_as_long_as_a_disk_allows(tmp_path: Path) -> None:
    folder = tmp_path / ("é" * 127)
    for content in (b"first", b"second"):
        replace_folder(folder, {"result.json": content})
        assert [path.read_bytes() for path in tmp_path.rglob("*.json")] == [content]
