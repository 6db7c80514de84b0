"""What the stack consists of and how it fails: functions, state, queues, parameters."""

import re
from pathlib import Path

import pytest

from tests.infrastructure.transformed import FUNCTIONS, RESEARCH, ROOT, block, properties, resources, source, transformed

TABLES = ("JournalTable", "BookTable", "ControlTable")


def test_every_function_folder_is_deployed_and_nothing_else() -> None:
    folders = {path.parent.name for path in (ROOT / "functions").glob("*/handler.py")}
    deployed = {
        name: Path(resource["Properties"]["CodeUri"])
        for name, resource in source()["Resources"].items()
        if resource["Type"] == "AWS::Serverless::Function"
    }
    assert {name: f"{path}" for name, path in deployed.items()} == {block(folder): f"functions/{folder}" for folder in folders}
    assert tuple(path.name for path in deployed.values()) == (*FUNCTIONS, RESEARCH)


@pytest.mark.parametrize("function", [*FUNCTIONS, RESEARCH])
def test_a_function_runs_our_handler_on_both_layers(function: str) -> None:
    given = properties(block(function))
    assert (given["Runtime"], given["Architectures"], given["Handler"]) == ("python3.13", ["arm64"], "handler.handler")
    layers = [transformed()["Resources"][layer["Ref"]]["Properties"]["LayerName"] for layer in given["Layers"]]
    assert layers == ["DepsLayer", "CoreLayer"]


@pytest.mark.parametrize("function", [*FUNCTIONS, RESEARCH])
def test_a_failed_run_is_kept(function: str) -> None:
    invoked = properties(f"{block(function)}EventInvokeConfig")
    assert invoked["DestinationConfig"]["OnFailure"]["Destination"] == {"Fn::GetAtt": ["RunDeadLetters", "Arn"]}
    assert 60 <= invoked["MaximumEventAgeInSeconds"] <= 3600


@pytest.mark.parametrize("function", [*FUNCTIONS, RESEARCH])
def test_logs_end_and_are_json(function: str) -> None:
    logging = properties(block(function))["LoggingConfig"]
    assert logging["LogGroup"] == {"Ref": f"{block(function)}Logs"}
    assert logging["LogFormat"] == "JSON"
    assert properties(f"{block(function)}Logs")["RetentionInDays"] == 90


def test_no_function_outlives_the_interval_of_its_schedule() -> None:
    assert properties("Reconcile")["Timeout"] < 300
    assert properties("WatchSchedule")["Timeout"] < 900


@pytest.mark.parametrize("function", ["place_orders", "reconcile"])
def test_two_runs_that_trade_do_not_overlap_where_the_account_allows_it(function: str) -> None:
    reserved = properties(block(function))["ReservedConcurrentExecutions"]
    assert reserved == {"Fn::If": ["ReservesConcurrency", 1, {"Ref": "AWS::NoValue"}]}


def test_a_new_account_can_deploy_the_defaults() -> None:
    """Its concurrency limit is 10, of which AWS lets nobody reserve any."""
    assert source()["Parameters"]["ReservesConcurrency"]["Default"] == "no"


def test_there_are_three_tables() -> None:
    assert tuple(resources("AWS::DynamoDB::Table")) == TABLES


@pytest.mark.parametrize("table", TABLES)
def test_a_table_outlives_the_stack_and_can_be_restored(table: str) -> None:
    resource = transformed()["Resources"][table]
    assert (resource["DeletionPolicy"], resource["UpdateReplacePolicy"]) == ("Retain", "Retain")
    given = resource["Properties"]
    assert given["PointInTimeRecoverySpecification"] == {"PointInTimeRecoveryEnabled": True}
    assert given["DeletionProtectionEnabled"] is True
    assert given["BillingMode"] == "PAY_PER_REQUEST"
    assert {key["AttributeName"]: key["KeyType"] for key in given["KeySchema"]} == {"pk": "HASH", "sk": "RANGE"}
    assert {key["AttributeName"]: key["AttributeType"] for key in given["AttributeDefinitions"]} == {"pk": "S", "sk": "S"}
    assert "TimeToLiveSpecification" not in given, "a record of trading never expires"


def test_the_archive_is_private_and_outlives_the_stack() -> None:
    resource = transformed()["Resources"]["ArchiveBucket"]
    assert (resource["DeletionPolicy"], resource["UpdateReplacePolicy"]) == ("Retain", "Retain")
    given = resource["Properties"]
    assert set(given["PublicAccessBlockConfiguration"].values()) == {True}
    assert given["VersioningConfiguration"] == {"Status": "Enabled"}
    assert given["BucketEncryption"]["ServerSideEncryptionConfiguration"]
    assert not any("Expiration" in key for rule in given["LifecycleConfiguration"]["Rules"] for key in rule)


def test_queues_keep_what_failed_for_two_weeks_encrypted() -> None:
    for queue in resources("AWS::SQS::Queue").values():
        assert queue["Properties"] == {"MessageRetentionPeriod": 14 * 86_400, "SqsManagedSseEnabled": True}


def test_paper_is_the_default_and_live_is_asked_for_by_name() -> None:
    environment = source()["Parameters"]["Environment"]
    assert (environment["Default"], environment["AllowedValues"]) == ("paper", ["paper", "live"])
    told = [properties(block(function))["Environment"]["Variables"]["CLOSEBELL_ENVIRONMENT"] for function in FUNCTIONS]
    assert all(environment in ({"Ref": "Environment"}, "paper") for environment in told)


def test_live_has_a_trading_key_of_its_own() -> None:
    rule = source()["Rules"]["LiveHasItsOwnTradingKey"]
    assert rule["RuleCondition"] == {"Fn::Equals": [{"Ref": "Environment"}, "live"]}
    default = source()["Parameters"]["TradingKeyParameter"]["Default"]
    assert rule["Assertions"][0]["Assert"] == {"Fn::Not": [{"Fn::Equals": [{"Ref": "TradingKeyParameter"}, default]}]}
    assert "paper" in default


def test_no_parameter_holds_a_secret_or_an_address_of_somebody() -> None:
    for name, parameter in source()["Parameters"].items():
        default = str(parameter.get("Default", ""))
        assert "@" not in default, name
        assert not re.search(r"\b[PA]K[A-Z0-9]{16,}\b", default), name


def test_nothing_is_always_on() -> None:
    dear = {"AWS::EC2::VPC", "AWS::EC2::NatGateway", "AWS::RDS::DBInstance", "AWS::KMS::Key", "AWS::SecretsManager::Secret"}
    assert not dear & {resource["Type"] for resource in transformed()["Resources"].values()}
    assert all("VpcConfig" not in properties(block(function)) for function in FUNCTIONS)
