"""Every quarter of an hour: says what did not run."""

from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.typing import LambdaContext

from closebell.wiring.invocation import Event, invoke
from closebell.wiring.watch_schedule import build_watch_schedule

logger = Logger(service="watch_schedule")


@logger.inject_lambda_context
def handler(event: Event, context: LambdaContext) -> dict[str, object]:
    """Run once for the scheduled instant in `event`; errors are raised so that Lambda and its alarms see them."""
    return invoke(build_watch_schedule(), event, logger)
