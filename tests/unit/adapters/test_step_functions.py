"""A sweep's state machine, as its client answers: one run at a time, questions that get no answer, words of what failed."""

import json
from collections import Counter
from typing import Any

import pytest
from botocore.exceptions import ClientError

from closebell.adapters import step_functions
from closebell.adapters.step_functions import UNANSWERED_COUNT_MAX, StepFunctionsSweep
from closebell.model.errors import RunRefused, StoreUnavailable

RUN = "arn:of:the:run"


class ScriptedStates:
    """A client of Step Functions: every call is counted and gives the next of its replies, of which the last stays."""

    def __init__(self, **replies: list[Any]) -> None:
        self._replies = replies
        self.asked: Counter[str] = Counter()
        self.terms: dict[str, dict[str, Any]] = {}

    def __getattr__(self, call: str) -> Any:
        def answer(**terms: Any) -> Any:
            replies = self._replies[call]
            reply = replies[min(self.asked[call], len(replies) - 1)]
            self.asked[call] += 1
            self.terms[call] = terms
            if isinstance(reply, Exception):
                raise reply
            return reply

        return answer


DENIED = ClientError({"Error": {"Code": "AccessDenied", "Message": "no"}}, "any")


@pytest.fixture(autouse=True)
def asks_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(step_functions, "ASKS_EVERY_S", 0.0)


def machine_of(**replies: list[Any]) -> tuple[StepFunctionsSweep, ScriptedStates]:
    client = ScriptedStates(**replies)
    return StepFunctionsSweep("arn:of:the:machine", client), client


def test_a_sweep_is_started_on_its_list_and_none_beside_one_that_runs() -> None:
    machine, client = machine_of(list_executions=[{"executions": []}], start_execution=[{"executionArn": RUN}])
    assert machine.start("sweeps/list.json") == RUN
    assert json.loads(client.terms["start_execution"]["input"]) == {"points": "sweeps/list.json"}
    assert client.terms["list_executions"]["statusFilter"] == "RUNNING"
    machine, client = machine_of(list_executions=[{"executions": [{"executionArn": RUN}]}])
    with pytest.raises(RunRefused, match=RUN):
        machine.start("sweeps/list.json")
    machine, _ = machine_of(list_executions=[DENIED])
    with pytest.raises(StoreUnavailable, match="could not be started at arn:of:the:machine: AccessDenied"):
        machine.start("sweeps/list.json")


def test_an_outcome_is_the_last_status_with_its_error_and_nothing_before() -> None:
    replies = [{"status": "RUNNING"}, {"status": "FAILED", "error": "States.Timeout"}, {"status": "SUCCEEDED"}]
    machine, _ = machine_of(describe_execution=replies)
    assert [machine.outcome(RUN) for _ in replies] == [None, "FAILED States.Timeout", "SUCCEEDED"]


def test_only_so_many_questions_in_a_row_may_stay_without_an_answer() -> None:
    lost = [DENIED] * UNANSWERED_COUNT_MAX
    machine, client = machine_of(describe_execution=[*lost, {"status": "RUNNING"}, *lost, DENIED])
    for _ in range(2 * UNANSWERED_COUNT_MAX + 1):
        assert machine.outcome(RUN) is None
    with pytest.raises(StoreUnavailable, match=f"{RUN} cannot be read: AccessDenied"):
        machine.outcome(RUN)
    assert client.asked["describe_execution"] == 2 * UNANSWERED_COUNT_MAX + 2


@pytest.mark.parametrize(("status", "stops_count"), [("RUNNING", 1), ("SUCCEEDED", 0)])
def test_what_has_ended_is_not_stopped(status: str, stops_count: int) -> None:
    machine, client = machine_of(describe_execution=[{"status": status}], stop_execution=[{}])
    machine.stop(RUN)
    assert client.asked["stop_execution"] == stops_count


def test_a_run_that_could_not_be_stopped_is_said_to_go_on() -> None:
    machine, _ = machine_of(describe_execution=[{"status": "RUNNING"}], stop_execution=[DENIED])
    with pytest.raises(StoreUnavailable, match=f"{RUN} could not be stopped, and goes on: AccessDenied"):
        machine.stop(RUN)


@pytest.mark.parametrize(("failed", "words"), [
    ({"error": "DataError", "cause": '{"errorMessage": "the archive has no sweep"}'}, "DataError: the archive has no sweep"),
    ({"error": "Lambda.Unknown", "cause": "it ran out of memory"}, "Lambda.Unknown: it ran out of memory"),
    ({}, "no error: "),
])  # fmt: skip
def test_the_first_point_that_failed_is_told_in_its_own_words(failed: dict[str, str], words: str) -> None:
    maps = [{"mapRuns": [{"mapRunArn": "first"}, {"mapRunArn": "second"}]}]
    found = [{"executions": []}, {"executions": [{"executionArn": "point"}]}]
    machine, client = machine_of(list_map_runs=maps, list_executions=found, describe_execution=[failed])
    assert machine.first_failure(RUN) == words
    assert client.terms["list_executions"] == {"mapRunArn": "second", "statusFilter": "FAILED", "maxResults": 1}
    assert client.terms["describe_execution"] == {"executionArn": "point"}


def test_where_no_point_has_failed_or_nobody_may_ask_there_are_no_words_of_one() -> None:
    machine, _ = machine_of(list_map_runs=[{"mapRuns": []}])
    assert machine.first_failure(RUN) == ""
    machine, _ = machine_of(list_map_runs=[DENIED])
    assert machine.first_failure(RUN) == "why cannot be read: AccessDenied"
