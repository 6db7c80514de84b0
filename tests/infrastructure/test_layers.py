"""The functions run on what the tests ran on, on every Python that closebell supports, and nothing else goes along."""

import re
import sys
from pathlib import Path

import grimp
import pytest

from infra.layer_sizes import UNZIPPED_BYTES_MAX, function_sizes, main
from tests.infrastructure.transformed import ROOT

LAYER = ROOT / "layers" / "deps"


def locked(path: Path) -> dict[str, str]:
    """Version by package of a lock, the marker included."""
    return dict(re.findall(r"^([\w.-]+)==([^\\]+?) \\$", path.read_text(encoding="utf-8"), re.MULTILINE))


def test_the_layer_has_the_versions_that_the_tests_ran_on() -> None:
    layer, dev = locked(LAYER / "requirements.txt"), locked(ROOT / "requirements" / "dev.txt")
    assert layer
    assert {package: version for package, version in layer.items() if dev.get(package) != version} == {}


def test_the_layer_has_one_version_of_each_package_for_every_python() -> None:
    assert not [package for package, version in locked(LAYER / "requirements.txt").items() if "python" in version]


def test_the_layer_leaves_out_what_the_runtime_brings() -> None:
    assert not {"boto3", "botocore", "s3transfer"} & locked(LAYER / "requirements.txt").keys()


@pytest.mark.parametrize("lock", [LAYER / "requirements.txt", ROOT / "requirements" / "sam.txt"], ids=lambda path: path.name)
def test_a_lock_has_hashes_and_no_address(lock: Path) -> None:
    text = lock.read_text(encoding="utf-8")
    assert "://" not in text
    line_of_a_lock = re.compile(r"[\w.-]+==\S+ .*\\$|    --hash=sha256:[0-9a-f]{64}( \\)?$")
    assert not [line for line in text.splitlines() if not line_of_a_lock.match(line)]


def test_everything_that_the_functions_import_is_in_the_layer_or_the_runtime() -> None:
    """What only the command line and research need (typer, optuna) is no part of a function, however far away it is imported."""
    packages = {*locked(LAYER / "requirements.txt"), "boto3", "botocore"}
    modules = {OTHER_NAMES.get(package, package.replace("-", "_")) for package in packages}
    graph = grimp.build_graph(
        "closebell", "functions", include_external_packages=True, exclude_type_checking_imports=True, cache_dir=None
    )
    reached = graph.find_upstream_modules("functions", as_package=True)
    imported = {module for module in reached if graph.is_module_squashed(module)}
    assert {"numpy", "boto3", "pydantic"} <= imported
    assert imported - sys.stdlib_module_names - modules == set()


OTHER_NAMES = {"alpaca-py": "alpaca", "mjml-python": "mjml", "ta-lib": "talib"}
"""Packages whose module has another name."""


def built(folder: Path, layer_bytes: int) -> Path:
    """A build as `sam build` leaves it: one layer, one function."""
    (folder / "DepsLayer" / "python" / "numpy").mkdir(parents=True)
    with (folder / "DepsLayer" / "python" / "numpy" / "core.so").open("wb") as file:
        file.truncate(layer_bytes)
    (folder / "functions" / "place_orders").mkdir(parents=True)
    (folder / "functions" / "place_orders" / "handler.py").write_bytes(b"#" * 100)
    (folder / "template.yaml").write_text(
        "Resources:\n"
        "  DepsLayer: {Type: AWS::Serverless::LayerVersion, Properties: {ContentUri: DepsLayer}}\n"
        "  PlaceOrders: {Type: AWS::Serverless::Function, Properties: {CodeUri: functions/place_orders}}\n",
        encoding="utf-8",
    )
    return folder


def test_code_and_layers_are_weighed_together(tmp_path: Path) -> None:
    sizes = function_sizes(built(tmp_path, 1_000))
    assert [(size.name, size.code_bytes, size.total_bytes) for size in sizes] == [("PlaceOrders", 100, 1_100)]


@pytest.mark.parametrize(("spare_bytes", "status"), [(100, 0), (99, 1)])
def test_a_byte_over_lambdas_limit_fails_the_build(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], spare_bytes: int, status: int
) -> None:
    assert main(built(tmp_path, UNZIPPED_BYTES_MAX - spare_bytes)) == status
    assert ("DOES NOT FIT" in capsys.readouterr().out) == bool(status)


def test_sizes_of_nothing_say_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="make build"):
        main(tmp_path)
