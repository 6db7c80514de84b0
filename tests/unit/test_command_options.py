"""What `backtest`, `validate` and `sweep` are asked is what they do: no option is lost on the way."""

from dataclasses import replace
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from closebell.backtest.run import Costs
from closebell.cli import app
from closebell.cli.backtest_options import market_named
from closebell.model.errors import ConfigurationError
from tests.unit.backtest.markets import seeded_panel, write_bars

MONEY = (
    "--cash", "5000", "--slippage-bps", "7", "--commission-per-share", "0.01", "--commission-per-order", "2", "--capacity", "0.5",
)  # fmt: skip
SPAN = ("--from", "2012-03-20", "--to", "2012-03-23")


def asked_of(monkeypatch: pytest.MonkeyPatch, place: str, *words: object) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """What a command calls with its options, without going on."""
    calls = []

    def capture(*given: Any, **named: Any) -> None:
        calls.append((given, named))
        raise ConfigurationError("seen")

    with monkeypatch.context() as patched:
        patched.setattr(place, capture)
        said = CliRunner().invoke(app, [str(word) for word in words])
    assert len(calls) == 1, said.output
    return calls[0]


def test_every_option_of_a_backtest_reaches_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bars = write_bars(tmp_path, seeded_panel(11, 60, 2))
    words = ("--bars", bars, "--strategies", "mean_reversion", *MONEY, "--commission-per-round-trip", "4", *SPAN)
    (market, parameters, options), named = asked_of(
        monkeypatch, "closebell.cli.backtest_commands.run_backtest", "backtest", *words, "--out", tmp_path / "r"
    )
    assert (named["first"], named["last"]) == (date(2012, 3, 20), date(2012, 3, 23))
    assert (options.cash_usd, options.print_share_frac) == (Decimal(5000), Decimal("0.5"))
    charged = (options.commission_a_share_usd, options.commission_an_order_usd, options.commission_a_round_trip_usd)
    assert charged == (Decimal("0.01"), Decimal(2), Decimal(4))
    assert {asset.spread_frac for asset in market.assets()} == {Decimal("0.0014")}
    assert parameters.strategies == ("mean_reversion",)


def test_every_option_of_a_validation_reaches_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bars = write_bars(tmp_path, seeded_panel(11, 60, 2))
    words = ("--bars", bars, "--strategies", "mean_reversion", *MONEY, "--grid", 5, "--seed", 3, "--workers", 4, *SPAN)
    (request, *_), _ = asked_of(
        monkeypatch, "closebell.cli.validation_commands.validate", "validate", *words, "--out", tmp_path / "r"
    )
    assert (request.first, request.last) == (date(2012, 3, 20), date(2012, 3, 23))
    assert (request.grid_count, request.seed, request.workers_count, request.opens_at) == (5, 3, 4, None)
    costs = request.terms.costs
    assert (request.terms.cash_usd, costs.commission_a_share_usd, costs.commission_an_order_usd) == (5000, Decimal("0.01"), 2)
    assert (costs.slippage_bps, costs.capacity_frac) == (7, Decimal("0.5"))


def test_every_option_of_a_sweep_reaches_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bars = write_bars(tmp_path, seeded_panel(11, 60, 2))
    swept = ("--grid", "exits.stop_loss_frac=0.02,0.03", "--sampler", "optuna", "--points", 9, "--seed", 3)
    words = ("sweep", "--bars", bars, "--strategies", "mean_reversion", *MONEY, *SPAN, *swept, "--out", tmp_path / "r")
    (ground_given,), _ = asked_of(monkeypatch, "closebell.cli.sweep_commands.ground_sha256", *words)
    assert (ground_given.first, ground_given.last) == (date(2012, 3, 20), date(2012, 3, 23))
    assert (ground_given.options.cash_usd, ground_given.options.print_share_frac) == (5000, Decimal("0.5"))
    (_, _, points, objective, seed), _ = asked_of(monkeypatch, "closebell.backtest.sweeps.optuna_search.OptunaSearch", *words)
    assert (points, objective, seed) == (9, "sharpe_annual_ratio", 3)


def test_a_folders_splits_are_those_of_its_market(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    panel = seeded_panel(11, 60, 2)
    raw = {name: getattr(panel, name).copy() for name in ("open", "high", "low", "close")}
    for prices in raw.values():
        prices[:40, 0] *= 2
    write_bars(tmp_path, replace(panel, **raw))
    (tmp_path / "splits.csv").write_text(f"symbol,ex_date,ratio\nS00,{panel.days[40]},2\n")
    (market, *_), _ = asked_of(
        monkeypatch, "closebell.cli.backtest_commands.run_backtest", "backtest", "--bars", tmp_path, "--out", tmp_path / "r"
    )
    assert market.split_ratios == {"S00": {panel.days[40]: 2.0}}


@pytest.mark.parametrize(("words", "status", "said"), [
    (("--seed", "-1"), 2, "--seed"),
    (("--seeds", "5:5"), 1, "'5:5' is 0 seeds"),
    (("--seeds", "5:3"), 1, "'5:3' is 0 seeds"),
    (("--seeds", f"0:{10**20}", "--workers", "2"), 1, "seeds: 1 to 1,000,000 are played"),
    (("--faults", ""), 1, "'' names no fault"),
    (("--faults", ","), 1, "',' names no fault"),
    (("--trace",), 1, "name it with --seed"),
])  # fmt: skip
def test_a_rehearsal_of_nothing_is_refused(words: tuple[str, ...], status: int, said: str) -> None:
    """It would end as if the desk had passed."""
    done = CliRunner().invoke(app, ["simulate", "--sessions", "1", *words])
    assert (done.exit_code, type(done.exception)) == (status, SystemExit)
    assert said in done.output


def test_how_many_files_are_read_is_shown_before_anything_is_traded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    bars = write_bars(tmp_path, seeded_panel(11, 60, 2))
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    market_named(f"{bars}", Costs())
    said = capsys.readouterr()
    assert said.out == ""
    assert "reading" in said.err
    assert "2/2" in said.err
