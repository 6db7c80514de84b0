"""Checks of the rehearsal that no planted bug of the protocol reaches: each is shown a desk that is wrong in just that."""

from typing import Any

import pytest

from closebell.app import rebuild
from closebell.app.execution import Executor
from closebell.app.reconcile import Cycle
from closebell.app.runs import RunLog
from closebell.books.ledger import Booking, book_fill
from closebell.model.books import Fill, Position
from closebell.model.decision import ExitRule
from closebell.model.operations import Trigger
from tests.simulation.rehearsed import played


def broken(faults: str, seeds: int = 3) -> set[int]:
    """The invariants that the first few seeds see broken."""
    names = frozenset(faults.split())
    return {violation.invariant for seed in range(seeds) for violation in played(seed, names).stage.violations}


def test_a_key_in_an_alert_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    fail = RunLog._fail

    def talkative(log: RunLog, stored: Any, trigger: Trigger, error: Exception) -> None:
        fail(log, stored, trigger, type(error)(f"{error}: {error.__cause__}"))

    monkeypatch.setattr(RunLog, "_fail", talkative)
    assert 27 in broken("broker_unavailable")


def test_an_exit_whose_rule_is_not_true_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    watch = Cycle._watch_price

    def nervous(cycle: Cycle, symbol: str) -> None:
        watch(cycle, symbol)
        if cycle.keeper.positions[symbol].record.lots:
            cycle._begin(symbol, ExitRule.STOP, "it feels wrong")

    monkeypatch.setattr(Cycle, "_watch_price", nervous)
    assert 12 in broken("")


def test_a_rebuild_that_loses_a_sale_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rebuild, "compare_positions", lambda *given: [])
    monkeypatch.setattr(rebuild.Rebuilder, "_book_shares", lambda *given: None)
    assert 22 in broken("share_split", seeds=12)


def test_books_that_their_events_do_not_explain_are_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    def doubled(position: Position, fill: Fill, *rest: Any) -> Booking:
        return book_fill(position, fill.model_copy(update={"quantity_shares": fill.quantity_shares * 2}), *rest)

    monkeypatch.setattr("closebell.rehearsal.rebuild_checks.book_fill", doubled)
    assert 21 in broken("", seeds=4)


def test_an_order_that_stays_unknown_in_the_calm_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Executor, "resolve", lambda executor, stored: stored)
    assert 26 in broken("timeout_before_arrival", seeds=6)
