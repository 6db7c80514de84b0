"""Alerts leave through an outbox: committed with their cause, delivered afterwards, each once."""

from collections.abc import Sequence

from closebell.model.errors import JournalConflict, StoreUnavailable
from closebell.model.operations import Alert, UndeliveredAlert
from closebell.model.record import Key
from closebell.ports.journal import Change, Create, Journal, Remove, Replace, Stored
from closebell.ports.operations import Notifier


def alert_changes(journal: Journal, alert: Alert) -> list[Change]:
    """The changes that put an alert into the outbox, to be committed with its cause; none if it was raised before."""
    if journal.read(alert.key, Alert) is not None:
        return []
    return [Create(alert), Create(UndeliveredAlert(alert=alert))]


def raise_alert(journal: Journal, notifier: Notifier, alert: Alert) -> None:
    """Commit an alert that has no other cause to be committed with, and try to deliver it at once."""
    changes = alert_changes(journal, alert)
    if changes:
        journal.commit(changes)
        deliver_waiting(journal, notifier)


def deliver(journal: Journal, notifier: Notifier, outbox: Sequence[Stored[UndeliveredAlert]]) -> int:
    """Send what waits in the outbox and return how many went out.

    A topic that cannot be reached leaves the alert waiting for the next run and never stops the caller.
    """
    sent = 0
    for waiting in outbox:
        try:
            notifier.publish(waiting.record.alert)
        except StoreUnavailable:
            tried = waiting.record.model_copy(update={"attempts_count": waiting.record.attempts_count + 1})
            _commit_unless_done(journal, Replace(tried, waiting.version))
            continue
        _commit_unless_done(journal, Remove(waiting.record.key, waiting.version))
        sent += 1
    return sent


def deliver_waiting(journal: Journal, notifier: Notifier) -> int:
    """Send everything in the outbox as it is now."""
    return deliver(journal, notifier, _outbox(journal))


def _outbox(journal: Journal) -> list[Stored[UndeliveredAlert]]:
    prefix = Key("book", "DESK", "OUTBOX#")
    found = journal.query(prefix.table, prefix.partition, prefix.sort)
    return [Stored(item.record, item.version) for item in found if isinstance(item.record, UndeliveredAlert)]


def _commit_unless_done(journal: Journal, change: Change) -> None:
    """Another run may have delivered the same alert in the meantime; then there is nothing left to do."""
    try:
        journal.commit([change])
    except JournalConflict:
        return
