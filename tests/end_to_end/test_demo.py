"""The demo as its user runs it: two sessions, a kill in the middle, two more; what it says and leaves behind."""

import csv
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import pytest
from typer.testing import CliRunner

from closebell.cli import app
from infra.local.session_report import Summary
from tests.end_to_end.local_stack import alive, descendants, eventually

ROOT = Path(__file__).resolve().parents[2]
TIMEOUT_S, STOPPED_S = 480, 60
pytestmark = pytest.mark.timeout(600)  # a busy machine is slow, and a kill costs a cold start
LIVES_FRAC = (0.04, 0.12)
"""How long functions are left alone between two kills, in parts of the time that an undisturbed run takes: on a slow machine a
cold start is slow too, and a function that is killed more often than it can start gets nowhere."""
KILLS_COUNT_MAX = 30
"""Then the run is left alone, for the machine may have become slower since."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One state for the whole module: the tests are chapters of one story."""
    return tmp_path_factory.mktemp("demo")


@contextmanager
def demo(folder: Path, *arguments: str) -> "Iterator[subprocess.Popen[str]]":
    """A run of the demo. It is over when the block is: a test that fails leaves no process to the next one."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("ALPACA_", "APCA_", "AWS_"))}
    paths = os.pathsep.join((str(ROOT), str(ROOT / "layers" / "core")))
    with subprocess.Popen(
        [sys.executable, "-m", "infra.local.demo", "--folder", str(folder), *arguments],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=ROOT, env={**environment, "PYTHONPATH": paths},
    ) as run:
        try:
            yield run
        finally:
            run.kill()


def whole_demo(folder: Path, *arguments: str) -> str:
    """The output of a run that is left alone and ends well."""
    with demo(folder, *arguments) as run:
        output, _ = run.communicate(timeout=TIMEOUT_S)
    assert run.returncode == 0, output
    return output


def summary(folder: Path) -> Summary:
    return Summary(**json.loads((folder / "demo" / "summary.json").read_text()))


class FirstRun(NamedTuple):
    """What the first run said and left, read before any other test goes on with its state."""

    output: str
    took_s: float
    summary: Summary
    ledger: list[dict[str, str]]
    decisions: dict[str, Any]
    html: str
    text: str


@pytest.fixture(scope="module")
def first_run(folder: Path) -> FirstRun:
    began_s = time.monotonic()
    output = whole_demo(folder, "--sessions", "2")
    left = folder / "demo"
    return FirstRun(
        output=output,
        took_s=time.monotonic() - began_s,
        summary=summary(folder),
        ledger=list(csv.DictReader((left / "ledger.csv").read_text().splitlines())),
        decisions=json.loads((left / "decisions" / "us_equity" / "2018-10-02.json").read_text()),
        html=(left / "newsletter.html").read_text(),
        text=(left / "newsletter.txt").read_text(),
    )


def test_two_sessions_trade_without_an_error_a_break_or_a_duplicate(first_run: FirstRun) -> None:
    told = first_run.summary
    assert (told.sessions, told.errors, told.breaks, told.duplicate_orders) == (2, 0, 0, 0), first_run.output
    assert told.orders >= told.fills >= told.open_positions > 0
    assert told.decisions == 3 * 21
    assert told.newsletters == 3


def test_the_exports_say_what_the_summary_says(first_run: FirstRun) -> None:
    assert len(first_run.ledger) == first_run.summary.fills
    assert (first_run.decisions["session"], len(first_run.decisions["decisions"])) == ("2018-10-02", 21)
    assert "<html" in first_run.html.lower()
    assert "After the close of Tue 2 Oct 2018" in first_run.text


def readme_block(first_words: str) -> list[str]:
    """The README's text block that begins with these words."""
    blocks = re.findall(r"```text\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    return next(block.splitlines() for block in blocks if block.startswith(first_words))


def test_the_readme_shows_what_the_demo_prints(first_run: FirstRun) -> None:
    shown = readme_block("session ")
    two_sessions = shown[: next(number for number, line in enumerate(shown) if line.startswith("Wed 03 Oct"))]
    printed = [line.rstrip() for line in first_run.output.splitlines()]
    assert len(two_sessions) >= 3
    assert [line for line in two_sessions if line not in printed] == []


def test_the_readme_shows_what_explain_prints(first_run: FirstRun, folder: Path) -> None:
    decisions = str(folder / "demo" / "decisions")
    told = CliRunner().invoke(app, ["explain", "KO", "--session", "2018-10-01", "--decisions", decisions])
    assert told.exit_code == 0, told.output
    code_version = re.compile("core-[0-9a-f]{16}")  # README's is of the code that printed it, as it says
    printed = [code_version.sub("core", line.rstrip()) for line in told.output.splitlines()]
    assert printed == [code_version.sub("core", line) for line in readme_block("KO ")]


def test_a_kill_in_the_middle_leaves_no_process_and_the_next_run_goes_on(first_run: FirstRun, folder: Path) -> None:
    before = summary(folder)
    progress = folder / "real" / "progress.json"
    started_at = progress.read_text()
    with demo(folder, "--sessions", "1") as run:
        moved = eventually(lambda: progress.read_text() != started_at or run.poll() is not None, TIMEOUT_S)
        below = descendants(run.pid)
        run.send_signal(signal.SIGKILL)
        run.communicate()
    assert moved
    assert below
    assert eventually(lambda: not alive(below), 10.0)
    output = whole_demo(folder, "--sessions", "1")
    after = summary(folder)
    assert after.sessions == before.sessions + 1
    assert (after.errors, after.breaks, after.duplicate_orders) == (before.errors, 0, 0), output


def test_functions_killed_at_random_moments_leave_the_same_books(first_run: FirstRun, tmp_path: Path) -> None:
    """Lambda's process for some function ends again and again, wherever it is; the run is repeated as the template says."""
    draw, killed = Random(1), 0
    with demo(tmp_path, "--sessions", "2") as run, ThreadPoolExecutor(1) as reader:
        output = reader.submit(run.communicate, timeout=TIMEOUT_S)
        while not output.done():
            eventually(output.done, first_run.took_s * draw.uniform(*LIVES_FRAC))
            functions = [pid for pid in sorted(descendants(run.pid)) if is_function(pid)]
            if functions and killed < KILLS_COUNT_MAX:
                with suppress(ProcessLookupError):
                    os.kill(draw.choice(functions), signal.SIGKILL)
                    killed += 1
    told, _ = output.result()
    assert run.returncode == 0, told
    assert killed >= 4
    left = list(csv.DictReader((tmp_path / "demo" / "ledger.csv").read_text().splitlines()))
    assert left == first_run.ledger, told
    after, whole = summary(tmp_path), first_run.summary
    assert (after.duplicate_orders, after.breaks, after.open_positions) == (0, 0, whole.open_positions)
    assert (after.orders, after.fills, after.equity_usd_end) == (whole.orders, whole.fills, whole.equity_usd_end)


def is_function(pid: int) -> bool:
    """Whether a process is the environment of one Lambda function."""
    with suppress(OSError):
        return b"lambda_bootstrap" in Path(f"/proc/{pid}/cmdline").read_bytes()
    return False


def test_ctrl_c_stops_in_order_and_says_how_to_go_on(first_run: FirstRun, folder: Path) -> None:
    progress = folder / "real" / "progress.json"
    before = progress.read_text()
    with demo(folder, "--sessions", "1") as run:
        assert eventually(lambda: progress.read_text() != before, TIMEOUT_S)
        run.send_signal(signal.SIGINT)
        output, _ = run.communicate(timeout=STOPPED_S)
    assert run.returncode == 130
    assert "`make demo` goes on from here" in output


def test_a_second_demo_of_the_same_market_is_refused_while_one_runs(first_run: FirstRun, folder: Path) -> None:
    with demo(folder, "--sessions", "1") as first:
        assert first.stdout is not None
        assert first.stdout.readline().startswith("closebell on real")
        with demo(folder, "--sessions", "1") as second:
            output, _ = second.communicate(timeout=STOPPED_S)
        first.send_signal(signal.SIGINT)
        first.communicate(timeout=STOPPED_S)
    assert "Another demo" in output
