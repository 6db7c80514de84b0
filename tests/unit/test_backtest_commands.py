"""`closebell backtest` and `compare` as their user meets them: what they print, what they leave, what they refuse and how."""

import csv
import json
import os
import re
import shutil
from datetime import date
from pathlib import Path
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner, Result

from closebell.backtest.results.files import refuse_unfit
from closebell.backtest.results.report_page import shown
from closebell.cli import app
from closebell.model.errors import ConfigurationError
from tests.unit.backtest.markets import coin_panel, seeded_panel, write_bars

FILES = {"result.json", "report.html", "trades.csv", "equity.csv", "orders.csv", "decisions.csv", "attribution.csv"}


@pytest.fixture(scope="module")
def bars(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five symbols over 290 sessions, as files."""
    return write_bars(tmp_path_factory.mktemp("bars"), seeded_panel(11, 290, 5))


@pytest.fixture(scope="module")
def coins(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three crypto pairs over 260 days, as files."""
    return write_bars(tmp_path_factory.mktemp("coins"), coin_panel(11, 260))


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
    shares = rows_of(tmp_path / "r" / "attribution.csv")
    for attributed_by in ("strategy", "regime", "exit"):
        parts = [float(share["pnl_usd"]) for share in shares if share["attributed_by"] == attributed_by]
        assert sum(parts) == pytest.approx(earned, abs=0.01)
    terms = result["terms"]
    assert (terms["slippage_bps"], terms["commission_a_round_trip_usd"], terms["capacity_frac"]) == (5.0, 5.0, 1.0)
    assert terms["configuration"]["strategies"] == ["momentum", "rsi"]
    told = (tmp_path / "r" / "report.html").read_text().replace("\N{NO-BREAK SPACE}", " ")
    assert all(words in told for words in ("Slippage 5.0 bps", "commission $5.00 a round trip", "at most 5 positions"))
    assert result["commission_usd"] == pytest.approx(2.5 * result["trades_count"] * 2, rel=0.02)
    assert f"the SHA-256 of all trades begins with {result['trades_sha256'][:16]}\n" in done.output
    assert shown("total_return_frac", result["total_return_frac"]) in done.output, "as the page writes it"
    assert "after costs" in done.output
    assert "<script src" not in (tmp_path / "r" / "report.html").read_text()


def test_slippage_may_be_a_share_of_the_spread(bars: Path, tmp_path: Path) -> None:
    for name, slippage in (("bps", "4"), ("share", "0.25*16")):
        asked = ("--strategies", "rsi", "--from", "2013-02-01", "--slippage-bps", slippage)
        assert run("backtest", "--bars", bars, *asked, "--out", tmp_path / name).exit_code == 0
    assert (tmp_path / "bps" / "trades.csv").read_bytes() == (tmp_path / "share" / "trades.csv").read_bytes()


def test_a_second_backtest_takes_the_place_of_the_first_and_nothing_else_is_overwritten(bars: Path, tmp_path: Path) -> None:
    asked = ("backtest", "--bars", bars, "--strategies", "rsi", "--from", "2013-02-01", "--out", tmp_path / "r")
    assert run(*asked).exit_code == run(*asked).exit_code == 0
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "thesis.txt").write_text("years of work")
    refused = run("backtest", "--bars", bars, "--strategies", "rsi", "--from", "2013-02-01", "--out", mine)
    assert (refused.exit_code, (mine / "thesis.txt").read_text()) == (1, "years of work")
    assert "holds other files (thesis.txt)" in refused.output
    (tmp_path / "r" / "thesis.txt").write_text("years of work")
    refused = run(*asked)
    assert (refused.exit_code, (tmp_path / "r" / "thesis.txt").read_text()) == (1, "years of work")
    assert {path.name for path in tmp_path.iterdir()} == {"mine", "r"}, "nothing is left beside"


