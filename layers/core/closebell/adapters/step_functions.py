"""The sweep's state machine in Step Functions."""

import json
import time
from typing import Any

from closebell.adapters.aws_errors import FAILURES, code_of
from closebell.model.errors import StoreUnavailable

ASKS_EVERY_S = 2.0


class StepFunctionsSweep:
    """`ports.operations.SweepMachine` by its ARN."""

    def __init__(self, arn: str, client: Any) -> None:
        self._arn, self._client = arn, client

    def start(self, points: str) -> str:
        try:
            started = self._client.start_execution(stateMachineArn=self._arn, input=json.dumps({"points": points}))
        except FAILURES as error:
            raise StoreUnavailable(f"the sweep could not be started at {self._arn}: {code_of(error)}: {error}") from error
        return str(started["executionArn"])

    def outcome(self, run: str) -> str | None:
        time.sleep(ASKS_EVERY_S)
        try:
            found = self._client.describe_execution(executionArn=run)
        except FAILURES as error:
            raise StoreUnavailable(f"{run} cannot be read: {code_of(error)}: {error}") from error
        return None if found["status"] == "RUNNING" else " ".join(filter(None, (found["status"], found.get("error"))))
