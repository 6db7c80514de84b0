"""What shows that a function of bars knows the future, or needs more of the past than it says.

A lookahead is found by taking the future away. Row t of `compute(panel)` has to stay the same, to the last digit shown, when the
rows after t are cut off, put in another order, replaced by other numbers, made missing, or made the highest and lowest ever; when
the other symbols change; and when the function has not been shown anything before. That finds tomorrow's prices, a mean, maximum,
rank or fit over the whole history, one that was made once and kept, centred windows, filling backwards, weekly bars that are not
over yet, labels made of later returns, and counting from the panel's end. Today's high, low and close are no lookahead: row t is
known at the close of session t.

A warm-up is found by taking the past away: the same row from the declared number of sessions, 1.5 and 2 times as many, and all.
What differs only as long as sums of prices are equal to the last digit is rounding, and no finding.

Some leaks show only on some bars: "if it falls by a tenth, look at tomorrow". So cuts lie at the panel's extremes, before them,
at its end, and at seeded places between, and callers bring several panels. A leak that no cut of any panel meets is not found.
Nothing here can find knowledge of the future that is not in the bars given: parameters chosen on the same history, dates or
symbols written into the code, a file that the function reads, a universe of survivors, prices restated after the day.
"""

import itertools
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import date

import numpy as np
from numpy.typing import NDArray

from closebell.backtest.bias.altered_panels import FUTURES, locked_panel, nudged, only, with_other_future
from closebell.backtest.bias.cuts import cut_rows
from closebell.backtest.bias.subject import BiasFinding, BiasSubject, Quietly, values_of
from closebell.backtest.process_pool import ProcessPool
from closebell.model.errors import ConfigurationError
from closebell.model.panel import FIELDS, BarPanel, Matrix

CUTS_COUNT = 60
LONG_SESSIONS, LONG_SHARE = 1200, 4
"""A panel of so many sessions or more gets a quarter of the cuts: each costs more, and its length is what it is there for."""
NUDGES_COUNT = 3
HISTORY_MULTIPLES = (1.0, 1.5, 2.0)
LOOKAHEAD_CHECKS = ("repeat", "memory", "prefix", *(f"future {kind}" for kind in FUTURES), "other symbols")
WARMUP_CHECKS = ("start", *(f"history x{multiple:g}" for multiple in HISTORY_MULTIPLES))

Tell = Callable[[], None]


def untold() -> None:
    """Nobody follows."""


def lookahead_findings(
    subject: BiasSubject, panels: Mapping[str, BarPanel], cuts_count: int = CUTS_COUNT, seed: int = 1, tell: Tell = untold
) -> tuple[BiasFinding, ...]:
    """The first finding of each of `LOOKAHEAD_CHECKS`; none when no row knows its future. `tell` hears of each panel's end.

    Raises ConfigurationError when the function fails, returns what is no matrix of its panel or no score, or says one thing or
    nothing from the first to the last row of every panel: whether it knows the future cannot be seen then.
    """
    with _elsewhere(subject) as elsewhere:
        found = _firsts(
            _lookahead(subject, elsewhere, name, _given(subject, panel), cuts_count, seed)
            for name, panel in _told(panels, tell)
        )
    return found or _none_of(subject, panels)


def warmup_findings(
    subject: BiasSubject, panels: Mapping[str, BarPanel], cuts_count: int = CUTS_COUNT, seed: int = 1, tell: Tell = untold
) -> tuple[BiasFinding, ...]:
    """The first finding of each of `WARMUP_CHECKS`; none when the declared look back is true. `tell` hears of each panel's end.

    Raises ValueError for a panel of fewer than 2 x `lookback_sessions` + 1 rows, which cannot show it; ConfigurationError as
    `lookahead_findings` does.
    """
    needed = 2 * subject.lookback_sessions + 1
    for name, panel in panels.items():
        if len(panel.sessions) < needed:
            raise ValueError(f"panel {name!r} has {len(panel.sessions)} sessions; {subject.name} is judged on {needed} or more")
    found = _firsts(_warmup(subject, name, _given(subject, panel), cuts_count, seed) for name, panel in _told(panels, tell))
    return found or _none_of(subject, panels)


