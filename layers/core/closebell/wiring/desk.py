"""What every function is built from: settings, journal, run log, notifier."""

from functools import cache

from closebell.adapters import aws_clients
from closebell.adapters.dynamodb import DynamoJournal
from closebell.adapters.s3 import S3Archive
from closebell.adapters.sns import SnsNotifier
from closebell.adapters.system_clock import SystemClock
from closebell.app.runs import RunLog
from closebell.ports.journal import Journal
from closebell.ports.operations import Archive, Notifier
from closebell.settings import DeskSettings, read_settings


@cache
def settings() -> DeskSettings:
    """The environment, read once a process. Raises ConfigurationError."""
    return read_settings()


@cache
def journal() -> Journal:
    """The three tables."""
    tables = settings()
    return DynamoJournal(
        {
            "journal": tables.require("journal_table"),
            "book": tables.require("book_table"),
            "control": tables.require("control_table"),
        },
        aws_clients.dynamodb(),
    )


@cache
def archive() -> Archive:
    """The archive bucket."""
    return S3Archive(settings().require("archive_bucket"), aws_clients.s3())


@cache
def notifier() -> Notifier:
    """The alert topic."""
    return SnsNotifier(settings().require("alerts_topic_arn"), aws_clients.sns())


def run_log(function: str) -> RunLog:
    """The run records of one function."""
    return RunLog(function, settings().closebell_code_version, journal(), SystemClock(), notifier())
