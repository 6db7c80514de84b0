"""Finding what was decided: the archived document of a session and what became of its plans."""

from datetime import date

from pydantic import ValidationError

from closebell.model.decision import Denial, PlanSet
from closebell.model.decision_document import DecisionDocument
from closebell.model.errors import DataError
from closebell.model.instruments import Market
from closebell.ports.journal import Journal
from closebell.ports.operations import Archive


def find_decisions(journal: Journal, archive: Archive, market: Market, decided_session: date | None) -> DecisionDocument:
    """The decisions after a session (the newest when None). Raises DataError when there are none."""
    headers = [item.record for item in journal.query("journal", f"PLANSET#{market}", newest=None if decided_session else 1)]
    for header in headers:
        if isinstance(header, PlanSet) and decided_session in {None, header.decided_session}:
            content = archive.get(header.decisions_archive)
            if content is None:
                raise DataError(f"the archive has lost {header.decisions_archive}")
            return document_of(content, header.decisions_archive)
    when = f"after {decided_session}" if decided_session else "yet"
    raise DataError(f"nothing was decided {when} for {market}: generate_signals has not completed")


def document_of(content: bytes, name: str) -> DecisionDocument:
    """A stored document. Raises DataError when it is damaged or of another version."""
    try:
        return DecisionDocument.model_validate_json(content)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise DataError(f"the decisions in {name} are damaged or of another version: {where or 'all'}: {first['msg']}") from error


def find_denial(journal: Journal, document: DecisionDocument, symbol: str) -> Denial | None:
    """Why an entry that was planned was not sent after all, if it was not."""
    denials = journal.query("journal", f"DENIAL#{document.market}#{document.next_session}")
    return next((item.record for item in denials if isinstance(item.record, Denial) and item.record.symbol == symbol), None)
