"""What the log of acknowledged requests holds, and that it is read back as it was written."""

import os
from pathlib import Path

import pytest

from infra.local.write_ahead import DurableApp, LoggedRequest, Snapshots, changes_state, read_log

DYNAMODB = "DynamoDB_20120810"


def dynamodb(action: str) -> LoggedRequest:
    return LoggedRequest("POST", "/", "", [("X-Amz-Target", f"{DYNAMODB}.{action}")], b"{}")


def query(service: str, action: str) -> LoggedRequest:
    credential = f"AWS4-HMAC-SHA256 Credential=test/20181001/us-east-1/{service}/aws4_request, SignedHeaders=host, Signature=x"
    return LoggedRequest("POST", "/", "", [("Authorization", credential)], f"Action={action}&Version=1".encode())


def rest(method: str, path: str, service: str) -> LoggedRequest:
    return query(service, "")._replace(method=method, path=path, body=b"")


@pytest.mark.parametrize(
    "request_",
    [
        dynamodb("PutItem"), dynamodb("TransactWriteItems"), dynamodb("UpdateItem"), dynamodb("BatchWriteItem"),
        dynamodb("CreateTable"), query("sns", "Publish"), rest("PUT", "/bucket", "s3"),
        rest("POST", "/v2/email/outbound-emails", "ses"),
        LoggedRequest("POST", "/", "", [("X-Amz-Target", "AmazonSSM.PutParameter")], b"{}"),
    ],
)  # fmt: skip
def test_what_changes_state_is_logged(request_: LoggedRequest) -> None:
    assert changes_state(request_)


@pytest.mark.parametrize(
    "request_",
    [
        dynamodb("GetItem"), dynamodb("TransactGetItems"), dynamodb("BatchGetItem"), dynamodb("Query"), dynamodb("DescribeTable"),
        query("cloudformation", "CreateStack"), rest("PUT", "/bucket/key", "s3"),
        rest("POST", "/2015-03-31/functions/reconcile/invocations", "lambda"),
    ],
)  # fmt: skip
def test_what_changes_nothing_or_is_kept_otherwise_is_not_logged(request_: LoggedRequest) -> None:
    assert not changes_state(request_)


def test_a_log_gives_its_requests_back_up_to_the_one_that_was_cut_off(tmp_path: Path) -> None:
    first = LoggedRequest("PUT", "/a%20b", "x=%2F", [("Host", "h"), ("host", "again")], b"\x00\n{}")
    second = dynamodb("PutItem")
    log = tmp_path / "requests-0.log"
    whole = first.encode() + second.encode()
    for cut in range(len(first.encode()), len(whole)):
        log.write_bytes(whole[:cut])
        assert list(read_log(log)) == [first]
    log.write_bytes(whole)
    assert list(read_log(log)) == [first, second]


def test_a_damaged_entry_ends_the_log(tmp_path: Path) -> None:
    entries = dynamodb("PutItem").encode(), dynamodb("UpdateItem").encode()
    log = tmp_path / "requests-0.log"
    log.write_bytes(entries[0] + entries[1][:-1] + b"?")
    assert list(read_log(log)) == [dynamodb("PutItem")]


def test_a_published_snapshot_is_what_a_restart_finds_and_later_saves_do_not_touch_it(tmp_path: Path) -> None:
    snapshots = Snapshots(tmp_path)
    snapshots.restore()
    snapshots.save("dynamodb", {"tables": 1})
    snapshots.publish()
    published = (snapshots.work / "dynamodb.json").read_text()
    snapshots.save("dynamodb", {"tables": 2})
    again = Snapshots(tmp_path)
    again.restore()
    assert (again.work / "dynamodb.json").read_text() == published
    assert again.log_path.name == "requests-1.log"


def test_an_end_before_the_decisive_rename_leaves_the_old_generation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    snapshots = Snapshots(tmp_path)
    snapshots.restore()
    snapshots.save("dynamodb", {"tables": 1})
    snapshots.publish()
    snapshots.save("dynamodb", {"tables": 2})
    snapshots.log_path.write_bytes(dynamodb("PutItem").encode())

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "rename", die)
    with pytest.raises(KeyboardInterrupt):
        snapshots.publish()
    monkeypatch.undo()
    again = Snapshots(tmp_path)
    again.restore()
    assert again.generation == 1
    assert '"tables": 1' in (again.work / "dynamodb.json").read_text()
    assert list(read_log(again.log_path)) == [dynamodb("PutItem")]
    again.publish()
    assert sorted(name for name in os.listdir(tmp_path) if name.startswith("snapshot")) == ["snapshot-2"]


def test_an_entry_that_does_not_fit_on_the_disk_leaves_none_of_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half an entry would end the log there: all that is acknowledged later would be lost at the next start."""
    durable = DurableApp(tmp_path)
    durable._open_log()
    durable._append(b"whole")
    write = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, content: write(descriptor, content[:3]))
    with pytest.raises(OSError, match="full"):
        durable._append(b"does not fit")
    monkeypatch.undo()
    durable._append(b", next")
    assert durable._snapshots.log_path.read_bytes() == b"whole, next"
