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
    outputs = stack_outputs(stack)
    tables = {"journal": outputs["JournalTableName"], "book": outputs["BookTableName"], "control": outputs["ControlTableName"]}
    journal = DynamoJournal(
        {"journal": tables["journal"], "book": tables["book"], "control": tables["control"]}, aws_clients.dynamodb()
    )
    return OperatorDesk(journal, S3Archive(outputs["ArchiveBucketName"], aws_clients.s3()), SystemClock())


def operator_sweep(stack: str) -> SweepMachine:
    """What fans a sweep out in a deployed stack. Raises ConfigurationError when there is none, or it is too old."""
    arn = stack_outputs(stack).get("SweepArn")
    if arn is None:
        raise ConfigurationError(f"the stack {stack!r} has no sweep: deploy this version of the template")
    return StepFunctionsSweep(arn, aws_clients.step_functions())


def operator_broker(stack: str) -> Broker:
    """The account that a deployed stack trades. Raises ConfigurationError, also when the caller may not read the trading key."""
    from closebell.adapters.alpaca_broker import AlpacaBroker  # loads longer than most commands take, of which one needs it

    outputs = stack_outputs(stack)
    key = read_broker_key(outputs["TradingKeyParameterName"], aws_clients.ssm())
    environment, origins = outputs["EnvironmentName"], (outputs["TradingOrigin"], outputs["DataOrigin"])
    trading_url, data_url = ("" if origin == ALPACAS_OWN else origin for origin in origins)
    return AlpacaBroker(
        key.key_id,
        key.secret_key,
        trading_url or ALPACA_TRADING_URLS[environment],
        data_url or ALPACA_DATA_URL,
        paper=environment != "live",
    )
