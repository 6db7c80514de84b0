"""Alerts through SNS, the newsletter through SES, the key from SSM: what arrives, and what can never get in or out."""

import io
import json
import logging
import urllib.request
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from typing import Any
from uuid import uuid4

import pytest
from boto3.session import Session
from botocore.exceptions import ClientError, EndpointConnectionError, ReadTimeoutError

from closebell.adapters import aws_clients
from closebell.adapters.ses import SesMailer, mime_message
from closebell.adapters.sns import SUBJECT_CHARS_MAX, SnsNotifier, message_of, subject_of
from closebell.adapters.ssm import BrokerKey, read_broker_key
from closebell.adapters.system_clock import SystemClock
from closebell.model.errors import ConfigurationError, OutcomeUnknown, StoreUnavailable
from closebell.model.operations import InlineImage, Mail, Priority
from tests.contract.records import alert

pytest_plugins = ["tests.contract.aws_stack"]

PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256))
SENDER, READER = "closebell <desk@example.com>", "owner@example.com"
MAIL = Mail(
    subject="Buy AAPL – 2 plans", html='<p>Hä</p><img src="cid:equity">', text="Hä\n" + "x" * 2000,
    images=(InlineImage(content_id="equity", png=PNG), InlineImage(content_id="drawdown", png=PNG[:50])),
)
SECRET = "canary-secret-0123456789"


def client_error(code: str) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": "m"}}, "Op")


class FailingClient:
    """A client whose every operation raises."""

    def __init__(self, failure: Exception) -> None:
        self._failure = failure

    def __getattr__(self, name: str) -> Any:
        def fail(**_: object) -> None:
            raise self._failure

        return fail


# --- alerts ------------------------------------------------------------------------------------------------------------------

def test_an_alert_arrives_with_its_priority(aws: Session) -> None:
    sns, sqs = aws_clients.sns(aws), aws.client("sqs")
    name = uuid4().hex[:8]
    topic = sns.create_topic(Name=name)["TopicArn"]
    queue = sqs.create_queue(QueueName=name)["QueueUrl"]
    queue_arn = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=queue_arn)
    details = {"priority": Priority.URGENT, "runbook": "phantom.md"}
    urgent = alert(1, body="48 phantom positions\nnothing was sold").model_copy(update=details)
    SnsNotifier(topic, sns).publish(urgent)
    message = json.loads(sqs.receive_message(QueueUrl=queue, WaitTimeSeconds=5)["Messages"][0]["Body"])
    assert message["Subject"] == "[closebell urgent] subject"
    assert "48 phantom positions\nnothing was sold" in message["Message"]
    assert message["Message"].endswith("What to do: phantom.md")
    assert message["MessageAttributes"]["priority"]["Value"] == "urgent"
    assert message["MessageAttributes"]["alert_id"]["Value"] == urgent.alert_id


@pytest.mark.parametrize("subject", [
    "plain", "Ä – 日本 💥", "two\r\nBcc: x@example.com\n\tlines", "x" * 300, "", "\x00\x1b[31m", "  a  ",
])
def test_a_subject_is_always_one_short_line_of_printable_ascii(subject: str) -> None:
    made = subject_of(alert(1).model_copy(update={"subject": subject}))
    assert made.isascii()
    assert made.isprintable()
    assert made.startswith("[closebell info]")
    assert len(made) <= SUBJECT_CHARS_MAX
    assert made == made.strip()


def test_a_long_alert_fits_in_a_message(aws: Session) -> None:
    sns = aws_clients.sns(aws)
    long = alert(1, body="é" * 200_000)
    SnsNotifier(sns.create_topic(Name=uuid4().hex[:8])["TopicArn"], sns).publish(long)
    assert len(message_of(long).encode()) <= 200_000


def test_an_absent_topic_or_a_lost_answer_is_unavailable_so_that_the_outbox_tries_again(aws: Session) -> None:
    with pytest.raises(StoreUnavailable, match="absent"):
        SnsNotifier("arn:aws:sns:us-east-1:000000000000:absent", aws_clients.sns(aws)).publish(alert(1))
    for failure in (ReadTimeoutError(endpoint_url="x"), EndpointConnectionError(endpoint_url="x"), client_error("Throttling")):
        with pytest.raises(StoreUnavailable):
            SnsNotifier("arn", FailingClient(failure)).publish(alert(1))  # type: ignore[arg-type]  # fails on purpose
    with pytest.raises(ConfigurationError):
        SnsNotifier("", aws_clients.sns(aws))


# --- mail --------------------------------------------------------------------------------------------------------------------

