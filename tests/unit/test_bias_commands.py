"""`closebell lookahead` and `closebell warmup`, on registered strategies and on a file of the user's."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from typer.testing import CliRunner

from closebell import cli
from tests.style.test_readme import block

LEAK = """
import numpy as np
NAME = "prophet"
LOOKBACK_SESSIONS = 1
def scores(panel):
    score = np.full_like(panel.close, np.nan)
    score[:-1] = np.sign(panel.close[1:] - panel.close[:-1])
    return score
"""


def run(*words: str) -> tuple[int, str]:
    done = CliRunner().invoke(cli.app, list(words), env={"COLUMNS": "60"})
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done.exit_code, done.output


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the real prices, which take a second to read."""
    monkeypatch.setattr("closebell.backtest.bias.panels.real_panels", lambda calendar, length: {})


def written(folder: Path, text: str) -> str:
    path = folder / "my_strategy.py"
    path.write_text(text)
    return str(path)


@pytest.mark.parametrize("command", ["lookahead", "warmup"])
def test_everything_registered_passes(command: str) -> None:
    code, told = run(command, "--cuts", "8")
    assert code == 0, told
    for subject in ("strategy sma_cross", "strategy momentum", "indicator atr", "regime trend"):
        assert f"{subject} " in told
    assert "real to December 2018" in told
    assert "failed" not in told


@pytest.mark.parametrize("command", ["lookahead", "warmup"])
def test_the_readmes_strategy_passes(command: str, tmp_path: Path) -> None:
    code, told = run(command, "--strategy", written(tmp_path, block("python")))
    assert code == 0, told
    assert "strategy drift" in told


def test_a_leak_is_shown_with_its_first_difference_and_status_1(tmp_path: Path, quick: None) -> None:
    code, told = run("lookahead", "--strategy", written(tmp_path, LEAK))
    assert code == 1
    assert "5 failed" in told
    assert "prophet prefix: T0 2014-03-03 is" in told
    (row,) = (line for line in told.splitlines() if "5 failed" in line)
    assert row.startswith("strategy prophet"), "a pipe gets every row whole"
    assert row.endswith("prefix: T0 2014-03-03")
    assert "and unknown from the bars up to 2014-03-03 (panel 'trends')" in told


FITTED = """
from functools import cache
import numpy as np
NAME = "fitted"
LOOKBACK_SESSIONS = 1
LEVEL = {}
@cache
def level_of(first_session): return LEVEL.setdefault("mean", 0.0)
def scores(panel):
    FIT
    return np.clip((level - panel.close) / level, -1, 1)
"""


@pytest.mark.parametrize("fit", [
    'level = LEVEL.setdefault("mean", float(np.nanmean(panel.close)))',
    'LEVEL.setdefault("mean", float(np.nanmean(panel.close))); level = level_of(str(panel.sessions[0]))',
])  # fmt: skip
def test_a_fit_that_is_made_once_and_kept_is_found(fit: str, tmp_path: Path, quick: None) -> None:
    """A backtest shows the whole history first; whoever asks for the shortest first freezes the fit where it does no harm."""
    code, told = run("lookahead", "--strategy", written(tmp_path, FITTED.replace("FIT", fit)))
    assert code == 1
    assert "when it was shown nothing else before" in told


KEPT_ELSEWHERE = """
import sys
import types
from functools import partial
import numpy as np
NAME = "kept"
LOOKBACK_SESSIONS = 1
KEPT = {}
LIBRARY = sys.modules.setdefault("a_library_of_models", types.ModuleType("a_library_of_models"))
def fitted(panel, kept):
    level = kept.setdefault("level_of_a_fit", float(np.nanmean(panel.close)))
    return np.clip((level - panel.close) / level, -1, 1)
scores = SCORES
"""


@pytest.mark.parametrize("scores", [
    "partial(fitted, kept=KEPT)", "lambda panel: fitted(panel, vars(LIBRARY))",
])  # fmt: skip
def test_a_fit_that_a_partial_or_another_module_keeps_is_found(scores: str, tmp_path: Path, quick: None) -> None:
    code, told = run("lookahead", "--strategy", written(tmp_path, KEPT_ELSEWHERE.replace("SCORES", scores)), "--cuts", "8")
    assert code == 1
    assert "when it was shown nothing else before" in told


