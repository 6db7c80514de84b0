"""Where a deployed function runs on this machine: a process per function, kept warm, that sees its zip and its layers only.

ministack has such a process of its own; this one replaces it for four reasons, all measured: it unpacks the layers afresh for
every function (130 MB, six times), it lets a function import whatever the host has installed (so a package missing from the
layer is not noticed), it throws the process away when a handler raises (AWS keeps it), and it waits up to 50 ms after every
invocation for log lines that never come.
"""

import hashlib
import importlib.metadata
import io
import json
import os
import select
import shutil
import subprocess
import sys
import threading
import time
import zipfile
from pathlib import Path
from typing import Any

from ministack.core import lambda_runtime
from ministack.core.responses import new_uuid
from ministack.services import lambda_svc

# What the Lambda Python runtime brings along.
RUNTIME_PACKAGES = ("boto3", "botocore", "s3transfer", "jmespath", "python-dateutil", "six", "urllib3")
BOOTSTRAP = Path(__file__).with_name("lambda_bootstrap.py")
INIT_TIMEOUT_S = 60.0


def link_runtime(folder: Path) -> Path:
    """A folder with the host's copies of the runtime's own packages and nothing else."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for package in RUNTIME_PACKAGES:
        distribution = importlib.metadata.distribution(package)
        for top in {Path(str(file)).parts[0] for file in distribution.files or () if ".." not in Path(str(file)).parts}:
            if top != "__pycache__":
                (folder / top).symlink_to(Path(str(distribution.locate_file(top))))
    return folder


class Unpacked:
    """Zips unpacked once each, by content: functions that share a layer share its files and their compiled modules."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._used: set[str] = set()

    def path(self, blob: bytes) -> Path:
        """The folder with the zip's content."""
        name = hashlib.sha256(blob).hexdigest()[:24]
        target = self._folder / name
        with self._lock:
            self._used.add(name)
            if not target.exists():
                partial = self._folder / f"{name}.partial"
                shutil.rmtree(partial, ignore_errors=True)
                with zipfile.ZipFile(io.BytesIO(blob)) as archive:
                    archive.extractall(partial)
                partial.rename(target)
        return target

    def prune(self) -> None:
        """Remove what no function of this run used."""
        for entry in self._folder.iterdir() if self._folder.exists() else ():
            if entry.name not in self._used:
                shutil.rmtree(entry, ignore_errors=True)


class ExecutionEnvironment(lambda_runtime.Worker):  # type: ignore[misc]  # ministack has no type information
    """One warm process for one Python function."""

    unpacked: Unpacked
    runtime: Path
    logs: Path
    _proc: Any  # the process, None between two

    def _spawn(self) -> None:
        self._buffer = b""
        code = self.unpacked.path(self.code_zip)
        layers = [self.unpacked.path(blob) for blob in map(lambda_svc._resolve_layer_zip, self.config.get("Layers", [])) if blob]
        self.logs.mkdir(parents=True, exist_ok=True)
        with (self.logs / f"{self.func_name}.log").open("ab") as log:
            self._proc = subprocess.Popen(
                [sys.executable, "-I", "-S", str(BOOTSTRAP), str(os.getpid())],
                cwd=code,
                env=self._environment(code),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
            )
        # On AWS the function's own folder precedes the layers, and a later layer overwrites an earlier one.
        path = [code, *(layer / "python" for layer in reversed(layers)), self.runtime]
        settings = {"path": [str(p) for p in path], "handler": self.config["Handler"], "timeout_s": self.config.get("Timeout", 3)}
        answer = self._exchange(settings, INIT_TIMEOUT_S)
        if answer["status"] != "ready":
            self._end()
            raise RuntimeError(answer["error"])

    def _environment(self, code: Path) -> dict[str, str]:
        """Only what AWS sets and what the template says: nothing of the host's environment shines through."""
        name = self.config["FunctionName"]
        region = lambda_runtime._account_region_from_function_config(self.config)[1]
        return {
            "PATH": os.environ.get("PATH", ""),
            "LANG": "C.UTF-8",
            "TZ": ":UTC",
            "HOME": os.environ["TMPDIR"],
            "TMPDIR": os.environ["TMPDIR"],
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{os.environ['GATEWAY_PORT']}",
            "AWS_DISABLE_HOST_PREFIX_INJECTION": "true",
            "AWS_EC2_METADATA_DISABLED": "true",
            **self.config.get("Environment", {}).get("Variables", {}),
            **lambda_runtime.execution_credentials(self.config),
            "AWS_REGION": region,
            "AWS_DEFAULT_REGION": region,
            "AWS_EXECUTION_ENV": f"AWS_Lambda_{self.config['Runtime']}",
            "AWS_LAMBDA_FUNCTION_NAME": name,
            "AWS_LAMBDA_FUNCTION_VERSION": self.config.get("Version", "$LATEST"),
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(self.config.get("MemorySize", 128)),
            "AWS_LAMBDA_LOG_GROUP_NAME": self.config.get("LoggingConfig", {}).get("LogGroup", f"/aws/lambda/{name}"),
            "AWS_LAMBDA_LOG_STREAM_NAME": new_uuid(),
            "LAMBDA_TASK_ROOT": str(code),
            "_HANDLER": self.config["Handler"],
        }

    def invoke(self, event: object, request_id: str, *, invoked_function_arn: str | None = None, **_: object) -> dict[str, Any]:
        """Run one invocation; a process that died or ran out of time is replaced at the next."""
        with self._lock:
            cold = self._proc is None or self._proc.poll() is not None
            if cold:
                self._spawn()
            arn = invoked_function_arn or self.config.get("FunctionArn", "")
            answer = self._exchange({"event": event, "request_id": request_id, "arn": arn}, self.config.get("Timeout", 3))
            if answer["status"] == "gone":
                self._end()
            return {**answer, "status": "ok" if answer["status"] == "ok" else "error", "cold_start": cold}

    def _exchange(self, message: dict[str, Any], timeout_s: float) -> dict[str, Any]:
        """Send a line and wait for the answering line."""
        deadline = time.monotonic() + timeout_s
        requests, replies = self._proc.stdin, self._proc.stdout
        try:
            requests.write(json.dumps(message).encode() + b"\n")
            requests.flush()
            while b"\n" not in self._buffer:
                if not select.select([replies], [], [], max(0.0, deadline - time.monotonic()))[0]:
                    return {"status": "gone", "error": f"Task timed out after {timeout_s}.00 seconds"}
                chunk = os.read(replies.fileno(), 1 << 16)
                if not chunk:
                    raise BrokenPipeError
                self._buffer += chunk
        except BrokenPipeError:
            return {"status": "gone", "error": f"Runtime.ExitError: the process of {self.func_name} ended; see its log"}
        line, _, self._buffer = self._buffer.partition(b"\n")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def _end(self) -> None:
        process, self._proc = self._proc, None
        process.kill()
        process.wait()


def install(folder: Path) -> Unpacked:
    """Make ministack run Python functions here; `folder` keeps what was unpacked, the runtime and the functions' logs."""
    ExecutionEnvironment.unpacked = Unpacked(folder / "unpacked")
    ExecutionEnvironment.runtime = link_runtime(folder / "runtime")
    ExecutionEnvironment.logs = folder / "logs"
    lambda_runtime.Worker = ExecutionEnvironment
    return ExecutionEnvironment.unpacked
