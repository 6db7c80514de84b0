"""A panel as it might have been: another future, prices a trifle off, some of the symbols. None of them can be written to."""

import numpy as np

from closebell.model.panel import FIELDS, BarPanel, Matrix

FUTURES = ("shuffled", "other numbers", "missing", "extreme")


def with_other_future(panel: BarPanel, cut: int, kind: str, generator: np.random.Generator) -> BarPanel:
    """The same bars up to row `cut`, others after it."""
    shape = (len(panel.sessions) - cut - 1, len(panel.symbols))
    order = generator.permutation(shape[0])
    match kind:
        case "shuffled":
            factors = np.ones(shape)
        case "other numbers":
            factors = np.exp(np.cumsum(generator.normal(0.0, 0.05, shape), axis=0))
        case "missing":
            factors = np.full(shape, np.nan)
        case _:
            factors = np.broadcast_to(np.where(np.arange(shape[1]) % 2 == 0, 100.0, 0.01), shape)
    fields = (getattr(panel, field) for field in FIELDS)
    return locked_panel(panel, [np.vstack([field[: cut + 1], field[cut + 1 :][order] * factors]) for field in fields])


def nudged(panel: BarPanel, phase: float) -> BarPanel:
    """The panel with every price moved by a ten millionth at most, equal prices to equal ones: sums of others no longer tie."""
    prices = (getattr(panel, field) for field in FIELDS[:4])
    return locked_panel(panel, [*(price * (1.0 + 1e-7 * np.sin(1e4 * price + phase)) for price in prices), panel.volume.copy()])


def only(panel: BarPanel, symbols: tuple[str, ...]) -> BarPanel:
    """Some of a panel's symbols."""
    few = panel.columns(symbols)
    return locked_panel(few, [getattr(few, field) for field in FIELDS])


def locked_panel(like: BarPanel, fields: list[Matrix]) -> BarPanel:
    """A panel that cannot be written to: a function that changes its input is an error, not a difference."""
    for field in fields:
        field.flags.writeable = False
    return BarPanel(like.sessions, like.symbols, *fields)
