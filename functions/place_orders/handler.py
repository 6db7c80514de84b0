"""Before the open: places the session's planned orders, each exactly once."""

from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.typing import LambdaContext

from closebell.wiring.invocation import Event, invoke
from closebell.wiring.place_orders import build_place_orders

logger = Logger(service="place_orders")


@logger.inject_lambda_context
def handler(event: Event, context: LambdaContext) -> dict[str, object]:
    """Run once for the scheduled instant in `event`; errors are raised so that Lambda and its alarms see them."""
    return invoke(build_place_orders(), event, logger)
