"""The strategies: pure functions from a panel to scores, and the registry that names them.

A strategy is one file with a `NAME`, the `LOOKBACK_SESSIONS` its last row needs, and `scores(panel)`: sessions x symbols,
-1 (sell) to 1 (buy), NaN where it cannot know. Row t may use rows t - LOOKBACK_SESSIONS + 1 to t of the symbol's own
column, nothing later, nothing earlier and no other symbol. The tests hold every registered strategy to that. To add one:
write the file, name it in `_MODULES`.
"""

from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import NamedTuple

import numpy as np

from closebell.model.errors import ConfigurationError
from closebell.model.panel import FIELDS, BarPanel, Matrix
from closebell.strategies import macd, mean_reversion, momentum, rsi, sma_cross

_BLOCK_CELLS = 48_000
"""Sessions x symbols scored at a time: few enough to stay in a core's cache while a strategy works on them, and enough that
the work, not the calls, takes the time."""

SCORE_DECIMALS = 4
"""The score that is shown is the one that decided."""


class Strategy(NamedTuple):
    """One strategy: its name, how many sessions its last row needs, and its function."""

    name: str
    lookback_sessions: int
    scores: Callable[[BarPanel], Matrix]


_MODULES = (sma_cross, rsi, macd, mean_reversion, momentum)

STRATEGIES: Mapping[str, Strategy] = MappingProxyType(
    {module.NAME: Strategy(module.NAME, module.LOOKBACK_SESSIONS, module.scores) for module in _MODULES}
)


def score_all(names: Iterable[str], panel: BarPanel) -> dict[str, Matrix]:
    """Every named strategy's scores for the whole panel, in the order of `names`.

    Raises ConfigurationError for a name that is not registered.
    """
    chosen = [_strategy(name) for name in names]
    scores = {strategy.name: np.empty(panel.close.shape) for strategy in chosen}
    width = max(_BLOCK_CELLS // max(len(panel.sessions), 1), 1)
    for first in range(0, len(panel.symbols), width):
        columns = slice(first, first + width)
        fields = (np.ascontiguousarray(getattr(panel, field)[:, columns]) for field in FIELDS)
        block = BarPanel(panel.sessions, panel.symbols[columns], *fields)
        for strategy in chosen:
            rounded = np.round(strategy.scores(block), SCORE_DECIMALS)
            np.add(rounded, 0.0, out=scores[strategy.name][:, columns])  # no negative zero
    return scores


def sessions_needed(names: Iterable[str]) -> int:
    """The longest look back among the named strategies: the bars a symbol must have, and that must be right."""
    return max(_strategy(name).lookback_sessions for name in names)


def _strategy(name: str) -> Strategy:
    if name not in STRATEGIES:
        raise ConfigurationError(f"strategy {name!r} does not exist; the known ones are {', '.join(STRATEGIES)}")
    return STRATEGIES[name]
