"""What `closebell explain` tells of a plan once its morning has come: denied, refused, filled, or not placed."""

from datetime import date
from pathlib import Path

import pytest
from typer.testing import CliRunner

from closebell import cli
from closebell.app.control import halt_desk
from closebell.app.explain import find_decisions, find_placed
from closebell.model.decision import Outcome
from closebell.model.decision_document import DecisionDocument
from closebell.model.instruments import Market
from closebell.reports.explanation import explain_decision
from closebell.wiring.operator import OperatorDesk
from tests.unit.app.evening import Evening
from tests.unit.app.small_desk import FixedClock, SmallDesk, entry, new_york

TUESDAY = date(2018, 10, 2)


def decided() -> tuple[Evening, DecisionDocument, str]:
    """An evening, its document, and the first symbol that it planned to buy."""
    evening = Evening()
    evening.generate_signals()(evening.trigger("16:20"))
    document = find_decisions(evening.journal, evening.archive, Market.US_EQUITY, None)
    symbol = next(one.symbol for one in document.decisions if one.outcome is Outcome.ENTER)
    return evening, document, symbol


def told_after(desk: SmallDesk, document: DecisionDocument, symbol: str) -> list[str]:
    """The lines of the plan's morning, on the desk that was to place it."""
    text = explain_decision(document, symbol, find_placed(desk.memory, Market.US_EQUITY, TUESDAY))
    return [line.strip() for line in text.splitlines() if f"{TUESDAY}" in line]


def planned(symbol: str) -> SmallDesk:
    """A desk whose plan is to buy ten of a symbol on Tuesday."""
    desk = SmallDesk({symbol: ["100", "102"]})
    desk.plan(TUESDAY, entry(TUESDAY, symbol))
    return desk


def test_a_plan_is_filled_or_was_not_placed_so_far() -> None:
    _, document, symbol = decided()
    desk = planned(symbol)
    assert told_after(desk, document, symbol) == ["in the session of 2018-10-02: NOT PLACED so far, neither sent nor denied"]
    desk.place(TUESDAY)
    assert told_after(desk, document, symbol) == ["in the session of 2018-10-02: ACCEPTED, nothing filled"]
    desk.day(TUESDAY)
    assert told_after(desk, document, symbol) == ["in the session of 2018-10-02: FILLED, 10 at $102.00"]


def test_the_brokers_refusal_is_told_in_its_words() -> None:
    _, document, symbol = decided()
    desk = planned(symbol)
    desk.exchange.set_tradable(symbol, False)
    desk.day(TUESDAY)
    assert told_after(desk, document, symbol) == [
        f"in the session of 2018-10-02: REFUSED BY THE BROKER, asset {symbol} is not tradable"
    ]


def test_a_denial_of_the_morning_is_told_with_its_checks() -> None:
    _, document, symbol = decided()
    desk = planned(symbol)
    halt_desk(desk.memory, "by hand", "the owner", new_york(TUESDAY, "08:00"))
    desk.day(TUESDAY)
    (line,) = told_after(desk, document, symbol)
    assert line.startswith("at the open of 2018-10-02: DENIED, halt: ")
    placed = find_placed(desk.memory, Market.US_EQUITY, TUESDAY)
    assert "check FAIL halt" in explain_decision(document, symbol, placed)


def test_of_what_was_not_planned_nothing_is_told_of_the_morning() -> None:
    _, document, symbol = decided()
    desk = planned(symbol)
    desk.day(TUESDAY)
    other = next(one.symbol for one in document.decisions if one.outcome not in {Outcome.ENTER, Outcome.EXIT})
    assert told_after(desk, document, other) == []


def test_a_deployed_desk_and_a_folder_tell_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    evening, document, symbol = decided()
    desk = planned(symbol)
    desk.exchange.set_tradable(symbol, False)
    desk.day(TUESDAY)
    folder = tmp_path / "us_equity"
    (folder / "placed").mkdir(parents=True)
    (folder / f"{document.session}.json").write_text(document.model_dump_json())
    placed = find_placed(desk.memory, Market.US_EQUITY, TUESDAY)
    path = folder / "placed" / f"{document.session}.json"

    def explained(*words: str) -> str:
        return CliRunner().invoke(cli.app, ["explain", symbol.lower(), *words]).output

    assert "REFUSED" not in explained("--decisions", f"{tmp_path}"), "a folder of an earlier demo has nothing of it"
    path.write_text(placed.model_dump_json())
    found = explained("--decisions", f"{tmp_path}")
    assert f"REFUSED BY THE BROKER, asset {symbol} is not tradable" in found
    monkeypatch.setattr(cli.desk_commands, "find_placed", lambda journal, market, session: placed)
    monkeypatch.setattr(
        cli.desk_commands, "operator_desk", lambda stack: OperatorDesk(evening.journal, evening.archive, FixedClock())
    )
    assert explained("--stack", "desk") == found
    path.write_text(placed.model_copy(update={"session": document.session}).model_dump_json())
    assert "it was changed or renamed" in explained("--decisions", f"{tmp_path}")
    path.write_text("{}")
    assert "are damaged or of another version" in explained("--decisions", f"{tmp_path}")
