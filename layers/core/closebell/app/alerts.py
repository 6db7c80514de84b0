"""Alerts leave through an outbox: committed with their cause, delivered afterwards, each once.

Whoever delivers an alert claims its row first, so that two runs at the same time do not both send it. Only a process that is
killed, or loses the journal, between sending an alert and taking its row out lets it be sent a second time, under the same
`alert_id`: silence would be worse.
"""

from datetime import datetime, timedelta

from closebell.model.errors import JournalConflict, OutcomeUnknown, StoreUnavailable
from closebell.model.operations import Alert, UndeliveredAlert
from closebell.model.record import Key
from closebell.ports.journal import Change, Create, Journal, Remove, Replace, Stored
from closebell.ports.operations import Notifier

CLAIM_LASTS = timedelta(minutes=6)
"""Longer than the clocks of two functions are apart, so that neither takes a fresh claim of the other for an old one."""


def alert_changes(journal: Journal, alert: Alert) -> list[Change]:
    """The changes that put an alert into the outbox, to be committed with its cause; none if it was raised before."""
    if journal.read(alert.key, Alert) is not None:
        return []
    return [Create(alert), Create(UndeliveredAlert(alert=alert))]


def deliver_waiting(journal: Journal, notifier: Notifier, now: datetime) -> int:
    """Send what waits in the outbox and nobody else is sending; return how many went out.

    A topic that cannot be reached leaves the alert waiting for the next run and never stops the caller.
    """
    return sum(_deliver(journal, notifier, waiting, now) for waiting in _outbox(journal))


def _deliver(journal: Journal, notifier: Notifier, waiting: Stored[UndeliveredAlert], now: datetime) -> bool:
    row = waiting.record
    if row.claimed_until is not None and row.claimed_until > now:
        return False
    claimed = row.model_copy(update={"claimed_until": now + CLAIM_LASTS, "attempts_count": row.attempts_count + 1})
    try:
        journal.commit([Replace(claimed, waiting.version)])
    except (JournalConflict, OutcomeUnknown):  # somebody else sends it; or, if the claim was written, whoever finds it run out
        return False
    try:
        notifier.publish(row.alert)
    except StoreUnavailable:
        _settle(journal, Replace(claimed.model_copy(update={"claimed_until": None}), waiting.version + 1))
        return False
    _settle(journal, Remove(row.key, waiting.version + 1))
    return True


def _settle(journal: Journal, change: Change) -> None:
    """Commit what becomes of a claimed row, again when the answer was lost. A row that has moved on is somebody else's."""
    try:
        try:
            journal.commit([change])
        except OutcomeUnknown:
            journal.commit([change])
    except JournalConflict:
        return


def _outbox(journal: Journal) -> list[Stored[UndeliveredAlert]]:
    prefix = Key("book", "DESK", "OUTBOX#")
    found = journal.query(prefix.table, prefix.partition, prefix.sort)
    return [Stored(item.record, item.version) for item in found if isinstance(item.record, UndeliveredAlert)]
