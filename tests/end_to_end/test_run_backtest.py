"""A sweep on local AWS: the state machine gives each point to the deployed function, the archive holds what this machine gets."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from closebell.adapters.s3 import S3Archive
from closebell.adapters.step_functions import StepFunctionsSweep
from closebell.backtest.sweep import grid_points, read_axes
from closebell.backtest.sweep_archive import FannedOut
from closebell.backtest.sweep_pool import SweepGround
from closebell.backtest.sweep_search import GridSearch, ground_sha256, sweep
from closebell.backtest.sweep_store import PointStore
from closebell.simulation.trading_floor import ExchangeOptions
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
