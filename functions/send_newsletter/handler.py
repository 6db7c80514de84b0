"""After the decisions: mails what was decided and why."""

from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.typing import LambdaContext

from closebell.wiring.invocation import Event, invoke
from closebell.wiring.send_newsletter import build_send_newsletter

logger = Logger(service="send_newsletter")


@logger.inject_lambda_context
def handler(event: Event, context: LambdaContext) -> dict[str, object]:
    """Run once for the scheduled instant in `event`; errors are raised so that Lambda and its alarms see them."""
    return invoke(build_send_newsletter(), event, logger)
