"""AWS on loopback for contract tests: one ministack process a test run, made durable as the local stack makes it.

A test module names this file in `pytest_plugins` and asks for `aws` or `moto_aws`; its tables and buckets have names
of their own.
"""

from collections.abc import Iterator
from typing import Any

import pytest
from boto3.session import Session
from moto import mock_aws

from closebell.ports.journal import Journal
from closebell.simulation.memory_journal import MemoryJournal
from infra.local.aws import REGION, LocalAws
from tests.contract.aws_resources import dynamo_journal


class CachingSession(Session):
    """A boto3 session that makes each client once (that takes longer than most tests), for one address if there is one."""

    def __init__(self, endpoint_url: str | None = None) -> None:
        super().__init__(region_name=REGION, aws_access_key_id="test", aws_secret_access_key="test")
        self._endpoint_url = endpoint_url
        self._clients: dict[str, Any] = {}

    def client(self, service: str, **options: Any) -> Any:  # type: ignore[override]  # the stubs have an overload a service
        if service not in self._clients:
            self._clients[service] = super().client(service, endpoint_url=self._endpoint_url, **options)  # type: ignore[call-overload]  # ditto
        return self._clients[service]


_on_moto = CachingSession()


@pytest.fixture(scope="session")
def _aws_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalAws]:
    with LocalAws(tmp_path_factory.mktemp("aws")) as local_aws:
        yield local_aws


@pytest.fixture(scope="session")
def aws(_aws_process: LocalAws) -> Session:
    """A boto3 session whose every client talks to the local process."""
    return CachingSession(_aws_process.endpoint_url)


@pytest.fixture
def moto_aws() -> Iterator[Session]:
    """A boto3 session on moto, empty, in this thread only: under threads moto loses acknowledged writes."""
    with mock_aws():
        yield _on_moto


@pytest.fixture(params=["memory", "ministack"])
def shared_journal(request: pytest.FixtureRequest) -> Journal:
    """A journal for many threads: in memory, and on DynamoDB's own conditional writes."""
    return MemoryJournal() if request.param == "memory" else dynamo_journal(request.getfixturevalue("aws"))
