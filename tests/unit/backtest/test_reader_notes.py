"""What a reader is told of the universe: what could not be judged, by name, and only advice that can be followed."""

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest

from closebell.backtest.known_evidence import KnownEvidence
from closebell.backtest.reader_notes import bar_notes, not_yet_note, universe_notes
from closebell.backtest.run import default_parameters
from closebell.model.panel import FIELDS, BarPanel
from closebell.model.parameters import ParameterSet
from tests.unit.backtest.markets import market_of, seeded_panel
from tests.unit.backtest.panel_events import without

FIRST_ROW, SESSIONS_COUNT = 220, 260


def unlisted(panel: BarPanel, column: int, rows: slice) -> BarPanel:
    """The panel without a symbol's bars of some rows."""
    return without(panel, FIELDS, rows, column)


def notes_of(panel: BarPanel, parameters: ParameterSet | None = None) -> tuple[str, ...]:
    """The notes of the sessions from the 220th on, without the one of the regime, whose symbol no panel here has."""
    evidence = KnownEvidence(market_of(panel), parameters or default_parameters(panel, ("momentum",)))
    notes = universe_notes(evidence, panel.days[FIRST_ROW], panel.days[-1])
    return tuple(note for note in notes if "regime" not in note)


def test_of_bars_that_are_whole_nothing_is_told() -> None:
    assert notes_of(seeded_panel(1, SESSIONS_COUNT, 4)) == ()


def test_symbols_that_were_never_judged_are_named_with_their_bars() -> None:
    panel = seeded_panel(1, SESSIONS_COUNT, 4)
    days = panel.days
    panel = unlisted(unlisted(panel, 1, slice(1, None)), 2, slice(200, None))
    panel = unlisted(panel, 3, slice(0, -2))
    assert notes_of(panel) == (
        f"never judged, so never bought: S01 (1 bar, {days[0]}), S02 (200 bars, {days[0]} to {days[199]}), "
        f"S03 (2 bars, {days[-2]} to {days[-1]}); not listed, too little history, holes or faults",
    )


def test_a_symbol_that_was_judged_once_or_has_no_file_is_not_among_them() -> None:
    panel = unlisted(seeded_panel(1, SESSIONS_COUNT, 4), 2, slice(FIRST_ROW, None))
    assert notes_of(panel) == ()
    assert notes_of(panel.columns(panel.symbols[:2]), default_parameters(panel, ("momentum",))) == (
        "no bars of S02, S03: skipped in every session",
    )


def test_of_many_that_were_never_judged_five_are_named() -> None:
    panel = seeded_panel(1, SESSIONS_COUNT, 8)
    for column in range(1, 8):
        panel = unlisted(panel, column, slice(100, None))
    (told,) = notes_of(panel)
    assert told.count("100 bars") == 5
    assert "S05 (100 bars" in told
    assert " and 2 more symbols; not listed" in told


def test_where_nothing_can_be_judged_no_limit_is_to_be_lowered() -> None:
    panel = seeded_panel(1, SESSIONS_COUNT, 2)
    for column in range(2):
        panel = unlisted(panel, column, slice(100, -1))
    reasons = "not listed, too little history, holes or faults"
    assert notes_of(panel) == (f"in 40 of 40 sessions the desk bought nothing, as it could judge no symbol at all: {reasons}",)


@pytest.mark.parametrize(("least", "words"), [("0.8", "80%"), ("0.505", "50.5%")])
def test_where_some_can_be_judged_the_limit_is_told_to_its_last_digit(least: str, words: str) -> None:
    panel = unlisted(seeded_panel(1, SESSIONS_COUNT, 4), 1, slice(FIRST_ROW, None))
    panel = unlisted(unlisted(panel, 2, slice(FIRST_ROW, None)), 3, slice(FIRST_ROW, None))
    parameters = default_parameters(panel, ("momentum",))
    limits = parameters.limits.model_copy(update={"universe_coverage_frac_min": Decimal(least)})
    (told,) = notes_of(panel, parameters.model_copy(update={"limits": limits}))
    assert told.startswith(f"in 39 of 40 sessions the desk bought nothing, as it could judge less than {words} of the universe")
    assert told.endswith("Lower limits.universe_coverage_frac_min if that is right")


def test_a_symbol_that_left_counts_only_where_it_is_traded() -> None:
    panel = unlisted(seeded_panel(1, SESSIONS_COUNT, 6), 5, slice(100, None))
    whole, alive = (default_parameters(known, ("momentum",)) for known in (panel, panel.columns(panel.symbols[:5])))
    assert bar_notes(market_of(panel), whole, ()) == ()
    (told,) = bar_notes(market_of(panel), alive, ())
    assert told.startswith("survivorship: all 5 symbols of the universe trade to the end of 2012-01-03 to ")


def test_bars_of_which_nothing_is_traded_have_no_survivors() -> None:
    panel = seeded_panel(1, SESSIONS_COUNT, 6)
    others = default_parameters(replace(panel, symbols=tuple("ABCDEF")), ("momentum",))
    assert bar_notes(market_of(panel), others, ()) == ()


def test_what_was_not_read_is_told_before_what_the_bars_lack() -> None:
    panel = seeded_panel(1, SESSIONS_COUNT, 6)
    parameters = default_parameters(panel, ("momentum",))
    first, second = bar_notes(market_of(panel), parameters, ("left out: AAA.csv.gz",))
    assert first == "left out: AAA.csv.gz"
    assert second.startswith("survivorship")


def test_bars_of_days_to_come_are_told() -> None:
    panel = seeded_panel(1, 30, 1)
    last = panel.days[-1]
    assert not_yet_note(panel, last) == ()
    (told,) = not_yet_note(panel, last - timedelta(days=1))
    assert told.startswith(f"bars up to {last} lie after {last - timedelta(days=1)}, today")
