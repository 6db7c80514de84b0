"""Processes side by side end with their pool, whatever they are at."""

import os
from dataclasses import dataclass
from pathlib import Path

import pytest

from closebell.backtest.process_pool import ProcessPool

LARGE = bytes(100_000_000)


@dataclass(frozen=True)
class LastPart:
    """Pickled after all else of a result. That waits until somebody reads the FIFO; then the result is sent."""

    fifo: Path

    def __reduce__(self) -> tuple[type[str], tuple[()]]:
        os.close(os.open(self.fifo, os.O_WRONLY))
        return str, ()


def work(fifo: Path | None) -> object:
    return None if fifo is None else (LARGE, LastPart(fifo))


def give_up_while_a_result_is_sent(fifo: Path) -> None:
    with ProcessPool(work, 2) as pool:
        assert next(pool.ended({"small": None, "large": fifo})) == ("small", None)
        os.read(os.open(fifo, os.O_RDONLY), 1)
        raise KeyboardInterrupt


def test_an_interrupt_while_a_result_is_sent_tears_none(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "sent")
    with pytest.raises(KeyboardInterrupt):
        give_up_while_a_result_is_sent(tmp_path / "sent")  # the rest of a torn result would be waited for forever
