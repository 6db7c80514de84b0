"""The sweep's state machine in Step Functions."""

import json
import time
from contextlib import suppress
from typing import Any
from uuid import uuid4

from closebell.adapters.aws_errors import FAILURES, code_of
from closebell.model.errors import RunRefused, StoreUnavailable

ASKS_EVERY_S = 2.0
UNANSWERED_COUNT_MAX = 10
"""So many questions in a row may stay without an answer: a sweep takes hours, and asking is all that fails."""


class StepFunctionsSweep:
    """`ports.operations.SweepMachine` by its ARN."""

    def __init__(self, arn: str, client: Any) -> None:
        self._arn, self._client = arn, client
        self._unanswered_count = 0

    def start(self, points: str) -> str:
        try:
            running = self._client.list_executions(stateMachineArn=self._arn, statusFilter="RUNNING", maxResults=1)["executions"]
            if running:
                raise RunRefused(
                    f"the stack sweeps already, and two sweeps at once would take the desk's own functions their room: "
                    f"{running[0]['executionArn']}. Wait for its end or stop it; what it has done by then need not be done again"
                )
            name = f"{uuid4()}"  # a start that is repeated for a lost answer finds the run that it has started
            started = self._client.start_execution(stateMachineArn=self._arn, name=name, input=json.dumps({"points": points}))
        except FAILURES as error:
            raise StoreUnavailable(f"the sweep could not be started at {self._arn}: {code_of(error)}: {error}") from error
        return str(started["executionArn"])

    def outcome(self, run: str) -> str | None:
        time.sleep(ASKS_EVERY_S)
        try:
            found = self._client.describe_execution(executionArn=run)
        except FAILURES as error:
            self._unanswered_count += 1
            if self._unanswered_count > UNANSWERED_COUNT_MAX:
                raise StoreUnavailable(f"{run} cannot be read: {code_of(error)}: {error}") from error
            return None
        self._unanswered_count = 0
        return None if found["status"] == "RUNNING" else " ".join(filter(None, (found["status"], found.get("error"))))

    def stop(self, run: str) -> None:
        try:
            if self._client.describe_execution(executionArn=run)["status"] == "RUNNING":
                self._client.stop_execution(executionArn=run, cause="closebell sweep was ended before it")
        except FAILURES as error:
            raise StoreUnavailable(f"{run} could not be stopped, and goes on: {code_of(error)}: {error}") from error

    def first_failure(self, run: str) -> str:
        try:
            for map_run in self._client.list_map_runs(executionArn=run)["mapRuns"]:
                asked = {"mapRunArn": map_run["mapRunArn"], "statusFilter": "FAILED", "maxResults": 1}
                for failed in self._client.list_executions(**asked)["executions"]:
                    return _words(self._client.describe_execution(executionArn=failed["executionArn"]))
        except FAILURES as error:
            return f"why cannot be read: {code_of(error)}"
        return ""


def _words(failed: dict[str, Any]) -> str:
    """A point's error in the function's own words; they are JSON where the function has spoken."""
    cause = str(failed.get("cause", ""))
    with suppress(ValueError, KeyError, TypeError):  # Lambda's own words, of a function that was ended
        cause = json.loads(cause)["errorMessage"]
    return f"{failed.get('error', 'no error')}: {cause}"
