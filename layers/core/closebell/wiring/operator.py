"""Builds what the command line works on: a deployed desk, by its stack's name."""

from typing import NamedTuple

from closebell.adapters import aws_clients
from closebell.adapters.cloudformation import stack_outputs
from closebell.adapters.dynamodb import DynamoJournal
from closebell.adapters.s3 import S3Archive
from closebell.adapters.system_clock import SystemClock
from closebell.ports.journal import Journal
from closebell.ports.operations import Archive, Clock


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
