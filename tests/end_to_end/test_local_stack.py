"""Local AWS: what it acknowledged is there after any end, nothing outlives its parent, and only loopback is open."""

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from infra.local.aws import LocalAws
from infra.local.deploy import DeployFailed, Deployment, deploy
from tests.end_to_end.local_stack import alive, descendants, eventually, python, write_project

GONE_S = 5.0


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "aws"


@pytest.fixture
def aws(folder: Path) -> Iterator[LocalAws]:
    with LocalAws(folder) as running:
        yield running


@pytest.fixture
def template(tmp_path: Path) -> Path:
    return write_project(tmp_path / "project")


def put_up(aws: LocalAws, template: Path, **parameters: str) -> Deployment:
    return deploy(aws, "stack", template, parameters, template.parent / "build")


def invoke(aws: LocalAws, deployment: Deployment, event: dict[str, Any]) -> tuple[Any, str | None]:
    reply = aws.client("lambda").invoke(FunctionName=deployment.physical_ids["Greet"], Payload=json.dumps(event).encode())
    return json.loads(reply["Payload"].read()), reply.get("FunctionError")


def kill(aws: LocalAws) -> set[int]:
    """End the server as `kill -9` does and give the processes that were below it."""
    below = descendants(aws.pid)
    os.kill(aws.pid, signal.SIGKILL)
    aws.stop()
    return below


def table(aws: LocalAws, name: str = "things") -> Any:
    client = aws.client("dynamodb")
    client.create_table(
        TableName=name, BillingMode="PAY_PER_REQUEST",
        KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "pk", "AttributeType": "S"}],
    )
    return client


def item(aws: LocalAws, pk: str, name: str = "things") -> dict[str, Any] | None:
    reply: dict[str, Any] = aws.client("dynamodb").get_item(TableName=name, Key={"pk": {"S": pk}}, ConsistentRead=True)
    return reply.get("Item")


def test_an_acknowledged_write_survives_kill_9(aws: LocalAws, folder: Path) -> None:
    table(aws).put_item(TableName="things", Item={"pk": {"S": "kept"}, "n": {"N": "0.1"}})
    kill(aws)
    with LocalAws(folder) as again:
        assert item(again, "kept") == {"pk": {"S": "kept"}, "n": {"N": "0.1"}}


def test_conditional_writes_and_counters_are_repeated_once_each_and_in_order(aws: LocalAws, folder: Path) -> None:
    client = table(aws)
    lock = {"TableName": "things", "ConditionExpression": "attribute_not_exists(pk)"}
    client.put_item(**lock, Item={"pk": {"S": "lock"}, "owner": {"S": "first"}})
    with pytest.raises(ClientError, match="ConditionalCheckFailed"):
        client.put_item(**lock, Item={"pk": {"S": "lock"}, "owner": {"S": "second"}})
    count = {"UpdateExpression": "ADD n :one", "ExpressionAttributeValues": {":one": {"N": "1"}}}
    for _ in range(3):
        client.transact_write_items(TransactItems=[{"Update": {"TableName": "things", "Key": {"pk": {"S": "counter"}}, **count}}])
    client.delete_item(TableName="things", Key={"pk": {"S": "gone"}})
    kill(aws)
    with LocalAws(folder) as again:
        kill(again)
    with LocalAws(folder) as third:
        assert item(third, "lock") == {"pk": {"S": "lock"}, "owner": {"S": "first"}}
        assert item(third, "counter") == {"pk": {"S": "counter"}, "n": {"N": "3"}}


def test_an_entry_cut_off_by_the_kill_is_ignored_and_what_follows_is_kept(aws: LocalAws, folder: Path) -> None:
    client = table(aws)
    client.put_item(TableName="things", Item={"pk": {"S": "whole"}})
    kill(aws)
    (log,) = (folder / "state").glob("requests-*.log")
    with log.open("ab") as torn:
        torn.write(b"\x00\x00\x10\x00torn")
    with LocalAws(folder) as again:
        again.client("dynamodb").put_item(TableName="things", Item={"pk": {"S": "later"}})
        kill(again)
    with LocalAws(folder) as third:
        assert item(third, "whole")
        assert item(third, "later")


def test_parameters_objects_and_versions_survive_kill_9(aws: LocalAws, folder: Path) -> None:
    s3, ssm = aws.client("s3"), aws.client("ssm")
    s3.create_bucket(Bucket="archive")
    s3.put_bucket_versioning(Bucket="archive", VersioningConfiguration={"Status": "Enabled"})
    for text in (b"one", b"two"):
        s3.put_object(Bucket="archive", Key="mails/1.html", Body=text)
    ssm.put_parameter(Name="/key", Value="v1", Type="SecureString")
    ssm.put_parameter(Name="/key", Value="v2", Type="SecureString", Overwrite=True)
    kill(aws)
    with LocalAws(folder) as again:
        assert again.client("s3").get_object(Bucket="archive", Key="mails/1.html")["Body"].read() == b"two"
        assert len(again.client("s3").list_object_versions(Bucket="archive")["Versions"]) == 2
        parameter = again.client("ssm").get_parameter(Name="/key", WithDecryption=True)["Parameter"]
        assert (parameter["Value"], parameter["Version"]) == ("v2", 2)


