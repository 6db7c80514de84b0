"""Sessions in which a symbol, or every one, has no bar though it traded before and after: a halt, or bars that are lost."""

from collections.abc import Sequence

import numpy as np

from closebell.model.panel import BarPanel

SYMBOLS_SHOWN_MAX = 5


def gaps_warning(panel: BarPanel) -> str | None:
    """One sentence that names the symbols with the most such sessions and their first; None without any.

    A session in which no symbol has a bar is not among them: `untraded_sessions_warning` tells of it.
    """
    traded = np.isfinite(panel.close)
    has_begun = np.maximum.accumulate(traded, axis=0)
    has_not_ended = np.maximum.accumulate(traded[::-1], axis=0)[::-1]
    absent = ~traded & has_begun & has_not_ended & traded.any(axis=1, keepdims=True)
    counts = absent.sum(axis=0)
    columns = [column for column in np.argsort(-counts, kind="stable").tolist() if counts[column]]
    if not columns:
        return None
    told = [
        f"{panel.symbols[column]} on {counts[column]} (the first {panel.sessions[int(absent[:, column].argmax())]})"
        for column in columns
    ]
    return f"gaps: no bar of {first_symbols(told)}; such a session is taken for one without trading"


def first_symbols(told: Sequence[str]) -> str:
    """The first few of what is told of symbols, and how many more there are."""
    more = f" and {len(told) - SYMBOLS_SHOWN_MAX} more symbols" if len(told) > SYMBOLS_SHOWN_MAX else ""
    return ", ".join(told[:SYMBOLS_SHOWN_MAX]) + more


def untraded_sessions_warning(panel: BarPanel) -> str | None:
    """One sentence of how many sessions have no bar of any symbol, and the first of them; None without any."""
    empty = np.flatnonzero(~np.isfinite(panel.close).any(axis=1))
    if not len(empty):
        return None
    many = "1 session" if len(empty) == 1 else f"{len(empty)} sessions"
    return (
        f"no bar of any symbol on {many}, the first {panel.sessions[empty[0]]}: taken for sessions without trading; no symbol is "
        "judged, and none bought, until it has enough sessions in a row again"
    )
