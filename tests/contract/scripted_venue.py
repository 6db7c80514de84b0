"""A venue on loopback that answers what a test tells it to, however wrong, and remembers what it was asked.

Replies that an HTTP server would never send on purpose (cut short, empty, never) are written by hand.
"""

import json
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, urlsplit

KEY_ID = "CANARYKEYID0000000"
SECRET_KEY = "canary/secret+0000000000000000000000"


class CannedReply(NamedTuple):
    """What to answer. `cut_chars` of the body are promised and never sent; `hangs` answers nothing until the venue closes."""

    status: int = 200
    body: str = ""
    headers: tuple[tuple[str, str], ...] = ()
    cut_chars: int = 0
    hangs: bool = False


class SeenRequest(NamedTuple):
    """One request as it came."""

    method: str
    path: str
    query: dict[str, str]
    body: Any
    raw_body: str
    key: tuple[str | None, str | None]
    client_port: int


def ok(payload: object) -> CannedReply:
    """A 200 with JSON."""
    return CannedReply(body=json.dumps(payload))


def refused(status: int, message: str, code: object = None, **fields: object) -> CannedReply:
    """An error as the venue words it."""
    body = {"message": message, **({} if code is None else {"code": code}), **fields}
    return CannedReply(status, json.dumps(body))


class ScriptedVenue:
    """Answers in the order of the script; the last answer stands for all that follow."""

    def __init__(self) -> None:
        self.script: deque[CannedReply] = deque()
        self.requests: list[SeenRequest] = []
        self.closing = threading.Event()
        self.url = ""

    def will_answer(self, *replies: CannedReply) -> None:
        """Replace the script."""
        self.script = deque(replies)
        self.requests.clear()

    def next_reply(self) -> CannedReply:
        return self.script.popleft() if len(self.script) > 1 else self.script[0]


@contextmanager
def scripted_venue() -> Iterator[ScriptedVenue]:
    """A running venue on a free loopback port."""
    venue = ScriptedVenue()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _answer(self) -> None:
            address = urlsplit(self.path)
            raw_body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
            venue.requests.append(SeenRequest(
                self.command, address.path, dict(parse_qsl(address.query)), json.loads(raw_body) if raw_body else None, raw_body,
                (self.headers.get("APCA-API-KEY-ID"), self.headers.get("APCA-API-SECRET-KEY")), self.client_address[1],
            ))
            reply = venue.next_reply()
            if reply.hangs:
                self.close_connection = True
                venue.closing.wait(10)
                return
            self._send(reply)

        def _send(self, reply: CannedReply) -> None:
            payload = reply.body.encode()
            self.send_response(reply.status)
            if reply.status != 204:
                self.send_header("Content-Length", str(len(payload)))
            for name, value in reply.headers:
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(payload[: len(payload) - reply.cut_chars])
            self.close_connection = self.close_connection or reply.cut_chars > 0

        do_GET = do_POST = do_DELETE = do_PATCH = _answer  # noqa: N815 - http.server's own spelling

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    venue.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield venue
    finally:
        venue.closing.set()
        server.shutdown()
        server.server_close()
        thread.join(5)
