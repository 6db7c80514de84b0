"""The newsletter through SES (v2), as one MIME message: text, HTML, and the pictures that the HTML shows."""

import re
from collections.abc import Sequence
from email.message import EmailMessage, MIMEPart
from email.policy import SMTP
from typing import TYPE_CHECKING

from closebell.adapters.aws_errors import FAILURES, Verdict, code_of, verdict_of
from closebell.model.errors import ConfigurationError, OutcomeUnknown, StoreUnavailable
from closebell.model.operations import Mail

if TYPE_CHECKING:
    from mypy_boto3_sesv2 import SESV2Client

_ADDRESS = r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]+@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+"
_MAILBOX = re.compile(rf"(?P<bare>{_ADDRESS})|[A-Za-z0-9 ._'-]+ <(?P<named>{_ADDRESS})>")
_CONTENT_ID = re.compile(r"(?P<name>[A-Za-z0-9._-]+)(@[A-Za-z0-9.-]+)?")


class SesMailer:
    """`ports.operations.Mailer`.

    Parameters
    ----------
    sender
        A verified address, `name@host` or `Name <name@host>`.
    recipients
        At least one; all see each other.
    client
        From `aws_clients.sesv2`.

    Raises
    ------
    ConfigurationError
        An address that is none.
    """

    def __init__(self, sender: str, recipients: Sequence[str], client: "SESV2Client") -> None:
        if not recipients:
            raise ConfigurationError("no recipient is set for the newsletter")
        for address in (sender, *recipients):
            _bare(address)
        self._sender = sender
        self._recipients = tuple(recipients)
        self._client = client

    def send(self, mail: Mail) -> str:
        """Send once.

        Raises
        ------
        OutcomeUnknown
            The answer was lost: the mail may be out.
        StoreUnavailable
            SES refused it or was not reached.
        """
        message = mime_message(mail, self._sender, self._recipients)
        try:
            reply = self._client.send_email(
                FromEmailAddress=self._sender, Destination={"ToAddresses": list(self._recipients)},
                Content={"Raw": {"Data": message.as_bytes()}},
            )
            return reply["MessageId"]
        except FAILURES as error:
            failure = error
        said = f"mail {mail.subject!r} from {self._sender}: {code_of(failure)}: {failure}"
        if verdict_of(failure) is Verdict.LOST:
            raise OutcomeUnknown(f"{said}; it may have been sent") from failure
        raise StoreUnavailable(said) from failure


def mime_message(mail: Mail, sender: str, recipients: Sequence[str]) -> EmailMessage:
    """multipart/alternative of the text and of multipart/related with the HTML and its pictures.

    Raises ValueError when a picture's content id could not stand in a header.
    """
    message = EmailMessage(policy=SMTP)
    message["Subject"] = _one_line(mail.subject)
    message["From"] = sender
    message["To"] = ", ".join(recipients)
    message["List-Unsubscribe"] = f"<mailto:{_bare(sender)}?subject=unsubscribe>"
    message.set_content(mail.text)
    message.add_alternative(mail.html, subtype="html")
    html = list(message.iter_parts())[-1]
    if not isinstance(html, MIMEPart):
        raise TypeError("the HTML part is not a MIME part")
    for image in mail.images:
        content_id = _CONTENT_ID.fullmatch(image.content_id)
        if not content_id:
            raise ValueError(f"content id {image.content_id!r} has characters that a header cannot hold")
        html.add_related(
            image.png, "image", "png", cid=f"<{image.content_id}>", disposition="inline", filename=f"{content_id['name']}.png"
        )
    return message


def _one_line(text: str) -> str:
    """A header that cannot be broken out of: no line end, no control character, and no "=?", because the email package decodes
    encoded words in what it is given, line ends included."""
    printable = "".join(character if character.isprintable() else " " for character in text.replace("=?", "= ?"))
    return " ".join(printable.split())


def _bare(address: str) -> str:
    """`name@host` of a mailbox. Raises ConfigurationError."""
    mailbox = _MAILBOX.fullmatch(address)
    if mailbox is None:
        raise ConfigurationError(f"{address!r} is no mail address: give name@host or Name <name@host>")
    return mailbox["bare"] or mailbox["named"]
