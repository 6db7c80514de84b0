"""A stored session decided again: nothing differs, and anything that was changed afterwards does."""

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from closebell.app.explain import document_of, find_decisions
from closebell.app.replay import Discrepancy, Replayed, replay_session, stored_plans
from closebell.cli import app
from closebell.model.decision_document import DecisionDocument
from closebell.model.errors import DataError
from closebell.model.instruments import Market
from closebell.model.panel import FIELDS, BarPanel
from tests.unit.app.evening import Evening


def decided() -> tuple[Evening, DecisionDocument, BarPanel]:
    """An evening's decisions as they were stored."""
    evening = Evening()
    evening.generate_signals()(evening.trigger("16:20"))
    document = find_decisions(evening.journal, evening.archive, Market.US_EQUITY, None)
    bars = evening.archive.get(document.bars_archive)
    assert bars is not None
    return evening, document, BarPanel.from_npz(bars)


def replayed(document: DecisionDocument, panel: BarPanel) -> Replayed:
    return replay_session(document, panel, None)


def test_a_stored_session_is_decided_the_same_again_with_its_plans() -> None:
    evening, document, panel = decided()
    plans = stored_plans(evening.journal, document)
    assert plans
    again = replay_session(document, panel, plans)
    assert again.discrepancies == ()
    assert again.compared_count == len(document.decisions) + len(plans)


def test_a_document_as_text_is_the_same_document() -> None:
    _, document, panel = decided()
    assert replayed(DecisionDocument.model_validate_json(document.model_dump_json()), panel).discrepancies == ()


def test_other_bars_are_named_by_their_fingerprint_and_by_what_they_change() -> None:
    _, document, panel = decided()
    falling = BarPanel(panel.sessions, panel.symbols, *(getattr(panel, field)[::-1].copy() for field in FIELDS))
    found = replayed(document, falling).discrepancies
    assert {one.field for one in found} >= {"input_sha256", "votes", "outcome"}


def test_a_changed_decision_and_a_lost_plan_are_named() -> None:
    evening, document, panel = decided()
    first = document.decisions[0]
    changed = document.model_copy(update={"decisions": (first.model_copy(update={"reason": "because"}), *document.decisions[1:])})
    assert replayed(changed, panel).discrepancies == (
        Discrepancy(f"decision {first.symbol}", "reason", "because", first.reason),
    )
    plans = stored_plans(evening.journal, document)
    assert replay_session(document, panel, plans[1:]).discrepancies == (
        Discrepancy(f"plan {plans[0].plan_id}", "", "absent", "present"),
    )


def test_what_stands_twice_is_a_difference() -> None:
    evening, document, panel = decided()
    again = document.model_copy(update={"decisions": (*document.decisions, document.decisions[0])})
    plans = stored_plans(evening.journal, document)
    assert replay_session(again, panel, [*plans, plans[0]]).discrepancies == (
        Discrepancy(f"decision {document.decisions[0].symbol}", "", "2 times", "once"),
        Discrepancy(f"plan {plans[0].plan_id}", "", "2 times", "once"),
    )


def test_bars_that_lack_a_symbol_are_an_error_that_names_it() -> None:
    _, document, panel = decided()
    with pytest.raises(DataError, match=f"the bars of .* have no {panel.symbols[0]}: they are not those that decided"):
        replayed(document, panel.columns(panel.symbols[1:]))


def told_of(kept: Path, *words: str) -> str:
    """What replay and explain, which must refuse alike, say of stored decisions."""
    commands = (["replay"], ["explain", "AAPL"])
    done = [CliRunner().invoke(app, [*command, *words, "--decisions", f"{kept}"]) for command in commands]
    assert [each.exit_code for each in done] == [1, 1]
    assert done[0].output == done[1].output
    return done[0].output


def test_a_document_that_is_a_folder_or_says_that_it_is_another_is_refused_in_words(tmp_path: Path) -> None:
    _, document, _ = decided()
    path = tmp_path / "us_equity" / f"{document.session}.json"
    path.mkdir(parents=True)
    asked = ("--session", f"{document.session}")
    assert told_of(tmp_path, *asked) == f"closebell: {path} cannot be read: Is a directory\n"
    path.rmdir()
    for changed in ({"market": Market.CRYPTO}, {"session": document.next_session}):
        path.write_text(document.model_copy(update=changed).model_dump_json())
        assert "it was changed or renamed" in told_of(tmp_path, *asked)


def test_other_limits_give_other_sizes() -> None:
    _, document, panel = decided()
    limits = document.parameters.limits.model_copy(update={"positions_count_max": 1})
    tighter = document.model_copy(update={"parameters": document.parameters.model_copy(update={"limits": limits})})
    assert any(one.subject.startswith("decision ") and one.field == "outcome" for one in replayed(tighter, panel).discrepancies)


def without_volume(content: bytes) -> bytes:
    with np.load(io.BytesIO(content)) as stored:
        kept = {name: stored[name] for name in stored.files if name != "volume"}
    written = io.BytesIO()
    np.savez_compressed(written, **kept)
    return written.getvalue()


@pytest.mark.parametrize("damage", [lambda content: b"garbage", lambda content: content[: len(content) // 2], without_volume])
def test_damaged_bars_are_an_error_that_says_so(damage: Callable[[bytes], bytes]) -> None:
    with pytest.raises(DataError, match="stored bars are damaged: ") as refused:
        BarPanel.from_npz(damage(decided()[2].to_npz()))
    assert "pickle" not in f"{refused.value}", "nobody is to load them unsafely"


@pytest.mark.parametrize("content", [b"", b"{}", b'{"schema_version": 2}'])
def test_a_damaged_document_is_an_error_that_names_it(content: bytes) -> None:
    with pytest.raises(DataError, match="the decisions in decisions/1.json are damaged or of another version: "):
        document_of(content, "decisions/1.json")
