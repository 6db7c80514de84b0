"""A strategy's module is found however its scores are made, and runs anew where it is sent."""

import sys
from copy import copy
from importlib import import_module
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from closebell.backtest.bias.checks import lookahead_findings
from closebell.backtest.bias.panels import synthetic_panels
from closebell.backtest.bias.strategy_module import StrategyText, strategy_text
from closebell.backtest.bias.subjects import strategy_subject
from closebell.strategies import STRATEGIES, Strategy

TEXT = """
from functools import partial
from pathlib import Path
import numpy as np
NAME = "kept"
CALLS = []
def _counted(panel, step):
    CALLS.append(int(Path(__file__).with_name("beside.txt").read_text()))
    return np.full(panel.close.shape, step * len(CALLS))
scores = partial(_counted, step=0.5)
"""


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    (tmp_path / "kept_strategy.py").write_text(TEXT)
    (tmp_path / "beside.txt").write_text("1")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "kept_strategy", raising=False)
    found = import_module("kept_strategy")
    monkeypatch.setitem(sys.modules, "kept_strategy", found)
    return found


def text_of(strategy: Strategy) -> StrategyText:
    found = strategy_text(strategy)
    assert found is not None
    return found


def test_every_registered_strategy_has_its_module() -> None:
    assert {text_of(strategy).name.rpartition(".")[2] for strategy in STRATEGIES.values()} == set(STRATEGIES)


def test_scores_that_are_sent_begin_without_what_is_remembered_here(kept: ModuleType) -> None:
    panel = synthetic_panels(40)["trends"]
    assert [kept.scores(panel)[0, 0] for _ in range(3)] == [0.5, 1.0, 1.5]
    sent = copy(text_of(Strategy("kept", 1, kept.scores)))
    assert [sent(panel)[0, 0] for _ in range(2)] == [0.5, 1.0]
    assert [copy(sent)(panel)[0, 0], sent.text] == [0.5, TEXT]


def test_a_package_is_sent_with_its_modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "packed_strategy"
    folder.mkdir()
    (folder / "__init__.py").write_text('from .inside import scores\nNAME = "packed"\n')
    (folder / "inside.py").write_text("def scores(panel):\n    return panel.close * 0.0\n")
    monkeypatch.syspath_prepend(tmp_path)
    found = import_module("packed_strategy")
    monkeypatch.setitem(sys.modules, "packed_strategy", found)
    sent = copy(text_of(Strategy("packed", 1, found.scores)))
    monkeypatch.delitem(sys.modules, "packed_strategy.inside")
    assert sent(synthetic_panels(40)["cents"]).max() == 0.0


def test_scores_of_no_module_are_checked_without_a_process_of_their_own() -> None:
    by_hand = Strategy("kept", 1, lambda panel: np.sign(np.roll(panel.close, -1, axis=0) - panel.close))
    assert strategy_text(by_hand) is None
    found = lookahead_findings(strategy_subject(by_hand), {"trends": synthetic_panels()["trends"]}, cuts_count=8)
    assert "prefix" in {finding.check for finding in found}
