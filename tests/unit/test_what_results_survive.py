"""Results are written whatever becomes of stdout, of the disk, and of the user's patience."""

import os
import sys
from pathlib import Path

import pytest

from closebell.cli import app
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
