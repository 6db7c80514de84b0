"""Backtests side by side in processes: one that fails, or takes its process down, does not lose the others."""

import os
import signal
from collections import deque
from collections.abc import Callable, Generator, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from datetime import date
from multiprocessing import get_context, parent_process
from threading import Thread
from types import TracebackType
from typing import Any, NamedTuple, Self

from closebell.backtest.run import run_backtest
from closebell.backtest.summary import summary_of
from closebell.model.parameters import ParameterSet
from closebell.simulation.bar_market import BarMarket
from closebell.simulation.trading_floor import ExchangeOptions

Summary = Mapping[str, Any]
Trade = Callable[[ParameterSet], Summary]
"""Trades one configuration; sent to every process once, so it can be pickled."""
DIED = "the process that traded it ended abruptly, as when memory runs out"


@dataclass(frozen=True, eq=False)
class SweepGround:
    """What all points of a sweep have in common. Called with a configuration it trades it and says the summary."""

    market: BarMarket
    options: ExchangeOptions
    first: date
    last: date

    def __call__(self, parameters: ParameterSet) -> Summary:
        return summary_of(run_backtest(self.market, parameters, self.options, first=self.first, last=self.last))


class Traded(NamedTuple):
    """What trading one configuration came to: its summary, or in words the error that ended it. `key` is the caller's own."""

    key: str
    outcome: Summary | str


_Running = dict[Future[Summary], str]


class SweepPool:
    """Processes that trade configurations. A context; they end with it, and with the process that began them.

    Parameters
    ----------
    trade
        What a process does with a configuration.
    workers_count
        How many processes.
    """

    def __init__(self, trade: Trade, workers_count: int) -> None:
        self._trade, self._workers_count = trade, workers_count
        self._pool: ProcessPoolExecutor | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._discard()

    def run(self, desks: Mapping[str, ParameterSet]) -> Iterator[Traded]:
        """Trade every configuration; each is handed out when it is done, in whatever order that is."""
        waiting = deque(desks)
        while waiting:
            suspects = yield from self._until_a_process_dies(waiting, desks)
            for key in suspects:
                yield self._alone(key, desks[key])

    def _until_a_process_dies(
        self, waiting: deque[str], desks: Mapping[str, ParameterSet]
    ) -> Generator[Traded, None, tuple[str, ...]]:
        """Trade what is waiting; when a process dies, those that were under way: one of them was its end."""
        running: _Running = {}
        pool = self._opened()
        while waiting or running:
            try:
                while waiting and len(running) < self._workers_count:
                    future = pool.submit(_trade_here, desks[waiting[0]])
                    running[future] = waiting.popleft()
            except BrokenProcessPool:
                break
            done, _ = wait(running, return_when=FIRST_COMPLETED)
            if any(isinstance(future.exception(), BrokenProcessPool) for future in done):
                break
            for future in done:
                yield _outcome(running.pop(future), future)
        suspects = tuple(running.values())
        if suspects or waiting:
            self._discard()
        return suspects

    def _alone(self, key: str, parameters: ParameterSet) -> Traded:
        """Trade one configuration in a process of its own, which tells whether it was the one that died."""
        with _processes(self._trade, 1) as pool:
            future = pool.submit(_trade_here, parameters)
            return _outcome(key, future)

    def _opened(self) -> ProcessPoolExecutor:
        if self._pool is None:
            self._pool = _processes(self._trade, self._workers_count)
        return self._pool

    def _discard(self) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
            self._pool = None


def _outcome(key: str, future: Future[Summary]) -> Traded:
    match future.exception():
        case None:
            return Traded(key, future.result())
        case BrokenProcessPool():
            return Traded(key, DIED)
        case error:
            return Traded(key, f"{type(error).__name__}: {error}")


def _processes(trade: Trade, workers_count: int) -> ProcessPoolExecutor:
    """Processes that begin with the code alone: nothing of this one's threads, locks or files is in them."""
    context = get_context("forkserver")
    context.set_forkserver_preload(["__main__", __name__])
    return ProcessPoolExecutor(workers_count, mp_context=context, initializer=_begin, initargs=(trade,))


_trades: list[Trade] = []
"""What this process trades with; a process of the pool is told once, at its beginning."""


def _begin(trade: Trade) -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # an interrupt ends it at once and without a word
    Thread(target=_end_with_parent, daemon=True).start()
    _trades.append(trade)


def _end_with_parent() -> None:
    """A pool's process does not notice that its parent was killed: it would wait for work forever."""
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _trade_here(parameters: ParameterSet) -> Summary:
    return _trades[0](parameters)
