"""On request, fanned out by the sweep's state machine: trades one point of a sweep on past sessions."""

from collections.abc import Mapping

from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.typing import LambdaContext

from closebell.research_wiring.run_backtest import build_run_backtest

logger = Logger(service="run_backtest")


@logger.inject_lambda_context
def handler(event: Mapping[str, object], context: LambdaContext) -> dict[str, object]:
    """Trade the point in `event`; errors are raised so that the sweep records them with the point."""
    return build_run_backtest()(event)
