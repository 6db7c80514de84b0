"""From a schedule's event to a run and its metrics; the part that every handler shares."""

from collections.abc import Callable, Mapping

from aws_lambda_powertools import Logger, single_metric
from aws_lambda_powertools.metrics import MetricUnit
from pydantic import ValidationError

from closebell.model.errors import ConfigurationError
from closebell.model.operations import RunRecord, Trigger
from closebell.wiring.desk import settings

Event = Mapping[str, object]
METRIC_OF_COUNT = {"breaks": "Breaks", "unknown": "UnknownOrders"}
"""Run counts that alarms watch."""


def invoke(use_case: Callable[[Trigger], RunRecord], event: Event, logger: Logger) -> dict[str, object]:
    """Run a use case for an event and report it: one log line, `RunCompleted`, and the counts that alarms watch.

    Errors pass through: Lambda must see them. Raises ConfigurationError for an event that no schedule of ours sends.
    """
    trigger = read_trigger(event)
    logger.append_keys(market=trigger.market, scheduled_at=trigger.scheduled_at.isoformat())
    record = use_case(trigger)
    logger.info(record.outcome, extra={"counts": record.counts, "state": record.state, "attempts": record.attempts_count})
    _publish("RunCompleted", 1, {"function_name": record.function, "market": record.market})
    for count, name in METRIC_OF_COUNT.items():
        if record.counts.get(count):
            _publish(name, record.counts[count], {})
    return record.model_dump(mode="json")


def _publish(name: str, value: int, dimensions: Mapping[str, str]) -> None:
    """One metric, as a log line in CloudWatch's embedded format; its `service` is the stack."""
    with single_metric(name=name, unit=MetricUnit.Count, value=value, namespace="Closebell") as metric:
        for dimension, of in {"service": settings().powertools_service_name, **dimensions}.items():
            metric.add_dimension(name=dimension, value=of)


def read_trigger(event: Event) -> Trigger:
    """The event as a trigger; ConfigurationError says what it should look like."""
    fields = event if isinstance(event, Mapping) else {}
    try:
        return Trigger.model_validate({name: fields.get(name) for name in ("market", "scheduled_at")})
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors())
        raise ConfigurationError(
            f"the event is not one of ours ({problems}): send "
            '{"scheduled_at": "2018-10-01T20:20:00Z", "market": "us_equity"}, as in examples/events'
        ) from error
