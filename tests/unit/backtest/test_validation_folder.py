"""Splits that leave nothing out, a seal that is broken once, a log of trials that only grows."""

from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from closebell.backtest.validation.folder import HoldoutResult, TrialLine, ValidationFolder
from closebell.backtest.validation.splits import SessionSpan, anchored_folds, rolling_folds, split_sessions
from closebell.model.errors import ConfigurationError, DataError
from closebell.model.panel import BarPanel
from tests.unit.backtest.markets import parameters_of, seeded_panel

AT = datetime(2026, 1, 5, 15, tzinfo=UTC)


def days_of(panel: BarPanel) -> list[date]:
    found: list[date] = panel.sessions.astype(object).tolist()
    return found


def test_the_three_spans_are_all_sessions_once_and_in_order() -> None:
    days = days_of(seeded_panel(1, 137, 1))
    split = split_sessions(days)
    spans = (split.train, split.validation, split.holdout)
    assert [day for span in spans for day in days if span.first <= day <= span.last] == days
    counts = [sum(span.first <= day <= span.last for day in days) for span in spans]
    assert counts == [82, 28, 27]
    with pytest.raises(ConfigurationError, match="78 sessions"):
        split_sessions(days[:98])


def test_a_sealed_holdout_stays_the_same_when_history_begins_later_or_sessions_are_added() -> None:
    days = days_of(seeded_panel(1, 260, 1))
    sealed = split_sessions(days[:200]).holdout
    later = split_sessions(days[40:], sealed)
    assert later.holdout == sealed
    assert (later.train.first, later.validation.last) == (days[40], days[159])
    with pytest.raises(ConfigurationError, match="is held out, but the sessions end on"):
        split_sessions(days[:199], sealed)


@pytest.mark.parametrize("sessions_count", [100, 211, 1000])
def test_folds_judge_every_later_session_once_and_only_after_what_they_chose_on(sessions_count: int) -> None:
    for folds in (anchored_folds(sessions_count), rolling_folds(sessions_count)):
        judged = [row for fold in folds for row in range(sessions_count)[fold.out_of_sample]]
        assert judged == list(range(folds[0].in_sample.stop, sessions_count))
        assert all(fold.in_sample.stop == fold.out_of_sample.start for fold in folds)
    assert {fold.in_sample.start for fold in anchored_folds(sessions_count)} == {0}
    lengths = [fold.in_sample.stop - fold.in_sample.start for fold in rolling_folds(sessions_count)]
    assert max(lengths) - min(lengths) <= 1


def test_the_seal_is_broken_once(tmp_path: Path) -> None:
    panel = seeded_panel(2, 120, 2)
    span = split_sessions(days_of(panel)).holdout
    folder = ValidationFolder(tmp_path / "results")
    sealed = folder.seal(span, panel, "0a")
    assert (sealed.first_session, sealed.last_session, sealed.opened_count, sealed.opened_at) == (*span, 0, None)
    opened = folder.open("0b", AT)
    assert (opened.opened_count, opened.opened_at) == (1, AT)
    assert (opened.configuration_sha256, opened.opened_configuration_sha256) == ("0a", "0b")
    again = ValidationFolder(tmp_path / "results")
    assert again.seal(span, panel, "0a") == opened
    with pytest.raises(ConfigurationError, match=r"was opened at 2026-01-05 15:00 UTC, for another .*: it is opened once"):
        again.open("0a", AT)
    again.keep(HoldoutResult(parameters=parameters_of(panel, "macd"), summary={"total_return_frac": 0.5}))
    with pytest.raises(ConfigurationError, match="was opened at 2026-01-05 15:00 UTC: it is opened once"):
        again.open("0b", AT)


def test_another_span_and_other_bars_are_refused(tmp_path: Path) -> None:
    panel, other = seeded_panel(3, 120, 2), seeded_panel(4, 120, 2)
    span = split_sessions(days_of(panel)).holdout
    folder = ValidationFolder(tmp_path)
    folder.seal(span, panel, "0a")
    with pytest.raises(DataError, match="are not those"):
        folder.seal(span, other, "0a")
    with pytest.raises(ConfigurationError, match="holds out"):
        folder.seal(SessionSpan(days_of(panel)[50], span.last), panel, "0a")
    whole = (tmp_path / "holdout.json").read_text()
    for broken in ("{}", whole.replace('"opened_count": 0', '"opened_count": 1'), whole.replace('_count": 0', '_count": -1')):
        (tmp_path / "holdout.json").write_text(broken)
        with pytest.raises(DataError, match="can no longer be vouched for"):
            folder.open("0a", AT)


def test_trials_are_counted_over_all_runs_and_the_same_one_once(tmp_path: Path) -> None:
    panel = seeded_panel(5, 120, 2)
    folder = ValidationFolder(tmp_path)
    folder.seal(split_sessions(days_of(panel)).holdout, panel, "0a")
    first, second = TrialLine("aa", "rsi", 0.5, 100), TrialLine("bb", "macd", -0.25, 100)
    assert folder.remember(first) == [first]
    assert folder.remember(first) == [first]
    assert folder.remember(second) == [first, second]
    assert len((tmp_path / "trials.jsonl").read_text().splitlines()) == 3
    with (tmp_path / "trials.jsonl").open("a") as log:
        log.write('{"trial_sha256": "cc", "na')
    assert folder.remember(first) == [first, second], "a line that a full disk or a kill cut off is not in the way"
    with (tmp_path / "trials.jsonl").open("a") as log:
        log.write("{}\n")
    with pytest.raises(DataError, match="no trial"):
        folder.remember(first)


def test_a_folder_of_something_else_or_with_a_lost_seal_is_refused(tmp_path: Path) -> None:
    (tmp_path / "trials.jsonl").write_text("")
    with pytest.raises(ConfigurationError, match=r"trials but no holdout\.json"):
        ValidationFolder(tmp_path)
    (tmp_path / "trials.jsonl").rename(tmp_path / "thesis.doc")
    with pytest.raises(ConfigurationError, match="other files"):
        ValidationFolder(tmp_path)
    with pytest.raises(ConfigurationError, match=r"thesis\.doc is a file: name a folder"):
        ValidationFolder(tmp_path / "thesis.doc")


def test_the_first_and_the_last_session_of_a_holdout_are_sealed(tmp_path: Path) -> None:
    panel = seeded_panel(3, 120, 2)
    span = split_sessions(panel.days).holdout
    folder = ValidationFolder(tmp_path)
    folder.seal(span, panel, "0a")
    for row in (panel.days.index(span.first), panel.days.index(span.last)):
        close = panel.close.copy()
        close[row, 1] += 0.01
        with pytest.raises(DataError, match="are not those"):
            folder.seal(span, replace(panel, close=close), "0a")
    before = panel.close.copy()
    before[panel.days.index(span.first) - 1, 1] += 0.01
    assert folder.seal(span, replace(panel, close=before), "0a").span == span
