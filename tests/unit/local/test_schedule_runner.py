"""When schedules fire, and that each firing is delivered in order and remembered."""

import io
import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from botocore.exceptions import EndpointConnectionError

from closebell.model.instruments import Market
from closebell.model.schedule import SCHEDULES
from infra.local.package import read_template
from infra.local.schedule_runner import Invocation, Progress, RunnerStopped, ScheduleRunner
from infra.local.schedules import Firing, Schedule, ScheduleUnreadable, firings, five_fields, read_schedules

ROOT = Path(__file__).resolve().parents[3]
NEW_YORK = ZoneInfo("America/New_York")
INPUT = '{"scheduled_at": "<aws.scheduler.scheduled-time>", "market": "us_equity"}'


def schedule(cron: str, zone: str = "America/New_York", name: str = "S") -> Schedule:
    return Schedule(name, "F", "reconcile", Market.US_EQUITY, cron, ZoneInfo(zone), INPUT)


def new_york(*fields: int) -> datetime:
    return datetime(*fields, tzinfo=NEW_YORK)  # type: ignore[misc, arg-type]  # year, month, day, hour, minute


def instants(fired: Sequence[Firing]) -> list[str]:
    return [f"{firing.at:%m-%d %H:%M}" for firing in fired]


@pytest.mark.parametrize(
    ("expression", "expected"),
    [("cron(0/5 9-16 ? * MON-FRI *)", "0/5 9-16 * * MON-FRI"), ("cron(20 0 * * ? *)", "20 0 * * *")],
)
def test_eventbridge_cron_becomes_cron(expression: str, expected: str) -> None:
    assert five_fields(expression) == expected


@pytest.mark.parametrize(
    "expression",
    ["rate(5 minutes)", "cron(0 9 ? * MON-FRI)", "cron(0 9 ? * MON-FRI 2018)", "cron(0 9 ? * 2-6 *)", "cron(0 9 * * * *)"],
)
def test_an_expression_that_would_be_misread_is_refused(expression: str) -> None:
    with pytest.raises(ScheduleUnreadable, match="cron|rate"):
        five_fields(expression)


def test_the_template_fires_what_the_model_says_in_the_models_order() -> None:
    read = read_schedules(read_template(ROOT / "template.yaml"), {"TradesCrypto": "yes"})
    assert [(one.function, one.market, one.cron, str(one.zone)) for one in read] == [
        (run.function, run.market, run.cron.replace("?", "*"), run.zone) for run in SCHEDULES
    ]


def test_a_disabled_schedule_does_not_fire() -> None:
    read = read_schedules(read_template(ROOT / "template.yaml"), {"TradesCrypto": "no"})
    assert {one.market for one in read} == {Market.US_EQUITY}


def test_a_weekday_schedule_rests_on_weekends_and_fires_on_holidays() -> None:
    fired = list(firings([schedule("0 9 * * MON-FRI")], new_york(2018, 11, 21), new_york(2018, 11, 27)))
    # Thursday the 22nd is Thanksgiving, the 24th and 25th are a weekend.
    assert [firing.at.day for firing in fired] == [21, 22, 23, 26]


def test_nine_in_new_york_moves_by_an_hour_in_utc_when_summer_time_ends_and_begins() -> None:
    autumn = list(firings([schedule("0 9 * * *")], new_york(2018, 11, 3), new_york(2018, 11, 6)))
    spring = list(firings([schedule("0 9 * * *")], new_york(2019, 3, 9), new_york(2019, 3, 12)))
    assert instants(autumn) == ["11-03 13:00", "11-04 14:00", "11-05 14:00"]
    assert instants(spring) == ["03-09 14:00", "03-10 13:00", "03-11 13:00"]


def test_a_local_time_that_summer_time_removes_is_skipped() -> None:
    fired = list(firings([schedule("30 2 * * *")], new_york(2019, 3, 9), new_york(2019, 3, 12)))
    assert instants(fired) == ["03-09 07:30", "03-11 06:30"]


def test_a_local_time_that_occurs_twice_fires_the_first_time_only() -> None:
    fired = list(firings([schedule("30 1 * * *")], new_york(2018, 11, 4), new_york(2018, 11, 5)))
    assert instants(fired) == ["11-04 05:30"]


def test_a_start_inside_the_repeated_hour_does_not_fire_it_again() -> None:
    # 06:10 UTC is 01:10 in New York for the second time.
    start = datetime(2018, 11, 4, 6, 10, tzinfo=UTC)
    fired = list(firings([schedule("0/15 * * * *")], start, start + timedelta(minutes=66)))
    assert instants(fired) == ["11-04 07:00", "11-04 07:15"]


def test_schedules_of_two_zones_interleave_in_true_time() -> None:
    both = [schedule("0 9 * * *", name="equity"), schedule("30 * * * *", "UTC", "crypto"), schedule("0 14 * * *", "UTC", "late")]
    fired = list(firings(both, datetime(2018, 11, 5, 13, tzinfo=UTC), datetime(2018, 11, 5, 15, tzinfo=UTC)))
    assert [(firing.schedule.name, f"{firing.at:%H:%M}") for firing in fired] == [
        ("crypto", "13:30"), ("equity", "14:00"), ("late", "14:00"), ("crypto", "14:30"),
    ]  # fmt: skip


