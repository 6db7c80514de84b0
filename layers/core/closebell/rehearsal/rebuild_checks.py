"""The books from nothing: rebuilt from the broker alone, and replayed from their own events in another order, twice."""

from collections import defaultdict, deque
from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal
from random import Random

from closebell.app.control import halt_desk, store_parameters
from closebell.app.rebuild import rebuild_desk
from closebell.books.ledger import book_bust, book_fill, book_split, external_position
from closebell.model.books import Fill, Position
from closebell.model.parameters import ParameterSet
from closebell.rehearsal.stage import Stage
from closebell.rehearsal.true_book import TrueBook
from closebell.rehearsal.watched_journal import WatchedJournal
from closebell.simulation.exchange.simulated_broker import SimulatedBroker
from closebell.simulation.exchange.venue_account import AccountActivity
from closebell.simulation.memory_journal import MemoryJournal

ZERO, NOISE = Decimal(0), Decimal("1e-6")
_DIGITS = Decimal("1e-9")


class RebuildChecks:
    """Invariants 21 and 22, at the end of a rehearsal."""

    def __init__(self, stage: Stage, raw: WatchedJournal, truth: TrueBook, parameters: ParameterSet) -> None:
        self._stage, self._raw, self._truth, self._parameters = stage, raw, truth, parameters

    def rebuilt_from_the_broker(self) -> None:
        """Into empty tables: the broker's quantities, ours and the owner's as the exchange's history says."""
        empty = MemoryJournal()
        store_parameters(empty, self._parameters)
        halt_desk(empty, "rebuild", "checker", self._stage.now)
        books = rebuild_desk(SimulatedBroker(self._stage.exchange), empty, replace=False)
        holdings = self._stage.exchange.floor.book.holdings
        for symbol in sorted(holdings.keys() | books.positions.keys()):
            held = self._stage.exchange.floor.book.shares(symbol)
            position, true = books.positions.get(symbol), self._truth.read().symbols[symbol]
            ours = position.quantity_shares if position else ZERO
            theirs = position.external_shares if position else ZERO
            if ours + theirs != held:
                self._stage.violated(22, f"{symbol}: {ours + theirs} rebuilt, {held} at the broker")
            elif abs(ours - true.our_shares) > NOISE:
                self._stage.violated(22, f"{symbol}: {ours} rebuilt as ours, {true.our_shares} are")

    def replayed(self) -> None:
        """Every event twice, the symbols shuffled among each other: the same lots and the same shares of the owner's."""
        positions: dict[str, Position] = {}
        booked: set[str] = set()
        for event in self._shuffled():
            if event.activity_id in booked:
                continue
            booked.add(event.activity_id)
            symbol = event.symbol or ""
            before = positions.pop(symbol, None)
            if isinstance(event, Fill):
                after = book_fill(before or external_position(event, ""), event).position
            elif before is None:
                after = None
            elif event.code == "TRADE_BUST":
                after = book_bust(before, -event.quantity_shares, event.at).position
            else:
                after = book_split(before, event.quantity_shares).position
            if after is not None:
                positions[symbol] = after
        stored = {position.symbol: position for position in self._raw.all_of(Position)}
        for symbol in sorted(positions.keys() | stored.keys()):
            ours, again = _projection(stored.get(symbol)), _projection(positions.get(symbol))
            if ours != again:
                self._stage.violated(21, f"{symbol}: our books hold {ours}, its events replayed give {again}")

    def _shuffled(self) -> "Iterator[Fill | AccountActivity]":
        """Each event twice; a symbol's own in their order, the symbols in any."""
        splits = [one for one in self._stage.exchange.floor.book.activities if one.code in {"SPLIT", "TRADE_BUST"}]
        events: list[Fill | AccountActivity] = [*self._raw.all_of(Fill), *splits]
        queues: defaultdict[str, deque[Fill | AccountActivity]] = defaultdict(deque)
        for event in sorted(events, key=_in_order):
            queues[event.symbol or ""] += [event, event]
        turns = [event.symbol or "" for event in events for _ in range(2)]
        Random(f"{self._stage.seed}/replay").shuffle(turns)  # noqa: S311 - a simulation's seeded draw
        for symbol in turns:
            yield queues[symbol].popleft()


def _in_order(event: "Fill | AccountActivity") -> tuple[datetime, str]:
    return (event.occurred_at if isinstance(event, Fill) else event.at), event.activity_id


def _projection(position: Position | None) -> tuple[tuple[tuple[str, Decimal], ...], Decimal]:
    """What fills alone decide of a position: its lots, and the owner's shares."""
    if position is None:
        return (), ZERO
    lots = tuple((lot.activity_id, lot.quantity_shares.quantize(_DIGITS)) for lot in position.lots)
    return lots, position.external_shares.quantize(_DIGITS)