def sent_messages(session: Session) -> list[dict[str, Any]]:
    endpoint = aws_clients.sesv2(session).meta.endpoint_url
    with urllib.request.urlopen(f"{endpoint}/_ministack/ses/messages", timeout=5) as reply:  # noqa: S310 - loopback
        by_account: dict[str, list[dict[str, Any]]] = json.load(reply)["messages"]
    return [message for messages in by_account.values() for message in messages]


def test_the_newsletter_goes_out_through_ses(aws: Session) -> None:
    client = aws_clients.sesv2(aws)
    client.create_email_identity(EmailIdentity="example.com")
    subject = f"Buy AAPL {uuid4().hex}"
    recipients = [READER, "Second <second@example.com>"]
    message_id = SesMailer(SENDER, recipients, client).send(MAIL.model_copy(update={"subject": subject}))
    (sent,) = [message for message in sent_messages(aws) if message["Subject"] == subject]
    assert (sent["MessageId"], sent["Source"], sent["To"]) == (message_id, SENDER, recipients)
    assert sent["BodyText"].startswith("Hä")


def test_the_message_is_text_and_html_with_its_pictures() -> None:
    parsed = message_from_bytes(mime_message(MAIL, SENDER, [READER]).as_bytes(), policy=default)
    assert isinstance(parsed, EmailMessage)
    assert parsed["Subject"] == MAIL.subject
    assert parsed.get_content_type() == "multipart/alternative"
    text, related = parsed.iter_parts()
    assert text.get_content_type() == "text/plain"
    assert text.get_content().rstrip().replace("\r\n", "\n") == MAIL.text
    assert related.get_content_type() == "multipart/related"
    html, *pictures = related.iter_parts()
    assert html.get_content().rstrip() == MAIL.html
    assert [(picture["Content-ID"], picture.get_content_type(), picture.get_content()) for picture in pictures] == [
        ("<equity>", "image/png", PNG), ("<drawdown>", "image/png", PNG[:50]),
    ]
    assert {picture.get_content_disposition() for picture in pictures} == {"inline"}
    assert parsed["List-Unsubscribe"] == "<mailto:desk@example.com?subject=unsubscribe>"


def test_a_mail_without_pictures_is_text_and_html() -> None:
    parsed = message_from_bytes(mime_message(MAIL.model_copy(update={"images": ()}), SENDER, [READER]).as_bytes(), policy=default)
    assert [part.get_content_type() for part in parsed.walk()] == ["multipart/alternative", "text/plain", "text/html"]


@pytest.mark.parametrize("subject", [
    "a\r\nBcc: thief@example.com", "a\nBcc: thief@example.com", "a\rBcc: thief@example.com", "a\u2028Bcc: thief@example.com",
    "a\x0bBcc: thief@example.com", "=?utf-8?q?a=0D=0ABcc=3A_thief=40example.com?=",
    "= ?=?utf-8?b?YQ0KQmNjOiBhQGIuY28=?=", "x" * 500 + "\r\n\r\nbody",
])
def test_a_subject_cannot_add_a_header(subject: str) -> None:
    """The encoded ones go through the email package's own decoder."""
    raw = mime_message(MAIL.model_copy(update={"subject": subject}), SENDER, [READER]).as_bytes()
    assert b"\nBcc" not in raw
    parsed = message_from_bytes(raw, policy=default)
    assert sorted(parsed.keys()) == sorted(["Subject", "From", "To", "List-Unsubscribe", "MIME-Version", "Content-Type"])
    assert [part.get_content_type() for part in parsed.walk()][:2] == ["multipart/alternative", "text/plain"]


@pytest.mark.parametrize("content_id", ["a\r\nX-Evil: 1", "a>b", "", "a b"])
def test_a_content_id_that_could_break_a_header_is_refused(content_id: str) -> None:
    with pytest.raises(ValueError, match="content id"):
        mime_message(MAIL.model_copy(update={"images": (InlineImage(content_id=content_id, png=PNG),)}), SENDER, [READER])


@pytest.mark.parametrize("address", [
    "", "nobody", "a@b", "a@example.com\r\nBcc: b@example.com", "a b@example.com", "@example.com", "a@exa mple.com",
    "a@example.com, b@example.com", "=?utf-8?q?a=0D=0A?= <a@example.com>", "a <b <c@example.com>>",
])
def test_what_is_no_address_is_refused(address: str, aws: Session) -> None:
    client = aws_clients.sesv2(aws)
    with pytest.raises(ConfigurationError):
        SesMailer(address, [READER], client)
    with pytest.raises(ConfigurationError):
        SesMailer(SENDER, [READER, address], client)
    with pytest.raises(ConfigurationError):
        SesMailer(SENDER, [], client)


