"""What a validation remembers between its runs: the sealed holdout, and every trial that was ever run.

The holdout is opened once. A second look would make it one more trial, and there is no third set of prices to tell. The seal
binds who is honest with himself: another folder has another seal.
"""

import fcntl
import hashlib
import json
import os
from datetime import date, datetime
from pathlib import Path
from typing import Any, NamedTuple, Self

from pydantic import Field, ValidationError, model_validator

from closebell.backtest.appended_lines import whole_lines
from closebell.backtest.validation.splits import SessionSpan
from closebell.backtest.whole_files import replace_files
from closebell.model.errors import ConfigurationError, DataError
from closebell.model.panel import BarPanel
from closebell.model.parameters import ParameterSet
from closebell.model.record import Value

SEAL, TRIALS = "holdout.json", "trials.jsonl"


class HoldoutResult(Value):
    """What a configuration has earned in the holdout, `summary_of` its records."""

    parameters: ParameterSet
    summary: dict[str, Any]


class HoldoutSeal(Value):
    """The span that is held out and a fingerprint of its bars. `configuration_sha256` is of what was to be judged at the sealing,
    with the strategies' texts and the costs, `opened_configuration_sha256` of what it was opened with, `result` what that earned:
    None until it is judged."""

    first_session: date
    last_session: date
    bars_sha256: str
    configuration_sha256: str
    opened_count: int = Field(default=0, ge=0, le=1)
    opened_at: datetime | None = None
    opened_configuration_sha256: str | None = None
    result: HoldoutResult | None = None

    @model_validator(mode="after")
    def _is_opened_or_not(self) -> Self:
        opening = (self.opened_at, self.opened_configuration_sha256)
        if any((part is not None) != bool(self.opened_count) for part in opening) or (self.result and not self.opened_count):
            raise ValueError("what it says of its opening contradicts itself")
        return self

    @property
    def span(self) -> SessionSpan:
        """What is held out."""
        return SessionSpan(self.first_session, self.last_session)


class TrialLine(NamedTuple):
    """One trial as the folder remembers it; `trial_sha256` is of its bars, span, configuration and costs, and of what it
    earned: a strategy whose code was changed is another trial under the same name. `is_judged` tells the configuration that a
    validation was asked about from those it was compared with."""

    trial_sha256: str
    name: str
    sharpe_annual_ratio: float
    sessions_count: int
    is_judged: bool = False


