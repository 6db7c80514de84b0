"""A past session decided again from what was stored of it: the same code on the same inputs, and every difference by name.

Nothing is read from the world. What was archived is the whole of what decided: bars, volatility index, splits, configuration, the
broker's snapshot, positions, live orders and counters.
"""

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from closebell.app.evidence import Evidence, asked_symbols, judged
from closebell.decision.board import SessionInputs
from closebell.decision.desk_view import DeskView
from closebell.decision.session import SessionDecisions, decide_session
from closebell.model.decision import Decision, PlanSet, TradePlan
from closebell.model.decision_document import DecisionDocument
from closebell.model.errors import DataError
from closebell.model.panel import BarPanel
from closebell.model.record import Key, Value
from closebell.ports.journal import Journal
from closebell.ports.market_data import VolatilitySeries


class Discrepancy(NamedTuple):
    """One field that came out differently: of what, which field, what was stored and what it is now."""

    subject: str
    field: str
    stored: str
    replayed: str


class Replayed(NamedTuple):
    """A session decided again: what came out, what was compared, and every difference."""

    decided: SessionDecisions
    compared_count: int
    discrepancies: tuple[Discrepancy, ...]


def replay_session(document: DecisionDocument, panel: BarPanel, plans: Sequence[TradePlan] | None) -> Replayed:
    """Decide a session again and compare with what was decided then; `plans` are those that were stored, None when unknown.

    Raises DataError for bars that lack a symbol.
    """
    evidence = _evidence(document, panel)
    decided = decide_session(_inputs(document, evidence))
    found = []
    if evidence.sha256(document.parameters) != document.input_sha256:
        found.append(
            Discrepancy("inputs", "input_sha256", document.input_sha256, evidence.sha256(document.parameters))
        )
    found += _repeated("decision", [decision.symbol for decision in document.decisions])
    found += _repeated("plan", [plan.plan_id for plan in plans or ()])
    found += _differing("regime", document.regime, evidence.regime)
    found += _all_differing("decision", _by_symbol(document.decisions), _by_symbol(decided.decisions))
    if plans is not None:
        found += _all_differing("plan", _by_id(plans), _by_id(decided.plans))
    return Replayed(decided, len(document.decisions) + len(plans or ()), tuple(found))


def stored_plans(journal: Journal, document: DecisionDocument) -> list[TradePlan]:
    """The plans that a session's header names. Raises DataError when there is no header."""
    key = Key("journal", f"PLANSET#{document.market}", f"{document.next_session}")
    header = journal.read(key, PlanSet)
    if header is None:
        raise DataError(f"the journal has no plans for {document.next_session}")
    keys = [Key("journal", f"PLAN#{document.market}#{document.next_session}", plan_id) for plan_id in header.record.plan_ids]
    return [stored.record for stored in journal.read_many(keys, TradePlan)] if keys else []


def _evidence(document: DecisionDocument, panel: BarPanel) -> Evidence:
    missing = [symbol for symbol in asked_symbols(document.parameters, document.market) if symbol not in panel.symbols]
    if missing:
        raise DataError(f"the bars of {document.session} have no {', '.join(missing)}: they are not those that decided")
    volatility: VolatilitySeries | None = None
    if document.volatility_index_closes:
        days = sorted(document.volatility_index_closes)
        closes = np.array([document.volatility_index_closes[day] for day in days])
        volatility = VolatilitySeries(np.array(days, dtype="datetime64[D]"), closes)
    return judged(
        panel, document.market, document.parameters, document.session, volatility, document.reported_splits, document.notes
    )


def _inputs(document: DecisionDocument, evidence: Evidence) -> SessionInputs:
    snapshot = document.snapshot
    view = DeskView(
        as_of=document.as_of if snapshot is None else max(snapshot.as_of, document.as_of),
        snapshot=snapshot,
        positions=document.positions,
        live_orders=tuple(order for order in document.live_orders if not order.state.is_terminal),
        counters=document.counters,
        sessions_held=document.sessions_held,
        sectors={instrument.symbol: instrument.sector for instrument in document.parameters.universe},
        is_halted=document.is_halted,
    )
    return SessionInputs(
        panel=evidence.universe,
        problems=evidence.problems,
        scores=evidence.scores,
        regime=evidence.regime,
        desk=view,
        parameters=document.parameters,
        market=document.market,
        session=document.session,
        next_session=document.next_session,
    )


def _repeated(kind: str, names: Sequence[str]) -> list[Discrepancy]:
    return [Discrepancy(f"{kind} {name}", "", f"{count} times", "once") for name, count in Counter(names).items() if count > 1]


def _all_differing(kind: str, stored: dict[str, Value], replayed: dict[str, Value]) -> list[Discrepancy]:
    found = []
    for name in [*stored, *(name for name in replayed if name not in stored)]:
        before, after = stored.get(name), replayed.get(name)
        if before is None or after is None:
            found.append(Discrepancy(f"{kind} {name}", "", "present" if before else "absent", "present" if after else "absent"))
        else:
            found += _differing(f"{kind} {name}", before, after)
    return found


def _differing(subject: str, stored: Value, replayed: Value) -> list[Discrepancy]:
    before, after = stored.model_dump(mode="json"), replayed.model_dump(mode="json")
    changed = (field for field in before if before[field] != after[field])
    return [Discrepancy(subject, field, f"{before[field]}", f"{after[field]}") for field in changed]


def _by_symbol(decisions: Sequence[Decision]) -> dict[str, Value]:
    return {decision.symbol: decision for decision in decisions}


def _by_id(plans: Sequence[TradePlan]) -> dict[str, Value]:
    return {plan.plan_id: plan for plan in plans}