def test_a_lost_answer_means_that_the_mail_may_be_out() -> None:
    lost = FailingClient(ReadTimeoutError(endpoint_url="x"))
    with pytest.raises(OutcomeUnknown):
        SesMailer(SENDER, [READER], lost).send(MAIL)  # type: ignore[arg-type]  # fails on purpose
    unreached = EndpointConnectionError(endpoint_url="x")
    for failure in (client_error("MessageRejected"), client_error("TooManyRequestsException"), unreached):
        with pytest.raises(StoreUnavailable):
            SesMailer(SENDER, [READER], FailingClient(failure)).send(MAIL)  # type: ignore[arg-type]  # fails on purpose


# --- the key -----------------------------------------------------------------------------------------------------------------

def put(session: Session, value: str, kind: str = "SecureString") -> str:
    name = f"/closebell/{uuid4().hex[:8]}/broker-key"
    aws_clients.ssm(session).put_parameter(Name=name, Value=value, Type=kind)  # type: ignore[arg-type]  # a test's own text
    return name


@pytest.fixture(params=["moto", "ministack"])
def ssm_session(request: pytest.FixtureRequest) -> Session:
    session: Session = request.getfixturevalue("aws" if request.param == "ministack" else "moto_aws")
    return session


def test_the_key_is_read_and_shows_itself_nowhere(ssm_session: Session, caplog: pytest.LogCaptureFixture) -> None:
    name = put(ssm_session, json.dumps({"key_id": "CANARYID", "secret_key": f" {SECRET}\n"}))
    captured = io.StringIO()
    handler = logging.StreamHandler(captured)
    logging.getLogger().addHandler(handler)
    try:
        with caplog.at_level(logging.DEBUG):
            caplog.clear()
            captured.truncate(0)
            key = read_broker_key(name, aws_clients.ssm(ssm_session))
    finally:
        logging.getLogger().removeHandler(handler)
    assert (key.key_id, key.secret_key) == ("CANARYID", SECRET)
    for said in (repr(key), str(key), f"{key}", captured.getvalue(), caplog.text):
        assert SECRET not in said
        assert "CANARYID" not in said
    assert key == BrokerKey("CANARYID", SECRET)


@pytest.mark.parametrize("value", [
    SECRET, f'{{"key_id": "{SECRET}"', json.dumps({"key_id": SECRET}), json.dumps({"key_id": "", "secret_key": SECRET}),
    json.dumps({"key_id": 7, "secret_key": SECRET}), json.dumps([SECRET]),
    json.dumps({"key_id": "a", "secret_key": SECRET, "x": 1}),
])
def test_a_parameter_of_another_shape_is_refused_unquoted_with_the_mend(ssm_session: Session, value: str) -> None:
    name = put(ssm_session, value)
    with pytest.raises(ConfigurationError, match="aws ssm put-parameter") as raised:
        read_broker_key(name, aws_clients.ssm(ssm_session))
    assert name in str(raised.value)
    assert SECRET not in f"{raised.value!r}{raised.value.__cause__!r}{raised.value.__context__!r}"


def test_a_missing_or_unencrypted_parameter_is_refused_with_the_mend(ssm_session: Session) -> None:
    client = aws_clients.ssm(ssm_session)
    with pytest.raises(ConfigurationError, match=r"no parameter /closebell/absent.*put-parameter .*--name /closebell/absent"):
        read_broker_key("/closebell/absent", client)
    plain = put(ssm_session, json.dumps({"key_id": "a", "secret_key": SECRET}), "String")
    with pytest.raises(ConfigurationError, match="not encrypted"):
        read_broker_key(plain, client)
    with pytest.raises(ConfigurationError, match="no name is set"):
        read_broker_key("", client)


def test_an_unreachable_parameter_store_is_unavailable() -> None:
    for failure in (client_error("AccessDeniedException"), EndpointConnectionError(endpoint_url="x")):
        with pytest.raises(StoreUnavailable, match="/closebell/key"):
            read_broker_key("/closebell/key", FailingClient(failure))  # type: ignore[arg-type]  # fails on purpose


def test_the_system_clock_is_aware_utc_and_does_not_go_back() -> None:
    clock = SystemClock()
    first, second = clock.now(), clock.now()
    assert first.utcoffset() is not None
    assert first.isoformat().endswith("+00:00")
    assert first <= second