class ValidationFolder:
    """A directory with a seal and a log of trials. Raises ConfigurationError when it holds anything else instead."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        if folder.exists() and not folder.is_dir():
            raise ConfigurationError(f"{folder} is a file: name a folder")
        found = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
        if found and SEAL not in found:
            lost = TRIALS in found
            raise ConfigurationError(
                f"{folder} has trials but no {SEAL}: its holdout can no longer be vouched for; name an empty folder" if lost
                else f"{folder} holds other files: name an empty folder, or one of an earlier validation"
            )

    def sealed_span(self) -> SessionSpan | None:
        """What an earlier run has held out. Raises DataError for a seal that cannot be read."""
        return self._read().span if (self._folder / SEAL).exists() else None

    def seal(self, span: SessionSpan, panel: BarPanel, judged_sha256: str) -> HoldoutSeal:
        """Seal the holdout on the first run; on every later one make sure that it is the same span and the same bars.

        Raises ConfigurationError (another span), DataError (other bars, a seal that cannot be read or written).
        """
        digest = bars_sha256(panel, span)
        if self.sealed_span() is None:
            fresh = HoldoutSeal(
                first_session=span.first, last_session=span.last, bars_sha256=digest,
                configuration_sha256=judged_sha256,
            )
            self.write({SEAL: _json_of(fresh)})
            return fresh
        sealed = self._read()
        if sealed.span != span:
            raise ConfigurationError(f"{self._folder} holds out {sealed.span}, not {span}: name another folder")
        if sealed.bars_sha256 != digest:
            raise DataError(f"the bars of {span} are not those that {self._folder} sealed: bring them back, or name another one")
        return sealed

    def open(self, judged_sha256: str, at: datetime) -> HoldoutSeal:
        """Break the seal; it is written before anything of the holdout is looked at. Raises as `refuse_second_opening`."""
        sealed = self.refuse_second_opening(judged_sha256)
        if sealed.opened_count:
            return sealed
        opened = sealed.model_copy(update={
            "opened_count": 1, "opened_at": at, "opened_configuration_sha256": judged_sha256,
        })
        self.write({SEAL: _json_of(opened)})
        return opened

    def refuse_second_opening(self, judged_sha256: str) -> HoldoutSeal:
        """The seal, when it is whole, or when it was broken for this very configuration by a run that did not end.

        Raises ConfigurationError otherwise.
        """
        sealed = self._read()
        is_unfinished = sealed.result is None and sealed.opened_configuration_sha256 == judged_sha256
        if sealed.opened_count and not is_unfinished:
            judged = "" if sealed.result else ", for another configuration, which was not judged to its end"
            raise ConfigurationError(
                f"the holdout of {self._folder} was opened at {sealed.opened_at:%Y-%m-%d %H:%M} UTC{judged}: it is opened once. "
                "What was changed since can only be judged on sessions that have not happened yet"
            )
        return sealed

    def keep(self, result: HoldoutResult) -> HoldoutSeal:
        """Write down what the configuration that the holdout was opened with has earned: it stands in every later verdict."""
        judged = self._read().model_copy(update={"result": result})
        self.write({SEAL: _json_of(judged)})
        return judged

    def remember(self, line: TrialLine) -> list[TrialLine]:
        """Append a trial; returns every different one that was ever run here. Raises DataError for a line that is none."""
        path = self._folder / TRIALS
        try:
            with path.open("a+b") as log:
                fcntl.flock(log.fileno(), fcntl.LOCK_EX)  # another run may be adding its own
                lines = [*whole_lines(log), json.dumps(line._asdict()).encode()]
                log.write(lines[-1] + b"\n")
                log.flush()
                os.fsync(log.fileno())
            stored = [TrialLine(**json.loads(text)) for text in lines]
        except OSError as error:
            raise DataError(f"{path} cannot be written: {error.strerror or error}") from error
        except (TypeError, ValueError) as error:
            raise DataError(f"{path} has a line that is no trial: {error}") from error
        judged = {known.trial_sha256 for known in stored if known.is_judged}
        different = {known.trial_sha256: known for known in stored}
        return [known._replace(is_judged=key in judged) for key, known in different.items()]

    def write(self, files: dict[str, bytes]) -> None:
        """Write files, all of them or none. Raises DataError when the disk is full or cannot be written to."""
        try:
            replace_files(self._folder, files)
        except OSError as error:
            names = ", ".join(files)
            raise DataError(f"{names} cannot be written to {self._folder}: {error.strerror or error}") from error

    def _read(self) -> HoldoutSeal:
        path = self._folder / SEAL
        try:
            return HoldoutSeal.model_validate_json(path.read_bytes())
        except (OSError, ValidationError) as error:
            raise DataError(f"{path} cannot be read, so its holdout can no longer be vouched for: {error}") from error


def bars_sha256(panel: BarPanel, span: SessionSpan) -> str:
    """The fingerprint of a span's bars."""
    days = panel.days
    inside = [row for row, day in enumerate(days) if span.first <= day <= span.last]
    return panel.rows(slice(inside[0], inside[-1] + 1)).sha256() if inside else BarPanel.empty(panel.symbols).sha256()


def configuration_sha256(parameters: ParameterSet) -> str:
    """The fingerprint of everything the owner may set; the version's number is not a setting."""
    return hashlib.sha256(parameters.model_dump_json(exclude={"version_count"}).encode()).hexdigest()


def _json_of(seal: HoldoutSeal) -> bytes:
    return (seal.model_dump_json(indent=2) + "\n").encode()
