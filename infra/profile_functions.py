"""What each function costs to start: peak memory and import time, measured as Lambda would start it.

`python -m infra.profile_functions` builds the two layers for this machine's processor and Python (bytecode included, as
`sam build` ships it) and imports every handler in a fresh process that sees the function's folder, the layers, what the
Lambda runtime brings and nothing else. `--rss-of module:function` calls one function of ours in such a process instead.
"""

import argparse
import importlib.util
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
REPEATS = 3
TIMEOUT_S = 300
RUNTIME_MODULES = ("boto3", "botocore", "s3transfer", "jmespath", "dateutil", "six", "urllib3")
"""What AWS's Python runtime has beside the layers."""

# Runs in the measured process and imports next to nothing itself. Linux tells the peak as VmHWM; ru_maxrss would there
# include the parent's memory, which a child inherits when it starts.
_MEASURE = """
import sys, time
module, _, function = sys.argv[1].partition(":")
cpu, wall = time.process_time(), time.perf_counter()
__import__(module)
if function:
    getattr(sys.modules[module], function)()
cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
try:
    with open("/proc/self/status") as status:
        peak = next(int(line.split()[1]) / 1024 for line in status if line.startswith("VmHWM:"))
except FileNotFoundError:
    import resource
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
print("MEASURED", peak, cpu, wall)
"""


class MeasurementFailed(Exception):
    """The measured process ended with an error; the message is its last words."""


class Cost(NamedTuple):
    """What one fresh process took; the memory is the peak of the whole process, the interpreter included."""

    rss_mib_max: float
    cpu_s: float
    wall_s: float


def measure(target: str, path: Sequence[Path], environment: Mapping[str, str]) -> Cost:
    """Import `module`, or call `module:function`, in a fresh process with nothing but `path`. Raises MeasurementFailed."""
    done = _run(["-c", _MEASURE, target], path, environment)
    line = next(line for line in reversed(done.stdout.splitlines()) if line.startswith("MEASURED "))
    return Cost(*map(float, line.split()[1:]))


def import_microseconds(module: str, path: Sequence[Path], environment: Mapping[str, str]) -> Counter[str]:
    """Microseconds spent in the modules of each top-level package while importing `module` (with the cost of timing them)."""
    done = _run(["-X", "importtime", "-c", f"import {module}"], path, environment)
    microseconds: Counter[str] = Counter()
    for line in done.stderr.splitlines():
        fields = line.removeprefix("import time:").split("|")
        if len(fields) == 3 and fields[0].strip().isdigit():
            microseconds[fields[2].strip().partition(".")[0]] += int(fields[0])
    return microseconds


def _run(arguments: list[str], path: Sequence[Path], environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    imports = {"PYTHONPATH": os.pathsep.join(map(str, path))}
    scrubbed = {"PATH": os.environ["PATH"], "TZ": ":UTC", "LANG": "C.UTF-8", **imports, **environment}
    command = [sys.executable, "-s", "-S", "-P", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=scrubbed, timeout=TIMEOUT_S)
    if done.returncode != 0:
        raise MeasurementFailed("\n".join(done.stderr.strip().splitlines()[-3:]))
    return done


def build_path(folder: Path) -> list[Path]:
    """Import roots for this machine: the layers, made by the Makefiles that `sam build` uses, and the runtime's own packages."""
    uv = Path(sys.executable).with_name("uv")
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    variables = [f"UV={uv}", f"PLATFORM={_platform()}", f"PYTHON_VERSION={version}", f"COMPILER={sys.executable}"]
    shutil.rmtree(folder, ignore_errors=True)
    for layer, target in (("core", "build-CoreLayer"), ("deps", "build-DepsLayer")):
        make = ["make", "--silent", "-C", str(ROOT / "layers" / layer), target, f"ARTIFACTS_DIR={folder / layer}", *variables]
        subprocess.run(make, check=True)
    return [folder / "core" / "python", folder / "deps" / "python", _link_runtime(folder / "runtime")]


def _platform() -> str:
    """This machine in uv's words."""
    processor = {"arm64": "aarch64", "AMD64": "x86_64"}.get(platform.machine(), platform.machine())
    return f"{processor}-apple-darwin" if sys.platform == "darwin" else f"{processor}-manylinux_2_28"


def _link_runtime(folder: Path) -> Path:
    """A folder with links to the host's copies of the runtime's packages."""
    folder.mkdir(parents=True)
    for module in RUNTIME_MODULES:
        spec = importlib.util.find_spec(module)
        if spec is None or spec.origin is None:
            raise MeasurementFailed(f"{module} is not installed here; run `make setup`")
        origin = Path(spec.origin)
        source = origin.parent if origin.name == "__init__.py" else origin
        (folder / source.name).symlink_to(source)
    return folder


def placeholder_environment() -> dict[str, str]:
    """Variables a handler may look at while it is imported; none leads anywhere."""
    return {
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_LAMBDA_FUNCTION_NAME": "profile",
        "POWERTOOLS_SERVICE_NAME": "profile",
        "POWERTOOLS_METRICS_NAMESPACE": "Closebell",
    }


def profile_function(name: str, path: Sequence[Path]) -> str:
    """One line of the table: the median of three fresh processes, and the five packages that take longest to import."""
    seen = [ROOT / "functions" / name, *path]
    environment = placeholder_environment()
    costs = [measure("handler", seen, environment) for _ in range(REPEATS)]
    rss_mib, cpu_s, wall_s = (statistics.median(values) for values in zip(*costs, strict=True))
    slowest = import_microseconds("handler", seen, environment).most_common(5)
    packages = ", ".join(f"{package} {microseconds / 1e6:.2f}" for package, microseconds in slowest)
    return f"{name:20} {rss_mib:8.0f} {cpu_s:8.2f} {wall_s:8.2f}  {packages}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table, or the cost of one call."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rss-of", metavar="MODULE:FUNCTION", help="call one function in a fresh process; prints JSON")
    parser.add_argument("--build", type=Path, default=ROOT / "build" / "profile", help="where the layers are built")
    chosen = parser.parse_args(arguments)
    path = build_path(chosen.build.resolve())
    if chosen.rss_of:
        print(json.dumps(measure(chosen.rss_of, [*path, ROOT], placeholder_environment())._asdict()))
        return 0
    print(f"{'function':20} {'peak MiB':>8} {'CPU s':>8} {'wall s':>8}  slowest imports (s)")
    names = sorted(handler.parent.name for handler in (ROOT / "functions").glob("*/handler.py"))
    failures = 0
    for name in names:
        try:
            print(profile_function(name, path), flush=True)
        except MeasurementFailed as error:
            print(f"{name} cannot be imported from its layers:\n{error}", file=sys.stderr)
            failures += 1
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
