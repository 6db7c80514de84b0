"""The sweep's state machine gives every point a run of its own, bounded, and no point's failure takes the others with it."""

from typing import Any

from tests.infrastructure.transformed import properties


def every_point() -> dict[str, Any]:
    definition = properties("Sweep")["Definition"]
    state: dict[str, Any] = definition["States"][definition["StartAt"]]
    return state


def one_point() -> dict[str, Any]:
    processor = every_point()["ItemProcessor"]
    state: dict[str, Any] = processor["States"][processor["StartAt"]]
    return state


def test_points_are_read_from_the_archive_and_what_became_of_them_is_written_there() -> None:
    bucket = {"Ref": "ArchiveBucket"}
    reader, writer = every_point()["ItemReader"], every_point()["ResultWriter"]
    assert reader["Parameters"] == {"Bucket": bucket, "Key.$": "$.points"}
    assert reader["ReaderConfig"] == {"InputType": "JSON"}
    assert writer["Parameters"] == {"Bucket": bucket, "Prefix": "sweeps/runs"}


def test_points_are_spread_but_leave_the_desk_room() -> None:
    """A new account runs ten functions at once; the day's own need some of them."""
    assert every_point()["ItemProcessor"]["ProcessorConfig"]["Mode"] == "DISTRIBUTED"
    assert every_point()["MaxConcurrency"] == 5
    assert every_point()["ToleratedFailurePercentage"] == 50


def test_a_point_outlives_its_function_and_only_what_may_pass_is_tried_again() -> None:
    assert one_point()["Resource"] == {"Fn::GetAtt": ["RunBacktest", "Arn"]}
    assert one_point()["TimeoutSeconds"] > properties("RunBacktest")["Timeout"]
    (retry,) = one_point()["Retry"]
    assert {"Lambda.TooManyRequestsException", "StoreUnavailable"} <= set(retry["ErrorEquals"])
    assert not {"States.ALL", "States.TaskFailed", "ConfigurationError", "DataError"} & set(retry["ErrorEquals"])
    assert retry["MaxAttempts"] == 6
