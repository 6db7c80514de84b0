"""Work side by side in processes: a piece that fails, or takes its process down, does not lose the others."""

import os
import signal
from collections import deque
from collections.abc import Callable, Generator, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from multiprocessing import get_context, parent_process, resource_tracker
from multiprocessing.connection import Connection
from threading import Lock, Thread
from types import MappingProxyType, TracebackType
from typing import Any, Generic, Self, TypeVar

from closebell import strategies as registry
from closebell.model.errors import DataError
from closebell.strategies import Strategy

DIED = "the process that traded it ended abruptly, as when memory runs out"
_IMPORTED_ONCE = ("__main__", "closebell.backtest.run")
"""What the processes need and would otherwise import each for itself."""

Task = TypeVar("Task")
Result = TypeVar("Result")


class ProcessPool(Generic[Task, Result]):
    """Processes that work. A context; they end with it, and with the process that began them. When an error or an interrupt ends
    it, they do not finish what is under way.

    They know the strategies that are registered when they begin.

    Parameters
    ----------
    work
        What a process does with a task; sent to every process once, so it can be pickled.
    workers_count
        How many processes.
    """

    def __init__(self, work: Callable[[Task], Result], workers_count: int) -> None:
        self._work, self._workers_count = work, workers_count
        self._pool: ProcessPoolExecutor | None = None
        self._lifeline, self._held_end = get_context().Pipe(duplex=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if error is not None:
            self._held_end.close()
        self._discard()
        self._held_end.close()
        self._lifeline.close()

    def ended(self, tasks: Mapping[str, Task]) -> Iterator[tuple[str, Result | BaseException]]:
        """Every task's key with its result or error, handed out when it is done, in whatever order that is.

        The error of a task whose process died is BrokenProcessPool.
        """
        waiting = deque(tasks)
        while waiting:
            suspects = yield from self._until_a_process_dies(waiting, tasks)
            for key in suspects:
                yield key, self._alone(tasks[key])

    def in_order(self, tasks: Mapping[str, Task]) -> Iterator[Result]:
        """The results in the order of the tasks, each as soon as it and all before it are done.

        Raises the first error in that order, after the results before it; DataError when the task's process died.
        """
        done: dict[str, Result | BaseException] = {}
        following = deque(tasks)
        for key, outcome in self.ended(tasks):
            done[key] = outcome
            while following and following[0] in done:
                key = following.popleft()
                match done.pop(key):
                    case BrokenProcessPool() as error:
                        raise DataError(f"{key}: {DIED}; fewer --workers need less") from error
                    case BaseException() as error:
                        raise error
                    case result:
                        yield result

    def _until_a_process_dies(
        self, waiting: deque[str], tasks: Mapping[str, Task]
    ) -> Generator[tuple[str, Result | BaseException], None, tuple[str, ...]]:
        """Work on what is waiting; when a process dies, those that were under way: one of them was its end."""
        running: dict[Future[Result], str] = {}
        if self._pool is None:
            self._pool = self._processes(self._workers_count)
        while waiting or running:
            try:
                while waiting and len(running) < self._workers_count:
                    future = self._begun(self._pool, tasks[waiting[0]])
                    running[future] = waiting.popleft()
            except BrokenProcessPool:
                break
            done, _ = wait(running, return_when=FIRST_COMPLETED)
            if any(isinstance(future.exception(), BrokenProcessPool) for future in done):
                break
            for future in done:
                yield running.pop(future), self._outcome(future)
        suspects = tuple(running.values())
        if suspects or waiting:
            self._discard()
        return suspects

    def _alone(self, task: Task) -> Result | BaseException:
        """Work on one task in a process of its own, which tells whether it was the one that died."""
        self._pool = self._processes(1)
        outcome = self._outcome(self._begun(self._pool, task))
        self._discard()
        return outcome

    @staticmethod
    def _begun(pool: ProcessPoolExecutor, task: Task) -> Future[Result]:
        with _uninterrupted():
            return pool.submit(_work_here, task)

    @staticmethod
    def _outcome(future: Future[Result]) -> Result | BaseException:
        error = future.exception()
        return future.result() if error is None else error

    def _discard(self) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
            self._pool = None

    def _processes(self, workers_count: int) -> ProcessPoolExecutor:
        """Processes that begin with the code alone: nothing of this one's threads, locks or files is in them."""
        context = get_context("forkserver")
        context.set_forkserver_preload(list(_IMPORTED_ONCE))
        told = (self._work, dict(registry.STRATEGIES), self._lifeline)
        return ProcessPoolExecutor(workers_count, mp_context=context, initializer=_begin, initargs=told)


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """An interrupt waits until a process is begun: a half-begun one would die of it loudly. The processes, and what makes them,
    are begun deaf to interrupts and stay so; the lifeline ends them without a word."""
    resource_tracker.ensure_running()  # it lets interrupts through again when it starts
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


_works: list[Callable[[Any], Any]] = []
"""What this process does; a process of the pool is told once, at its beginning."""

_idle = Lock()
"""Held by a process of the pool whenever it does not work: it may be handing over a result."""


def _begin(work: Callable[[Any], Any], strategies: dict[str, Strategy], lifeline: Connection) -> None:
    _idle.acquire()
    Thread(target=_end_with_parent, daemon=True).start()
    Thread(target=_end_when_given_up, args=(lifeline,), daemon=True).start()
    registry.STRATEGIES = MappingProxyType(strategies)
    _works.append(work)


def _end_with_parent() -> None:
    """A process of a pool does not notice otherwise that its parent was killed, and would wait for work forever."""
    parent = parent_process()
    if parent is not None:
        parent.join()
    os._exit(1)


def _end_when_given_up(lifeline: Connection) -> None:
    """Leave work unfinished once the lifeline's other end closes; nothing is ever sent.

    A result under way is handed over first: the pool would wait for the rest of a torn one forever.
    """
    with suppress(EOFError, OSError):
        lifeline.recv_bytes()
    _idle.acquire()
    os._exit(1)


def _work_here(task: Any) -> Any:
    _idle.release()
    try:
        return _works[0](task)
    finally:
        _idle.acquire()
