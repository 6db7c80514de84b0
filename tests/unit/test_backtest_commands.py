"""`closebell backtest` and `compare` as their user meets them: what they print, what they leave, what they refuse and how."""

import csv
import json
from datetime import date
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from closebell.cli import app
from tests.unit.backtest.markets import seeded_panel

FILES = {"result.json", "report.html", "trades.csv", "equity.csv", "orders.csv", "decisions.csv", "attribution.csv"}


@pytest.fixture(scope="module")
def bars(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five symbols over 290 sessions, as files."""
    folder, panel = tmp_path_factory.mktemp("bars"), seeded_panel(11, 290, 5)
    for column, symbol in enumerate(panel.symbols):
        rows = [
            f"{day},{panel.open[row, column]},{panel.high[row, column]},{panel.low[row, column]},{panel.close[row, column]},"
            f"{panel.volume[row, column]:.0f}"
            for row, day in enumerate(panel.sessions)
        ]
        (folder / f"{symbol}.csv").write_text("\n".join(["date,open,high,low,close,volume", *rows]) + "\n")
    return folder


def run(*words: object) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words])


def rows_of(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(path.read_text().splitlines()))


def test_a_backtest_leaves_one_directory_whose_files_agree(bars: Path, tmp_path: Path) -> None:
    words = ("--strategies", "momentum,rsi", "--commission-per-round-trip", "5")
    done = run("backtest", "--bars", bars, *words, "--out", tmp_path / "r")
    assert done.exit_code == 0, done.output
    assert {path.name for path in (tmp_path / "r").iterdir()} == FILES
    result = json.loads((tmp_path / "r" / "result.json").read_text())
    trades, equity = rows_of(tmp_path / "r" / "trades.csv"), rows_of(tmp_path / "r" / "equity.csv")
    assert (len(trades), len(equity)) == (result["trades_count"], result["sessions_count"])
    assert result["trades_count"] > 10
    earned = sum(float(trade["pnl_usd"]) for trade in trades)
    assert earned == pytest.approx(result["final_equity_usd"] - 100_000, abs=0.01)
    shares = [float(share["pnl_usd"]) for share in rows_of(tmp_path / "r" / "attribution.csv")]
    assert sum(shares) == pytest.approx(2 * earned, abs=0.1), "by strategy, and once more by regime"
    assert result["commission_usd"] == pytest.approx(2.5 * result["trades_count"] * 2, rel=0.02)
    assert result["trades_sha256"][:16] in done.output
    assert "after costs" in done.output
    assert "<script src" not in (tmp_path / "r" / "report.html").read_text()


def test_a_second_backtest_takes_the_place_of_the_first_and_nothing_else_is_overwritten(bars: Path, tmp_path: Path) -> None:
    asked = ("backtest", "--bars", bars, "--strategies", "rsi", "--from", "2013-02-01", "--out", tmp_path / "r")
    assert run(*asked).exit_code == run(*asked).exit_code == 0
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "thesis.txt").write_text("years of work")
    refused = run("backtest", "--bars", bars, "--strategies", "rsi", "--from", "2013-02-01", "--out", mine)
    assert (refused.exit_code, (mine / "thesis.txt").read_text()) == (1, "years of work")
    assert "holds other files" in refused.output


def test_a_full_disk_is_said_and_leaves_the_former_result(bars: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = ("backtest", "--bars", bars, "--strategies", "rsi", "--from", "2013-02-01", "--out", tmp_path / "r")
    assert run(*asked).exit_code == 0
    before = (tmp_path / "r" / "result.json").read_bytes()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    refused = run(*asked)
    assert refused.exit_code == 1
    assert "No space left on device" in refused.output.replace("\n", " ")
    monkeypatch.undo()
    assert (tmp_path / "r" / "result.json").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["r"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--strategies", "rsy"), "strategy 'rsy' does not exist; the known ones are"),
        (("--cash", "much"), "--cash is 'much': write a number"),
        (("--cash", "-5"), "cash is -5 USD"),
        (("--slippage-bps", "nan"), "--slippage-bps is 'nan': write a finite number"),
        (("--slippage-bps", "-1"), "a cost is not negative"),
        (("--capacity", "2"), "capacity_frac is 2"),
        (("--from", "2031-01-01"), "the span from 2031-01-01"),
        (("--config", "absent.toml"), "the configuration absent.toml cannot be read"),
    ],
)
def test_what_cannot_be_meant_is_refused_before_anything_is_written(
    bars: Path, tmp_path: Path, words: tuple[str, str], said: str
) -> None:
    refused = run("backtest", "--bars", bars, "--out", tmp_path / "r", *words)
    assert refused.exit_code == 1
    assert said in " ".join(refused.output.split())
    assert not (tmp_path / "r").exists()


def test_bars_that_are_wrong_are_named(tmp_path: Path) -> None:
    (tmp_path / "AAA.csv").write_text("date,close\n2020-03-16,1\n2020-03-16,x\n")
    refused = run("backtest", "--bars", tmp_path, "--out", tmp_path / "r")
    assert refused.exit_code == 1
    assert "AAA.csv line 3: close is 'x'" in refused.output
    missing = run("backtest", "--bars", tmp_path / "absent", "--out", tmp_path / "r")
    assert "there is no folder" in missing.output


def test_every_strategy_alone_and_all_together_are_compared_over_the_same_sessions(bars: Path, tmp_path: Path) -> None:
    words = ("--strategies", "momentum,rsi", "--from", "2012-12-03", "--to", "2013-02-15")
    done = run("compare", "--bars", bars, *words, "--out", tmp_path / "c")
    assert done.exit_code == 0, done.output
    table = rows_of(tmp_path / "c" / "strategy_comparison.csv")
    assert [row["name"] for row in table] == ["momentum", "rsi", "ensemble"]
    spans = [json.loads((tmp_path / "c" / row["name"] / "result.json").read_text()) for row in table]
    assert {(span["first_session"], span["last_session"]) for span in spans} == {("2012-12-03", "2013-02-15")}
    assert {path.name for path in (tmp_path / "c").glob("*.png")} == {
        "return_against_drawdown.png", "win_rate_against_sharpe.png", "equity_curves.png",
    }
    assert date.fromisoformat(spans[0]["first_session"]) == date(2012, 12, 3)


def test_every_decision_can_be_kept(bars: Path, tmp_path: Path) -> None:
    words = ("--strategies", "rsi", "--from", "2013-02-01", "--to", "2013-02-08", "--every-decision")
    assert run("backtest", "--bars", bars, "--out", tmp_path / "r", *words).exit_code == 0
    decisions = rows_of(tmp_path / "r" / "decisions.csv")
    assert len({row["symbol"] for row in decisions}) == 5
    assert all(row["reason"] for row in decisions)
