"""The VIX reader against a loopback server that answers well and badly."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

from closebell.adapters.cboe import CboeVolatilityIndex
from closebell.model.errors import DataError

GOOD = (
    b"DATE,OPEN,HIGH,LOW,CLOSE\r\n"
    b"12/03/2018,16.290000,17.210000,16.050000,16.440000\r\n"
    b"12/04/2018,16.560000,21.940000,16.400000,20.740000\r\n"
    b"12/06/2018,22.500000,25.940000,21.140000,21.190000\r\n"
)
LAST = date(2018, 12, 31)

Answer = Callable[[BaseHTTPRequestHandler], None]


def body(content: bytes, status: int = 200, announced_bytes: int | None = None, location: str = "") -> Answer:
    def answer(request: BaseHTTPRequestHandler) -> None:
        request.send_response(status)
        request.send_header("Content-Length", str(len(content) if announced_bytes is None else announced_bytes))
        if location:
            request.send_header("Location", location)
        request.end_headers()
        request.wfile.write(content)

    return answer


class ScriptedServer(ThreadingHTTPServer):
    """Answers each request with `answer`; `done` releases the answers that hang."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(("127.0.0.1", 0), ScriptedRequest)
        self.answer = answer
        self.paths: list[str] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/VIX_History.csv"


class ScriptedRequest(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        assert isinstance(self.server, ScriptedServer)
        self.server.paths.append(self.path)
        self.server.answer(self)

    def log_message(self, format: str, *args: object) -> None:
        """Silent."""


@contextmanager
def serving(answer: Answer) -> Iterator[ScriptedServer]:
    with ScriptedServer(answer) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join(5)


def closes(answer: Answer, last: date = LAST, timeout_s: float = 5.0) -> dict[date, float]:
    with serving(answer) as server:
        series = CboeVolatilityIndex(server.url, timeout_s).closes(last)
    assert series.sessions.dtype == np.dtype("datetime64[D]")
    assert series.closes.dtype == np.float64
    return dict(zip(series.sessions.tolist(), series.closes.tolist(), strict=True))


def refusal(answer: Answer, timeout_s: float = 5.0) -> str:
    with serving(answer) as server, pytest.raises(DataError) as caught:
        CboeVolatilityIndex(server.url, timeout_s).closes(LAST)
    assert server.url in str(caught.value)
    return str(caught.value)


def test_closes_are_read_in_the_order_of_the_file() -> None:
    read = closes(body(GOOD))
    assert list(read.items()) == [(date(2018, 12, 3), 16.44), (date(2018, 12, 4), 20.74), (date(2018, 12, 6), 21.19)]


@pytest.mark.parametrize(("last_day", "count"), [(6, 3), (5, 2), (4, 2), (3, 1), (2, 0)])
def test_rows_after_the_last_date_are_dropped(last_day: int, count: int) -> None:
    assert len(closes(body(GOOD), date(2018, 12, last_day))) == count


@pytest.mark.parametrize("status", [204, 301, 302, 307, 401, 404, 429, 500, 503])
def test_any_status_but_200_is_a_data_error_that_names_it(status: int) -> None:
    assert str(status) in refusal(body(b"" if status == 204 else GOOD, status))


def test_a_redirect_is_not_followed() -> None:
    with serving(body(b"", 302, location="/elsewhere.csv")) as server, pytest.raises(DataError, match="302"):
        CboeVolatilityIndex(server.url, 5.0).closes(LAST)
    assert server.paths == ["/VIX_History.csv"]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "line 1"),
        (b"<!DOCTYPE html><html><body>Access denied</body></html>", "DOCTYPE"),
        (b"DATE,CLOSE\n12/03/2018,16.44\n", "DATE,CLOSE"),
        (b"DATE,OPEN,HIGH,LOW,CLOSE\n", "no rows"),
        (GOOD + b"12/07/2018,22.5,25.9\n", "line 5"),
        (GOOD + b"12/07/2018,22.5,25.9,21.1,21.2,7\n", "6 fields"),
        (GOOD + b"2018-12-07,22.5,25.9,21.1,21.2\n", "line 5"),
        (GOOD + b"13/07/2018,22.5,25.9,21.1,21.2\n", "line 5"),
        (GOOD + b"12/07/2018,22.5,25.9,21.1,\n", "line 5"),
        (GOOD + b"12/07/2018,22.5,25.9,21.1,nan\n", "positive"),
        (GOOD + b"12/07/2018,22.5,inf,21.1,21.2\n", "positive"),
        (GOOD + b"12/07/2018,22.5,25.9,21.1,0\n", "positive"),
        (GOOD + b"12/07/2018,22.5,25.9,21.1,-21.2\n", "positive"),
        (GOOD + b"12/06/2018,22.5,25.9,21.1,21.2\n", "does not come after"),
        (GOOD + b"\n12/07/2018,22.5,25.9,21.1,21.2\n", "line 5"),
        (GOOD + b"<html>\n", "line 5"),
        (b"\x1f\x8b\x08\x00\xff\xfe", "utf-8"),
        (b"DATE,OPEN,HIGH,LOW,CLOSE\n" + b"9" * 200_000, "line 2"),
    ],
)
def test_a_file_that_breaks_its_format_is_refused_whole(content: bytes, words: str) -> None:
    assert words in refusal(body(content))


def test_a_row_after_the_last_date_is_checked_as_well() -> None:
    bad = GOOD + b"01/02/2019,22.5,25.9,21.1,garbage\n"
    assert "garbage" in refusal(body(bad))


def test_a_message_quotes_little_of_a_huge_line() -> None:
    assert len(refusal(body(b"x" * 1_000_000))) < 400


def test_a_body_above_the_limit_is_refused_before_it_ends() -> None:
    asked_for = threading.Event()

    def endless(request: BaseHTTPRequestHandler) -> None:
        request.send_response(200)
        request.end_headers()
        try:
            while not asked_for.is_set():
                request.wfile.write(b"0" * 65_536)
        except OSError:
            asked_for.set()  # the reader hung up, as it should

    assert "more than 4000000 bytes" in refusal(endless)
    assert asked_for.wait(5)


def test_a_body_that_ends_early_is_refused() -> None:
    assert "could not be read" in refusal(body(GOOD, announced_bytes=len(GOOD) + 10))


def test_a_server_that_never_answers_times_out() -> None:
    released = threading.Event()

    def hang(request: BaseHTTPRequestHandler) -> None:
        released.wait(10)

    with serving(hang) as server:
        with pytest.raises(DataError, match="Timeout"):
            CboeVolatilityIndex(server.url, 0.1).closes(LAST)
        released.set()


def test_a_body_that_drips_meets_the_deadline() -> None:
    hung_up = threading.Event()

    def drip(request: BaseHTTPRequestHandler) -> None:
        request.send_response(200)
        request.end_headers()
        try:
            while not hung_up.wait(0.02):
                request.wfile.write(b"0")
        except OSError:
            hung_up.set()

    assert "not complete after 0.2 s" in refusal(drip, timeout_s=0.2)
    assert hung_up.wait(5)


def test_a_port_where_nobody_listens_is_a_data_error() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with pytest.raises(DataError, match="could not be read"):
        CboeVolatilityIndex(f"http://127.0.0.1:{port}/VIX_History.csv", 5.0).closes(LAST)


@pytest.mark.parametrize("url", ["", "VIX_History.csv", "ftp://127.0.0.1/VIX_History.csv", "http://"])
def test_a_url_that_cannot_be_asked_is_a_data_error(url: str) -> None:
    with pytest.raises(DataError, match="could not be read"):
        CboeVolatilityIndex(url, 5.0).closes(LAST)
