"""What `--help` says on a terminal of 80 columns, and what is said of an option that cannot be used."""

import re
from collections.abc import Iterator

import pytest
import typer
from typer.testing import CliRunner

from closebell.cli import app


def commands_of(group: typer.core.TyperGroup, *before: str) -> Iterator[tuple[tuple[str, ...], typer.core.TyperCommand]]:
    """Every command, with the words that call it."""
    for name, command in group.commands.items():
        if isinstance(command, typer.core.TyperGroup):
            yield from commands_of(command, *before, name)
        else:
            assert isinstance(command, typer.core.TyperCommand)
            yield (*before, name), command


ROOT = typer.main.get_command(app)
assert isinstance(ROOT, typer.core.TyperGroup)
COMMANDS = dict(commands_of(ROOT))


def help_of(*words: str) -> str:
    done = CliRunner().invoke(app, [*words, "--help"], env={"COLUMNS": "80", "TERMINAL_WIDTH": "80"}, terminal_width=80)
    assert done.exit_code == 0, done.output
    return done.output


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_every_option_is_named_whole_at_80_columns(words: tuple[str, ...]) -> None:
    told = help_of(*words)
    names = {name for option in COMMANDS[words].params for name in option.opts if name.startswith("--")}
    assert names <= set(re.findall(r"(?<![\w-])--[a-z-]+", told))
    assert "…" not in told
    assert max(map(len, told.splitlines())) <= 80


@pytest.mark.parametrize("command", ["backtest", "compare", "sweep", "validate", "lookahead", "warmup", "simulate"])
def test_a_flag_has_no_second_name_and_a_date_is_written_as_one(command: str) -> None:
    told = help_of(command)
    assert "--no-" not in told
    assert "%" not in told.replace("0.01 %", "")


def test_a_sweeps_grid_is_shown_as_it_is_written() -> None:
    words = help_of("sweep").split()
    assert {"exits.stop_loss_frac=0.02,0.03,", "0.02..0.06..0.01;", "universe=KO+PEP,AAPL+MSFT."} <= set(words)


def test_the_list_of_commands_has_the_whole_first_sentence_of_each() -> None:
    told = help_of()
    assert "..." not in told.partition("Commands:")[2]
    assert "every check with its number and limit, size, and what became of it." in " ".join(told.split())


DATED = [
    ("backtest", "--bars", "demo", "--out", "r"), ("compare", "--bars", "demo", "--out", "r"),
    ("sweep", "--bars", "demo", "--out", "r"), ("validate", "--bars", "demo", "--out", "r"),
    ("bars", "fetch", "AAPL", "--out", "r"),
]  # fmt: skip


@pytest.mark.parametrize("words", DATED, ids=lambda words: words[0])
def test_a_date_that_is_none_and_a_span_that_ends_before_it_begins_are_told(words: tuple[str, ...]) -> None:
    done = CliRunner().invoke(app, [*words, "--from", "2021/01/01"])
    assert (done.exit_code, "'--from': '2021/01/01' is no date such as 2021-01-04" in done.output) == (2, True), done.output
    done = CliRunner().invoke(app, [*words, "--from", "2021-02-01", "--to", "2021-01-04"])
    assert (done.exit_code, done.output) == (
        1, "closebell: --from 2021-02-01 is after --to 2021-01-04: the earlier date is --from\n",
    )  # fmt: skip
