"""The bias checks: each planted leak is caught, what is known at the close is not, and a look back has to be true."""

import itertools
from collections.abc import Callable
from dataclasses import replace
from datetime import date

import numpy as np
import pandas as pd
import pytest

from closebell.adapters.exchange_calendar import ExchangeCalendar
from closebell.backtest.bias.altered_panels import FUTURES
from closebell.backtest.bias.checks import lookahead_findings, warmup_findings
from closebell.backtest.bias.cuts import cut_rows
from closebell.backtest.bias.panels import real_panels, synthetic_panels
from closebell.backtest.bias.subject import BiasSubject
from closebell.model.errors import ConfigurationError
from closebell.model.panel import FIELDS, BarPanel, Matrix
from closebell.strategies import SCORE_DECIMALS
from tests.unit.backtest import leaks

Scores = Callable[[BarPanel], Matrix]

SYNTHETIC = synthetic_panels()
REAL = real_panels(ExchangeCalendar())
TRENDS = {"trends": SYNTHETIC["trends"]}

TOMORROW = [leaks.tomorrows_close, leaks.tomorrows_open]
WHOLE_SAMPLE = [leaks.mean_and_deviation_of_all, leaks.maximum_of_all, leaks.rank_in_all, leaks.quantile_of_all]
LABELS = [leaks.fitted_to_its_label, leaks.label_of_five_sessions]
OTHERS = [
    leaks.centred_mean, leaks.filled_backwards, leaks.filled_between, leaks.whole_weeks_bar, leaks.counts_from_the_end,
]  # fmt: skip
RARE = [leaks.peeks_after_a_crash, leaks.peeks_at_the_highest, leaks.peeks_when_volume_bursts]
NO_LEAKS = [
    leaks.place_in_todays_range, leaks.todays_reach_over_the_open, leaks.week_so_far, leaks.filled_forwards, leaks.high_so_far,
]  # fmt: skip


def subject(scores: Scores, lookback_sessions: int = 6, decimals: int | None = SCORE_DECIMALS) -> BiasSubject:
    return BiasSubject("planted", lookback_sessions, scores, decimals=decimals, is_score=True)


def checks_failed(scores: Scores, panels: dict[str, BarPanel], seed: int = 1) -> set[str]:
    return {finding.check for finding in lookahead_findings(subject(scores), panels, seed=seed)}


@pytest.mark.parametrize("leak", [*TOMORROW, *WHOLE_SAMPLE, *LABELS, *OTHERS, *RARE])
@pytest.mark.parametrize("seed", [1, 2])
def test_a_planted_leak_is_caught_whatever_the_seed(leak: Scores, seed: int) -> None:
    failed = checks_failed(leak, synthetic_panels(seed=seed), seed)
    assert "prefix" in failed
    assert failed & {f"future {kind}" for kind in FUTURES} or leak is leaks.counts_from_the_end


@pytest.mark.parametrize("leak", [leaks.tomorrows_close, *WHOLE_SAMPLE[:3], *LABELS, leaks.centred_mean, leaks.whole_weeks_bar])
def test_a_planted_leak_is_caught_on_real_prices(leak: Scores) -> None:
    assert "prefix" in checks_failed(leak, REAL)


@pytest.mark.parametrize("honest", NO_LEAKS)
def test_what_is_known_at_the_close_is_no_leak(honest: Scores) -> None:
    assert lookahead_findings(subject(honest), SYNTHETIC | REAL) == ()


def test_a_future_that_is_remembered_between_calls_is_caught() -> None:
    assert "prefix" in checks_failed(leaks.Remembering(), {"cents": SYNTHETIC["cents"]})


def test_a_score_that_differs_when_asked_again_is_caught() -> None:
    counter = itertools.count()
    assert "repeat" in checks_failed(lambda panel: np.full(panel.close.shape, next(counter) % 2), TRENDS)


def test_a_rank_among_symbols_is_caught_as_another_symbols_doing() -> None:
    def rank(panel: BarPanel) -> Matrix:
        return panel.close.argsort(axis=1).argsort(axis=1) / 100.0

    assert checks_failed(rank, SYNTHETIC) == {"other symbols"}


def test_a_neighbour_that_is_read_is_caught_even_when_it_is_not_missed() -> None:
    """Every other symbol rises and the rest fall: alone, its neighbour's sign can be guessed; only other bars beside it show."""

    def neighbours_sign(panel: BarPanel) -> Matrix:
        moves = leaks.moves(panel.close)
        return np.asarray(np.sign(-moves if len(panel.symbols) == 1 else np.roll(moves, 1, axis=1)))

    findings = lookahead_findings(subject(neighbours_sign), {"records": SYNTHETIC["records"]})
    assert [(finding.check, finding.circumstance) for finding in findings] == [
        ("other symbols", "when the other symbols' bars differ")
    ]


