"""What is checked for bias, what it says of a panel, and how a difference is told."""

import math
import traceback
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date

import numpy as np

from closebell.model.errors import ConfigurationError
from closebell.model.panel import BarPanel, Matrix


@dataclass(frozen=True)
class BiasSubject:
    """A function to check.

    Parameters
    ----------
    name
        What findings call it.
    lookback_sessions
        How many rows its last row needs, by its own word.
    compute
        Panel to matrix: one column a symbol, or one block of such columns for each of `outputs`, side by side. NaN is unknown.
    outputs
        What the blocks of columns are.
    decimals
        Rows that agree to this many decimals agree; None: to the last bit.
    is_score
        Every value has to lie in -1..1.
    is_unknown_at_first
        Unknown until a symbol has had `lookback_sessions` bars; False where another source may know at once.
    symbols_count_max
        Checked on this many symbols of a panel, its first; None: on all.
    unused
        The function for a process of its own, where nothing that it could remember is there; None for one that is not asked
        there. It is sent to that process, so it can be pickled.
    """

    name: str
    lookback_sessions: int
    compute: Callable[[BarPanel], Matrix]
    outputs: tuple[str, ...] = ("score",)
    decimals: int | None = None
    is_score: bool = False
    is_unknown_at_first: bool = True
    symbols_count_max: int | None = None
    unused: Callable[[BarPanel], Matrix] | None = None


@dataclass(frozen=True)
class Quietly:
    """A function without numpy's warnings about missing and extreme bars: they are meant."""

    compute: Callable[[BarPanel], Matrix]

    def __call__(self, panel: BarPanel) -> Matrix:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore", RuntimeWarning)
            return np.asarray(self.compute(panel), dtype=np.float64)


@dataclass(frozen=True)
class BiasFinding:
    """The first difference that one check has found.

    `whole` is the value from all bars, `other` the one under the `circumstance`; NaN is unknown. `place` names the symbol, and
    the output where there are several.
    """

    subject: str
    check: str
    panel: str
    session: date
    place: str
    whole: float
    other: float
    circumstance: str

    @property
    def difference(self) -> float:
        """How much, absolutely; infinite between known and unknown."""
        if math.isnan(self.whole) or math.isnan(self.other):
            return math.inf
        return abs(self.whole - self.other)

    def __str__(self) -> str:
        return (
            f"{self.check}: {self.place} {self.session} is {_written(self.whole)} from all bars and {_written(self.other)} "
            f"{self.circumstance} (panel {self.panel!r})"
        )


def values_of(subject: BiasSubject, panel: BarPanel) -> Matrix:
    """The subject's rows, to its precision. Raises ConfigurationError for what is no answer."""
    shape = (len(panel.sessions), len(panel.symbols) * len(subject.outputs))
    size = f"{len(panel.sessions)} sessions x {len(panel.symbols)} symbols"
    try:
        values = Quietly(subject.compute)(panel)
    except (Exception, SystemExit) as error:  # a function that ends the process would end it as if it had passed
        raise ConfigurationError(
            f"{subject.name} fails on {size}: {type(error).__name__}: {error}{_line(error)}; "
            "it has to return NaN where it cannot know, and leave the panel as it is"
        ) from error
    if values.shape != shape:
        raise ConfigurationError(f"{subject.name} returns shape {values.shape} for {size}: it has to be {shape}")
    outside = np.argwhere(np.abs(values) > 1.0)
    if subject.is_score and len(outside):
        row, column = outside[0]
        raise ConfigurationError(
            f"{subject.name} scores {values[row, column]:g} for {panel.symbols[column]} in session {panel.sessions[row]}: "
            "a score lies between -1 and 1"
        )
    return values if subject.decimals is None else np.round(values, subject.decimals)


def _line(error: BaseException) -> str:
    """Where the subject's own code was, when it failed."""
    frames = traceback.extract_tb(error.__traceback__)[2:3]
    return "".join(f" (line {frame.lineno}: {frame.line})" for frame in frames)


def _written(value: float) -> str:
    return "unknown" if math.isnan(value) else f"{value + 0.0:.6g}"  # no negative zero
