"""Builds what the command line works on: a deployed desk, by its stack's name."""

from typing import NamedTuple

from closebell.adapters import aws_clients
from closebell.adapters.cloudformation import stack_outputs
from closebell.adapters.dynamodb import DynamoJournal
from closebell.adapters.s3 import S3Archive
from closebell.adapters.ssm import read_broker_key
from closebell.adapters.step_functions import StepFunctionsSweep
from closebell.adapters.system_clock import SystemClock
from closebell.model.errors import ConfigurationError
from closebell.ports.broker import Broker
from closebell.ports.journal import Journal
from closebell.ports.operations import Archive, Clock, SweepMachine
from closebell.settings import ALPACA_DATA_URL, ALPACA_TRADING_URLS

ALPACAS_OWN = "none"
"""What the stack says when it trades at Alpaca itself: an output cannot be empty."""


class OperatorDesk(NamedTuple):
    """A desk as its owner reaches it."""

    journal: Journal
    archive: Archive
    clock: Clock


def operator_desk(stack: str) -> OperatorDesk:
    """The desk of a deployed stack. Raises ConfigurationError when there is none."""
    names = ("JournalTableName", "BookTableName", "ControlTableName", "ArchiveBucketName")
    journal, book, control, archive = _outputs(stack, *names)
    records = DynamoJournal({"journal": journal, "book": book, "control": control}, aws_clients.dynamodb())
    return OperatorDesk(records, S3Archive(archive, aws_clients.s3()), SystemClock())


def operator_sweep(stack: str) -> SweepMachine:
    """What fans a sweep out in a deployed stack. Raises ConfigurationError when there is none, or it is too old."""
    arn = stack_outputs(stack).get("SweepArn")
    if arn is None:
        raise ConfigurationError(f"the stack {stack!r} has no sweep: deploy this version of the template")
    return StepFunctionsSweep(arn, aws_clients.step_functions())


def operator_broker(stack: str) -> Broker:
    """The account that a deployed stack trades. Raises ConfigurationError, also when the caller may not read the trading key."""
    from closebell.adapters.alpaca_broker import AlpacaBroker  # loads longer than most commands take, of which one needs it

    parameter, environment, *origins = _outputs(
        stack, "TradingKeyParameterName", "EnvironmentName", "TradingOrigin", "DataOrigin"
    )
    key = read_broker_key(parameter, aws_clients.ssm())
    trading_url, data_url = ("" if origin == ALPACAS_OWN else origin for origin in origins)
    return AlpacaBroker(
        key.key_id,
        key.secret_key,
        trading_url or ALPACA_TRADING_URLS[environment],
        data_url or ALPACA_DATA_URL,
        paper=environment != "live",
    )


def _outputs(stack: str, *names: str) -> list[str]:
    """The values of a stack's outputs, in the order asked for. Raises ConfigurationError, also when it lacks one.

    Somebody else's stack has other outputs, and one that is still being made has none.
    """
    outputs = stack_outputs(stack)
    missing = [name for name in names if name not in outputs]
    if missing:
        raise ConfigurationError(
            f"the stack {stack!r} has no output {', '.join(missing)}: is it closebell's, and is its deployment finished?"
        )
    return [outputs[name] for name in names]
