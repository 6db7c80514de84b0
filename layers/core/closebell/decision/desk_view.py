"""What the desk owns and owes at one instant."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from closebell.model.books import Position
from closebell.model.broker import BrokerSnapshot
from closebell.model.orders import DayCounters, OrderRecord


@dataclass(frozen=True)
class DeskView:
    """The desk at one instant.

    Parameters
    ----------
    as_of
        When this is decided; the snapshot's age is measured to it.
    snapshot
        The broker's truth; None when the read failed, and then nothing is entered.
    positions
        Our projections. They say whose a position is and when it began, never how much we are exposed to.
    live_orders
        Our orders that are not terminal, and those that ended after the snapshot was taken.
    counters
        What was committed already for the session that is planned; None when nothing was.
    sessions_held
        Symbol -> sessions since the fill, for every position of ours.
    sectors
        Symbol -> sector, for every symbol that the configuration names.
    is_halted
        Whether risk must not be increased.
    """

    as_of: datetime
    snapshot: BrokerSnapshot | None
    positions: tuple[Position, ...]
    live_orders: tuple[OrderRecord, ...]
    counters: DayCounters | None
    sessions_held: Mapping[str, int]
    sectors: Mapping[str, str]
    is_halted: bool
