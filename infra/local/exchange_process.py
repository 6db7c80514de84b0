"""The broker that the demo trades with: the simulated exchange in a process of its own, or one that the environment names."""

import os
import subprocess
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from infra.local.aws import remembered_port
from infra.local.broker_view import BrokerKeys, BrokerUnreadable, BrokerView, ours
from infra.local.lifeline import start_child, stop_child

START_TIMEOUT_S = 60.0
LOCAL_KEYS = BrokerKeys("PKLOCALDEMO", "local-demo-secret")


class ExchangeFailed(Exception):
    """The exchange did not start; the message names its log."""


class DemoBroker:
    """The broker as the demo uses it. What cannot be controlled (a broker of the user's own) is left alone."""

    def __init__(self, trading_url: str, data_url: str, keys: BrokerKeys) -> None:
        self.trading_url = trading_url
        self.data_url = data_url
        self.keys = keys
        self.view = BrokerView(trading_url, keys)
        self.has_control = True

    @property
    def vix_url(self) -> str:
        """Where the functions read the VIX."""
        return f"{self.data_url}/cboe/VIX_History.csv"

    def probe_control(self) -> bool:
        """Whether the broker has a virtual clock to move; remembered."""
        try:
            self.view.get("/_control/state")
        except BrokerUnreadable:
            self.has_control = False
        return self.has_control

    def advance(self, at: datetime) -> None:
        """Move the virtual clock; nothing when there is none."""
        self._control("clock", {"now": at.astimezone(UTC).isoformat()})

    def set_fault(self, name: str, **details: object) -> None:
        """Switch a fault on for the next matching request."""
        self._control("faults", {"name": name, **details})

    def clear_faults(self) -> None:
        """Switch every fault off."""
        if self.has_control:
            self.view.send("DELETE", "/_control/faults")

    def set_tradable(self, symbol: str, tradable: bool) -> None:
        """Let an asset be traded, or not."""
        self._control(f"assets/{symbol}", {"tradable": tradable})

    def orders(self) -> list[Mapping[str, Any]]:
        """Every order of closebell's, from the exchange's own book, which closebell cannot see, where it shows one."""
        return ours(self.view.get("/_control/book")["orders"]) if self.has_control else ours(self.view.orders())

    def _control(self, what: str, body: Mapping[str, Any]) -> None:
        if self.has_control:
            self.view.send("POST", f"/_control/{what}", body)


class ExchangeProcess:
    """The simulated exchange; `folder` holds its command log."""

    def __init__(self, folder: Path, market: str, start: datetime) -> None:
        self.folder = folder
        self._market = market
        self._start = start
        self._child: subprocess.Popen[bytes] | None = None

    def start(self) -> DemoBroker:
        """Start it and wait until it answers. Raises ExchangeFailed."""
        port = remembered_port(self.folder / "port")
        arguments = [
            "--market", self._market, "--start", self._start.astimezone(UTC).isoformat(), "--port", str(port),
            "--state-dir", str(self.folder), "--key-id", LOCAL_KEYS.key_id, "--secret-key", LOCAL_KEYS.secret_key,
        ]
        log = self.folder / "server.log"
        self._child = start_child("infra.local.exchange", arguments, {}, log)
        broker = DemoBroker(f"http://127.0.0.1:{port}", f"http://127.0.0.1:{port}", LOCAL_KEYS)
        deadline = time.monotonic() + START_TIMEOUT_S
        while not _answers(broker.view):
            if self._child.poll() is not None or time.monotonic() > deadline:
                self.stop()
                raise ExchangeFailed(f"the simulated exchange did not start; its log says why: {log}")
            time.sleep(0.05)
        return broker

    def stop(self) -> None:
        """Stop it; safe to call twice."""
        if self._child is not None:
            stop_child(self._child)
            self._child = None


def named_broker() -> DemoBroker | None:
    """The broker that `ALPACA_TRADING_URL`, `ALPACA_DATA_URL`, `ALPACA_KEY_ID`, `ALPACA_SECRET_KEY` name; None if none is."""
    trading_url = os.environ.get("ALPACA_TRADING_URL", "").rstrip("/")
    if not trading_url:
        return None
    named = BrokerKeys(os.environ.get("ALPACA_KEY_ID", ""), os.environ.get("ALPACA_SECRET_KEY", ""))
    keys = named if all(named) else LOCAL_KEYS
    return DemoBroker(trading_url, os.environ.get("ALPACA_DATA_URL", trading_url).rstrip("/"), keys)


def _answers(view: BrokerView) -> bool:
    try:
        view.get("/v2/clock")
    except BrokerUnreadable:
        return False
    return True
