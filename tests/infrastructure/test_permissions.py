"""Who may do what, asserted on the transformed template: one role per function, named actions on named resources."""

import re
from typing import Any

import pytest

from tests.infrastructure.transformed import (
    FUNCTIONS,
    RESEARCH,
    ROOT,
    TRADERS,
    block,
    functions_that_may,
    grants,
    listed,
    properties,
    resources,
    role_of,
    source,
    statements,
    texts,
)

ADAPTERS = ROOT / "layers" / "core" / "closebell" / "adapters"

# The actions behind the calls that the adapters make, with the transaction's own operations.
ACTIONS_OF_CALL = {
    "get_item": "dynamodb:GetItem",
    "batch_get_item": "dynamodb:BatchGetItem",
    "query": "dynamodb:Query",
    "put_item": "dynamodb:PutItem",
    "delete_item": "dynamodb:DeleteItem",
    "transact_write_items": "dynamodb:ConditionCheckItem",
    "get_object": "s3:GetObject",
    "put_object": "s3:PutObject",
    "publish": "sns:Publish",
    "send_email": "ses:SendEmail",
    "get_parameter": "ssm:GetParameter",
}
OPERATORS_CALLS = {"describe_stacks"}
"""Made by the command line with its owner's credentials, never by a function."""

ADAPTERS_OF_FUNCTIONS = ("dynamodb", "s3", "sns", "ses", "ssm", "cloudformation")


def test_every_function_has_a_role_of_its_own() -> None:
    roles = [role_of(function) for function in (*FUNCTIONS, RESEARCH)]
    assert len(set(roles)) == len(FUNCTIONS) + 1
    for role in roles:
        trust = properties(role)["AssumeRolePolicyDocument"]["Statement"]
        assert [statement["Principal"] for statement in trust] == [{"Service": "lambda.amazonaws.com"}]


def test_there_are_no_roles_but_those_the_schedules_and_the_sweeps() -> None:
    assert set(resources("AWS::IAM::Role")) == {*map(role_of, (*FUNCTIONS, RESEARCH)), "ScheduleRole", "SweepRole"}


def test_no_action_is_a_wildcard() -> None:
    for role in resources("AWS::IAM::Role"):
        assert list(statements(role))
        assert not [grant for grant in grants(role) if "*" in grant.action or not re.fullmatch(r"[a-z0-9]+:\w+", grant.action)]
        assert all("NotAction" not in statement and "NotResource" not in statement for statement in statements(role))


def test_no_resource_is_a_wildcard_but_objects_of_the_archive_and_runs_of_the_sweep() -> None:
    """Whose names nobody knows beforehand."""
    objects = [{"Fn::Sub": f"${{ArchiveBucket.Arn}}/{prefix}*"} for prefix in ("", "sweeps/")]
    own_runs = "arn:${AWS::Partition}:states:${AWS::Region}:${AWS::AccountId}:execution:${AWS::StackName}-sweep:*"
    for role in resources("AWS::IAM::Role"):
        for grant in grants(role):
            known = grant.resource in [*objects, {"Fn::Sub": own_runs}]
            assert known or not any("*" in text for text in texts(grant.resource)), (role, grant)


def test_no_policy_comes_from_aws() -> None:
    """A managed policy of AWS, or a policy template of SAM, grants more than is named here."""
    for role in resources("AWS::IAM::Role").values():
        assert all(set(policy) == {"Ref"} for policy in role["Properties"].get("ManagedPolicyArns", []))
    functions = [resource for resource in source()["Resources"].values() if resource["Type"] == "AWS::Serverless::Function"]
    assert not [function for function in functions if "Policies" in function["Properties"]]


def test_only_the_traders_read_the_trading_key() -> None:
    assert functions_that_may("ssm:GetParameter", "TradingKeyParameter") == TRADERS
    told = {function for function in FUNCTIONS if "TRADING_KEY_PARAMETER" in variables(function)}
    assert told == TRADERS


def test_only_the_code_of_the_traders_asks_for_the_trading_key() -> None:
    wiring = (ROOT / "layers" / "core" / "closebell" / "wiring").glob("*.py")
    texts_of = {path.stem: path.read_text(encoding="utf-8") for path in wiring}
    assert {module for module, text in texts_of.items() if "trading_key_parameter" in text} == {"brokerage"}
    assert {module for module, text in texts_of.items() if "closebell.wiring.brokerage import" in text} == TRADERS


def test_each_function_may_do_what_it_is_for_and_no_more() -> None:
    assert functions_that_may("ssm:GetParameter", "DataKeyParameter") == {"generate_signals"}
    assert functions_that_may("ses:SendEmail", "identity") == {"send_newsletter"}
    assert functions_that_may("s3:PutObject", "ArchiveBucket") == {"generate_signals", "send_newsletter"}
    assert functions_that_may("dynamodb:PutItem", "ControlTable") == TRADERS
    assert functions_that_may("dynamodb:PutItem", "JournalTable") == set(FUNCTIONS)
    assert functions_that_may("sns:Publish", "AlertsTopic") == set(FUNCTIONS)