def test_a_link_to_a_folder_of_results_keeps_leading_there(bars: Path, tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    asked = ("backtest", "--bars", bars, "--strategies", "rsi", "--from", "2013-02-01", "--out", tmp_path / "link")
    assert run(*asked).exit_code == run(*asked).exit_code == 0
    assert {path.name for path in (tmp_path / "real").iterdir()} == FILES
    assert {path.name for path in tmp_path.iterdir()} == {"real", "link"}


@pytest.mark.parametrize(("name", "said"), [
    (".", "a result takes its folder's place, and you are in it; name a folder inside, such as "),
    ("../afile/r/s", "afile is a file, in which there is no folder; name another"),
    ("n" * 300, "File name too long"), (f"new/{'n' * 256}", "a name in it has 256 bytes, and the disk takes at most 255"),
])  # fmt: skip
def test_a_folder_that_cannot_be_replaced_is_refused_before_anything_is_traded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, said: str
) -> None:
    (tmp_path / "here").mkdir()
    (tmp_path / "afile").touch()
    monkeypatch.chdir(tmp_path / "here")
    refused = run("backtest", "--bars", tmp_path / "absent", "--out", name)
    assert (refused.exit_code, said in refused.output) == (1, True), refused.output


@pytest.mark.parametrize(("place", "function", "found", "said"), [
    (Path, "is_mount", True, "this one is a disk's own; name a folder inside, such as {}/r/results"),
    (os, "statvfs", SimpleNamespace(f_flag=os.ST_RDONLY), "{} is on a disk that can only be read; name a folder on another"),
    (os, "access", False, "you may not write in {}; name a folder where you may"),
])  # fmt: skip
def test_why_a_folder_cannot_be_replaced_is_told_with_what_can_help(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: object, function: str, found: object, said: str
) -> None:
    (tmp_path / "r").mkdir()
    monkeypatch.setattr(place, function, lambda *_: found)
    with pytest.raises(ConfigurationError, match=re.escape(said.format(tmp_path))):
        refuse_unfit(tmp_path / "r")


