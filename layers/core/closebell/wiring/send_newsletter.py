"""Builds `send_newsletter`."""

from functools import cache

from closebell.adapters import aws_clients
from closebell.adapters.exchange_calendar import ExchangeCalendar
from closebell.adapters.ses import SesMailer
from closebell.app.send_newsletter import SendNewsletter
from closebell.wiring.desk import archive, journal, run_log, settings


@cache
def build_send_newsletter() -> SendNewsletter:
    """The use case over AWS, as the environment names it. Raises ConfigurationError."""
    chosen = settings()
    recipients = tuple(address.strip() for address in chosen.require("mail_to").split(",") if address.strip())
    mailer = SesMailer(chosen.require("mail_from"), recipients, aws_clients.sesv2())
    return SendNewsletter(
        run_log("send_newsletter"),
        journal(),
        archive(),
        mailer,
        ExchangeCalendar(),
        chosen.closebell_environment,
        chosen.source_note,
        chosen.closebell_code_version,
    )