def test_the_end_of_a_span_belongs_to_the_next() -> None:
    start, middle, end = new_york(2018, 10, 1, 9), new_york(2018, 10, 1, 12), new_york(2018, 10, 1, 17)
    every_five = [schedule("0/5 9-16 * * MON-FRI")]
    parts = [*firings(every_five, start, middle), *firings(every_five, middle, end)]
    assert parts == list(firings(every_five, start, end))
    assert len(parts) == 8 * 12


def test_the_event_carries_the_scheduled_instant() -> None:
    firing = Firing(datetime(2018, 10, 1, 13, tzinfo=UTC), schedule("0 9 * * *"))
    assert json.loads(firing.event) == {"scheduled_at": "2018-10-01T13:00:00Z", "market": "us_equity"}


class World:
    """A Lambda and a clock that keep what happened to them."""

    def __init__(self) -> None:
        self.happened: list[tuple[str, str]] = []
        self.failing: dict[str, Any] = {}

    def advance(self, at: datetime) -> None:
        self.happened.append(("clock", f"{at:%H:%M}"))

    def invoke(self, FunctionName: str, InvocationType: str, Payload: bytes) -> dict[str, Any]:  # noqa: N803 - boto3's names
        at = json.loads(Payload)["scheduled_at"][11:16]
        self.happened.append((FunctionName, at))
        failure = self.failing.get(at)
        if isinstance(failure, Exception):
            raise failure
        if failure:
            return {"FunctionError": "Unhandled", "Payload": io.BytesIO(json.dumps({"errorMessage": failure}).encode())}
        return {"Payload": io.BytesIO(b'{"outcome": "done"}')}


def run(world: World, path: Path, start: datetime, end: datetime) -> list[Invocation]:
    runner = ScheduleRunner(world, {"F": "deployed"}, world, Progress(path))
    return list(runner.run([schedule("0/5 9-16 * * *")], start, end))


START = new_york(2018, 10, 1, 9)
TEN_MINUTES = timedelta(minutes=10)


def test_the_clock_stands_at_the_firing_when_the_function_runs(tmp_path: Path) -> None:
    world = World()
    run(world, tmp_path / "progress.json", START, START + TEN_MINUTES)
    assert world.happened == [("clock", "13:00"), ("deployed", "13:00"), ("clock", "13:05"), ("deployed", "13:05")]


def test_a_functions_error_is_reported_and_the_day_goes_on(tmp_path: Path) -> None:
    world = World()
    world.failing["13:00"] = "ValueError: no bars"
    done = run(world, tmp_path / "progress.json", START, START + TEN_MINUTES)
    assert [one.error for one in done] == ["ValueError: no bars", None]
    assert done[1].answer == {"outcome": "done"}


def test_a_run_that_failed_is_repeated_as_often_as_lambda_would(tmp_path: Path) -> None:
    world = World()
    world.failing["13:00"] = "the process died"
    runner = ScheduleRunner(world, {"F": "deployed"}, world, Progress(tmp_path / "progress.json"))
    twice = schedule("0 9 * * *")._replace(retries_count=2)
    (done,) = runner.run([twice], START, START + TEN_MINUTES)
    assert done.error == "the process died"
    assert [name for name, _ in world.happened].count("deployed") == 3


def test_retries_are_the_templates() -> None:
    read = read_schedules(read_template(ROOT / "template.yaml"), {"TradesCrypto": "no"})
    retries = {one.function: one.retries_count for one in read}
    assert retries["place_orders"] == retries["reconcile"] == 2, "a run that was killed finds its orders by their ids"
    assert retries["generate_signals"] == 2


def test_a_runner_that_was_interrupted_repeats_that_firing_and_none_before(tmp_path: Path) -> None:
    world = World()
    world.failing["13:05"] = EndpointConnectionError(endpoint_url="http://127.0.0.1")
    with pytest.raises(RunnerStopped, match="13:05"):
        run(world, tmp_path / "progress.json", START, START + TEN_MINUTES)
    world.failing.clear()
    world.happened.clear()
    run(world, tmp_path / "progress.json", START, START + TEN_MINUTES)
    assert world.happened == [("clock", "13:05"), ("deployed", "13:05")]


def test_of_two_firings_at_one_instant_only_the_unfinished_is_repeated(tmp_path: Path) -> None:
    first, second = schedule("0 9 * * *", name="first"), schedule("0 9 * * *", name="second")
    progress = Progress(tmp_path / "progress.json")
    progress.record(Firing(START.astimezone(UTC), first))
    again = Progress(tmp_path / "progress.json")
    assert again.is_done(Firing(START.astimezone(UTC), first))
    assert not again.is_done(Firing(START.astimezone(UTC), second))
