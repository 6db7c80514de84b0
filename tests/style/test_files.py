"""STYLE.md, executed: each test is one rule about the files of the project, whatever they are written in."""

import re
from functools import cache
from pathlib import Path

import pytest

from tests.style.project import ROOT, files, name

LOCKS = tuple(path for path in files() if path.suffix == ".txt" and "requirements" in name(path))

# Spelled with character classes, so that no pattern finds itself here.
MACHINE_PATH = re.compile(r"(?<![\w.}$/])/(?:work|tmp|root|home|farm|Users)/[\w.]+")
INDEX = re.compile(
    r"pypi\.(?:org|python)|pythonhoste[d]|registry\.npm[j]s|--(?:extra-)?inde[x]-url|--find-link[s]|--trusted-hos[t]"
)
PRIVATE_HOST = re.compile(r"https?://[\w.-]+\.(?:internal|local|lan|corp)\b")
ADDRESS = re.compile(r"(?<![\w.])(?!127\.0\.0\.1|0\.0\.0\.0)\d{1,3}(?:\.\d{1,3}){3}(?![\w.])")
SECRET = re.compile(
    r"AKIA[0-9A-Z]{16}|\b[PA]K[A-Z0-9]{18}\b|BEGIN [A-Z ]*PRIVATE KE[Y]|"
    r"(?i:secret|password|token|api_?key)\w*[\"']?\s*[:=]\s*[\"'](?!canary)(?=[^\"']*\d)[A-Za-z0-9/+]{20,}[\"']"
)
UNFINISHED = re.compile(r"\bTOD[O]\b|\bFIXM[E]\b|\bXX[X]\b|NotImplementedErro[r]")
PICKLED = {".pkl", ".pickle", ".joblib", ".pt", ".pth"}


@cache
def text(path: Path) -> str:
    content = path.read_bytes()
    return "" if b"\0" in content else content.decode("utf-8")


def lines_with(pattern: re.Pattern[str], paths: tuple[Path, ...]) -> list[str]:
    return [
        f"{name(path)}:{number} {line.strip()[:120]}"
        for path in paths for number, line in enumerate(text(path).splitlines(), start=1) if pattern.search(line)
    ]


@pytest.mark.parametrize(
    ("pattern", "example"),
    [
        (MACHINE_PATH, "cp /ro" "ot/keys here"),
        (INDEX, "pip install --inde" "x-url somewhere"),
        (PRIVATE_HOST, "http" "://mirror.corp/simple"),
        (ADDRESS, "host = 10.1" ".2.3"),
        (SECRET, "AKI" "AABCDEFGHIJKLMNOP"),
        (SECRET, "secret_key = '" "a1b2c3d4e5f6g7h8i9j0k1l2'"),
        (UNFINISHED, "# TO" "DO: later"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_each_pattern_finds_what_it_is_for(pattern: re.Pattern[str], example: str) -> None:
    assert pattern.search(example)


def test_no_file_names_a_machine() -> None:
    assert not lines_with(MACHINE_PATH, files())
    assert not lines_with(PRIVATE_HOST, files())
    assert not lines_with(ADDRESS, tuple(path for path in files() if path not in LOCKS))


def test_no_file_names_a_package_index() -> None:
    assert not lines_with(INDEX, files())
    assert not lines_with(re.compile(r"https?:|file:|^-"), LOCKS)


def test_every_locked_package_has_its_hashes() -> None:
    assert LOCKS
    for path in LOCKS:
        locked = re.compile(r"[\w.-]+==\S.*\n\s+--hash=sha256:[0-9a-f]{64}")
        assert not [pin for pin in re.split(r"\n(?=\S)", text(path).strip()) if not locked.match(pin)], name(path)


def pins(path: str) -> dict[str, set[str]]:
    """The versions of each package in a lock; more than one where they differ by Python."""
    versions: dict[str, set[str]] = {}
    for package, version in re.findall(r"^([\w.-]+)==(\S+)", text(ROOT / path), re.MULTILINE):
        versions.setdefault(package, set()).add(version)
    return versions


def test_tests_run_the_versions_that_aws_runs() -> None:
    tests, aws = pins("requirements/dev.txt"), pins("layers/deps/requirements.txt")
    assert aws
    assert not {package: (versions, tests.get(package)) for package, versions in aws.items() if tests.get(package) != versions}


def test_no_file_holds_a_secret() -> None:
    assert not lines_with(SECRET, files())


def test_no_file_is_unfinished() -> None:
    assert not lines_with(UNFINISHED, files())


def test_nothing_is_pickled() -> None:
    assert not [name(path) for path in files() if path.suffix in PICKLED]


def test_the_licence_is_apache() -> None:
    licence = (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert "Apache License" in licence
    assert "END OF TERMS AND CONDITIONS" in licence