@pytest.mark.parametrize(("line", "said"), [
    ('NAME = "as configured"', "has the NAME 'as configured': write one word of letters"),
    ("LOOKBACK_SESSIONS = 10**9", "has 1000000000 as LOOKBACK_SESSIONS: write how many sessions"),
])  # fmt: skip
def test_a_name_or_a_look_back_that_cannot_be_used_is_refused(line: str, said: str, tmp_path: Path, quick: None) -> None:
    name = line.split(maxsplit=1)[0]
    text = "\n".join(line if each.startswith(name) else each for each in LEAK.splitlines())
    code, told = run("lookahead", "--strategy", written(tmp_path, text))
    assert (code, said in " ".join(told.split())) == (1, True), told


def test_a_look_back_that_is_too_short_is_shown(tmp_path: Path, quick: None) -> None:
    text = block("python").replace("LOOKBACK_SESSIONS = 21", "LOOKBACK_SESSIONS = 14")
    code, told = run("warmup", "--strategy", written(tmp_path, text))
    assert code == 1
    assert "history x1: T0" in told
    assert "from 14 sessions of history" in told
    assert "history x1.5" not in told, "21 sessions are enough"


def test_a_long_look_back_gets_longer_panels(tmp_path: Path, quick: None) -> None:
    text = block("python").replace("LOOKBACK_SESSIONS = 21", "LOOKBACK_SESSIONS = 300")
    code, told = run("warmup", "--strategy", written(tmp_path, text), "--cuts", "8")
    assert code == 1, "it knows after 21 bars and says 300"
    assert "panels of 660 sessions or more" in told
    assert "before the symbol has had 300 bars" in told


@pytest.mark.parametrize("command", ["lookahead", "warmup"])
@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("NAME = ", "cannot be run: SyntaxError"),
        ("import sys\nsys.exit(0)\n", "cannot be run: SystemExit: 0 (line 2: sys.exit(0))"),
        (LEAK.replace("return score", "raise SystemExit(0)"), "SystemExit: 0 (line 8: raise SystemExit(0))"),
        ("import nowhere_to_be_found", "cannot be run: ModuleNotFoundError: No module named 'nowhere_to_be_found'"),
        (LEAK.replace("NAME", "TITLE"), 'has no NAME: write NAME = "my_strategy"'),
        (LEAK.replace("LOOKBACK_SESSIONS = 1", "LOOKBACK_SESSIONS = 0"), "has 0 as LOOKBACK_SESSIONS"),
        (LEAK.replace("LOOKBACK_SESSIONS = 1", ""), "has None as LOOKBACK_SESSIONS"),
        (LEAK.replace("def scores", "def score"), "has no function scores(panel)"),
        (LEAK.replace("return score", "return score[1:]"), "sessions x 6 symbols: it has to be ("),
        (LEAK.replace("return score", "return score * 2"), "strategy prophet scores"),
        (LEAK.replace("return score", "return panel.price"), "AttributeError: 'BarPanel' object has no attribute 'price'"),
    ],
)
def test_what_is_wrong_with_a_file_is_told_without_a_traceback(
    command: str, text: str, words: str, tmp_path: Path, quick: None
) -> None:
    code, told = run(command, "--strategy", written(tmp_path, text))
    assert code == 1
    assert told.startswith("closebell: ")
    assert words in told
    assert "Traceback" not in told


@pytest.mark.parametrize("name", ["nowhere.py", "."])
def test_a_missing_file_is_told(name: str, tmp_path: Path) -> None:
    code, told = run("lookahead", "--strategy", str(tmp_path / name))
    assert code == 1
    assert "is no file: name a Python file with NAME, LOOKBACK_SESSIONS and scores(panel)" in told


def test_a_file_that_is_no_python_is_told(tmp_path: Path) -> None:
    notes = tmp_path / "notes.txt"
    notes.write_text(LEAK)
    assert "is no Python file: its name has to end in .py" in run("lookahead", "--strategy", str(notes))[1]


def test_a_failing_line_of_the_users_is_named(tmp_path: Path, quick: None) -> None:
    told = run("lookahead", "--strategy", written(tmp_path, LEAK.replace("return score", "return score / panel.price")))[1]
    assert "(line 8: return score / panel.price)" in told


def test_how_far_a_check_is_is_shown_panel_by_panel(tmp_path: Path, quick: None, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[tuple[int, int]] = []

    @contextmanager
    def bar(doing: str, of_what: str) -> Iterator[Callable[[int, int], None]]:
        yield lambda done_count, total_count: told.append((done_count, total_count))

    monkeypatch.setattr(cli.bias_commands, "progress_bar", bar)
    for command in ("lookahead", "warmup"):
        told.clear()
        assert run(command, "--strategy-file", written(tmp_path, block("python")), "--cuts", "8")[0] == 0
        assert told == [(done, len(told)) for done in range(1, len(told) + 1)]
        assert len(told) > 3