def test_a_folder_that_cannot_be_the_results_is_refused_before_anything_is_traded(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("no folder")
    for command in ("backtest", "compare"):
        refused = run(command, "--bars", tmp_path / "absent", "--out", tmp_path / "mine")
        assert (refused.exit_code, "mine is a file: name a folder" in refused.output) == (1, True)


def test_what_is_not_listed_in_every_session_is_no_reason_to_stop_buying_unless_the_configuration_says_so(
    bars: Path, tmp_path: Path
) -> None:
    few = tmp_path / "few"
    few.mkdir()
    for path in bars.iterdir():
        lines = path.read_text().splitlines(keepends=True)
        (few / path.name).write_text("".join(lines if path.name == min(p.name for p in bars.iterdir()) else lines[:150]))
    asked = ("backtest", "--bars", few, "--strategies", "momentum", "--from", "2012-09-04")
    assert run(*asked, "--out", tmp_path / "r").exit_code == 0
    assert json.loads((tmp_path / "r" / "result.json").read_text())["trades_count"] > 0
    symbols = ", ".join(f'"{path.stem}"' for path in few.iterdir())
    (tmp_path / "desk.toml").write_text(f'regime_symbol = "SPY"\n[universe]\nenergy = [{symbols}]\n')
    done = run(*asked, "--config", tmp_path / "desk.toml", "--out", tmp_path / "c")
    assert "sessions the desk bought nothing, as it could judge less than 80% of the universe" in " ".join(done.output.split())


def test_a_close_that_is_not_used_is_a_note_of_the_result(bars: Path, tmp_path: Path) -> None:
    shutil.copytree(bars, tmp_path / "bars")
    path = tmp_path / "bars" / "S00.csv"
    header, *rows = path.read_text().splitlines()
    path.write_text("\n".join([f"{header},adj close", *(f"{row},1" for row in rows)]) + "\n")
    words = ("--strategies", "rsi", "--from", "2013-02-01", "--out", tmp_path / "r")
    done = run("backtest", "--bars", tmp_path / "bars", *words)
    assert "note: S00.csv: the column close is used, and the adjusted close beside it is not" in " ".join(done.output.split())


def test_a_file_that_is_left_out_is_a_note_of_the_result(bars: Path, tmp_path: Path) -> None:
    shutil.copytree(bars, tmp_path / "bars")
    (tmp_path / "bars" / "AAA.csv.gz").write_bytes(b"packed")
    done = run("backtest", "--bars", tmp_path / "bars", "--strategies", "rsi", "--from", "2013-02-01", "--out", tmp_path / "r")
    assert done.exit_code == 0, done.output
    result = json.loads((tmp_path / "r" / "result.json").read_text())
    assert result["warnings"][0].startswith("left out of the bars: AAA.csv.gz; ")
    assert "note: left out of the bars: AAA.csv.gz" in done.output


def test_a_session_that_no_file_has_is_traded_through_where_gaps_are_allowed(bars: Path, tmp_path: Path) -> None:
    holed = tmp_path / "bars"
    holed.mkdir()
    for path in bars.iterdir():
        lines = path.read_text().splitlines(keepends=True)
        (holed / path.name).write_text("".join(lines[:200] + lines[201:]))
    absent = lines[200].partition(",")[0]
    words = ("backtest", "--bars", holed, "--strategies", "mean_reversion", "--out", tmp_path / "r")
    refused = run(*words)
    assert f"no file has a bar of {absent}, though the market was open; bring the bars, or say --allow-gaps" in refused.output
    done = run(*words, "--allow-gaps")
    assert done.exit_code == 0, done.output
    assert f"note: no bar of any symbol on 1 session, the first {absent}" in " ".join(done.output.split())
    assert absent in {row["session"] for row in rows_of(tmp_path / "r" / "equity.csv")}
    closed = {row["closed_session"] for row in rows_of(tmp_path / "r" / "trades.csv")}
    assert absent not in closed
    assert min(closed) < absent < max(closed)


def test_bars_of_an_index_alone_are_no_universe(bars: Path, tmp_path: Path) -> None:
    (tmp_path / "index").mkdir()
    (tmp_path / "index" / "SPX.csv").write_text(next(bars.iterdir()).read_text())
    refused = run("backtest", "--bars", tmp_path / "index", "--out", tmp_path / "r")
    assert (refused.exit_code, "SPX alone" in refused.output) == (1, True)


@pytest.mark.parametrize("fails", ["write_bytes", "rename"])
def test_a_full_disk_is_said_and_leaves_the_former_result(
    bars: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails: str
) -> None:
    asked = ("backtest", "--bars", bars, "--strategies", "rsi", "--from", "2013-02-01", "--out", tmp_path / "r")
    assert run(*asked).exit_code == 0
    before = (tmp_path / "r" / "result.json").read_bytes()

    rename, works = os.rename, iter([True, False, True])

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    def full_at_the_second(source: Path, target: Path) -> None:
        rename(source, target) if next(works) else full()

    monkeypatch.setattr(*{"write_bytes": (Path, fails, full), "rename": (os, fails, full_at_the_second)}[fails])
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
        (("--commission-per-order", "1e30"), "a commission is above 10,000 USD"),
        (("--slippage-bps", "-1*-5"), "a share of the spread is 0 to 1"),
        (("--cash", "much"), "--cash is 'much': write a number"),
        (("--cash", "-5"), "cash is -5 USD"),
        (("--cash", "0.001"), "cash is 0.001 USD: a backtest begins with 1 to"),
        (("--cash", "1e40"), "cash is 1E+40 USD: a backtest begins with 1 to 1,000,000,000,000 USD"),
        (("--slippage-bps", "nan"), "--slippage-bps is 'nan': write a finite number"),
        (("--slippage-bps", "-1"), "a cost is not negative"),
        (("--slippage-bps", "5*10"), "a share of the spread is 0 to 1"),
        (("--slippage-bps", "half*10"), "--slippage-bps is 'half*10': a share of the spread is written like 0.5*10"),
        (("--slippage-bps", "0.5*"), "--slippage-bps is '0.5*': a share of the spread is written like 0.5*10"),
        (("--slippage-bps", "20000"), "the slippage is 20000 bps: at most 1000"),
        (("--capacity", "2"), "the capacity is 2: a part above 0 and at most 1"),
        (("--strategies", ","), "--strategies is ',': write names with commas between, or leave it out"),
        (("--strategies", "rsi,rsi"), "rsi, rsi: a strategy votes once"),
        (("--from", "2031-01-01"), "there is no session from 2031-01-01: the bars are of 2012-01-03 to 2013-02-28"),
        (("--to", "2012-01-20"), "2012-01-20 is before"),
        (("--config", "absent.toml"), "the configuration absent.toml cannot be read: No such file or directory"),
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
    assert done.output.count("note: no bars of SPY (regime_symbol)") == 1, "what is true of all is told once"
    again = run("compare", "--bars", bars, *words, "--out", tmp_path / "c")
    assert again.exit_code == 0, "every name in it is known as a result's"


def test_every_decision_can_be_kept(bars: Path, tmp_path: Path) -> None:
    words = ("--strategies", "rsi", "--from", "2013-02-01", "--to", "2013-02-08", "--every-decision")
    assert run("backtest", "--bars", bars, "--out", tmp_path / "r", *words).exit_code == 0
    decisions = rows_of(tmp_path / "r" / "decisions.csv")
    assert len({row["symbol"] for row in decisions}) == 5
    assert all(row["reason"] for row in decisions)


def test_crypto_pairs_are_traded_from_files_with_their_fee(coins: Path, tmp_path: Path) -> None:
    done = run("backtest", "--bars", coins, "--market", "crypto", "--strategies", "rsi", "--out", tmp_path / "r")
    assert done.exit_code == 0, done.output
    result, trades = json.loads((tmp_path / "r" / "result.json").read_text()), rows_of(tmp_path / "r" / "trades.csv")
    assert {trade["symbol"] for trade in trades} <= {"BTC/USD", "ETH/USD", "SOL/USD"}
    traded_usd = sum(float(it["quantity_shares"]) * (float(it["entry_price_usd"]) + float(it["exit_price_usd"])) for it in trades)
    assert result["commission_usd"] == pytest.approx(0.0025 * traded_usd, rel=0.01)
    assert "(crypto_regime_symbol)" not in done.output, "the regime is BTC/USD's"
    weekdays = {date.fromisoformat(row["session"]).weekday() for row in rows_of(tmp_path / "r" / "equity.csv")}
    assert weekdays == set(range(7))


def test_every_strategy_is_compared_on_crypto_pairs_too(coins: Path, tmp_path: Path) -> None:
    words = ("--market", "crypto", "--strategies", "rsi,macd", "--from", "2020-08-20", "--out", tmp_path / "c")
    done = run("compare", "--bars", coins, *words)
    assert done.exit_code == 0, done.output
    assert [row["name"] for row in rows_of(tmp_path / "c" / "strategy_comparison.csv")] == ["rsi", "macd", "ensemble"]


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (("--commission-per-order", "1"), "commissions are of shares"),
        (("--bars", "demo"), "the demo's prices are of shares"),
        (("--market", "bonds"), "'bonds' is not one of"),
    ],
)
def test_what_crypto_does_not_have_is_refused(coins: Path, tmp_path: Path, words: tuple[str, ...], problem: str) -> None:
    done = run("backtest", "--bars", coins, "--market", "crypto", "--out", tmp_path / "r", *words)
    assert done.exit_code != 0
    assert problem in " ".join(done.output.replace("\u2502", " ").split())
    assert not (tmp_path / "r").exists()