def test_a_finding_says_what_where_when_and_how_much() -> None:
    panel = SYNTHETIC["records"]
    last = str(panel.sessions[-2])
    (finding,) = (found for found in lookahead_findings(
        subject(lambda bars: np.where(bars.sessions[:, None] == np.datetime64(last), leaks.tomorrows_close(bars), 0.25)),
        {"records": panel},
    ) if found.check == "prefix")  # fmt: skip
    assert (finding.subject, finding.place, str(finding.session), finding.panel) == ("planted", "R0", last, "records")
    assert finding.difference == np.inf
    expected = round(float(panel.close[-1, 0] / panel.close[-2, 0] - 1.0), 4)
    assert str(finding) == (
        f"prefix: R0 {last} is {expected:g} from all bars and unknown from the bars up to {last} (panel 'records')"
    )


def test_blocks_of_outputs_are_told_apart() -> None:
    two = BiasSubject(
        "two", 1, lambda panel: np.hstack([panel.close, leaks.maximum_of_all(panel)]), outputs=("close", "share")
    )
    assert {finding.place.split()[1] for finding in lookahead_findings(two, {"jumps": SYNTHETIC["jumps"]})} == {"share"}


@pytest.mark.parametrize("before", [np.nan, 0.0])
def test_a_leak_that_begins_after_three_years_is_caught(before: float) -> None:
    """Trained once there are 750 sessions: what has no longer history says one thing, or nothing, everywhere."""

    def trained(panel: BarPanel) -> Matrix:
        return leaks.mean_and_deviation_of_all(panel) if len(panel.close) >= 750 else np.full(panel.close.shape, before)

    assert {"prefix", "future missing"} <= checks_failed(trained, SYNTHETIC)
    assert "history x1" in {finding.check for finding in warmup_findings(subject(trained), SYNTHETIC)}


@pytest.mark.parametrize("value", [np.nan, 0.5])
def test_what_never_says_anything_or_always_the_same_is_not_judged(value: float) -> None:
    silent = replace(subject(lambda panel: np.full(panel.close.shape, value)), is_unknown_at_first=False)
    for check in (lookahead_findings, warmup_findings):
        with pytest.raises(ConfigurationError, match="planted is not judged: nothing known on any panel, or everywhere the same"):
            check(silent, SYNTHETIC, cuts_count=8)


def test_a_true_look_back_passes_and_one_session_less_does_not() -> None:
    def scores(panel: BarPanel) -> Matrix:
        return np.clip(leaks.moves(panel.close, 5), -1.0, 1.0)

    assert warmup_findings(subject(scores, 6), SYNTHETIC | REAL) == ()
    assert {finding.check for finding in warmup_findings(subject(scores, 5), SYNTHETIC)} == {"history x1"}
    assert {finding.check for finding in warmup_findings(subject(scores, 7), SYNTHETIC)} == {"start"}


def _exponential(panel: BarPanel) -> Matrix:
    """A recursion that never forgets its first bar."""
    averages = panel.close.copy()
    for row in range(1, len(averages)):
        averages[row] = np.where(np.isnan(averages[row - 1]), averages[row], 0.9 * averages[row - 1] + 0.1 * averages[row])
    return np.clip(panel.close / averages - 1.0, -1.0, 1.0)


def test_a_recursion_is_stable_only_when_its_look_back_is_long_enough() -> None:
    panels = {"records": SYNTHETIC["records"]}
    known_at_first = BiasSubject("ema", 20, _exponential, decimals=SCORE_DECIMALS, is_unknown_at_first=False)
    findings = warmup_findings(known_at_first, panels)
    assert {finding.check for finding in findings} == {"history x1", "history x1.5", "history x2"}
    assert [finding.difference for finding in findings] == sorted((finding.difference for finding in findings), reverse=True)
    long = BiasSubject("ema", 200, _exponential, decimals=SCORE_DECIMALS, is_unknown_at_first=False)
    assert warmup_findings(long, panels) == ()
    to_the_bit = BiasSubject("ema", 200, _exponential, is_unknown_at_first=False)
    assert warmup_findings(to_the_bit, panels) != ()


def _crossed(panel: BarPanel) -> Matrix:
    """The plainest crossover of two means, which pandas adds up from the first bar on."""
    closes = pd.DataFrame(panel.close)
    signs: Matrix = np.sign((closes.rolling(20).mean() - closes.rolling(50).mean()).to_numpy())
    return signs


def test_means_that_are_equal_but_for_rounding_are_no_finding() -> None:
    panel = SYNTHETIC["cents"]
    last = panel.rows(slice(list(panel.days).index(date(2015, 3, 12)) + 1))
    assert _crossed(last)[-1, 0] != _crossed(last.rows(slice(-50, None)))[-1, 0], "the case can tell"
    assert warmup_findings(subject(_crossed, 50), {"cents": panel}, seed=7) == ()
    assert {finding.check for finding in warmup_findings(subject(_crossed, 49), {"cents": panel})} == {"history x1"}


