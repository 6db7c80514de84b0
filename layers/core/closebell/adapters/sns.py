"""Alerts through an SNS topic; subscribers filter by the attribute `priority`."""

import unicodedata
from typing import TYPE_CHECKING

from closebell.adapters.aws_errors import FAILURES, code_of
from closebell.model.errors import ConfigurationError, StoreUnavailable
from closebell.model.operations import Alert

if TYPE_CHECKING:
    from mypy_boto3_sns import SNSClient

SUBJECT_CHARS_MAX = 100
MESSAGE_BYTES_MAX = 200_000
"""SNS takes 256 KiB with attributes."""


class SnsNotifier:
    """`ports.operations.Notifier` on one topic. A lost answer is StoreUnavailable: an alert may come twice, never not at all.

    Raises
    ------
    ConfigurationError
        The topic has no ARN.
    """

    def __init__(self, topic_arn: str, client: "SNSClient") -> None:
        if not topic_arn:
            raise ConfigurationError("no ARN is set for the alert topic")
        self._topic_arn = topic_arn
        self._client = client

    def publish(self, alert: Alert) -> None:
        try:
            self._client.publish(
                TopicArn=self._topic_arn, Subject=subject_of(alert), Message=message_of(alert),
                MessageAttributes={
                    "priority": {"DataType": "String", "StringValue": alert.priority.value},
                    "alert_id": {"DataType": "String", "StringValue": alert.alert_id},
                },
            )
        except FAILURES as error:
            raise StoreUnavailable(f"alert {alert.alert_id} to {self._topic_arn}: {code_of(error)}: {error}") from error


def subject_of(alert: Alert) -> str:
    """What SNS takes as a subject: at most 100 printable ASCII characters on one line."""
    plain = unicodedata.normalize("NFKD", f"[closebell {alert.priority}] {alert.subject}").encode("ascii", "replace").decode()
    printable = "".join(character if character.isprintable() else " " for character in plain)
    return " ".join(printable.split())[:SUBJECT_CHARS_MAX].rstrip()


def message_of(alert: Alert) -> str:
    """The subject in full, the body, the runbook, and when it arose."""
    parts = [alert.subject, "", alert.body, "", f"{alert.created_at:%Y-%m-%d %H:%M} UTC, alert {alert.alert_id}"]
    if alert.runbook:
        parts.append(f"What to do: {alert.runbook}")
    return "\n".join(parts).encode()[:MESSAGE_BYTES_MAX].decode(errors="ignore")