def _told(panels: Mapping[str, BarPanel], tell: Tell) -> Iterator[tuple[str, BarPanel]]:
    """The panels one after the other; the next is asked for when what is made of one is done."""
    for name, panel in panels.items():
        yield name, panel
        tell()


def _none_of(subject: BiasSubject, panels: Mapping[str, BarPanel]) -> tuple[BiasFinding, ...]:
    """No findings, where something was said that could have differed. Raises ConfigurationError where nothing was."""
    for panel in panels.values():
        values = values_of(subject, _given(subject, panel))
        known = values[~np.isnan(values)]
        if len(known) and np.ptp(known) > 0.0:
            return ()
    longest = max(len(panel.sessions) for panel in panels.values())
    raise ConfigurationError(
        f"{subject.name} is not judged: nothing known on any panel, or everywhere the same, in up to {longest} sessions; "
        "let it say something within the sessions that it names as its look back"
    )


def _firsts(found: Iterator[Iterator[BiasFinding]]) -> tuple[BiasFinding, ...]:
    first: dict[str, BiasFinding] = {}
    for findings in found:
        for finding in findings:
            first.setdefault(finding.check, finding)
    return tuple(first.values())


def _cuts(subject: BiasSubject, panel: BarPanel, count: int, seed: int) -> list[int]:
    """The rows to cut after: fewer of a panel that is long for the subject too, unless all of a usual one are asked for."""
    is_long = len(panel.sessions) >= max(LONG_SESSIONS, 4 * subject.lookback_sessions) and 2 * count < LONG_SESSIONS
    return cut_rows(panel, count // LONG_SHARE if is_long else count, seed)


@contextmanager
def _elsewhere(subject: BiasSubject) -> Iterator[BiasSubject | None]:
    """The same subject in a process that begins with the code alone, and is shown whole panels only: what a fit made there is of.

    Another process, not the module once more in this one: what remembers may be a module that it imports, or a library.
    """
    if subject.unused is None:
        yield None
        return
    with ProcessPool(Quietly(subject.unused), workers_count=1) as pool:
        yield replace(subject, compute=lambda panel: next(pool.in_order({subject.name: panel})))


def _lookahead(
    subject: BiasSubject, elsewhere: BiasSubject | None, name: str, panel: BarPanel, cuts_count: int, seed: int
) -> Iterator[BiasFinding]:
    cuts = _cuts(subject, panel, cuts_count, seed)
    # The shortest first and the whole last: a function that remembers what it was shown has not been shown the future yet.
    prefixes = [values_of(subject, panel.rows(slice(0, cut + 1))) for cut in cuts]
    whole = values_of(subject, panel)
    yield from _differences(subject, "repeat", name, panel, whole, values_of(subject, panel), "when asked again")
    if elsewhere is not None:
        told = "when it was shown nothing else before"
        yield from _differences(subject, "memory", name, panel, whole, values_of(elsewhere, panel), told)
    for cut, rows in zip(cuts, prefixes, strict=True):
        told = f"from the bars up to {panel.sessions[cut]}"
        yield from _differences(subject, "prefix", name, panel, whole[: cut + 1], rows, told)
    generator = np.random.default_rng(seed)
    for kind in FUTURES:
        for cut in cuts:
            rows = values_of(subject, with_other_future(panel, cut, kind, generator))[: cut + 1]
            told = f"when the bars after {panel.sessions[cut]} are {kind}"
            yield from _differences(subject, f"future {kind}", name, panel, whole[: cut + 1], rows, told)
    yield from _other_symbols(subject, name, panel, whole)


def _other_symbols(subject: BiasSubject, name: str, panel: BarPanel, whole: Matrix) -> Iterator[BiasFinding]:
    """Each symbol alone, and each among others whose bars have changed."""
    symbols_count = len(panel.symbols)
    for column, symbol in enumerate(panel.symbols):
        alone = only(panel, (symbol,))
        expected, told = whole[:, column::symbols_count], "when the other symbols are left out"
        yield from _differences(subject, "other symbols", name, alone, expected, values_of(subject, alone), told)
    for parity in (0, 1):
        kept = np.arange(symbols_count) % 2 == parity
        mirrored = [np.where(kept, getattr(panel, field), getattr(panel, field)[::-1]) for field in FIELDS]
        rows = values_of(subject, locked_panel(panel, mirrored))
        changed = np.where(np.tile(kept, len(subject.outputs)), rows, whole)
        yield from _differences(subject, "other symbols", name, panel, whole, changed, "when the other symbols' bars differ")


def _warmup(subject: BiasSubject, name: str, panel: BarPanel, cuts_count: int, seed: int) -> Iterator[BiasFinding]:
    whole = values_of(subject, panel)
    if subject.is_unknown_at_first:
        early = np.tile(_bars_count(panel) < subject.lookback_sessions, len(subject.outputs))
        told = f"by its own word, before the symbol has had {subject.lookback_sessions} bars"
        yield from _differences(subject, "start", name, panel, whole, np.where(early, np.nan, whole), told)
    rows = [*_cuts(subject, panel, cuts_count, seed), len(panel.sessions) - 1]
    for multiple in HISTORY_MULTIPLES:
        length = math.ceil(multiple * subject.lookback_sessions)
        parts = (slice(row + 1 - length, row + 1) for row in rows if row >= length)
        found = (_shorter_history(subject, f"history x{multiple:g}", name, panel, whole, part, seed) for part in parts)
        yield from itertools.islice(itertools.chain.from_iterable(found), 1)


def _shorter_history(
    subject: BiasSubject, check: str, name: str, panel: BarPanel, whole: Matrix, part: slice, seed: int
) -> Iterator[BiasFinding]:
    """A part's last row as that part alone tells it."""
    history = panel.rows(part)
    expected, last = whole[part.stop - 1 : part.stop], values_of(subject, history)[-1:]
    if not _are_equal(expected, last).all():
        last = np.where(_are_ties(subject, panel, part, seed), expected, last)
    told = f"from {len(history.sessions)} sessions of history"
    yield from _differences(subject, check, name, history.rows(slice(-1, None)), expected, last, told)


def _are_ties(subject: BiasSubject, panel: BarPanel, part: slice, seed: int) -> NDArray[np.bool_]:
    """Which values of a part's last row are the same from all bars and from the part once the prices are nudged, in whatever way.

    Two means of cent prices may be equal, and which of them comes out larger is then a matter of rounding, so of how many bars
    were added up before: no look back is long enough for that.
    """
    found: NDArray[np.bool_] = np.array(True)
    for phase in np.random.default_rng(seed).uniform(0.0, 2.0 * math.pi, NUDGES_COUNT):
        moved = nudged(panel, phase)
        last = values_of(subject, moved.rows(part))[-1:]
        found = found & _are_equal(values_of(subject, moved)[part.stop - 1 : part.stop], last)
    return found


def _are_equal(one: Matrix, other: Matrix) -> NDArray[np.bool_]:
    equal: NDArray[np.bool_] = (one == other) | (np.isnan(one) & np.isnan(other))
    return equal


def _differences(
    subject: BiasSubject, check: str, name: str, panel: BarPanel, whole: Matrix, other: Matrix, circumstance: str
) -> Iterator[BiasFinding]:
    """The first place where two matrices of the panel's first rows differ, if there is one."""
    places = np.argwhere(~_are_equal(whole, other))
    if len(places):
        row, column = places[0]
        output, symbol = divmod(int(column), len(panel.symbols))
        place = panel.symbols[symbol] + (f" {subject.outputs[output]}" if len(subject.outputs) > 1 else "")
        session: date = panel.sessions[row].astype("datetime64[D]").astype(object)
        yield BiasFinding(
            subject.name, check, name, session, place, float(whole[row, column]), float(other[row, column]), circumstance
        )


def _given(subject: BiasSubject, panel: BarPanel) -> BarPanel:
    """The symbols that the subject is checked on."""
    return only(panel, panel.symbols[: subject.symbols_count_max])


def _bars_count(panel: BarPanel) -> NDArray[np.int64]:
    """For each row and symbol, the sessions since its first bar, that one included; 0 before it."""
    return np.cumsum(np.maximum.accumulate(np.isfinite(panel.close), axis=0), axis=0)
