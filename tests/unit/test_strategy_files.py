"""A strategy in a file of the user's, in `backtest`, `compare` and `sweep`: it votes as if it were registered."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from closebell import strategies as registry
from closebell.cli import app
from tests.style.test_readme import block
from tests.unit.backtest.markets import seeded_panel, write_bars

DRIFT = block("python")
AGAINST = DRIFT.replace("panel.close[20:] / panel.close[:-20] - 1", "1 - panel.close[20:] / panel.close[:-20]")
SWEPT = ("--grid", "exits.stop_loss_frac=0.02,0.03", "--workers", "2")


@pytest.fixture(scope="module")
def bars(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three symbols over 90 sessions, as files."""
    return write_bars(tmp_path_factory.mktemp("bars"), seeded_panel(11, 90, 3))


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """The README's strategy, as a file."""
    path = tmp_path / "drift.py"
    path.write_text(DRIFT)
    return path


def run(command: str, *words: object) -> tuple[int, str]:
    known = registry.STRATEGIES
    done = CliRunner().invoke(app, [command, *(str(word) for word in words)])
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    assert registry.STRATEGIES is known, "the file's strategy outlives the command"
    return done.exit_code, done.output


def test_a_backtest_of_a_file_trades_it_alone_or_among_those_named(bars: Path, own: Path, tmp_path: Path) -> None:
    code, told = run("backtest", "--bars", bars, "--strategy-file", own, "--out", tmp_path / "alone")
    assert code == 0, told
    assert json.loads((tmp_path / "alone" / "result.json").read_text())["trades_count"] > 0
    assert "drift" in (tmp_path / "alone" / "attribution.csv").read_text()
    words = ("--strategy-file", own, "--strategies", "mean_reversion,drift")
    assert run("backtest", "--bars", bars, *words, "--out", tmp_path / "both")[0] == 0
    assert "mean_reversion" in (tmp_path / "both" / "report.html").read_text().replace(" ", "_")


def test_a_comparison_has_a_row_for_the_file(bars: Path, own: Path, tmp_path: Path) -> None:
    words = ("--strategy-file", own, "--strategies", "drift,mean_reversion")
    code, told = run("compare", "--bars", bars, *words, "--out", tmp_path / "r")
    assert code == 0, told
    rows = (tmp_path / "r" / "strategy_comparison.csv").read_text().splitlines()
    assert [row.split(",")[0] for row in rows] == ["name", "drift", "mean_reversion", "ensemble"]


def test_a_sweeps_processes_know_the_file_and_another_text_is_traded_anew(bars: Path, own: Path, tmp_path: Path) -> None:
    words = ("--bars", bars, "--strategy-file", own, "--out", tmp_path / "r", *SWEPT)
    kept = tmp_path / "r" / "points.jsonl"
    code, told = run("sweep", *words)
    assert (code, "2 points done, 0 failed" in told) == (0, True), told
    first = kept.read_text()
    assert run("sweep", *words)[0] == 0
    assert kept.read_text() == first, "the same text is not traded again"
    own.write_text(AGAINST)
    assert run("sweep", *words)[0] == 0
    again = [json.loads(line) for line in kept.read_text().removeprefix(first).splitlines()]
    before = [json.loads(line) for line in first.splitlines()]
    assert len(again) == 2
    traded = [{point["summary"]["trades_sha256"] for point in points} for points in (before, again)]
    assert traded[0].isdisjoint(traded[1])


def test_an_axis_may_name_the_files_strategy(bars: Path, own: Path, tmp_path: Path) -> None:
    words = ("--strategy-file", own, "--strategies", "mean_reversion", "--grid", "strategies=drift,mean_reversion+drift")
    code, told = run("sweep", "--bars", bars, *words, "--workers", "1", "--out", tmp_path / "r")
    assert (code, "2 points done, 0 failed" in told) == (0, True), told


def test_the_functions_of_a_stack_do_not_have_the_file(bars: Path, own: Path, tmp_path: Path) -> None:
    code, told = run("sweep", "--bars", bars, "--strategy-file", own, "--stack", "desk", "--out", tmp_path / "r", *SWEPT)
    assert (code, told) == (1, f"closebell: the functions of desk do not have {own}: leave --stack out, and sweep here\n")
    assert not (tmp_path / "r").exists()


@pytest.mark.parametrize("command", ["backtest", "compare", "sweep", "validate"])
def test_a_file_among_the_names_is_told_how_it_is_named(command: str, bars: Path, tmp_path: Path) -> None:
    code, told = run(command, "--bars", bars, "--strategies", "mine.py", "--out", tmp_path / "r")
    assert (code, told) == (1, "closebell: --strategies takes names, and mine.py is a file: write --strategy-file mine.py\n")


@pytest.mark.parametrize("command", ["backtest", "compare", "sweep", "validate"])
def test_a_name_that_is_taken_is_refused(command: str, bars: Path, own: Path, tmp_path: Path) -> None:
    own.write_text(DRIFT.replace('"drift"', '"rsi"'))
    code, told = run(command, "--bars", bars, "--strategy-file", own, "--out", tmp_path / "r")
    assert (code, told) == (1, f"closebell: a strategy 'rsi' exists already: give the one in {own} another NAME\n")


def test_a_comparison_keeps_the_name_of_the_ensemble_for_it(bars: Path, own: Path, tmp_path: Path) -> None:
    own.write_text(DRIFT.replace('"drift"', '"ensemble"'))
    code, told = run("compare", "--bars", bars, "--strategy-file", own, "--out", tmp_path / "r")
    assert (code, told) == (1, "closebell: ensemble is all of them together here: give your strategy another NAME\n")


@pytest.mark.parametrize(("line", "said"), [
    ("return score / panel.price", "scores(panel) fails on 90 sessions x 3 symbols: AttributeError: 'BarPanel' object has no "
                                   "attribute 'price' (line 12: return score / panel.price)"),
    ("raise SystemExit(0)", "scores(panel) fails on 90 sessions x 3 symbols: SystemExit: 0 (line 12: raise SystemExit(0))"),
    ("return score[1:]", "scores(panel) returns shape (89, 3) for 90 sessions x 3 symbols: one score for each bar"),
    ("return score * 0 + 5", "scores(panel) returns 5: a score is -1 to 1"),
])  # fmt: skip
def test_scores_that_are_none_are_told_without_a_traceback(line: str, said: str, bars: Path, own: Path, tmp_path: Path) -> None:
    own.write_text(DRIFT.replace("return score", line))
    code, told = run("backtest", "--bars", bars, "--strategy-file", own, "--out", tmp_path / "r")
    assert (code, told) == (1, f"closebell: {own}: {said}\n")
