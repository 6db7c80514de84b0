"""Fault switches: which fault strikes which request. What a fault does to the reply is the front end's business."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import date, datetime
from fnmatch import fnmatchcase
from typing import Any

_ANY: tuple[str | None, str] = (None, "*")
_ORDERS, _POSITIONS, _BARS = "/v2/orders*", "/v2/positions*", "*/bars*"
FAULT_SCOPES: dict[str, tuple[str | None, str]] = {
    "timeout_before": _ANY,
    "timeout_after": ("POST", _ORDERS),
    "gateway_timeout_after_accept": ("POST", _ORDERS),
    "reject_after_accept": ("POST", _ORDERS),
    "rate_limited": _ANY,
    "unauthorized": _ANY,
    "server_error": _ANY,
    "garbage_html": _ANY,
    "truncated_body": _ANY,
    "empty_200": _ANY,
    "unknown_enum": (None, _ORDERS),
    "slow_cancel": ("DELETE", _ORDERS),
    "not_found_lag": ("GET", _ORDERS),
    "list_omits_order": ("GET", "/v2/orders"),
    "positions_error": ("GET", _POSITIONS),
    "positions_empty": ("GET", "/v2/positions"),
    "missing_bars": ("GET", _BARS),
    "stale_bars": ("GET", _BARS),
    "nan_bars": ("GET", _BARS),
    "negative_bars": ("GET", _BARS),
    "x100_bars": ("GET", _BARS),
    "easy_to_borrow_absent": ("GET", "/v2/assets*"),
}
"""Every fault, and the method and path it strikes when the switch does not say."""


@dataclass
class FaultSwitch:
    """One switch. It strikes `times_left` more requests (None: every one) that match all of its conditions.

    `path` is a pattern as for file names, without the query (`/v2/orders*`); `symbol` is in the order book's spelling;
    `not_before` and `not_after` bound the virtual clock. `seconds` is how long a hang lasts (wall clock), a cancel takes or
    an order stays unknown (virtual clock); `session` names a bar; `status` is what `unknown_enum` answers.
    """

    name: str
    times_left: int | None = 1
    method: str | None = None
    path: str | None = None
    symbol: str | None = None
    not_before: datetime | None = None
    not_after: datetime | None = None
    seconds: float = 30.0
    session: date | None = None
    status: str = "held_for_review"

    def __post_init__(self) -> None:
        if self.name not in FAULT_SCOPES:
            raise ValueError(f"fault {self.name!r} is unknown; the faults are {', '.join(sorted(FAULT_SCOPES))}")
        method, path = FAULT_SCOPES[self.name]
        self.method, self.path = self.method or method, self.path or path

    def strikes(self, request: "FaultyRequest") -> bool:
        """Whether it applies to a request now."""
        return (
            self.times_left != 0
            and (self.method is None or self.method == request.method)
            and fnmatchcase(request.path, self.path or "*")
            and (self.symbol is None or self.symbol in request.symbols)
            and (self.not_before is None or request.at >= self.not_before)
            and (self.not_after is None or request.at <= self.not_after)
        )


_READERS: dict[str, Callable[[Any], Any]] = {
    "times_left": int,
    "seconds": float,
    "not_before": datetime.fromisoformat,
    "not_after": datetime.fromisoformat,
    "session": date.fromisoformat,
}


@dataclass(frozen=True)
class FaultyRequest:
    """What switches look at: the request, and the virtual instant it came."""

    method: str
    path: str
    symbols: frozenset[str]
    at: datetime


@dataclass
class FaultBoard:
    """The switches that are on, in the order they were set."""

    switches: list[FaultSwitch] = field(default_factory=list)

    def add(self, facts: dict[str, Any]) -> FaultSwitch:
        """Set a switch from JSON: FaultSwitch's fields, `times` for `times_left`. Raises ValueError on what it does not know."""
        given = {("times_left" if name == "times" else name): value for name, value in facts.items()}
        try:
            for name, read in _READERS.items():
                if given.get(name) is not None:
                    given[name] = read(given[name])
            switch = FaultSwitch(**given)
        except TypeError as error:
            raise ValueError(f"a fault switch does not know a field or value of {facts}") from error
        self.switches.append(switch)
        return switch

    def find(self, names: Iterable[str], request: FaultyRequest) -> int | None:
        """The place of the first switch with one of these names that strikes; it is not used up by that."""
        wanted = frozenset(names)
        return next(
            (place for place, switch in enumerate(self.switches) if switch.name in wanted and switch.strikes(request)), None
        )

    def use(self, place: int) -> FaultSwitch:
        """Count one strike of a switch."""
        switch = self.switches[place]
        if switch.times_left is not None:
            switch.times_left -= 1
        return switch
