"""The template runs the day that `closebell.model.schedule` describes, and each run knows what it was meant for."""

import json
import re
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from closebell.model.instruments import Market
from closebell.model.operations import Trigger
from closebell.model.schedule import SCHEDULES
from tests.infrastructure.transformed import FUNCTIONS, ROOT, block, properties, resources

EVENTS = sorted((ROOT / "examples" / "events").glob("*.json"))


def schedules() -> dict[tuple[str, str], dict[str, Any]]:
    """The schedules by logical id of the function and market."""
    found = {}
    for schedule in resources("AWS::Scheduler::Schedule").values():
        target = schedule["Properties"]["Target"]
        found[target["Arn"]["Fn::GetAtt"][0], json.loads(target["Input"])["market"]] = schedule["Properties"]
    return found


def test_the_schedules_are_those_of_the_model() -> None:
    wanted = {(block(run.function), str(run.market)): (f"cron({run.cron} *)", run.zone) for run in SCHEDULES}
    found = {key: (item["ScheduleExpression"], item["ScheduleExpressionTimezone"]) for key, item in schedules().items()}
    assert found == wanted
    assert len(resources("AWS::Scheduler::Schedule")) == len(SCHEDULES)


def test_every_event_carries_the_scheduled_instant_and_the_market() -> None:
    for (_, market), schedule in schedules().items():
        assert json.loads(schedule["Target"]["Input"]) == {"scheduled_at": "<aws.scheduler.scheduled-time>", "market": market}


def test_schedules_fire_on_the_minute_and_have_no_name_that_a_second_stack_would_take() -> None:
    for schedule in schedules().values():
        assert schedule["FlexibleTimeWindow"] == {"Mode": "OFF"}
        assert "Name" not in schedule


def test_only_the_crypto_schedules_depend_on_trading_crypto() -> None:
    for (_, market), schedule in schedules().items():
        crypto = {"Fn::If": ["TradesCrypto", "ENABLED", "DISABLED"]}
        assert schedule.get("State", "ENABLED") == (crypto if market == "crypto" else "ENABLED")


@pytest.mark.parametrize("function", ["place_orders", "reconcile"])
def test_a_late_order_is_not_delivered(function: str) -> None:
    for market in Market:
        assert schedules()[block(function), market]["Target"]["RetryPolicy"]["MaximumEventAgeInSeconds"] <= 300
    invoked = properties(f"{block(function)}EventInvokeConfig")
    assert invoked["MaximumEventAgeInSeconds"] <= 300
    assert invoked["MaximumRetryAttempts"] == 2, "Lambda repeats after one minute and two more: within the five"


def test_a_delivery_that_fails_is_kept() -> None:
    for schedule in schedules().values():
        assert schedule["Target"]["DeadLetterConfig"] == {"Arn": {"Fn::GetAtt": ["ScheduleDeadLetters", "Arn"]}}
        assert schedule["Target"]["RetryPolicy"]["MaximumRetryAttempts"] > 0


def test_a_repeating_run_is_too_old_when_the_next_one_comes() -> None:
    """A retried `reconcile` or `watch_schedule` that is older than its interval would only race the next."""
    for run in SCHEDULES:
        step = re.match(r"0/(\d+) ", run.cron)
        if step:
            interval_s = int(step[1]) * 60
            assert schedules()[block(run.function), run.market]["Target"]["RetryPolicy"]["MaximumEventAgeInSeconds"] <= interval_s


def test_every_function_has_an_example_event_for_each_market() -> None:
    names = {f"{function}{market}.json" for function in FUNCTIONS for market in ("", ".crypto")}
    assert {path.name for path in EVENTS} == names


@pytest.mark.parametrize("path", EVENTS, ids=lambda path: path.name)
def test_example_events_are_what_the_schedule_would_send(path: Path) -> None:
    event = json.loads(path.read_text(encoding="utf-8"))
    function, _, market = path.stem.partition(".")
    assert event["market"] == (market or "us_equity")
    schedule = schedules()[block(function), event["market"]]
    assert event.keys() == json.loads(schedule["Target"]["Input"]).keys()
    trigger = Trigger.model_validate(event)
    assert event["scheduled_at"] == f"{trigger.scheduled_at:%Y-%m-%dT%H:%M:%SZ}"
    assert _fires(schedule["ScheduleExpression"], trigger.scheduled_at.astimezone(trigger.market.zone)), event["scheduled_at"]


def _fires(expression: str, local: datetime) -> bool:
    """Whether `cron(minute hour day month weekday *)` of the forms we use includes a local instant."""
    minute, hour, *_, weekday, _ = expression.removeprefix("cron(").removesuffix(")").split()
    start, _, step = minute.partition("/")
    first, _, last = hour.partition("-")
    return (
        (local.minute % int(step) == int(start) if step else local.minute == int(start))
        and (hour == "*" or int(first) <= local.hour <= int(last or first))
        and (weekday == "?" or local.weekday() < 5)
    )
