"""When the template's schedules fire, as EventBridge Scheduler reads them.

Read from the transformed template, because that is what AWS gets. Local AWS keeps schedules but neither their time zones nor
their order, so the day is computed here: every firing of every enabled schedule in true time order.
"""

import heapq
import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import PurePosixPath
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import boto3
from cronsim import CronSim
from samtranslator.parser.parser import Parser
from samtranslator.translator.translator import Translator

from closebell.model.instruments import Market
from closebell.model.schedule import SCHEDULES

SCHEDULED_TIME = "<aws.scheduler.scheduled-time>"
_REPEATED_HOUR = timedelta(hours=1, minutes=1)


LAMBDA_RETRIES_COUNT = 2
"""How often Lambda repeats a failed asynchronous run unless it is told otherwise."""


class ScheduleUnreadable(ValueError):
    """A schedule uses something this reader does not know; better no day than a wrong one."""


class Schedule(NamedTuple):
    """One enabled schedule. `cron` has five fields and is read in `zone`; `input_text` is the event before substitution.

    `retries_count` is how often Lambda repeats a run that failed, as the template's EventInvokeConfig has it.
    """

    name: str
    function_id: str
    function: str
    market: Market
    cron: str
    zone: ZoneInfo
    input_text: str
    retries_count: int = 0


class Firing(NamedTuple):
    """A schedule and the instant (UTC) it fires at."""

    at: datetime
    schedule: Schedule

    @property
    def event(self) -> str:
        """Exactly what the function receives, as JSON."""
        return self.schedule.input_text.replace(SCHEDULED_TIME, f"{self.at:%Y-%m-%dT%H:%M:%SZ}")


def read_schedules(template: Mapping[str, Any], parameters: Mapping[str, str]) -> list[Schedule]:
    """The enabled schedules, in the order in which those that fire at one instant run. Raises ScheduleUnreadable."""
    folders = {
        name: PurePosixPath(str(resource["Properties"]["CodeUri"])).name
        for name, resource in template["Resources"].items()
        if resource["Type"] == "AWS::Serverless::Function"
    }
    transformed = transform(template, parameters)
    declared = transformed.get("Parameters", {})
    values = {name: str(parameter.get("Default", "")) for name, parameter in declared.items()} | dict(parameters)
    schedules = [
        _read(name, resource["Properties"], folders)
        for name, resource in transformed["Resources"].items()
        if resource["Type"] == "AWS::Scheduler::Schedule"
        and _resolve(resource["Properties"].get("State", "ENABLED"), values, transformed.get("Conditions", {})) == "ENABLED"
    ]
    retries = {
        name: int(resource["Properties"].get("EventInvokeConfig", {}).get("MaximumRetryAttempts", LAMBDA_RETRIES_COUNT))
        for name, resource in template["Resources"].items()
        if resource["Type"] == "AWS::Serverless::Function"
    }
    schedules = [schedule._replace(retries_count=retries[schedule.function_id]) for schedule in schedules]
    order = {(run.function, run.market): place for place, run in enumerate(SCHEDULES)}
    return sorted(schedules, key=lambda schedule: order.get((schedule.function, schedule.market), len(order)))


def transform(template: Mapping[str, Any], parameters: Mapping[str, str]) -> dict[str, Any]:
    """The template as CloudFormation sees it after the SAM transform."""
    # The transform wants to see artifacts in S3 and changes what it is given.
    plain = json.loads(json.dumps(template))
    for resource in plain["Resources"].values():
        for uri in {"CodeUri", "ContentUri"} & resource.get("Properties", {}).keys():
            resource["Properties"][uri] = "s3://artifacts/code.zip"
    logging.getLogger("samtranslator.metrics.metrics").setLevel(logging.ERROR)  # it misses an endpoint for its own metrics
    translator = Translator({}, Parser(), boto_session=boto3.Session(region_name="us-east-1"))
    transformed: dict[str, Any] = translator.translate(plain, dict(parameters))
    return transformed


