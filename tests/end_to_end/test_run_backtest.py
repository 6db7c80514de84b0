"""A sweep on local AWS: the state machine gives each point to the deployed function, the archive holds what this machine gets."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from closebell.adapters.s3 import S3Archive
from closebell.adapters.step_functions import StepFunctionsSweep
from closebell.backtest.sweeps.archive import FannedOut
from closebell.backtest.sweeps.points import SweepPoint, grid_points, read_axes
from closebell.backtest.sweeps.pool import SweepGround
from closebell.backtest.sweeps.search import GridSearch, ground_sha256, sweep
from closebell.backtest.sweeps.store import PointStore, key_of
from closebell.model.errors import RunRefused
from closebell.simulation.exchange.trading_floor import ExchangeOptions
from infra.local.aws import LocalAws
from infra.local.deploy import Deployment, deploy
from tests.unit.backtest.markets import market_of, parameters_of, seeded_panel

ROOT = Path(__file__).parents[2]
PANEL = seeded_panel(7, 60, 4)
BASE = parameters_of(PANEL, "mean_reversion", "sma_cross")
DAYS = PANEL.sessions.astype(object)
GROUND = SweepGround(market_of(PANEL, "0.001"), ExchangeOptions(), DAYS[51], DAYS[59])
POINTS = grid_points(read_axes(["exits.minimum_hold_sessions=1,3", "exits.time_stop_sessions=2,5"], BASE), BASE)


@pytest.fixture(scope="module")
def aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalAws]:
    with LocalAws(tmp_path_factory.mktemp("aws")) as running:
        yield running


@pytest.fixture(scope="module")
def stack(aws: LocalAws) -> Deployment:
    given = {"MailFrom": "desk@example.com", "MailTo": "reader@example.com", "SilenceAlarms": "no"}
    return deploy(aws, "desk", ROOT / "template.yaml", given, ROOT / ".closebell" / "build")


def test_a_sweep_on_aws_gives_what_this_machine_gives(aws: LocalAws, stack: Deployment, tmp_path: Path) -> None:
    archive = S3Archive(stack.outputs["ArchiveBucketName"], aws.client("s3"))
    crew = FannedOut(GROUND, archive, StepFunctionsSweep(stack.outputs["SweepArn"], aws.client("stepfunctions")))
    ground = ground_sha256(GROUND)
    with PointStore(tmp_path) as store:
        results = sweep(GridSearch(POINTS), store, crew, ground, lambda done, total, failed: None)
    for result, point in zip(results, POINTS, strict=True):
        if point.parameters is None:
            assert "minimum_hold_sessions is above" in f"{result.error}"
        else:
            assert result.summary == json.loads(json.dumps(GROUND(point.parameters))), result.error
    assert sum(point.parameters is None for point in POINTS) == 1


def test_a_point_that_fails_on_aws_says_why(aws: LocalAws, stack: Deployment) -> None:
    """Its key is another point's, which the function refuses."""
    archive = S3Archive(stack.outputs["ArchiveBucketName"], aws.client("s3"))
    machine = StepFunctionsSweep(stack.outputs["SweepArn"], aws.client("stepfunctions"))
    (told,) = FannedOut(GROUND, archive, machine).run({"0" * 64: BASE})
    assert "DataError: the point 0000" in f"{told.outcome}"
    assert "is not the one that its configuration makes" in f"{told.outcome}"


def test_two_sweeps_at_once_are_refused_and_one_that_is_left_is_stopped(
    aws: LocalAws, stack: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive, client = S3Archive(stack.outputs["ArchiveBucketName"], aws.client("s3")), aws.client("stepfunctions")
    machine = StepFunctionsSweep(stack.outputs["SweepArn"], client)
    many = [BASE.model_copy(update={"history_sessions": sessions}) for sessions in range(220, 260)]
    left = FannedOut(GROUND, archive, machine).run({key_of(SweepPoint({}, desk), ground_sha256(GROUND)): desk for desk in many})
    runs: list[str] = []

    def begun(run: str) -> None:
        """The first question: another sweep is asked for, then the user interrupts."""
        runs.append(run)
        with pytest.raises(RunRefused, match="the stack sweeps already"):
            machine.start("sweeps/other.json")
        raise KeyboardInterrupt

    monkeypatch.setattr(machine, "outcome", begun)
    with pytest.raises(KeyboardInterrupt):
        next(left)
    assert client.describe_execution(executionArn=runs[0])["status"] == "ABORTED"
