"""The broker of a process: opened once, and again when the key in the parameter store is another one."""

from collections.abc import Iterator

import pytest

from closebell.adapters.ssm import BrokerKey
from closebell.wiring import brokerage as wired
from closebell.wiring.brokerage import Brokerage


@pytest.fixture
def keys(monkeypatch: pytest.MonkeyPatch) -> list[BrokerKey]:
    """What the parameter store answers, one reading after another."""
    stored: list[BrokerKey] = []
    readings: Iterator[BrokerKey] = iter(stored)
    monkeypatch.setattr(wired, "_read_key", lambda: next(readings))
    monkeypatch.setattr(wired, "_opened_with", lambda key: f"opened with {key.key_id}")
    return stored


def test_the_same_key_opens_nothing_new(keys: list[BrokerKey]) -> None:
    keys += [BrokerKey("canary-1", "canary-a"), BrokerKey("canary-1", "canary-a")]
    opened = Brokerage()
    assert opened.reopen() is None
    assert str(opened.broker) == "opened with canary-1"


def test_a_rotated_key_serves_this_run_and_the_next(keys: list[BrokerKey]) -> None:
    keys += [BrokerKey("canary-1", "canary-a"), BrokerKey("canary-2", "canary-b"), BrokerKey("canary-2", "canary-b")]
    opened = Brokerage()
    assert str(opened.reopen()) == "opened with canary-2"
    assert str(opened.broker) == "opened with canary-2"
    assert opened.reopen() is None
