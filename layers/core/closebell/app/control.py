"""Halt and resume, and the configuration: what the owner may change."""

from datetime import datetime

from closebell.app.alerts import alert_changes
from closebell.model.books import Position, PositionState
from closebell.model.errors import JournalConflict
from closebell.model.operations import HALT_KEY, Alert, Halt, Priority
from closebell.model.parameters import ParameterSet
from closebell.model.record import Key
from closebell.ports.journal import Create, Journal, Replace, Stored


def read_halt(journal: Journal) -> Stored[Halt] | None:
    """The halt switch as it stands; None: it was never touched."""
    return journal.read(HALT_KEY, Halt)


def is_halted(journal: Journal) -> bool:
    """Whether the desk is halted now."""
    stored = read_halt(journal)
    return stored is not None and stored.record.is_halted


def halt_desk(journal: Journal, reason: str, by: str, at: datetime) -> bool:
    """Halt: no order that increases risk leaves from now on. Anyone and anything may; twice is once. True if it was new."""
    stored = read_halt(journal)
    if stored is not None and stored.record.is_halted:
        return False
    halt = Halt(is_halted=True, reason=reason, by=by, changed_at=at)
    change = Replace(halt, stored.version) if stored else Create(halt)
    alert = Alert(
        alert_id=f"halt-{at:%Y%m%dT%H%M%S}",
        priority=Priority.URGENT,
        subject="The desk is halted",
        body=f"{reason} (by {by})",
        created_at=at,
        runbook="halted",
    )
    try:
        journal.commit([change, *alert_changes(journal, alert)])
    except JournalConflict:
        return halt_desk(journal, reason, by, at)
    return True


def request_resume(journal: Journal, code: str, at: datetime) -> Halt:
    """First step of a resume: write down a code that the same human must repeat in the second."""
    stored = read_halt(journal)
    if stored is None or not stored.record.is_halted:
        raise JournalConflict("the desk is not halted: there is nothing to resume")
    asked = stored.record.model_copy(update={"resume_code": code, "changed_at": at})
    journal.commit([Replace(asked, stored.version)])
    return asked


def confirm_resume(journal: Journal, code: str, by: str, at: datetime) -> Halt:
    """Second step: the code of the first step, within 15 minutes, resumes the desk."""
    stored = read_halt(journal)
    if stored is None or not stored.record.is_halted:
        raise JournalConflict("the desk is not halted: there is nothing to resume")
    waiting = stored.record
    if not waiting.resume_code or waiting.resume_code != code or (at - waiting.changed_at).total_seconds() > 900:
        raise JournalConflict("that code is not the one asked for in the last 15 minutes: run `closebell resume` for a new one")
    resumed = Halt(is_halted=False, reason=f"resumed; was: {waiting.reason}", by=by, changed_at=at)
    journal.commit([Replace(resumed, stored.version)])
    return resumed


def store_parameters(journal: Journal, parameters: ParameterSet) -> ParameterSet:
    """Make a configuration the current one, as the next version; the same content again changes nothing."""
    stored = journal.read(parameters.key, ParameterSet)
    if stored is None:
        journal.commit([Create(parameters)])
        return parameters
    if stored.record.model_copy(update={"version_count": parameters.version_count}) == parameters:
        return stored.record
    following = parameters.model_copy(update={"version_count": stored.record.version_count + 1})
    journal.commit([Replace(following, stored.version)])
    return following


def release_position(journal: Journal, symbol: str, by: str) -> Position:
    """Hand a disputed position to its owner: counted in exposure from now on, never sold by us.

    Raises JournalConflict when there is no dispute about the symbol.
    """
    key = Key("book", "DESK", f"POSITION#{symbol}")
    stored = journal.read(key, Position)
    if stored is None or stored.record.state is not PositionState.DISPUTED:
        raise JournalConflict(f"{symbol} is not disputed: there is nothing to release")
    position = stored.record
    released = Position(
        symbol=symbol,
        market=position.market,
        sector=position.sector,
        state=PositionState.EXTERNAL,
        plan_id="",
        lots=(),
        opened_session=position.opened_session,
        external_shares=position.quantity_shares + position.external_shares,
        note=f"released by {by}; was disputed: {position.note}",
    )
    journal.commit([Replace(released, stored.version)])
    return released
