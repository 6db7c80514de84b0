"""The exchange behind the server: every command that changes it is written down before it is answered.

The command log is JSON lines. Its first line says what the exchange was opened with; each further line is a command. At
start the log is replayed through the deterministic engine, so whatever was acknowledged is there again, with the same ids.
"""

import json
import os
from collections.abc import Callable
from dataclasses import asdict
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any

from closebell.model.broker import Side
from closebell.simulation.exchange.exchange import Exchange, Replacement
from closebell.simulation.exchange.faults import FaultBoard
from closebell.simulation.exchange.market_view import MarketView
from closebell.simulation.exchange.trading_floor import ExchangeOptions
from closebell.simulation.exchange.venue_orders import RefusalError
from closebell.simulation.market import SimulatedMarket
from infra.local.exchange.tickets import decimal_or_none, ticket_of

Command = dict[str, Any]
COMMAND_ERRORS = (ValueError, KeyError, TypeError, ArithmeticError)
"""What a command that makes no sense raises, live and when it is replayed."""


class CommandLog:
    """Append-only JSON lines; a last line that was cut off by a crash was never acknowledged and is dropped."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        written = path.read_bytes() if path.exists() else b""
        whole = written[: written.rfind(b"\n") + 1]
        self.commands: list[Command] = [json.loads(line) for line in whole.splitlines()]
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.ftruncate(self._file, len(whole))

    def append(self, command: Command) -> None:
        """Write one command and hand it to the operating system, which outlives this process."""
        os.write(self._file, (json.dumps(command, default=str) + "\n").encode())

    def close(self) -> None:
        """Release the file."""
        os.close(self._file)


class Venue:
    """The engine, its command log and its fault switches."""

    def __init__(self, market: SimulatedMarket, start: datetime, options: ExchangeOptions, seed: int, log: CommandLog) -> None:
        opening: Command = {
            "do": "open",
            "market": market.label,
            "start": start.isoformat(),
            "options": asdict(options),
            "seed": seed,
        }
        self._log = log
        if log.commands:
            opening = log.commands[0]
            if opening["market"] != market.label:
                raise ValueError(f"the state was made on market {opening['market']!r}, not {market.label!r}: reset it first")
        else:
            log.append(opening)
        self.exchange = Exchange(
            market,
            datetime.fromisoformat(opening["start"]),
            _options_of(opening["options"]),
            Random(opening["seed"]),  # noqa: S311 - seeded
        )
        self.view = MarketView(self.exchange.tape)
        self.faults = FaultBoard()
        for command in log.commands[1:]:
            self._replay(command)

    def execute(self, command: Command) -> Any:
        """Write a command down, then do it. Raises RefusalError or ValueError as the engine does."""
        self._log.append(command)
        return _ACTIONS[command["do"]](self, command)

    def _replay(self, command: Command) -> None:
        """Do again what was done; what was refused then is refused again."""
        try:
            _ACTIONS[command["do"]](self, command)
        except (RefusalError, *COMMAND_ERRORS):
            return


def _options_of(facts: dict[str, Any]) -> ExchangeOptions:
    written = ExchangeOptions()
    amounts = {name: Decimal(str(value)) for name, value in facts.items() if isinstance(getattr(written, name), Decimal)}
    return ExchangeOptions(**(facts | amounts))


def _replacement(body: Command) -> Replacement:
    return Replacement(
        quantity_shares=decimal_or_none(body, "qty"),
        limit_price_usd=decimal_or_none(body, "limit_price"),
        stop_price_usd=decimal_or_none(body, "stop_price"),
        trail=decimal_or_none(body, "trail"),
        time_in_force=body.get("time_in_force"),
        client_order_id=body.get("client_order_id"),
    )


def _close_position(venue: Venue, command: Command) -> Any:
    shares, percentage = decimal_or_none(command, "qty"), decimal_or_none(command, "percentage")
    return venue.exchange.close_position(command["symbol"], shares, None if percentage is None else percentage / 100)


def _clear_faults(venue: Venue, command: Command) -> None:
    venue.faults.switches.clear()


_ACTIONS: dict[str, Callable[[Venue, Command], Any]] = {
    "submit": lambda venue, command: venue.exchange.submit(ticket_of(command["body"]), command["reject_later"]),
    "replace": lambda venue, command: venue.exchange.replace(command["id"], _replacement(command["body"])),
    "cancel": lambda venue, command: venue.exchange.cancel(command["id"], command.get("delay_s")),
    "cancel_all": lambda venue, command: venue.exchange.cancel_all(),
    "close_position": _close_position,
    "advance": lambda venue, command: venue.exchange.advance(datetime.fromisoformat(command["now"])),
    "trade": lambda venue, command: venue.exchange.trade_manually(
        command["symbol"], Side(command["side"]), Decimal(str(command["qty"]))
    ),
    "transfer": lambda venue, command: venue.exchange.transfer(Decimal(str(command["amount_usd"]))),
    "restrict": lambda venue, command: venue.exchange.restrict(command["restriction"]),
    "tradable": lambda venue, command: venue.exchange.set_tradable(command["symbol"], command["tradable"]),
    "halt": lambda venue, command: venue.exchange.halt(command["symbol"], command["halted"]),
    "set_fault": lambda venue, command: venue.faults.add(command["fault"]),
    "use_fault": lambda venue, command: venue.faults.use(command["place"]),
    "clear_faults": _clear_faults,
}
