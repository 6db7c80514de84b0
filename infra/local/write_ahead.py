"""Nothing that local AWS acknowledged is lost, however it ends.

ministack keeps its state in memory and saves it when it is stopped nicely. Here each request that changed something is appended
to a log before its reply leaves, and a snapshot is taken now and then; a start loads the last snapshot and repeats the log.

    generation          names the newest complete snapshot, N
    snapshot-N/         the state before the first request of log N (hard links into work/, so unchanged files cost nothing)
    requests-N.log      what was acknowledged since
    work/               where ministack itself saves and loads

Why a repeated request has the same effect: requests are applied on one event loop, one after the other, and logged before the
loop goes on, so the log has the order in which they took effect, and only those that succeeded. Not in the log: S3 objects
(ministack writes them through, atomically), Lambda invocations (their effects are requests of their own), and CloudFormation,
which works on after its reply: `infra.local.deploy` asks for a snapshot when it is done, and without being asked every write
in the minute after a deployment is made safe by a snapshot instead of the log, since it may need what the deployment made.
Safe against the end of the process, not of the machine: nothing waits for the disk.
"""

import errno
import json
import os
import re
import shutil
import struct
import time
import zlib
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import parse_qs, unquote

from ministack import app as ministack_app
from ministack.core import persistence, router

Message = MutableMapping[str, Any]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

# Large and changed by deployments or by chatter only: saved with complete snapshots.
SELDOM_SAVED = ("lambda", "cloudwatch", "cloudwatch_logs")
LOG_BYTES_MIN = 8 << 20
DEPLOYMENT_S_MAX = 60.0
_HEADER = struct.Struct(">II")
# Receiving from a queue and its follow-ups are no state worth keeping: a queue delivers at least once anyway.
_READS = re.compile(
    r"Get|BatchGet|TransactGet|List|Describe|Query|Scan|Lookup|Filter|ReceiveMessage|DeleteMessage|ChangeMessageVisibility"
)
_NOT_LOGGED = frozenset({"cloudformation", "sts", "monitoring", "cloudwatch", "logs"})


class LoggedRequest(NamedTuple):
    """An HTTP request as it came in."""

    method: str
    path: str
    query: str
    headers: list[tuple[str, str]]
    body: bytes

    def encode(self) -> bytes:
        """Length and checksum, a JSON line, the body."""
        payload = json.dumps(self[:-1]).encode() + b"\n" + self.body
        return _HEADER.pack(len(payload), zlib.crc32(payload)) + payload


def read_log(path: Path) -> Iterator[LoggedRequest]:
    """The log's requests in order, up to an entry that was cut off by the end of the process (it was never acknowledged)."""
    data = memoryview(path.read_bytes()) if path.exists() else memoryview(b"")
    while len(data) >= _HEADER.size:
        length, checksum = _HEADER.unpack(data[: _HEADER.size])
        payload = bytes(data[_HEADER.size : _HEADER.size + length])
        if len(payload) < length or zlib.crc32(payload) != checksum:
            return
        line, _, body = payload.partition(b"\n")
        method, path_, query, headers = json.loads(line)
        yield LoggedRequest(method, path_, query, [(name, value) for name, value in headers], body)
        data = data[_HEADER.size + length :]


def service_and_action(request: LoggedRequest) -> tuple[str, str]:
    """Which service a request is for, and its action where the protocol names one ("" for REST)."""
    headers = {name.lower(): value for name, value in request.headers}
    service = router.detect_service(request.method, request.path, headers, parse_qs(request.query, keep_blank_values=True))
    target = headers.get("x-amz-target", "")
    return service, target.rpartition(".")[2] or parse_qs(request.body[:4096].decode("latin-1")).get("Action", [""])[0]


def deploys(request: LoggedRequest) -> bool:
    """Whether a request makes CloudFormation change something."""
    service, action = service_and_action(request)
    return service == "cloudformation" and not _READS.match(action)


def changes_state(request: LoggedRequest) -> bool:
    """Whether a successful request of this kind has an effect that only its repetition brings back."""
    service, action = service_and_action(request)
    if service in _NOT_LOGGED or _READS.match(action):
        return False
    if service == "s3":
        return request.method in {"PUT", "DELETE"} and "/" not in request.path.strip("/")
    if service == "lambda" and request.path.rstrip("/").endswith("/invocations"):
        return False
    return bool(action) or request.method in {"PUT", "POST", "PATCH", "DELETE"}


