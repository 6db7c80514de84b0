"""Finding what was decided: the archived document of a session and what became of its plans."""

from datetime import date
from typing import TypeVar

from pydantic import ValidationError

from closebell.model.decision import Denial, PlanSet
from closebell.model.decision_document import DecisionDocument, PlacedPlans
from closebell.model.errors import DataError
from closebell.model.instruments import Market
from closebell.model.orders import OrderRecord
from closebell.model.record import Value
from closebell.ports.journal import Journal
from closebell.ports.operations import Archive

V = TypeVar("V", bound=Value)


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
    return _valid(DecisionDocument, content, f"the decisions in {name}")


def find_placed(journal: Journal, market: Market, session: date) -> PlacedPlans:
    """What became of the plans for a session; nothing before `place_orders` has run."""
    denials = (item.record for item in journal.query("journal", f"DENIAL#{market}#{session}"))
    orders = (item.record for item in journal.query("journal", f"ORDER#{market}#{session}"))
    return PlacedPlans(
        market=market, session=session,
        denials=tuple(record for record in denials if isinstance(record, Denial)),
        orders=tuple(record for record in orders if isinstance(record, OrderRecord)),
    )  # fmt: skip


def placed_of(content: bytes, name: str) -> PlacedPlans:
    """What became of plans, as it is stored. Raises DataError when it is damaged or of another version."""
    return _valid(PlacedPlans, content, f"the orders in {name}")


def _valid(kind: type[V], content: bytes, told: str) -> V:
    try:
        return kind.model_validate_json(content)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise DataError(f"{told} are damaged or of another version: {where or 'all'}: {first['msg']}") from error
