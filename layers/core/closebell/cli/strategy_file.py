"""A strategy in a file of the user's own, outside the package."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from importlib.abc import SourceLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from traceback import extract_tb
from types import MappingProxyType, ModuleType

import numpy as np

from closebell import strategies as registry
from closebell.model.errors import ClosebellError, ConfigurationError
from closebell.model.panel import BarPanel, Matrix
from closebell.strategies import SCORE_DECIMALS, Strategy

LOOKBACK_SESSIONS_MAX = 5_000
_MODULE = "closebell_strategy_file"


class _ReadOnce(SourceLoader):
    """Loads a file's text as it was when it was read."""

    def __init__(self, path: Path, content: bytes) -> None:
        self._path, self._content = path, content

    def get_filename(self, fullname: str) -> str:
        return f"{self._path}"

    def get_data(self, path: str | bytes) -> bytes:
        return self._content


@dataclass(frozen=True)
class FileScores:
    """A file's `scores(panel)`. A process that it is sent to runs the same text, whatever the file says by then.

    Called, it raises ConfigurationError where the file's function fails or returns what is no score for each bar.
    """

    path: Path
    content: bytes

    def __call__(self, panel: BarPanel) -> Matrix:
        size = f"{len(panel.sessions)} sessions x {len(panel.symbols)} symbols"
        scores: Callable[[BarPanel], Matrix] = self.module.scores
        try:
            found = np.asarray(scores(panel), dtype=np.float64)
        except ClosebellError:
            raise  # it says it itself
        except (Exception, SystemExit) as error:  # a function that ends the process would end it as if all were well
            told = f"{type(error).__name__}: {error}{_line(error, self.path)}"
            raise ConfigurationError(f"{self.path}: scores(panel) fails on {size}: {told}") from error
        if found.shape != panel.close.shape:
            raise ConfigurationError(f"{self.path}: scores(panel) returns shape {found.shape} for {size}: one score for each bar")
        beyond = found[np.abs(np.round(found, SCORE_DECIMALS)) > 1.0]
        if len(beyond):
            raise ConfigurationError(f"{self.path}: scores(panel) returns {beyond[0]:g}: a score is -1 to 1")
        return found

    def __reduce__(self) -> tuple[type["FileScores"], tuple[Path, bytes]]:
        return FileScores, (self.path, self.content)

    @property
    def name(self) -> str:
        """The strategy's. Raises as `read_strategy`."""
        return strategy_of(self).name

    @cached_property
    def module(self) -> ModuleType:
        """The file, run once in each process. Raises ConfigurationError."""
        return _executed(self.path, self.content)


@contextmanager
def registered(path: Path | None) -> Iterator[FileScores | None]:
    """Let a file's strategy vote as if it were registered, here and in the processes that begin meanwhile; nothing for no file.

    Raises ConfigurationError as `read_strategy`, and when its name is taken.
    """
    if path is None:
        yield None
        return
    file, known = read_file(path), registry.STRATEGIES
    own = strategy_of(file)._replace(scores=file)
    if own.name in known:
        raise ConfigurationError(f"a strategy {own.name!r} exists already: give the one in {path} another NAME")
    registry.STRATEGIES = MappingProxyType({**known, own.name: own})
    try:
        yield file
    finally:
        registry.STRATEGIES = known


def read_strategy(path: Path) -> Strategy:
    """Run a Python file and take its `NAME`, `LOOKBACK_SESSIONS` and `scores(panel)`.

    Raises ConfigurationError, naming the file: it is missing, is no Python, fails when run, or lacks one of the three.
    """
    return strategy_of(read_file(path))


def read_file(path: Path) -> FileScores:
    """A file as it is now; it has not been run yet. Raises ConfigurationError."""
    if not path.is_file():
        raise ConfigurationError(f"{path} is no file: name a Python file with NAME, LOOKBACK_SESSIONS and scores(panel)")
    try:
        return FileScores(path, path.read_bytes())
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read: {error.strerror or error}") from error


def strategy_of(found: FileScores) -> Strategy:
    """What a file says of itself, with its own function, for this process alone. Raises as `read_strategy`."""
    path, module = found.path, found.module
    name, lookback_sessions, scores = (getattr(module, wanted, None) for wanted in ("NAME", "LOOKBACK_SESSIONS", "scores"))
    if not isinstance(name, str) or not name:
        raise ConfigurationError(f'{path} has no NAME: write NAME = "{path.stem}"')
    if not name.isidentifier():
        raise ConfigurationError(f"{path} has the NAME {name!r}: write one word of letters, digits and underscores")
    if type(lookback_sessions) is not int or not 1 <= lookback_sessions <= LOOKBACK_SESSIONS_MAX:  # a bool is an int too
        raise ConfigurationError(
            f"{path} has {lookback_sessions!r} as LOOKBACK_SESSIONS: write how many sessions the last row needs, such as 21, at "
            f"most {LOOKBACK_SESSIONS_MAX:,}"
        )
    if not callable(scores):
        raise ConfigurationError(f"{path} has no function scores(panel), which returns a matrix, sessions x symbols")
    return Strategy(name, lookback_sessions, scores)


def _line(error: BaseException, path: Path) -> str:
    """Where in the file it failed; "" for an error that says it itself."""
    frames = [frame for frame in extract_tb(error.__traceback__) if Path(frame.filename) == path.resolve()]
    return f" (line {frames[-1].lineno}: {frames[-1].line})" if frames else ""


def _executed(path: Path, content: bytes) -> ModuleType:
    loader = _ReadOnce(path.resolve(), content)
    spec = spec_from_loader(_MODULE, loader)
    if spec is None or path.suffix != ".py":
        raise ConfigurationError(f"{path} is no Python file: its name has to end in .py")
    module = module_from_spec(spec)
    sys.modules[_MODULE] = module  # dataclasses look their module up
    try:
        loader.exec_module(module)
    except (Exception, SystemExit) as error:  # a file that ends the process would end it as if all were well
        raise ConfigurationError(f"{path} cannot be run: {type(error).__name__}: {error}{_line(error, path)}") from error
    return module
