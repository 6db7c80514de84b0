"""Every few minutes: makes the books equal to the broker's and protects what was filled."""

from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.typing import LambdaContext

from closebell.wiring.invocation import Event, invoke
from closebell.wiring.reconcile import build_reconcile

logger = Logger(service="reconcile")


@logger.inject_lambda_context
def handler(event: Event, context: LambdaContext) -> dict[str, object]:
    """Run once for the scheduled instant in `event`; errors are raised so that Lambda and its alarms see them."""
    return invoke(build_reconcile(), event, logger)
