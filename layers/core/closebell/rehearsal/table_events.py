"""What may befall the tables between two sessions: the book table restored to yesterday's, or everything lost but the control."""

from closebell.app.control import confirm_resume, halt_desk, request_resume
from closebell.app.rebuild import rebuild_desk
from closebell.model.errors import ClosebellError
from closebell.model.record import Key, Record
from closebell.ports.journal import Journal, Stored
from closebell.rehearsal.invariants import Checker
from closebell.rehearsal.stage import KilledError, Stage
from closebell.rehearsal.watched_journal import WatchedJournal
from closebell.simulation.exchange.simulated_broker import SimulatedBroker

FAULTY_REBUILDS_COUNT_MAX = 5


class TableEvents:
    """`morning` comes before anything runs in a session."""

    def __init__(self, stage: Stage, raw: WatchedJournal, journal: Journal, checker: Checker) -> None:
        self._stage, self._raw, self._journal, self._checker = stage, raw, journal, checker
        self._yesterdays: dict[Key, Stored[Record]] = {}
        self.rebuilds_count = 0

    def morning(self) -> None:
        """Lose or restore, if it strikes; then keep a copy of the book table for tomorrow."""
        if self._yesterdays and self._stage.strikes("restored_book_table"):
            self._stage.note("the book table is yesterday's")
            self._checker.on_restore()
            self._raw.put_back("book", self._yesterdays)
        if self._stage.strikes("tables_lost"):
            self._lose_all()
        self._yesterdays = self._raw.copy_of("book")

    def _lose_all(self) -> None:
        """The owner follows the runbook: halt, rebuild from the broker until it goes through, resume."""
        halt_desk(self._raw, "the tables are lost", "owner", self._stage.now)
        self._raw.put_back("book", {})
        self._raw.put_back("journal", {})
        observer, self._raw.observer = self._raw.observer, None
        self._rebuild()
        self._raw.observer = observer
        self._stage.note("the books are rebuilt from the broker alone")
        self._checker.on_rebuild()
        request_resume(self._raw, "code", self._stage.now)
        confirm_resume(self._raw, "code", "owner", self._stage.now)

    def _rebuild(self) -> None:
        """Killed and refused a few times at any line, then with the tables at rest."""
        broker = SimulatedBroker(self._stage.exchange)
        for tries in range(FAULTY_REBUILDS_COUNT_MAX + 1):
            try:
                rebuild_desk(broker, self._journal if tries < FAULTY_REBUILDS_COUNT_MAX else self._raw, replace=tries > 0)
            except (ClosebellError, KilledError) as error:
                self._stage.note(f"the rebuild is to be repeated: {type(error).__name__} {error}")
                continue
            self.rebuilds_count += 1
            return
