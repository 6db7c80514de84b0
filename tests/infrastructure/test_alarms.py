"""Every way in which the day can go wrong wakes somebody, and tells them which page to open."""

import ast
import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from aws_lambda_powertools import Logger

from closebell.model.instruments import Market
from closebell.model.operations import RunRecord, RunState
from closebell.model.schedule import SCHEDULES
from closebell.wiring.desk import settings
from closebell.wiring.invocation import METRIC_OF_COUNT, invoke
from tests.infrastructure.transformed import FUNCTIONS, ROOT, block, properties, resources, source

RUNBOOKS = ROOT / "docs" / "runbooks"
APP = ROOT / "layers" / "core" / "closebell" / "app"
AT = datetime(2018, 10, 2, 13, 35, tzinfo=UTC)
ONCE_A_SESSION = {(run.function, str(run.market)) for run in SCHEDULES if run.once_a_session}


def alarms() -> dict[str, dict[str, Any]]:
    return {name: resource["Properties"] for name, resource in resources("AWS::CloudWatch::Alarm").items()}


def test_every_alarm_reaches_the_owner() -> None:
    assert all(alarm["AlarmActions"] == [{"Ref": "AlertsTopic"}] for alarm in alarms().values())
    ways = resources("AWS::SNS::Subscription").values()
    assert {way["Properties"]["Protocol"]: way["Condition"] for way in ways} == {"email": "MailsAlerts", "sms": "TextsAlerts"}


def test_every_alarm_names_a_runbook_that_exists() -> None:
    for name, alarm in alarms().items():
        page = re.search(r"Runbook (docs/runbooks/[\w-]+\.md)$", alarm["AlarmDescription"])
        assert page, name
        assert (ROOT / page[1]).is_file(), name


def test_every_runbook_says_what_it_means_what_to_look_at_and_what_to_do() -> None:
    for page in RUNBOOKS.glob("*.md"):
        assert re.findall(r"^## (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE) == [
            "What it means", "What to look at", "What to do",
        ], page.name


def test_every_alert_that_the_code_raises_has_a_runbook_and_every_runbook_a_use() -> None:
    raised = {page for path in APP.glob("*.py") for page in _runbooks(ast.parse(path.read_text(encoding="utf-8")))}
    named = {re.sub(r".*/([\w-]+)\.md$", r"\1", alarm["AlarmDescription"]) for alarm in alarms().values()}
    assert raised | named == {page.stem for page in RUNBOOKS.glob("*.md")}


def _runbooks(tree: ast.Module) -> Iterator[str]:
    """The runbooks a module names: in `runbook=...`, and in calls of its own functions that have such a parameter."""
    places = {
        function.name: [argument.arg for argument in function.args.args if argument.arg != "self"].index("runbook")
        for function in ast.walk(tree)
        if isinstance(function, ast.FunctionDef) and any(argument.arg == "runbook" for argument in function.args.args)
    }
    for call in ast.walk(tree):
        if isinstance(call, ast.Call):
            name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
            given = [keyword.value for keyword in call.keywords if keyword.arg == "runbook"]
            given += call.args[places[name]:][:1] if name in places else []
            assert given or name != "Alert", f"line {call.lineno}: an alert without a runbook"
            for value in given:
                yield from _pages(value)


def _pages(runbook: ast.expr) -> Iterator[str]:
    """A constant is one page; one put together from a function's name and an ending is six; a parameter is its callers'."""
    match runbook:
        case ast.Constant(value=str(page)):
            yield page
        case ast.JoinedStr(values=[ast.FormattedValue(), ast.Constant(value=str(end))]):
            yield from (f"{function}{end}" for function in FUNCTIONS)
        case ast.Name(id="runbook"):
            return
        case _:
            raise AssertionError(f"line {runbook.lineno}: cannot tell which runbook this is")