def test_nobody_may_delete_what_must_last() -> None:
    for action in ("dynamodb:DeleteItem", "dynamodb:DeleteTable", "s3:DeleteObject"):
        for lasting in ("JournalTable", "ControlTable", "ArchiveBucket"):
            assert not functions_that_may(action, lasting)


@pytest.mark.parametrize("function", [*FUNCTIONS, RESEARCH])
def test_a_function_writes_its_own_log_only(function: str) -> None:
    logs = [grant.resource for grant in grants(role_of(function)) if grant.action == "logs:PutLogEvents"]
    assert logs == [{"Fn::GetAtt": [f"{block(function)}Logs", "Arn"]}]


def test_a_backtest_touches_the_sweeps_in_the_archive_and_nothing_of_the_desk() -> None:
    sweeps, archive = {"Fn::Sub": "${ArchiveBucket.Arn}/sweeps/*"}, {"Fn::GetAtt": ["ArchiveBucket", "Arn"]}
    given = [grant for grant in grants(role_of(RESEARCH)) if not grant.action.startswith("logs:")]
    assert given == [
        ("s3:GetObject", sweeps), ("s3:PutObject", sweeps), ("s3:ListBucket", archive),
        ("sqs:SendMessage", {"Fn::GetAtt": ["RunDeadLetters", "Arn"]}),
    ]  # fmt: skip


def test_the_sweep_starts_backtests_and_its_own_points_only() -> None:
    starts = {"lambda:InvokeFunction", "states:StartExecution"}
    started = [grant.resource for grant in grants("SweepRole") if grant.action in starts]
    name = "${AWS::StackName}-sweep"
    own = "arn:${AWS::Partition}:states:${AWS::Region}:${AWS::AccountId}:stateMachine:" + name
    assert started == [{"Fn::GetAtt": ["RunBacktest", "Arn"]}, {"Fn::Sub": own}]
    assert properties("Sweep")["StateMachineName"] == {"Fn::Sub": name}


def test_the_schedules_may_start_the_functions_and_nothing_else() -> None:
    started = {grant.resource["Fn::GetAtt"][0] for grant in grants("ScheduleRole") if grant.action == "lambda:InvokeFunction"}
    assert started == set(map(block, FUNCTIONS))
    assert {grant.action for grant in grants("ScheduleRole")} == {"lambda:InvokeFunction", "sqs:SendMessage"}


def test_what_the_adapters_call_is_granted() -> None:
    """A call that no role allows fails on AWS only: local AWS does not look at policies."""
    granted = {grant.action for function in FUNCTIONS for grant in grants(role_of(function))}
    calls = {
        call
        for module in ADAPTERS_OF_FUNCTIONS
        for call in re.findall(r"client\.(\w+)[(,]", (ADAPTERS / f"{module}.py").read_text(encoding="utf-8"))
        if call not in OPERATORS_CALLS
    }
    assert calls == ACTIONS_OF_CALL.keys()
    assert {ACTIONS_OF_CALL[call] for call in calls} <= granted


def test_reading_what_is_absent_from_the_archive_is_no_refusal() -> None:
    """Without s3:ListBucket S3 answers 403 for an object that does not exist, and an absent document would look forbidden."""
    assert functions_that_may("s3:ListBucket", "ArchiveBucket") == functions_that_may("s3:GetObject", "ArchiveBucket")


def variables(function: str) -> dict[str, Any]:
    found: dict[str, Any] = properties(block(function))["Environment"]["Variables"]
    return found


COMMON = {
    "CLOSEBELL_ENVIRONMENT", "CLOSEBELL_CODE_VERSION", "JOURNAL_TABLE", "BOOK_TABLE", "CONTROL_TABLE", "ALERTS_TOPIC_ARN",
    "POWERTOOLS_SERVICE_NAME", "POWERTOOLS_METRICS_NAMESPACE", "LOG_LEVEL",
}
TRADING = {"TRADING_KEY_PARAMETER", "ALPACA_TRADING_URL", "ALPACA_DATA_URL"}
OWN = {
    "generate_signals": {"ARCHIVE_BUCKET", "DATA_KEY_PARAMETER", "ALPACA_TRADING_URL", "ALPACA_DATA_URL", "VIX_HISTORY_URL"},
    "send_newsletter": {"ARCHIVE_BUCKET", "MAIL_FROM", "MAIL_TO", "ALPACA_TRADING_URL"},
    "place_orders": TRADING,
    "reconcile": TRADING,
    "review_performance": set(),
    "watch_schedule": set(),
    RESEARCH: {"ARCHIVE_BUCKET"},
}


@pytest.mark.parametrize("function", [*FUNCTIONS, RESEARCH])
def test_a_function_is_told_what_it_needs_and_no_more(function: str) -> None:
    assert variables(function).keys() == COMMON | OWN[function]


def test_every_managed_policy_of_the_stack_is_attached_to_all_functions() -> None:
    for name in resources("AWS::IAM::ManagedPolicy"):
        assert all({"Ref": name} in listed(properties(role_of(function))["ManagedPolicyArns"]) for function in FUNCTIONS)
