"""After the close: decides for every symbol and plans the next session."""

from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.typing import LambdaContext

from closebell.wiring.generate_signals import build_generate_signals
from closebell.wiring.invocation import Event, invoke

logger = Logger(service="generate_signals")


@logger.inject_lambda_context
def handler(event: Event, context: LambdaContext) -> dict[str, object]:
    """Run once for the scheduled instant in `event`; errors are raised so that Lambda and its alarms see them."""
    return invoke(build_generate_signals(), event, logger)