def test_a_day_that_a_coin_lacks_is_named_and_shares_among_coins_are(coins: Path, tmp_path: Path) -> None:
    lines = (coins / "BTCUSD.csv").read_text().splitlines(keepends=True)
    (tmp_path / "BTC-USD.csv").write_text("".join(lines[:50] + lines[51:]))
    (tmp_path / "ETH-USD.csv").write_text("".join(lines))
    done = run("backtest", "--bars", tmp_path, "--market", "crypto", "--out", tmp_path / "r")
    assert "BTC-USD.csv line 51: 2020-02-19 is missing before it" in done.output
    (tmp_path / "AAPL.csv").write_text("".join(lines))
    done = run("backtest", "--bars", tmp_path, "--market", "crypto", "--out", tmp_path / "r")
    assert "AAPL.csv is not called after a crypto pair in USD" in done.output
    done = run("backtest", "--bars", tmp_path, "--out", tmp_path / "r")
    assert "a folder of pairs alone with --market crypto" in done.output


def test_a_loss_has_one_minus_in_dollars_and_in_percent(bars: Path, tmp_path: Path) -> None:
    words = ("--strategies", "rsi", "--from", "2013-01-02", "--commission-per-order", "500")
    told = run("backtest", "--bars", bars, *words, "--out", tmp_path / "r").output
    (row,) = (line for line in told.splitlines() if line.startswith("total return"))
    assert row.split()[2].startswith("\N{MINUS SIGN}")
    (row,) = (line for line in told.splitlines() if line.startswith("expectancy a trade"))
    assert row.split()[3].startswith("\N{MINUS SIGN}$")