def test_a_score_of_equal_prices_or_of_a_sign_is_held_to_its_look_back() -> None:
    """Rounding is no excuse for them: equal prices stay equal, and a recursion is off by more."""

    def rested(panel: BarPanel) -> Matrix:
        closes = pd.DataFrame(panel.close)
        return np.asarray((closes == closes.shift(3)).astype(float).where(closes.shift(2).notna()))

    def crossed_recursions(panel: BarPanel) -> Matrix:
        closes = pd.DataFrame(panel.close)
        apart = closes.ewm(span=10).mean() - closes.ewm(span=40).mean()
        signs: Matrix = np.sign(apart.where(closes.shift(19).notna()).to_numpy())
        return signs

    panels = {"cents": SYNTHETIC["cents"]}
    assert {finding.check for finding in warmup_findings(subject(rested, 3), panels)} == {"history x1"}
    assert {"history x1", "history x1.5"} <= {found.check for found in warmup_findings(subject(crossed_recursions, 20), panels)}


def test_what_began_with_the_first_bar_is_caught() -> None:
    assert {"history x1", "history x1.5", "history x2"} <= {
        finding.check for finding in warmup_findings(subject(leaks.high_so_far), SYNTHETIC)
    }


def test_a_score_before_a_late_symbols_first_bar_is_caught() -> None:
    def neutral_at_first(panel: BarPanel) -> Matrix:
        return leaks.known(np.clip(leaks.moves(panel.close, 5), -1.0, 1.0))

    finding = warmup_findings(subject(neutral_at_first), TRENDS)[0]
    assert (finding.check, finding.whole, str(finding.session)) == ("start", 0.0, str(TRENDS["trends"].sessions[0]))
    after_the_panels_start = BiasSubject(
        "late", 6, lambda panel: np.where(np.arange(len(panel.close))[:, None] < 5, np.nan, neutral_at_first(panel))
    )
    assert warmup_findings(after_the_panels_start, TRENDS)[0].place == "T1", "listed after a quarter of the panel"


def test_a_panel_too_short_to_judge_a_look_back_is_refused() -> None:
    with pytest.raises(ValueError, match="'trends' has 460 sessions; planted is judged on 461 or more"):
        warmup_findings(subject(leaks.week_so_far, 230), TRENDS)


def _fails(panel: BarPanel) -> Matrix:
    raise ZeroDivisionError("nothing to divide by")


def _overwrites(panel: BarPanel) -> Matrix:
    panel.close[0] = 0.0
    return panel.close


@pytest.mark.parametrize(
    ("scores", "words"),
    [
        (_fails, r"planted fails on \d+ sessions x 6 symbols: ZeroDivisionError: nothing to divide by \(line \d+: raise Zero"),
        (_overwrites, "ValueError: assignment destination is read-only .* leave the panel as it is"),
        (lambda panel: panel.close[:, 0], r"planted returns shape \(\d+,\) for \d+ sessions x 6 symbols: it has to be"),
        (lambda panel: panel.close.T, r"returns shape \(6, \d+\)"),
        (lambda panel: None, r"returns shape \(\)"),
        (lambda panel: panel.symbols, "could not convert string to float"),
        (lambda panel: panel.close, "planted scores .* for T0 in session 2014-03-.*: a score lies between -1 and 1"),
        (lambda panel: np.full(panel.close.shape, np.inf), "planted scores inf"),
    ],
)
def test_what_is_no_score_is_told_in_words(scores: Scores, words: str) -> None:
    for check in (lookahead_findings, warmup_findings):
        with pytest.raises(ConfigurationError, match=words):
            check(subject(scores), TRENDS)


def test_cuts_lie_at_the_end_at_the_extremes_before_them_and_in_between() -> None:
    panel = SYNTHETIC["jumps"]
    cuts = cut_rows(panel, 60, seed=1)
    returns = np.abs(leaks.known(leaks.moves(panel.close)))
    crash = int(leaks.known(leaks.moves(panel.close)).min(axis=1).argmin())
    assert returns.max() > 0.1
    rows_count = len(panel.sessions)
    assert {0, 1, crash - 1, crash, *range(rows_count - 16, rows_count - 1)} <= set(cuts)
    assert cuts == sorted(set(cuts))
    assert cuts != cut_rows(panel, 60, seed=2)
    assert cut_rows(panel, 1000, seed=1) == list(range(rows_count - 1))


def test_cuts_lie_on_both_sides_of_a_first_bar_a_last_one_and_a_hole() -> None:
    for seed in (1, 7):
        cuts = set(cut_rows(SYNTHETIC["trends"], 8, seed))
        first, last, hole = 460 // 4, 460 - 460 // 8, 460 // 3
        assert {first - 1, first, last - 1, last, hole - 1, hole, hole + 1} <= cuts


def test_panels_are_equal_for_equal_seeds_and_whole_bars_are_sound() -> None:
    again, other = synthetic_panels(), synthetic_panels(seed=8)
    for name, panel in SYNTHETIC.items():
        assert panel.sha256() == again[name].sha256()
        assert panel.sha256() != other[name].sha256()
        whole = np.isfinite(panel.open)
        assert (panel.high >= np.fmax(panel.open, panel.close))[whole].all()
        assert (panel.low <= np.fmin(panel.open, panel.close))[whole].all()
        assert all((getattr(panel, field)[whole] > 0.0).all() for field in FIELDS)
    assert [len(panel.sessions) for panel in REAL.values()] == [460, 460]
