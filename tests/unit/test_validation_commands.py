"""`closebell validate` as the owner types it: a folder of bars, a strategy file, a seal that is broken once."""

import csv
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from closebell import cli
from closebell.backtest.validation.verdict import Colour, VerdictFlag
from tests.unit.backtest.markets import seeded_panel

STRATEGY = '''"""Scores that know nothing."""
import numpy as np
NAME = "hope"
LOOKBACK_SESSIONS = 2
def scores(panel):
    return np.clip(np.random.default_rng(5).normal(0.0, 0.6, panel.close.shape), -1.0, 1.0)
'''


LEAK = "np.sign(np.vstack([panel.close[1:], panel.close[-1:]]) - panel.close)"


def bars_in(folder: Path) -> Path:
    panel = seeded_panel(31, 104, 2)
    folder.mkdir()
    for column, symbol in enumerate(panel.symbols):
        with (folder / f"{symbol}.csv").open("w", newline="") as stream:
            writer = csv.writer(stream)
            writer.writerow(("date", "close"))
            writer.writerows((f"{day}", close) for day, close in zip(panel.sessions, panel.close[:, column], strict=True))
    return folder


def run(*words: str) -> tuple[int, str]:
    done = CliRunner().invoke(cli.app, ["validate", *words])
    return done.exit_code, done.output


def test_noise_is_refused_with_status_1_and_the_holdout_is_opened_once(tmp_path: Path) -> None:
    own = tmp_path / "hope.py"
    own.write_text(STRATEGY)
    out = tmp_path / "validated"
    words = ("--bars", str(bars_in(tmp_path / "bars")), "--strategy-file", str(own), "--out", str(out), "--grid", "1")
    status, told = run(*words)
    assert status == 1
    assert "refused" in told
    (row,) = (line for line in told.splitlines() if line.startswith("lookahead: checks failed"))
    assert "amber" in row, "a pipe gets every row whole"
    assert "other symbols: T0" in row
    assert json.loads((out / "validation.json").read_text())["holdout"]["opened_at"] is None
    assert {path.name for path in out.iterdir()} == {
        "holdout.json", "sensitivity.png", "trials.jsonl", "validation.json", "verdict.csv",
    }
    verdict = (out / "verdict.csv").read_text()
    assert "lookahead: checks failed,1.0,≤,0.0,False,amber,other symbols: T0" in verdict, "it draws by place"
    assert "holdout: return" not in verdict
    assert run(*words, "--open-holdout")[0] == 1
    assert "holdout: return" in (out / "verdict.csv").read_text()
    assert json.loads((out / "holdout.json").read_text())["opened_count"] == 1
    status, told = run(*words, "--open-holdout")
    assert status == 1
    assert "it is opened once" in " ".join(told.split())
    assert json.loads((out / "holdout.json").read_text())["opened_count"] == 1
    assert "of another" not in (out / "verdict.csv").read_text()
    own.write_text(STRATEGY.replace("    return", "    if 'S00' in panel.symbols: return LEAK\n    return").replace("LEAK", LEAK))
    assert run(*words)[0] == 1
    assert "lookahead: checks failed,6.0" in (out / "verdict.csv").read_text(), "it knows tomorrow on the bars judged alone"
    lines = [line for line in (out / "verdict.csv").read_text().splitlines() if line.startswith("holdout")]
    assert ["of another configuration, other code or other costs" in line for line in lines] == [True, True]
    assert run("--bars", "demo", "--out", str(out), "--strategies", "hope")[1].count("'hope' does not exist") == 1


@pytest.mark.parametrize(("value", "limit", "is_frac", "shown"), [
    (0.01005, 0.01, True, ("1.005\u00a0%", "≤ 1.000\u00a0%")), (0.4, 0.3, True, ("40.00\u00a0%", "≤ 30.00\u00a0%")),
    (0.3, 0.3, True, ("30.00\u00a0%", "≤ 30.00\u00a0%")), (0.50004, 0.5, False, ("0.50004", "≤ 0.50000")),
    (None, 0.5, False, ("–", "≤ 0.50")), (-0.0371, 0.0, True, ("−3.71\u00a0%", "≤ 0.00\u00a0%")),
])  # fmt: skip
def test_what_is_over_its_limit_is_seen_to_be(value: float | None, limit: float, is_frac: bool, shown: tuple[str, str]) -> None:
    flag = VerdictFlag("any", value, "≤", limit, is_frac, Colour.RED, "")
    assert cli.validation_commands.written(flag) == shown


def test_wrong_options_are_told_before_anything_is_traded(tmp_path: Path) -> None:
    assert "write 1, 3, 5" in run("--bars", "demo", "--out", str(tmp_path / "a"), "--grid", "2")[1]
    (tmp_path / "thesis.doc").write_text("mine")
    assert "other files" in run("--bars", "demo", "--out", str(tmp_path))[1]
    own = tmp_path / "rsi.py"
    own.write_text(STRATEGY.replace("hope", "rsi"))
    assert "exists already" in run("--bars", "demo", "--out", str(tmp_path / "a"), "--strategy-file", str(own))[1]
    assert not (tmp_path / "a").exists()
