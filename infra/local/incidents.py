"""What goes wrong in the demo, on purpose and in plain sight: each incident once in every ten sessions.

A desk that was only ever shown sunshine has shown nothing. Each incident is one that life brings: a gateway that times out after
the broker accepted an order, a broker that refuses one, a scheduler that delivers twice.
"""

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Protocol

from infra.local.schedule_runner import Invocation, ScheduleRunner

CYCLE_SESSIONS = 10


class Incident(StrEnum):
    """What can go wrong, in the order in which it is tried."""

    GATEWAY_TIMEOUT = "the broker's gateway answers 504 to an order that it accepted"
    REFUSED_ORDER = "the broker stops trading in {symbol} and refuses orders for it"
    DELIVERED_TWICE = "every reconcile of the session is delivered twice"

    @property
    def needs_an_entry(self) -> bool:
        """Whether it only shows when an order to buy is sent."""
        return self is not Incident.DELIVERED_TWICE


class FaultSwitches(Protocol):
    """What the simulated exchange can be told to do wrong."""

    def set_fault(self, name: str, **details: object) -> None:
        """Switch a fault on for the next matching request."""

    def set_tradable(self, symbol: str, tradable: bool) -> None:
        """Let an asset be traded, or not."""

    def clear_faults(self) -> None:
        """Switch every fault off."""


def choose(number: int, entries: Sequence[str], chosen: Mapping[int, str]) -> Incident | None:
    """The incident of session `number` (from 1), given the symbols it plans to buy and the incidents of other sessions by name.

    A session that was interrupted keeps what was chosen for it.
    """
    if number in chosen:
        return Incident[chosen[number]] if chosen[number] else None
    first = number - (number - 1) % CYCLE_SESSIONS
    shown = {chosen.get(earlier, "") for earlier in range(first, number)}
    pending = (incident for incident in Incident if incident.name not in shown)
    return next((incident for incident in pending if entries or not incident.needs_an_entry), None)


class Script:
    """The incident of one session, played on the exchange."""

    def __init__(self, incident: Incident | None, entries: Sequence[str], switches: FaultSwitches) -> None:
        self._incident = incident
        # The least wanted, so that the session still trades.
        self._symbol = entries[-1] if entries else ""
        self._switches = switches

    @property
    def told(self) -> str:
        """What happens, for the session's line; empty when nothing does."""
        return self._incident.format(symbol=self._symbol) if self._incident else ""

    def begin(self) -> None:
        """Set the switches before the session's first run. An interrupted session begins again: nothing is set twice."""
        self._switches.clear_faults()
        if self._incident is Incident.GATEWAY_TIMEOUT:
            self._switches.set_fault("gateway_timeout_after_accept")
        if self._incident is Incident.REFUSED_ORDER:
            self._switches.set_tradable(self._symbol, False)

    def after(self, invocation: Invocation, runner: ScheduleRunner) -> Sequence[Invocation]:
        """What the incident adds after a run: the extra deliveries."""
        if self._incident is Incident.DELIVERED_TWICE and invocation.firing.schedule.function == "reconcile":
            return [runner.invoke(invocation.firing)]
        return []

    def end(self) -> None:
        """Everything as it was."""
        self._switches.clear_faults()
        if self._incident is Incident.REFUSED_ORDER:
            self._switches.set_tradable(self._symbol, True)
