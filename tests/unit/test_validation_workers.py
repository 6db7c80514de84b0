"""A validation's backtests side by side: the same folder for any number of processes, whatever ends it."""

import fcntl
import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from closebell.cli import app
from closebell.cli.application import INTERRUPTED
from tests.unit.backtest.markets import coin_panel, seeded_panel, write_bars

STRATEGY = '''"""Scores that know nothing, and a fault where bars are missing, which is in the last backtest of all."""
import fcntl, multiprocessing, os, signal, threading
from pathlib import Path
import numpy as np
from closebell.model.errors import DataError

NAME = "hope"
LOOKBACK_SESSIONS = 2
HERE = Path(__file__).parent
FIRST = HERE / "first"
FIRST.touch()
if not FIRST.read_text():
    FIRST.write_text(f"{os.getpid()}")
IS_FIRST = os.getpid() == int(FIRST.read_text())
if not IS_FIRST:
    fcntl.flock(os.open(HERE / "alive", os.O_CREAT | os.O_RDWR), fcntl.LOCK_SH)

def in_a_process_of_its_own():
    if IS_FIRST:
        raise ValueError("a fault is for a process of the pool")

def scores(panel):
    if np.isnan(panel.close).any():
        FAULT
    return np.clip(np.random.default_rng(5).normal(0.0, 0.6, panel.close.shape), -1.0, 1.0)
'''
COMMAND = Path(sys.executable).with_name("closebell")
FAILS = 'raise DataError("a planted fault")'
DIES = "in_a_process_of_its_own(); os.kill(os.getpid(), signal.SIGKILL)"
INTERRUPTS = (
    "in_a_process_of_its_own(); os.kill(multiprocessing.parent_process().pid, signal.SIGINT); threading.Event().wait()"
)
NAMES = ["hope+mean_reversion: as configured", "hope", "mean_reversion", "1 of 2 votes"]


@pytest.fixture(scope="module")
def shares(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three symbols over 165 sessions, as files."""
    return write_bars(tmp_path_factory.mktemp("shares"), seeded_panel(31, 165, 3))


@pytest.fixture(scope="module")
def coins(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three crypto pairs over 165 days, as files."""
    return write_bars(tmp_path_factory.mktemp("coins"), coin_panel(31, 165))


def words_for(bars: Path, folder: Path, workers_count: int, fault: str = "pass") -> list[str]:
    (folder / "hope.py").write_text(STRATEGY.replace("FAULT", fault))
    out = folder / f"by {workers_count}"
    return [
        "validate", "--bars", f"{bars}", "--strategy-file", f"{folder / 'hope.py'}", "--strategies", "hope,mean_reversion",
        "--grid", "1", "--out", f"{out}", "--workers", f"{workers_count}",
    ]  # fmt: skip


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def remembered(folder: Path) -> list[str]:
    lines = (folder / "trials.jsonl").read_text().splitlines()
    return [json.loads(line)["name"] for line in lines]


def told(words: list[str]) -> tuple[int, str]:
    done = CliRunner().invoke(app, words)
    return done.exit_code, " ".join(done.output.split())


@pytest.mark.parametrize("market", ["us_equity", "crypto"])
def test_one_process_and_three_leave_equal_files_and_know_the_users_strategy(
    market: str, shares: Path, coins: Path, tmp_path: Path
) -> None:
    for workers_count in (1, 3):
        words = words_for(shares if market == "us_equity" else coins, tmp_path, workers_count)
        code, said = told([*words, "--market", market])
        assert code == 1, said
        assert "refused" in said
    assert contents(tmp_path / "by 1") == contents(tmp_path / "by 3")
    assert remembered(tmp_path / "by 3") == NAMES
    trials = json.loads(contents(tmp_path / "by 3")["validation.json"])["trials"]
    assert {trial["name"]: trial["trades_count"] for trial in trials}["hope"] > 0


@pytest.mark.parametrize("workers_count", [1, 2])
def test_a_backtest_that_fails_fails_the_validation_with_its_error(workers_count: int, shares: Path, tmp_path: Path) -> None:
    code, said = told(words_for(shares, tmp_path, workers_count, FAILS))
    assert (code, said) == (1, "closebell: a planted fault")
    assert remembered(tmp_path / f"by {workers_count}") == NAMES
    assert set(contents(tmp_path / f"by {workers_count}")) == {"holdout.json", "trials.jsonl"}


def test_a_process_that_dies_fails_the_validation_and_is_named(shares: Path, tmp_path: Path) -> None:
    code, said = told(words_for(shares, tmp_path, 2, DIES))
    assert code == 1
    assert said.startswith("closebell: stress 2% of bars missing: the process that traded it ended abruptly")
    assert remembered(tmp_path / "by 2") == NAMES


@pytest.fixture
def heeds_interrupts() -> Iterator[None]:
    """What is started hears interrupts, also where the tests run in the background of a shell, which has them ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("heeds_interrupts")
def test_an_interrupt_ends_every_process_at_once_and_the_folder_goes_on(shares: Path, tmp_path: Path) -> None:
    command = [f"{COMMAND}", *words_for(shares, tmp_path, 2, INTERRUPTS)]
    interrupted = subprocess.run(command, capture_output=True, text=True, timeout=90)
    assert interrupted.returncode == INTERRUPTED
    said = interrupted.stderr
    assert said.startswith("closebell: interrupted; the trials that were done are remembered in")
    assert "Traceback" not in said
    with (tmp_path / "alive").open("a") as file:
        fcntl.flock(file.fileno(), fcntl.LOCK_EX)  # waits until no process of the validation lives
    assert set(contents(tmp_path / "by 2")) <= {"holdout.json", "trials.jsonl"}
    done = remembered(tmp_path / "by 2")
    assert done == NAMES[: len(done)]
    for workers_count in (1, 2):
        assert told(words_for(shares, tmp_path, workers_count))[0] == 1
    again, whole = contents(tmp_path / "by 2"), contents(tmp_path / "by 1")
    assert again.pop("trials.jsonl").endswith(whole.pop("trials.jsonl"))
    # the interrupted run sealed the strategy with its fault, so another text of it
    seals = [json.loads(files.pop("holdout.json")) for files in (again, whole)]
    assert seals[0]["configuration_sha256"] != seals[1]["configuration_sha256"]
    assert seals[0] | {"configuration_sha256": seals[1]["configuration_sha256"]} == seals[1]
    assert again == whole
