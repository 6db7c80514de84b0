"""Local AWS for closebell: starts and stops the server, and hands out boto3 clients for it."""

import os
import socket
import subprocess
import time
import urllib.error
import urllib.request
from functools import cache
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config

from infra.local.lifeline import start_child, stop_child

REGION = "us-east-1"
ACCOUNT = "000000000000"
START_TIMEOUT_S = 60.0


class LocalAwsFailed(Exception):
    """The server did not start or has ended; the message names its log."""


def remembered_port(file: Path) -> int:
    """A free loopback port; the one used last time where possible, so that addresses stay what they were."""
    for candidate in (int(file.read_text()) if file.exists() else 0, 0):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", candidate))
            except OSError:
                continue
            port: int = probe.getsockname()[1]
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(str(port))
        return port
    raise LocalAwsFailed("no loopback port is free")


class LocalAws:
    """ministack in a process of its own; `folder` holds its state, the functions' files and its log."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()
        self.port = 0
        self._child: subprocess.Popen[bytes] | None = None

    @property
    def endpoint_url(self) -> str:
        """Where every service answers."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        """The server's process. Raises LocalAwsFailed when it was not started."""
        if self._child is None:
            raise LocalAwsFailed("local AWS was not started")
        return self._child.pid

    def start(self) -> "LocalAws":
        """Start the server and wait until it answers. Raises LocalAwsFailed."""
        temporary = self.folder / "tmp"
        temporary.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.port = remembered_port(self.folder / "port")
        self._child = start_child("infra.local.aws_server", [], self._environment(temporary), self.log)
        deadline = time.monotonic() + START_TIMEOUT_S
        while not self._answers():
            if self._child.poll() is not None or time.monotonic() > deadline:
                self.stop()
                raise LocalAwsFailed(f"local AWS did not start; its log says why: {self.log}")
            time.sleep(0.05)
        return self

    @property
    def log(self) -> Path:
        """What the server had to say."""
        return self.folder / "aws.log"

    def _environment(self, temporary: Path) -> dict[str, str]:
        """ministack's settings: loopback only, and every listener beside the one port switched off."""
        return {
            "CLOSEBELL_AWS_DIR": str(self.folder),
            "GATEWAY_PORT": str(self.port),
            "BIND_HOST": "127.0.0.1",
            "PERSIST_STATE": "1",
            "STATE_DIR": str(self.folder / "state" / "work"),
            "S3_PERSIST": "1",
            "S3_DATA_DIR": str(self.folder / "s3"),
            "TMPDIR": str(temporary),
            "LOG_LEVEL": "WARNING",
            "MINISTACK_HOST": "127.0.0.1",
            "MINISTACK_REGION": REGION,
            "MINISTACK_ACCOUNT_ID": ACCOUNT,
            "DOCKER_HOST": f"unix://{self.folder}/no-docker.sock",
            "SFTP_ENABLED": "0",
            "IOT_MTLS_ENABLED": "0",
            "LAMBDA_EXECUTOR": "local",
            **credentials(self.endpoint_url),
        }

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.endpoint_url}/_ministack/health", timeout=1) as reply:  # noqa: S310 - our own http
                return bool(reply.status == 200)
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            return False

    def checkpoint(self) -> None:
        """Save the whole state now; to be called after a deployment."""
        request = urllib.request.Request(f"{self.endpoint_url}/_closebell/checkpoint", method="POST")  # noqa: S310 - our own http
        with urllib.request.urlopen(request, timeout=60):  # noqa: S310 - our own http
            pass

    def stop(self) -> None:
        """Save, end the functions' processes and the server; safe to call twice."""
        if self._child is not None:
            stop_child(self._child)
            self._child = None

    def __enter__(self) -> "LocalAws":
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def client(self, service: str, read_timeout_s: float = 120.0) -> Any:
        """A boto3 client of this stack; it does not retry, so that a failure is seen as it is."""
        return _client(service, self.endpoint_url, read_timeout_s)


@cache
def _client(service: str, endpoint_url: str, read_timeout_s: float) -> Any:
    config = Config(
        connect_timeout=5, read_timeout=read_timeout_s, retries={"total_max_attempts": 1}, s3={"addressing_style": "path"}
    )
    make: Any = boto3.client  # typed by literal service names, of which this is a variable
    return make(
        service, endpoint_url=endpoint_url, region_name=REGION, config=config,
        aws_access_key_id="test", aws_secret_access_key="test",  # noqa: S106 - ministack takes any
    )


def credentials(endpoint_url: str) -> dict[str, str]:
    """The environment in which any AWS client talks to local AWS and nothing else."""
    return {
        "AWS_ENDPOINT_URL": endpoint_url,
        "AWS_REGION": REGION,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_SESSION_TOKEN": "",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    }
