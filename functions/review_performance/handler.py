"""After the close: records equity and what each strategy earned."""

from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.typing import LambdaContext

from closebell.wiring.invocation import Event, invoke
from closebell.wiring.review_performance import build_review_performance

logger = Logger(service="review_performance")


@logger.inject_lambda_context
def handler(event: Event, context: LambdaContext) -> dict[str, object]:
    """Run once for the scheduled instant in `event`; errors are raised so that Lambda and its alarms see them."""
    return invoke(build_review_performance(), event, logger)
