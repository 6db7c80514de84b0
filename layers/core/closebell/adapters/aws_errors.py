"""What an AWS error means for a request: lost a condition, worth another try, perhaps done, or refused. Decided here only."""

from enum import StrEnum

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectTimeoutError,
    EndpointConnectionError,
    HTTPClientError,
    ProxyConnectionError,
)
from botocore.parsers import ResponseParserError

FAILURES = (ClientError, BotoCoreError, ResponseParserError)
"""Everything boto3's clients raise."""

Failure = ClientError | BotoCoreError | ResponseParserError


class Verdict(StrEnum):
    """CONFLICT: a condition did not hold. AGAIN: nothing was done, busy or not reached. LOST: perhaps done, no answer.
    REFUSED: nothing was done and trying again will not help."""

    CONFLICT = "conflict"
    AGAIN = "again"
    LOST = "lost"
    REFUSED = "refused"


_NOT_SENT = (EndpointConnectionError, ConnectTimeoutError, ProxyConnectionError)
_CONFLICT_CODES = frozenset({"ConditionalCheckFailedException", "ConditionalCheckFailed", "PreconditionFailed"})
_BUSY_CODES = frozenset({
    "ConditionalRequestConflict", "ProvisionedThroughputExceeded", "ProvisionedThroughputExceededException",
    "RequestLimitExceeded", "SlowDown", "Throttling", "ThrottlingError", "ThrottlingException", "TooManyRequestsException",
    "TransactionConflict", "TransactionConflictException", "TransactionInProgressException",
})


def code_of(error: Failure) -> str:
    """AWS's error code; the exception's name when AWS did not answer."""
    if isinstance(error, ClientError):
        return str(error.response.get("Error", {}).get("Code", "no code"))
    return type(error).__name__


def reasons_of(error: Failure) -> set[str]:
    """The codes of a cancelled transaction, one a change; "None" stands for a change that had no objection."""
    reasons = error.response.get("CancellationReasons", []) if isinstance(error, ClientError) else []
    return {str(reason.get("Code")) for reason in reasons}


def verdict_of(error: Failure) -> Verdict:
    """What an error means for the request it answers."""
    if not isinstance(error, ClientError):
        if isinstance(error, _NOT_SENT):
            return Verdict.AGAIN
        return Verdict.LOST if isinstance(error, HTTPClientError | ResponseParserError) else Verdict.REFUSED
    code = code_of(error)
    if code == "TransactionCanceledException":
        return _verdict_of_reasons(reasons_of(error))
    if code in _CONFLICT_CODES:
        return Verdict.CONFLICT
    if code in _BUSY_CODES:
        return Verdict.AGAIN
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    return Verdict.LOST if status >= 500 else Verdict.REFUSED


def _verdict_of_reasons(codes: set[str]) -> Verdict:
    if codes & _CONFLICT_CODES:
        return Verdict.CONFLICT
    objections = codes - {"None"}
    return Verdict.AGAIN if objections and objections <= _BUSY_CODES else Verdict.REFUSED
