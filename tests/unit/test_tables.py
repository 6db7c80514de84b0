"""The command line's tables and bars: no name and no number is cut, and no bar is among the results."""

import io

import pytest
from rich.console import Console
from rich.table import Table

from closebell.cli.application import progress_bar, show_table

LONG = "KO+" * 60 + "PEP"


def shown(columns_count: int, is_terminal: bool) -> list[str]:
    stream = io.StringIO()
    console = Console(file=stream, width=columns_count, force_terminal=is_terminal, color_system=None)
    table = Table(box=None, pad_edge=False)
    table.add_column("universe", overflow="fold")
    for title in ("after costs", "sharpe_annual_ratio", "costs", "before costs"):
        table.add_column(title, justify="right")
    table.add_row(LONG, "mean_reversion", "-0.1234", "1,234,567.89", "−12.34\u00a0%")
    show_table(console, table)
    return stream.getvalue().splitlines()


@pytest.mark.parametrize("columns_count", [20, 80, 400])
def test_a_pipe_gets_every_row_whole(columns_count: int) -> None:
    heading, row = shown(columns_count, is_terminal=False)
    assert heading.split() == ["universe", "after", "costs", "sharpe_annual_ratio", "costs", "before", "costs"]
    assert [word for word in row.split(" ") if word] == [LONG, "mean_reversion", "-0.1234", "1,234,567.89", "−12.34\u00a0%"]


@pytest.mark.parametrize("columns_count", [20, 80, 400])
def test_a_terminal_gets_words_and_numbers_whole_and_folds_only_what_may_be_long(columns_count: int) -> None:
    words = [word for line in shown(columns_count, is_terminal=True) for word in line.split(" ")]
    assert {"universe", "sharpe_annual_ratio", "mean_reversion", "-0.1234", "1,234,567.89", "−12.34\u00a0%"} <= set(words)
    assert "".join(word for word in words if set(word) <= set("KO+PE")) == LONG
    assert not any("…" in word for word in words)


@pytest.mark.parametrize("is_terminal", [True, False])
def test_a_bar_is_for_a_terminal_and_never_on_stdout(
    is_terminal: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TTY_COMPATIBLE", "1" if is_terminal else "0")
    with progress_bar("trading", "sessions") as shown:
        shown(3, 7)
    said = capsys.readouterr()
    assert said.out == ""
    assert ("3/7" in said.err, said.err == "") == (is_terminal, not is_terminal)
