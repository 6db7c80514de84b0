"""What was acknowledged survives kill -9, and the exchange does not survive its parent."""

import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from closebell.simulation.exchange.trading_floor import ExchangeOptions
from infra.local.exchange.venue import CommandLog, Venue
from tests.contract.conftest import http
from tests.contract.tiny_market import THU, TinyMarket, ny

ROOT = Path(__file__).resolve().parents[2]
KEYS = {"APCA-API-KEY-ID": "LOCAL-KEY", "APCA-API-SECRET-KEY": "LOCAL-SECRET"}
READY_TIMEOUT_S = 30.0
ENDED_TIMEOUT_S = 15.0


def command(state: Path) -> list[str]:
    start = ny(THU, "10:00").isoformat()
    return [
        sys.executable,
        "-m",
        "infra.local.exchange",
        "--market",
        "tests.contract.tiny_market:TinyMarket",
        "--start",
        start,
        "--state-dir",
        str(state),
    ]


def environment(parent: int) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'layers' / 'core'}", "CLOSEBELL_PARENT": str(parent)}


def ready_line(process: "subprocess.Popen[bytes]") -> dict[str, Any]:
    assert process.stdout is not None
    readable, _, _ = select.select([process.stdout], [], [], READY_TIMEOUT_S)
    assert readable, "the exchange was not ready in time"
    facts: dict[str, Any] = json.loads(process.stdout.readline())
    return facts


@contextmanager
def exchange_process(state: Path) -> Iterator[tuple["subprocess.Popen[bytes]", int]]:
    """The exchange as its own process; killed when the block ends."""
    with subprocess.Popen(command(state), stdout=subprocess.PIPE, cwd=ROOT, env=environment(os.getpid())) as process:
        try:
            yield process, int(ready_line(process)["port"])
        finally:
            process.kill()


def call(port: int, method: str, path: str, body: object = None) -> Any:
    status, reply = http(port, method, path, body, KEYS)
    assert status < 300, (status, reply)
    return json.loads(reply) if reply else None


def test_kill_minus_nine_loses_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    order = {"symbol": "ACME", "qty": "10", "side": "buy", "type": "market", "time_in_force": "day"}
    with exchange_process(tmp_path) as (process, port):
        first = call(port, "POST", "/v2/orders", order | {"client_order_id": "one"})
        call(port, "POST", "/_control/clock", {"now": ny(THU, "10:30").isoformat()})
        call(port, "POST", "/_control/transfers", {"amount_usd": "12.34"})
        call(port, "POST", "/_control/faults", [{"name": "server_error", "path": "/v2/clock", "times": 2}])
        assert http(port, "GET", "/v2/clock", headers=KEYS)[0] == 500
        second = call(
            port, "POST", "/v2/orders", order | {"side": "sell", "type": "limit", "limit_price": 200, "time_in_force": "gtc"}
        )
        call(port, "DELETE", f"/v2/orders/{second['id']}")
        before = call(port, "GET", "/_control/book"), call(port, "GET", "/_control/state")
        process.send_signal(signal.SIGKILL)
        process.wait(ENDED_TIMEOUT_S)
    with exchange_process(tmp_path) as (_, port):
        assert (call(port, "GET", "/_control/book"), call(port, "GET", "/_control/state")) == before
        assert call(port, "GET", f"/v2/orders/{first['id']}")["status"] == "filled"
        assert call(port, "GET", f"/v2/orders/{second['id']}")["status"] == "pending_cancel"
        assert http(port, "POST", "/v2/orders", order | {"client_order_id": "one"}, KEYS)[0] == 422
        assert [http(port, "GET", "/v2/clock", headers=KEYS)[0] for _ in range(2)] == [500, 200]


def test_a_second_exchange_on_the_same_state_waits_until_the_first_is_gone(tmp_path: Path) -> None:
    with (
        exchange_process(tmp_path) as (first, _),
        subprocess.Popen(command(tmp_path), stdout=subprocess.PIPE, cwd=ROOT, env=environment(os.getpid())) as second,
    ):
        try:
            assert second.stdout is not None
            assert select.select([second.stdout], [], [], 1.5)[0] == []
            first.kill()
            assert ready_line(second)["port"]
        finally:
            second.kill()


def test_the_exchange_ends_when_its_parent_does(tmp_path: Path) -> None:
    script = (
        "import os, subprocess, sys, time\n"
        "os.environ['CLOSEBELL_PARENT'] = str(os.getpid())\n"
        f"child = subprocess.Popen({command(tmp_path)!r})\n"
        "time.sleep(120)\n"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, cwd=ROOT, env=environment(0)) as parent:
        try:
            port = int(ready_line(parent)["port"])
            assert http(port, "GET", "/_control/state")[0] == 200
        finally:
            parent.kill()
    deadline = time.monotonic() + ENDED_TIMEOUT_S
    answers = True
    while answers and time.monotonic() < deadline:
        try:
            http(port, "GET", "/_control/state")
        except OSError:
            answers = False
    assert not answers


def test_a_line_cut_off_by_a_crash_was_never_acknowledged_and_is_dropped(tmp_path: Path) -> None:
    path = tmp_path / "commands.jsonl"
    log = CommandLog(path)
    venue = Venue(TinyMarket(), ny(THU, "10:00"), ExchangeOptions(), 1, log)
    venue.execute({"do": "transfer", "amount_usd": "5"})
    log.close()
    path.write_bytes(path.read_bytes() + b'{"do": "transfer", "amou')
    log = CommandLog(path)
    again = Venue(TinyMarket(), ny(THU, "10:00"), ExchangeOptions(), 1, log)
    again.execute({"do": "transfer", "amount_usd": "6"})
    log.close()
    assert again.exchange.equity_usd() == 100_011
    assert [json.loads(line)["do"] for line in path.read_text().splitlines()] == ["open", "transfer", "transfer"]


def test_state_of_another_market_is_refused_and_the_first_opening_stands(tmp_path: Path) -> None:
    log = CommandLog(tmp_path / "commands.jsonl")
    Venue(TinyMarket(), ny(THU, "10:00"), ExchangeOptions(), 1, log)
    log.close()
    log = CommandLog(tmp_path / "commands.jsonl")
    again = Venue(TinyMarket(), ny(THU, "12:00"), ExchangeOptions(cash_usd=ExchangeOptions().cash_usd * 2), 2, log)
    assert [again.exchange.now, again.exchange.equity_usd()] == [ny(THU, "10:00"), 100_000]
    other = TinyMarket()
    other.label = "another"
    with pytest.raises(ValueError, match="reset it first"):
        Venue(other, ny(THU, "10:00"), ExchangeOptions(), 1, log)
    log.close()