def test_a_deployed_stack_and_what_its_function_wrote_survive_kill_9(aws: LocalAws, folder: Path, template: Path) -> None:
    deployment = put_up(aws, template)
    invoke(aws, deployment, {"pk": "written by the function"})
    kill(aws)
    with LocalAws(folder) as again:
        assert not put_up(again, template).changed
        assert item(again, "written by the function", deployment.outputs["TableName"])
        assert invoke(again, deployment, {})[1] is None


def test_a_write_into_what_somebody_just_deployed_by_hand_survives_kill_9(aws: LocalAws, folder: Path) -> None:
    properties = {
        "TableName": "things", "BillingMode": "PAY_PER_REQUEST", "KeySchema": [{"AttributeName": "pk", "KeyType": "HASH"}],
        "AttributeDefinitions": [{"AttributeName": "pk", "AttributeType": "S"}],
    }
    body = json.dumps({"Resources": {"Things": {"Type": "AWS::DynamoDB::Table", "Properties": properties}}})
    cloudformation = aws.client("cloudformation")
    cloudformation.create_stack(StackName="by-hand", TemplateBody=body)
    cloudformation.get_waiter("stack_create_complete").wait(StackName="by-hand", WaiterConfig={"Delay": 1})
    aws.client("dynamodb").put_item(TableName="things", Item={"pk": {"S": "kept"}})
    kill(aws)
    with LocalAws(folder) as again:
        assert item(again, "kept")


def test_a_function_sees_its_layer_and_the_runtimes_packages_and_nothing_else(aws: LocalAws, template: Path) -> None:
    deployment = put_up(aws, template)
    answer, error = invoke(aws, deployment, {})
    assert error is None
    assert (answer["said"], answer["layer"]) == ("hello", 7)
    answer, error = invoke(aws, deployment, {"import": "pytest"})
    assert error == "Unhandled"
    assert "No module named 'pytest'" in answer["errorMessage"]


def test_a_function_that_raises_keeps_its_process_and_says_what_it_raised(aws: LocalAws, template: Path) -> None:
    deployment = put_up(aws, template)
    before, _ = invoke(aws, deployment, {})
    answer, error = invoke(aws, deployment, {"raise": "no bars"})
    after, _ = invoke(aws, deployment, {})
    assert (answer["errorMessage"], error) == ("ValueError: no bars", "Unhandled")
    assert before["pid"] == after["pid"]


def test_changed_code_and_changed_parameters_are_deployed_again(aws: LocalAws, template: Path) -> None:
    put_up(aws, template)
    assert not put_up(aws, template).changed
    (template.parent / "layer" / "from_the_layer.py").write_text("VALUE = 8\n")
    deployment = put_up(aws, template, Greeting="good evening")
    answer, _ = invoke(aws, deployment, {})
    assert (answer["said"], answer["layer"]) == ("good evening", 8)


def test_a_resource_that_cannot_be_made_is_named_with_its_reason(aws: LocalAws, template: Path) -> None:
    wrong = "  Wrong: {Type: AWS::SSM::Parameter, Properties: {Type: Bogus, Value: v}}"
    template.write_text(template.read_text().replace("Resources:", f"Resources:\n{wrong}"))
    with pytest.raises(DeployFailed, match=r"Wrong .AWS::SSM::Parameter.: .*Bogus"):
        put_up(aws, template)


def test_nothing_listens_outside_loopback(aws: LocalAws, template: Path) -> None:
    deployment = put_up(aws, template)
    invoke(aws, deployment, {})
    ours = {aws.pid, *descendants(aws.pid)}
    listening = subprocess.run(["ss", "-Hltnup"], capture_output=True, text=True, check=True).stdout.splitlines()
    addresses = [line.split()[4] for line in listening if any(f"pid={pid}," in line for pid in ours)]
    assert addresses == [f"127.0.0.1:{aws.port}"]


def test_kill_9_of_the_server_ends_a_function_in_the_middle_of_its_work(aws: LocalAws, template: Path) -> None:
    deployment = put_up(aws, template)
    invoke(aws, deployment, {})
    aws.client("lambda").invoke(FunctionName=deployment.physical_ids["Greet"], Payload=b'{"hang": 15}', InvocationType="Event")
    below = kill(aws)
    assert below
    assert eventually(lambda: not alive(below), GONE_S)


STARTER = """
import sys, time
from pathlib import Path
from infra.local.aws import LocalAws
aws = LocalAws(Path(sys.argv[1])).start()
client = aws.client("ssm")
client.put_parameter(Name="/acknowledged", Value="yes", Type="String")
print(aws.pid, flush=True)
time.sleep(60)
"""


def test_kill_9_of_the_runner_stops_everything_below_it_in_order(folder: Path) -> None:
    with python(STARTER, str(folder)) as runner:
        assert runner.stdout is not None
        server = int(runner.stdout.readline())
        runner.kill()
    assert eventually(lambda: not alive({server}), GONE_S)
    left_to_repeat = [log for log in (folder / "state").glob("requests-*.log") if log.stat().st_size]
    assert left_to_repeat == []
    with LocalAws(folder) as again:
        assert again.client("ssm").get_parameter(Name="/acknowledged")["Parameter"]["Value"] == "yes"


def test_a_stop_leaves_no_temporary_files(aws: LocalAws, folder: Path, template: Path) -> None:
    invoke(aws, put_up(aws, template), {})
    aws.stop()
    assert list((folder / "tmp").iterdir()) == []
