"""The owner's commands on a stack that is not a desk's, or not yet."""

from collections.abc import Sequence

import pytest
from typer.testing import CliRunner

from closebell import cli
from closebell.model.errors import ConfigurationError
from closebell.wiring import operator

TABLES = {"JournalTableName": "journal", "BookTableName": "book", "ControlTableName": "control"}


def deploy(monkeypatch: pytest.MonkeyPatch, outputs: dict[str, str]) -> None:
    monkeypatch.setattr(operator, "stack_outputs", lambda stack: outputs)


@pytest.mark.parametrize("words", [("status",), ("replay", "--session", "2026-01-05"), ("explain", "AAPL"), ("rebuild",)])
def test_a_stack_that_is_no_desk_is_said_in_a_line(monkeypatch: pytest.MonkeyPatch, words: Sequence[str]) -> None:
    deploy(monkeypatch, {})
    done = CliRunner().invoke(cli.app, [*words, "--stack", "other"])
    assert isinstance(done.exception, SystemExit), done.exception
    assert done.output == (
        "closebell: the stack 'other' has no output JournalTableName, BookTableName, ControlTableName, ArchiveBucketName: "
        "is it closebell's, and is its deployment finished?\n"
    )


def test_only_the_outputs_that_are_missing_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    deploy(monkeypatch, {**TABLES, "EnvironmentName": "paper", "TradingOrigin": "none"})
    with pytest.raises(ConfigurationError, match="has no output ArchiveBucketName: is it"):
        operator.operator_desk("other")
    with pytest.raises(ConfigurationError, match="has no output TradingKeyParameterName, DataOrigin: is it"):
        operator.operator_broker("other")
