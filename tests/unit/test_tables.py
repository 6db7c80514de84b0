"""The command line's tables: no name and no number is cut, on a terminal of any width or in a pipe."""

import io

import pytest
from rich.console import Console
from rich.table import Table

from closebell.cli.application import show_table

LONG = "KO+" * 60 + "PEP"


def shown(columns_count: int, is_terminal: bool) -> list[str]:
    stream = io.StringIO()
    console = Console(file=stream, width=columns_count, force_terminal=is_terminal, color_system=None)
    table = Table(box=None, pad_edge=False)
    table.add_column("universe", overflow="fold")
    for title in ("after costs", "sharpe_annual_ratio", "costs", "before costs"):
        table.add_column(title, justify="right")
    table.add_row(LONG, "mean_reversion", "-0.1234", "1,234,567.89", "−12.34%")
    show_table(console, table)
    return stream.getvalue().splitlines()


@pytest.mark.parametrize("columns_count", [20, 80, 400])
def test_a_pipe_gets_every_row_whole(columns_count: int) -> None:
    heading, row = shown(columns_count, is_terminal=False)
    assert heading.split() == ["universe", "after", "costs", "sharpe_annual_ratio", "costs", "before", "costs"]
    assert row.split() == [LONG, "mean_reversion", "-0.1234", "1,234,567.89", "−12.34%"]


@pytest.mark.parametrize("columns_count", [20, 80, 400])
def test_a_terminal_gets_words_and_numbers_whole_and_folds_only_what_may_be_long(columns_count: int) -> None:
    words = [word for line in shown(columns_count, is_terminal=True) for word in line.split()]
    assert {"universe", "sharpe_annual_ratio", "mean_reversion", "-0.1234", "1,234,567.89", "−12.34%"} <= set(words)
    assert "".join(word for word in words if set(word) <= set("KO+PE")) == LONG
    assert not any("…" in word for word in words)
