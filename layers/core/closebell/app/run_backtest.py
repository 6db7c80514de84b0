"""One point of a sweep, from the archive to the archive."""

from collections.abc import Callable, Mapping
from typing import Any

from pydantic import ValidationError

from closebell.model.errors import ConfigurationError
from closebell.model.operations import SweepTask
from closebell.ports.operations import Archive


class RunBacktest:
    """Trades a point unless its result is in the archive already: a repeated delivery, or a repeated sweep, trades nothing twice.

    Parameters
    ----------
    archive
        Where the sweep's bars lie and its results go.
    trade
        Trades the point and gives its result as JSON; equal for equal points.
    """

    def __init__(self, archive: Archive, trade: Callable[[SweepTask], bytes]) -> None:
        self._archive, self._trade = archive, trade

    def __call__(self, event: Mapping[str, object]) -> dict[str, Any]:
        """Trade what the event asks for; the result's name.

        Raises
        ------
        ConfigurationError
            The event is no point of a sweep, or no session can be traded.
        DataError, StoreUnavailable
            The sweep's bars are missing or wrong, or the archive cannot be reached.
        """
        try:
            task = SweepTask.model_validate(event)
        except ValidationError as error:
            raise ConfigurationError(f"the event is no point of a sweep: {error}") from error
        if self._archive.get(task.result_name) is None:
            self._archive.put(task.result_name, self._trade(task), "application/json")
        return {"result": task.result_name}
