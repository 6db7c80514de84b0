"""What the demo itself remembers from one run to the next."""

import json
import os
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any


class Memory:
    """A file of facts that is replaced as a whole."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._facts: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}

    @property
    def last_session_done(self) -> date | None:
        """The last session all of whose runs were delivered."""
        stored = self._facts.get("last_session_done")
        return date.fromisoformat(stored) if stored else None

    @property
    def errors_count(self) -> int:
        """How many deliveries ended in a function's error."""
        return int(self._facts.get("errors_count", 0))

    @property
    def equity_usd_start(self) -> Decimal:
        """The account's equity before the first session."""
        return Decimal(self._facts["equity_usd_start"])

    def open_account(self, equity_usd: Decimal) -> None:
        """Remember the first equity; later ones are ignored."""
        if "equity_usd_start" not in self._facts:
            self._write(equity_usd_start=str(equity_usd))

    def count_error(self) -> None:
        """One more."""
        self._write(errors_count=self.errors_count + 1)

    @property
    def incidents(self) -> dict[int, str]:
        """The incident of each session so far by the session's number; empty for none."""
        return {int(number): name for number, name in self._facts.get("incidents", {}).items()}

    def note_incident(self, number: int, name: str) -> None:
        """Remember a session's incident."""
        self._write(incidents={**self._facts.get("incidents", {}), str(number): name})

    def finish(self, session: date) -> None:
        """The session is done."""
        self._write(last_session_done=session.isoformat())

    def _write(self, **facts: object) -> None:
        self._facts |= facts
        partial = self._path.with_suffix(".partial")
        partial.write_text(json.dumps(self._facts))
        os.replace(partial, self._path)
