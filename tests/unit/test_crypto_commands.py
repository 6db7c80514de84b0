"""`closebell sweep` and `validate` on crypto pairs: the same market, costs and refusals as `closebell backtest`."""

import csv
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from closebell.cli import app
from tests.unit.backtest.markets import coin_panel, write_bars

STRATEGY = ("--market", "crypto", "--strategies", "mean_reversion")
GRID = ("--grid", "exits.stop_loss_frac=0.02,0.05")
BOTH = """regime_symbol = "SPY"
[universe]
energy = ["XOM", "CVX"]
crypto = ["ETH/USD", "BTC/USD", "SOL/USD"]
"""
UNLISTED = '"LTC/USD", "ETH/USD"'


@pytest.fixture(scope="module")
def coins(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three crypto pairs over 165 days, as files."""
    return write_bars(tmp_path_factory.mktemp("coins"), coin_panel(11, 165))


def run(*words: object) -> tuple[int, str]:
    done = CliRunner().invoke(app, [str(word) for word in words])
    return done.exit_code, " ".join(done.output.replace("\u2502", " ").split())


def test_a_point_of_a_sweep_is_the_backtest_of_its_configuration(coins: Path, tmp_path: Path) -> None:
    config = tmp_path / "desk.toml"
    config.write_text(f"{BOTH}[exits]\nstop_loss_frac = 0.02\n")
    words = ("--bars", coins, *STRATEGY, "--config", config)
    code, said = run("sweep", *words, *GRID, "--universe-sizes", "3", "--out", tmp_path / "swept")
    assert code == 0, said
    assert "note: a backtest trades one market, here crypto: 2 other symbols of the configuration are left out" in said
    assert run("backtest", *words, "--out", tmp_path / "alone")[0] == 0
    result = json.loads((tmp_path / "alone" / "result.json").read_text())
    rows = list(csv.DictReader((tmp_path / "swept" / "sweep.csv").read_text().splitlines()))
    (row,) = [row for row in rows if row["exits.stop_loss_frac"] == "0.02"]
    numbers = {name for name in row if name in result}
    assert {"sharpe_annual_ratio", "commission_usd", "trades_sha256", "sessions_count"} <= numbers
    assert {name: row[name] for name in numbers} == {name: "" if result[name] is None else f"{result[name]}" for name in numbers}
    assert result["commission_usd"] > 0, "the fee of crypto"
    assert len({row["trades_sha256"] for row in rows}) == 2


def test_the_first_pairs_of_a_configuration_are_traded_and_not_its_shares(coins: Path, tmp_path: Path) -> None:
    (tmp_path / "desk.toml").write_text(BOTH)
    words = ("--bars", coins, *STRATEGY, "--config", tmp_path / "desk.toml")
    assert run("sweep", *words, "--universe-sizes", "1", "--out", tmp_path / "sizes")[0] == 0
    assert run("sweep", *words, "--grid", "universe=ETH/USD", "--out", tmp_path / "names")[0] == 0
    one, other = ((tmp_path / name / "sweep.csv").read_text().splitlines()[1].split(",", 2) for name in ("sizes", "names"))
    assert (one[1], other[1]) == ("1", "ETH/USD")
    assert one[2] == other[2]


def test_a_validation_tells_what_it_leaves_out(coins: Path, tmp_path: Path) -> None:
    (tmp_path / "desk.toml").write_text(BOTH.replace('"ETH/USD"', UNLISTED))
    words = ("--bars", coins, *STRATEGY, "--config", tmp_path / "desk.toml", "--grid", "1", "--workers", "1")
    code, said = run("validate", *words, "--out", tmp_path / "out")
    assert code == 1, said
    assert "note: a backtest trades one market, here crypto: 2 other symbols of the configuration are left out" in said
    assert_tells_what_has_no_bars(said)


def test_a_sweep_tells_what_has_no_bars(coins: Path, tmp_path: Path) -> None:
    (tmp_path / "desk.toml").write_text(BOTH.replace('"ETH/USD"', UNLISTED))
    words = ("--bars", coins, *STRATEGY, "--config", tmp_path / "desk.toml")
    code, said = run("sweep", *words, *GRID, "--workers", "1", "--out", tmp_path / "out")
    assert code == 0, said
    assert_tells_what_has_no_bars(said)


def assert_tells_what_has_no_bars(said: str) -> None:
    assert "note: no bars of LTC/USD: skipped in every session" in said
    assert "sessions the desk bought nothing, as it could judge less than 80% of the universe" in said


@pytest.mark.parametrize("command", [("sweep", *GRID), ("validate",)], ids=lambda command: command[0])
@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (("--bars", "demo"), "the demo's prices are of shares"),
        (("--commission-per-order", "1"), "commissions are of shares"),
        (("--market", "bonds"), "'bonds' is not one of"),
        (("--market", "us_equity"), "a Saturday, is no session of the exchange"),
        (("--workers", "0"), "greater than or equal to 1"),
        (("--config", "shares.toml"), "the configuration names no crypto instruments, and the bars are of nothing else"),
    ],
    ids=lambda part: part[-1] if isinstance(part, tuple) else "",
)
def test_what_crypto_does_not_have_is_refused_before_anything_is_written(
    command: tuple[str, ...], words: tuple[str, ...], problem: str, coins: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "shares.toml").write_text('regime_symbol = "SPY"\n[universe]\nenergy = ["XOM"]\n')
    code, said = run(*command, "--bars", coins, *STRATEGY, "--out", tmp_path / "out", *words)
    assert code != 0
    assert problem in said
    assert not (tmp_path / "out").exists()


def test_shares_among_pairs_and_more_pairs_than_there_are_are_refused(coins: Path, tmp_path: Path) -> None:
    code, said = run("sweep", "--bars", coins, *STRATEGY, "--universe-sizes", "4", "--out", tmp_path / "out")
    assert (code, "it takes a whole number from 1 to 3, the crypto instruments of the configuration" in said) == (1, True)
    (tmp_path / "AAPL.csv").write_text((coins / "BTCUSD.csv").read_text())
    for command in (("sweep", *GRID), ("validate",)):
        code, said = run(*command, "--bars", tmp_path, *STRATEGY, "--out", tmp_path / "out")
        assert (code, "AAPL.csv is not called after a crypto pair in USD" in said) == (1, True)
