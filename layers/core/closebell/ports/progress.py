"""How far something long is."""

from collections.abc import Callable

Progress = Callable[[int, int], None]
"""Told how many of how many are done: files, symbols, sessions, backtests."""


def untold(done_count: int, total_count: int) -> None:
    """The progress of which nobody is told."""
