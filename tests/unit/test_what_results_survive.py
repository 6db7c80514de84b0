"""Results are written whatever becomes of stdout, of the disk, and of the user's patience."""

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from closebell.backtest.sweeps.store import PointResult, write_table
from closebell.backtest.validation.folder import ValidationFolder
from closebell.cli import app
from closebell.cli.application import INTERRUPTED
from closebell.model.errors import DataError
from tests.unit.backtest.markets import seeded_panel, write_bars

COMMANDS = {"backtest": "report.html", "compare": "comparison.html", "sweep": "sweep.csv"}


@pytest.fixture(scope="module")
def bars(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two symbols over 60 sessions, as files."""
    return write_bars(tmp_path_factory.mktemp("bars"), seeded_panel(11, 60, 2))


def words_for(command: str, bars: Path, out: Path) -> list[str]:
    swept = ["--grid", "exits.stop_loss_frac=0.02,0.03", "--workers", "1"] if command == "sweep" else []
    words = ["--bars", f"{bars}", "--strategies", "mean_reversion", "--out", f"{out}", *swept]
    return [command, *words]


def status_of(words: list[str]) -> int:
    """What a shell would see of a command; what it prints goes to `sys.stdout` as it is."""
    with pytest.raises(SystemExit) as ended:
        app(words)
    return int(ended.value.code or 0)


@pytest.mark.parametrize("command", COMMANDS)
def test_a_pipe_that_nobody_reads_loses_no_results_and_is_no_failure(
    command: str, bars: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as stdout:
        monkeypatch.setattr(sys, "stdout", stdout)
        assert status_of(words_for(command, bars, tmp_path / "r")) == 0
    assert (tmp_path / "r" / COMMANDS[command]).exists()
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("command", COMMANDS)
def test_a_stdout_on_a_full_disk_is_said_in_a_line_once_the_results_are_written(
    command: str, bars: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    with Path("/dev/full").open("w") as stdout:
        monkeypatch.setattr(sys, "stdout", stdout)
        assert status_of(words_for(command, bars, tmp_path / "r")) == 1
    assert (tmp_path / "r" / COMMANDS[command]).exists()
    told = f"the results are in {tmp_path / 'r'}, but stdout does not take what is said of them: No space left on device"
    assert capfd.readouterr().err == f"closebell: {told}\n"


def test_words_without_results_that_a_full_disk_does_not_take_are_an_error_in_a_line(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    with Path("/dev/full").open("w") as stdout:
        monkeypatch.setattr(sys, "stdout", stdout)
        assert status_of(["simulate", "--seeds", "0:1", "--sessions", "1", "--faults", "none"]) == 1
    assert capfd.readouterr().err == "closebell: stdout does not take what there is to say: No space left on device\n"


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_an_encoding_without_a_minus_gets_a_hyphen(
    encoding: str, bars: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = tmp_path / "said"
    with said.open("w", encoding=encoding) as stdout:
        monkeypatch.setattr(sys, "stdout", stdout)
        assert status_of([*words_for("backtest", bars, tmp_path / "résults 結"), "--commission-per-order", "50"]) == 0
    words = said.read_text(encoding=encoding).split()
    assert any(word.startswith("-$") for word in words), "no loss was made"
    assert words[-1] == "結/report.html".encode(encoding, "replace").decode()


def ended_at(count: int, error: BaseException) -> Callable[[Path, bytes], int]:
    """A `Path.write_bytes` that is ended within its `count`th file."""
    done: list[Path] = []

    def write_bytes(path: Path, content: bytes) -> int:
        done.append(path)
        with path.open("wb") as file:
            written_count = file.write(content[: len(content) // 2] if len(done) == count else content)
        if len(done) == count:
            raise error
        return written_count

    return write_bytes


FULL = OSError(28, "No space left on device")


@pytest.mark.parametrize("command", ["backtest", "compare"])
def test_an_interrupt_while_results_are_written_is_said_and_leaves_what_was_there(
    command: str, bars: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "r"
    out.mkdir()
    (out / "result.json").write_text("{}")
    monkeypatch.setattr(Path, "write_bytes", ended_at(3, KeyboardInterrupt()))
    assert status_of(words_for(command, bars, out)) == INTERRUPTED
    assert capfd.readouterr() == ("", f"closebell: interrupted; {out} is as it was\n")
    assert {path: path.read_text() for path in tmp_path.rglob("*") if path.is_file()} == {out / "result.json": "{}"}
    assert [path.name for path in tmp_path.iterdir()] == ["r"], "nothing is left beside"


@pytest.mark.parametrize("error", [FULL, KeyboardInterrupt()])
def test_a_folder_of_a_validation_is_of_one_run_whatever_ends_the_next(
    error: BaseException, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ("validation.json", "verdict.csv", "sensitivity.png")
    folder = ValidationFolder(tmp_path)
    folder.write(dict.fromkeys(names, b"first"))
    monkeypatch.setattr(Path, "write_bytes", ended_at(2, error))
    with pytest.raises((DataError, KeyboardInterrupt), match="No space left|^$"):
        folder.write(dict.fromkeys(names, b"second"))
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == dict.fromkeys(names, b"first")


def test_a_table_that_a_full_disk_does_not_take_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "write_bytes", ended_at(1, FULL))
    with pytest.raises(DataError, match="the table could not be written to .*: No space left on device"):
        write_table(tmp_path, [PointResult("key", {"seed": "1"}, None, "a fault")])
    assert list(tmp_path.iterdir()) == []
