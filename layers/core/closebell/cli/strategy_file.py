"""A strategy in a file of the user's own, outside the package."""

import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from traceback import extract_tb
from types import ModuleType

from closebell.model.errors import ConfigurationError
from closebell.strategies import Strategy

_MODULE = "closebell_strategy_file"


def read_strategy(path: Path) -> Strategy:
    """Run a Python file and take its `NAME`, `LOOKBACK_SESSIONS` and `scores(panel)`.

    Raises ConfigurationError, naming the file: it is missing, is no Python, fails when run, or lacks one of the three.
    """
    if not path.is_file():
        raise ConfigurationError(f"{path} is no file: name a Python file with NAME, LOOKBACK_SESSIONS and scores(panel)")
    module = _executed(path)
    name, lookback_sessions, scores = (getattr(module, wanted, None) for wanted in ("NAME", "LOOKBACK_SESSIONS", "scores"))
    if not isinstance(name, str) or not name:
        raise ConfigurationError(f'{path} has no NAME: write NAME = "{path.stem}"')
    if isinstance(lookback_sessions, bool) or not isinstance(lookback_sessions, int) or lookback_sessions < 1:
        raise ConfigurationError(
            f"{path} has {lookback_sessions!r} as LOOKBACK_SESSIONS: write how many sessions the last row needs, such as 21"
        )
    if not callable(scores):
        raise ConfigurationError(f"{path} has no function scores(panel), which returns a matrix, sessions x symbols")
    return Strategy(name, lookback_sessions, scores)


def _line(error: BaseException, path: Path) -> str:
    """Where in the file it failed; "" for an error that says it itself."""
    frames = [frame for frame in extract_tb(error.__traceback__) if Path(frame.filename) == path.resolve()]
    return f" (line {frames[-1].lineno}: {frames[-1].line})" if frames else ""


def _executed(path: Path) -> ModuleType:
    spec = spec_from_file_location(_MODULE, path.resolve())
    if spec is None or spec.loader is None:
        raise ConfigurationError(f"{path} is no Python file: its name has to end in .py")
    module = module_from_spec(spec)
    sys.modules[_MODULE] = module  # dataclasses look their module up
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:  # a file that ends the process would end it as if all were well
        raise ConfigurationError(f"{path} cannot be run: {type(error).__name__}: {error}{_line(error, path)}") from error
    return module