@pytest.mark.parametrize(
    ("alarm", "queue"), [("UndeliveredRunsAlarm", "ScheduleDeadLetters"), ("FailedRunsAlarm", "RunDeadLetters")]
)
def test_one_message_in_a_dead_letter_queue_is_an_alarm(alarm: str, queue: str) -> None:
    given = alarms()[alarm]
    assert given["Dimensions"] == [{"Name": "QueueName", "Value": {"Fn::GetAtt": [queue, "QueueName"]}}]
    assert (given["MetricName"], given["ComparisonOperator"], given["Threshold"]) == (
        "ApproximateNumberOfMessagesVisible", "GreaterThanThreshold", 0,
    )


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_run_near_its_limits_is_an_alarm(function: str) -> None:
    """80 % of the time-out, 90 % of the memory, from Lambda's own report line; one metric for all six functions."""
    given, strain = properties(block(function)), properties(f"{block(function)}Strain")
    assert strain["LogGroupName"] == {"Ref": f"{block(function)}Logs"}
    limits = re.search(r"durationMs >= (\d+) \|\| .*maxMemoryUsedMB >= (\d+)\) }", strain["FilterPattern"])
    assert limits
    assert (int(limits[1]), int(limits[2])) == (given["Timeout"] * 800, given["MemorySize"] * 9 // 10)
    assert strain["FilterPattern"].startswith('{ $.type = "platform.report" && ')
    metric = strain["MetricTransformations"][0]
    watched = alarms()["StrainedRunsAlarm"]
    assert (metric["MetricNamespace"], metric["MetricName"]) == (watched["Namespace"], watched["MetricName"])


def watched_runs(alarm: str) -> dict[str, dict[str, Any]]:
    """The `RunCompleted` metrics an alarm is made of, by the id that its expression uses."""
    return {
        metric["Id"]: {item["Name"]: item["Value"] for item in metric["MetricStat"]["Metric"]["Dimensions"]}
        for metric in alarms()[alarm]["Metrics"]
        if "MetricStat" in metric
    }


@pytest.mark.parametrize(("alarm", "market"), [("MissedRunsAlarm", "us_equity"), ("MissedCryptoRunsAlarm", "crypto")])
def test_every_function_that_runs_once_a_session_has_a_dead_mans_switch(alarm: str, market: str) -> None:
    runs = watched_runs(alarm)
    assert {(dimensions["function_name"], dimensions["market"]) for dimensions in runs.values()} >= {
        run for run in ONCE_A_SESSION if run[1] == market
    }
    expression = alarms()[alarm]["Metrics"][-1]["Expression"]
    for metric, dimensions in runs.items():
        assert dimensions["function_name"] == metric
        assert f"FILL({metric}, 0)" in expression


def test_silence_is_heard_unless_the_owner_says_no() -> None:
    assert source()["Parameters"]["SilenceAlarms"]["Default"] == "yes"
    conditions = source()["Conditions"]
    assert conditions["HearsSilence"] == {"Fn::Equals": [{"Ref": "SilenceAlarms"}, "yes"]}
    assert conditions["HearsCryptoSilence"] == {"Fn::And": [{"Condition": "HearsSilence"}, {"Condition": "TradesCrypto"}]}
    stand = {name: resource.get("Condition") for name, resource in resources("AWS::CloudWatch::Alarm").items()}
    assert {name: condition for name, condition in stand.items() if condition} == {
        "MissedRunsAlarm": "HearsSilence", "SilentWatchAlarm": "HearsSilence", "MissedCryptoRunsAlarm": "HearsCryptoSilence",
    }


def test_somebody_watches_the_watch() -> None:
    assert [dimensions["function_name"] for dimensions in watched_runs("SilentWatchAlarm").values()] == ["watch_schedule"]


@pytest.mark.parametrize("alarm", ["MissedRunsAlarm", "MissedCryptoRunsAlarm", "SilentWatchAlarm"])
def test_silence_is_the_alarm(alarm: str) -> None:
    given = alarms()[alarm]
    assert given["TreatMissingData"] == "breaching"
    assert (given["ComparisonOperator"], given["Threshold"]) == ("LessThanThreshold", 1)
    assert [metric.get("ReturnData", True) for metric in given["Metrics"]].count(True) == 1


def test_metrics_of_two_stacks_in_one_account_do_not_mix() -> None:
    """A paper desk that runs must not hide a live one that does not: the stack's name is part of every metric of ours."""
    stack = {"Ref": "AWS::StackName"}
    for name, alarm in alarms().items():
        if "Metrics" in alarm:
            assert all(dimensions["service"] == stack for dimensions in watched_runs(name).values())
        elif alarm["Namespace"] == "Closebell":
            assert alarm["Dimensions"] == [{"Name": "service", "Value": stack}]
        else:
            assert alarm["Namespace"] in ("AWS/SQS", stack)


def test_the_alarms_on_our_metrics_listen_to_exactly_what_the_code_sends(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """CloudWatch matches name and dimensions exactly; one dimension too many and an alarm hears nothing for ever."""
    monkeypatch.setenv("POWERTOOLS_SERVICE_NAME", "closebell-paper")
    settings.cache_clear()
    record = RunRecord(
        function="reconcile", market=Market.US_EQUITY, scheduled_at=AT, state=RunState.COMPLETED, attempts_count=1, started_at=AT,
        code_version="1", counts=dict.fromkeys(METRIC_OF_COUNT, 3),
    )
    invoke(lambda _: record, {"scheduled_at": f"{AT:%Y-%m-%dT%H:%M:%SZ}", "market": "us_equity"}, Logger(level="ERROR"))
    settings.cache_clear()
    sent = {}
    for line in capsys.readouterr().out.splitlines():
        metrics = json.loads(line)["_aws"]["CloudWatchMetrics"][0]
        sent[metrics["Metrics"][0]["Name"]] = (metrics["Namespace"], set(metrics["Dimensions"][0]))
    assert sent == {metric["MetricName"]: (metric["Namespace"], _names(metric)) for metric in _our_metrics()}


def _our_metrics() -> Iterator[dict[str, Any]]:
    """Every metric in our namespace that an alarm listens to."""
    for alarm in alarms().values():
        listened = [metric["MetricStat"]["Metric"] for metric in alarm.get("Metrics", []) if "MetricStat" in metric]
        yield from (metric for metric in listened or [alarm] if metric["Namespace"] == "Closebell")


def _names(metric: dict[str, Any]) -> set[str]:
    return {dimension["Name"] for dimension in metric["Dimensions"]}