def _read(name: str, properties: Mapping[str, Any], folders: Mapping[str, str]) -> Schedule:
    target = properties["Target"]
    function_id, attribute = target["Arn"]["Fn::GetAtt"]
    if attribute != "Arn" or function_id not in folders:
        raise ScheduleUnreadable(f"{name} does not target a function of the template")
    input_text = target["Input"]
    return Schedule(
        name=name,
        function_id=function_id,
        function=folders[function_id],
        market=Market(json.loads(input_text)["market"]),
        cron=five_fields(properties["ScheduleExpression"]),
        zone=ZoneInfo(properties.get("ScheduleExpressionTimezone", "UTC")),
        input_text=input_text,
    )


def five_fields(expression: str) -> str:
    """EventBridge's six cron fields as the five of cron. Raises ScheduleUnreadable.

    EventBridge has `?` for "any day", counts weekdays from SUN = 1 (cron: 0), and ends with the year, which must be `*` here.
    """
    fields = expression.removeprefix("cron(").removesuffix(")").split()
    if not expression.startswith("cron(") or len(fields) != 6 or fields[5] != "*":
        raise ScheduleUnreadable(f"{expression!r} is not cron(minute hour day month weekday *)")
    minute, hour, day, month, weekday, _ = fields
    if {day, weekday}.isdisjoint({"?"}):
        raise ScheduleUnreadable(f"{expression!r} restricts both day and weekday; EventBridge wants one of them to be ?")
    if any(character.isdigit() for character in weekday):
        raise ScheduleUnreadable(f"{expression!r} numbers its weekdays; name them: EventBridge's Sunday is 1, cron's is 0")
    return " ".join((minute, hour, day.replace("?", "*"), month, weekday.replace("?", "*")))


def _resolve(value: Any, values: Mapping[str, str], conditions: Mapping[str, Any]) -> Any:
    """A `State` with its parameters and conditions filled in."""
    match value:
        case {"Ref": name}:
            return values[name]
        case {"Fn::If": [condition, then, otherwise]}:
            return _resolve(then if _resolve({"Condition": condition}, values, conditions) else otherwise, values, conditions)
        case {"Condition": name}:
            return _resolve(conditions[name], values, conditions)
        case {"Fn::Equals": [left, right]}:
            return _resolve(left, values, conditions) == _resolve(right, values, conditions)
        case {"Fn::Not": [operand]}:
            return not _resolve(operand, values, conditions)
        case {"Fn::And": operands}:
            return all(_resolve(operand, values, conditions) for operand in operands)
        case {"Fn::Or": operands}:
            return any(_resolve(operand, values, conditions) for operand in operands)
        case str():
            return value
    raise ScheduleUnreadable(f"cannot tell whether a schedule is enabled from {value!r}")


def firings(schedules: Sequence[Schedule], start: datetime, end: datetime) -> Iterator[Firing]:
    """Every firing in start <= at < end (aware instants), by time; at one instant in the order of `schedules`."""
    streams = [((firing.at, place, firing) for firing in _fire(schedule, start, end)) for place, schedule in enumerate(schedules)]
    return (firing for _, _, firing in heapq.merge(*streams, key=lambda entry: entry[:2]))


def _fire(schedule: Schedule, start: datetime, end: datetime) -> Iterator[Firing]:
    """Local times are stepped without their zone: one that daylight saving removes is skipped, one that it repeats fires the
    first time only, as EventBridge Scheduler documents."""
    begin = start.astimezone(schedule.zone).replace(tzinfo=None, fold=0)
    # CronSim begins after its start, and the hour that is repeated in autumn lies behind a start inside its second half.
    steps = CronSim(schedule.cron, begin.replace(second=0, microsecond=0) - _REPEATED_HOUR)
    for local in steps:
        at = local.replace(tzinfo=schedule.zone).astimezone(UTC)
        if at >= end:
            return
        exists = at.astimezone(schedule.zone).replace(tzinfo=None) == local
        if exists and at >= start:
            yield Firing(at, schedule)
