"""The archive's contract, over the one in memory and S3 (moto in one thread, ministack with many)."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import uuid4

import pytest
from boto3.session import Session
from botocore.exceptions import ClientError, ConnectionClosedError

from closebell.adapters import aws_clients
from closebell.adapters.s3 import S3Archive
from closebell.model.errors import ConfigurationError, JournalConflict, StoreUnavailable
from closebell.ports.operations import Archive
from closebell.simulation.memory_archive import MemoryArchive

pytest_plugins = ["tests.contract.aws_stack"]

NAME = "decisions/us_equity/2018-10-01.json"
THREADS = 16


@pytest.fixture(params=["memory", "moto", "ministack"])
def archive(request: pytest.FixtureRequest) -> Archive:
    if request.param == "memory":
        return MemoryArchive()
    return on_s3(request.getfixturevalue("aws" if request.param == "ministack" else "moto_aws"))


@pytest.fixture(params=["memory", "ministack"])
def shared_archive(request: pytest.FixtureRequest) -> Archive:
    return MemoryArchive() if request.param == "memory" else on_s3(request.getfixturevalue("aws"))


def on_s3(session: Session, wrap: Callable[[Any], Any] = lambda client: client) -> S3Archive:
    client, bucket = aws_clients.s3(session), f"archive-{uuid4().hex[:8]}"
    client.create_bucket(Bucket=bucket)
    return S3Archive(bucket, wrap(client))


def test_an_absent_document_reads_as_none(archive: Archive) -> None:
    assert archive.get(NAME) is None


@pytest.mark.parametrize("content", [b"", b"{}", bytes(range(256)) * 5_000], ids=len)
def test_a_document_reads_back_byte_for_byte(archive: Archive, content: bytes) -> None:
    archive.put(NAME, content, "application/json")
    assert archive.get(NAME) == content


def test_writing_the_same_again_is_no_error_and_other_content_a_conflict(archive: Archive) -> None:
    archive.put(NAME, b"first", "text/plain")
    archive.put(NAME, b"first", "text/plain")
    with pytest.raises(JournalConflict, match=NAME):
        archive.put(NAME, b"second", "text/plain")
    assert archive.get(NAME) == b"first"


def test_names_are_apart(archive: Archive) -> None:
    archive.put("mail/2018-10-01.html", b"one", "text/html")
    archive.put("mail/2018-10-02.html", b"two", "text/html")
    assert (archive.get("mail/2018-10-01.html"), archive.get("mail/2018-10-02.html")) == (b"one", b"two")
    assert archive.get("mail/") is None


def test_of_sixteen_writers_of_one_name_one_wins(shared_archive: Archive) -> None:
    def write(number: int) -> bool:
        try:
            shared_archive.put(NAME, b"by %d" % number, "text/plain")
        except JournalConflict:
            return False
        return True

    with ThreadPoolExecutor(THREADS) as pool:
        outcomes = list(pool.map(write, range(THREADS)))
    assert outcomes.count(True) == 1
    assert shared_archive.get(NAME) == b"by %d" % outcomes.index(True)


def test_sixteen_writers_of_the_same_content_all_succeed(shared_archive: Archive) -> None:
    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(lambda _: shared_archive.put(NAME, b"same", "text/plain"), range(THREADS)))
    assert shared_archive.get(NAME) == b"same"


def test_a_document_keeps_its_type(aws: Session) -> None:
    archive = on_s3(aws)
    archive.put("mail/a.html", b"<p>", "text/html; charset=utf-8")
    assert aws_clients.s3(aws).head_object(Bucket=archive._bucket, Key="mail/a.html")["ContentType"] == "text/html; charset=utf-8"


class LosingClient:
    """An S3 client whose first `put_object` fails, before or after it was done."""

    def __init__(self, client: Any, failure: Exception, *, is_done: bool) -> None:
        self._client = client
        self._failure: Exception | None = failure
        self._is_done = is_done

    def put_object(self, **request: Any) -> Any:
        failure, self._failure = self._failure, None
        if failure is None or self._is_done:
            self._client.put_object(**request)
        if failure is not None:
            raise failure

    def get_object(self, **request: Any) -> Any:
        return self._client.get_object(**request)


LOST = ConnectionClosedError(endpoint_url="http://x")


def test_after_a_lost_answer_the_content_decides(moto_aws: Session) -> None:
    done = on_s3(moto_aws, lambda client: LosingClient(client, LOST, is_done=True))
    done.put(NAME, b"mine", "text/plain")
    not_done = on_s3(moto_aws, lambda client: LosingClient(client, LOST, is_done=False))
    with pytest.raises(StoreUnavailable):
        not_done.put(NAME, b"mine", "text/plain")
    assert not_done.get(NAME) is None


@pytest.mark.parametrize("code", ["AccessDenied", "InvalidRequest"])
def test_a_refused_write_is_unavailable(moto_aws: Session, code: str) -> None:
    failure = ClientError({"Error": {"Code": code, "Message": "m"}, "ResponseMetadata": {"HTTPStatusCode": 403}}, "PutObject")  # type: ignore[typeddict-item]  # the rest of the metadata is not read
    archive = on_s3(moto_aws, lambda client: LosingClient(client, failure, is_done=False))
    with pytest.raises(StoreUnavailable, match=code):
        archive.put(NAME, b"x", "text/plain")


def test_a_missing_bucket_is_named(aws: Session, moto_aws: Session) -> None:
    for session in (aws, moto_aws):
        archive = S3Archive("absent-bucket-1", aws_clients.s3(session))
        with pytest.raises(StoreUnavailable, match="no bucket 'absent-bucket-1'"):
            archive.get(NAME)
        with pytest.raises(StoreUnavailable, match="no bucket 'absent-bucket-1'"):
            archive.put(NAME, b"x", "text/plain")


def test_a_bucket_without_a_name_is_refused(moto_aws: Session) -> None:
    with pytest.raises(ConfigurationError):
        S3Archive("", aws_clients.s3(moto_aws))