class Snapshots:
    """The files of a state directory: which generation is current, and how the next one becomes it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.work = folder / "work"
        pointer = folder / "generation"
        self.generation = int(pointer.read_text()) if pointer.exists() else 0

    @property
    def log_path(self) -> Path:
        """The log that follows the current snapshot."""
        return self.folder / f"requests-{self.generation}.log"

    def restore(self) -> None:
        """Put the current snapshot where ministack loads from."""
        shutil.rmtree(self.work, ignore_errors=True)
        self.work.mkdir(parents=True)
        snapshot = self._snapshot(self.generation)
        if snapshot.exists():
            shutil.copytree(snapshot, self.work, copy_function=os.link, dirs_exist_ok=True)

    def save(self, service: str, state: Any) -> int:
        """Write a service's state as ministack's `save_state` does, but encoded in one go, which is faster; its size in bytes."""
        wrapped = {"__ministack_format__": persistence._state_format_version(service), "payload": state}
        path = self.work / f"{service}.json"
        partial = path.with_suffix(".partial")
        size = partial.write_text(json.dumps(wrapped, default=persistence._json_default))
        partial.rename(path)
        return size

    def publish(self) -> None:
        """Make the saved state the next generation; the rename of `generation` is the one decisive step."""
        following = self.generation + 1
        shutil.rmtree(self._snapshot(following), ignore_errors=True)
        shutil.copytree(self.work, self._snapshot(following), copy_function=os.link)
        (self.folder / f"requests-{following}.log").unlink(missing_ok=True)
        pointer = self.folder / "generation.new"
        pointer.write_text(str(following))
        pointer.rename(self.folder / "generation")
        previous, previous_log, self.generation = self._snapshot(self.generation), self.log_path, following
        shutil.rmtree(previous, ignore_errors=True)
        previous_log.unlink(missing_ok=True)

    def _snapshot(self, generation: int) -> Path:
        return self.folder / f"snapshot-{generation}"


class DurableApp:
    """ministack's ASGI application behind the log."""

    def __init__(self, folder: Path) -> None:
        self._snapshots = Snapshots(folder)
        self._log_fd = -1
        self._log_bytes = 0
        self._saved_bytes = 0
        self._deployment_changed = False
        self._deployed_at_s: float | None = None
        self.replayed_count = 0

    async def start(self) -> None:
        """Load the last snapshot and repeat what was acknowledged after it."""
        self._snapshots.restore()
        ministack_app._load_persisted_state()
        for request in read_log(self._snapshots.log_path):
            await _repeat(request)
            self.replayed_count += 1
        if self._snapshots.log_path.exists() and self._snapshots.log_path.stat().st_size:
            self.checkpoint(complete=True)
        else:
            self._open_log()

    def checkpoint(self, *, complete: bool) -> None:
        """Save the state and begin a new log. Without `complete` the large, seldom changed services keep their last save
        unless a request of theirs was logged."""
        sizes = {
            name: self._snapshots.save(name, state_of())
            for name, state_of in ministack_app._build_persistence_save_dict().items()
            if complete or self._deployment_changed or name not in SELDOM_SAVED
        }
        self._saved_bytes = sum(size for name, size in sizes.items() if name not in SELDOM_SAVED)
        self._snapshots.publish()
        self._open_log()
        self._deployment_changed = False

    def _open_log(self) -> None:
        if self._log_fd >= 0:
            os.close(self._log_fd)
        self._log_fd = os.open(self._snapshots.log_path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self._log_bytes = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request; a reply that acknowledges a change is preceded by its log entry."""
        if scope["type"] != "http" or scope["method"] in {"GET", "HEAD", "OPTIONS"}:
            await ministack_app.app(scope, receive, send)
            return
        if scope["path"] == "/_closebell/checkpoint":
            self.checkpoint(complete=True)
            self._deployed_at_s = None
            await send({"type": "http.response.start", "status": 204, "headers": []})
            await send({"type": "http.response.body", "body": b""})
            return
        body = bytearray()

        async def receive_and_keep() -> Message:
            message = await receive()
            body.extend(message.get("body", b""))
            return message

        async def log_and_send(message: Message) -> None:
            if message["type"] == "http.response.start" and message["status"] < 300:
                self._log(_request(scope, bytes(body)))
            await send(message)

        await ministack_app.app(scope, receive_and_keep, log_and_send)
        # A log as long as the state: what saving costs in the long run is in proportion to what was written.
        if self._log_bytes > max(LOG_BYTES_MIN, self._saved_bytes):
            self.checkpoint(complete=False)

    def _log(self, request: LoggedRequest) -> None:
        """Make a change safe before it is acknowledged."""
        if deploys(request):
            self._deployed_at_s = time.monotonic()
        if not changes_state(request):
            return
        if self._deployed_at_s is not None:
            if time.monotonic() - self._deployed_at_s > DEPLOYMENT_S_MAX:
                self._deployed_at_s = None
            self.checkpoint(complete=True)
            return
        entry = request.encode()
        self._append(entry)
        self._log_bytes += len(entry)
        self._deployment_changed |= "/2015-03-31/" in request.path or "/2018-10-31/" in request.path


    def _append(self, entry: bytes) -> None:
        """Write all of an entry or none of it: half an entry would hide every one after it. Raises OSError on a full disk."""
        size = os.fstat(self._log_fd).st_size
        try:
            written = os.write(self._log_fd, entry)
            if written < len(entry):
                raise OSError(errno.ENOSPC, "the disk of the local stack is full")
        except OSError:
            os.ftruncate(self._log_fd, size)
            raise


def _request(scope: Scope, body: bytes) -> LoggedRequest:
    path = (scope.get("raw_path") or scope["path"].encode()).decode("latin-1").partition("?")[0]
    headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in scope["headers"]]
    return LoggedRequest(scope["method"], path, scope.get("query_string", b"").decode("latin-1"), headers, body)


async def _repeat(request: LoggedRequest) -> None:
    """Apply a logged request again; its reply was read by somebody long ago."""
    scope = {
        "type": "http",
        "method": request.method,
        "scheme": "http",
        "path": unquote(request.path),
        "raw_path": request.path.encode("latin-1"),
        "query_string": request.query.encode("latin-1"),
        "headers": [(name.encode("latin-1"), value.encode("latin-1")) for name, value in request.headers],
        "client": ("127.0.0.1", 0),
    }
    status: list[int] = []

    async def receive() -> Message:
        return {"type": "http.request", "body": request.body, "more_body": False}

    async def send(message: Message) -> None:
        if message["type"] == "http.response.start":
            status.append(message["status"])

    await ministack_app.app(scope, receive, send)
    # A bucket's folder is written through like its objects, so its creation may meet itself.
    if status[0] >= 300 and status[0] != 409:
        raise RuntimeError(f"{request.method} {request.path} was acknowledged once and is refused now ({status[0]})")
