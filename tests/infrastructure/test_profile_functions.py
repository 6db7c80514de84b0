"""The profiler measures a fresh process that sees only what it is given."""

from pathlib import Path

import pytest

from infra.profile_functions import MeasurementFailed, import_microseconds, measure


def test_the_memory_a_call_touches_is_in_its_peak(tmp_path: Path) -> None:
    code = "def small():\n    pass\n\ndef big():\n    bytearray(b'x' * (64 << 20))\n"
    (tmp_path / "hungry.py").write_text(code, encoding="utf-8")
    small, big = (measure(f"hungry:{function}", [tmp_path], {}) for function in ("small", "big"))
    assert 2 * 64 - 16 <= big.rss_mib_max - small.rss_mib_max <= 2 * 64 + 16


def test_the_parents_memory_does_not_count(tmp_path: Path) -> None:
    ballast = bytearray(b"x" * (128 << 20))
    (tmp_path / "empty.py").touch()
    assert measure("empty", [tmp_path], {}).rss_mib_max < len(ballast) / 2**20


def test_nothing_of_the_host_is_importable(tmp_path: Path) -> None:
    (tmp_path / "handler.py").write_text("import numpy\n", encoding="utf-8")
    with pytest.raises(MeasurementFailed, match="No module named 'numpy'"):
        measure("handler", [tmp_path], {})


def test_import_time_is_told_by_package(tmp_path: Path) -> None:
    (tmp_path / "slow").mkdir()
    (tmp_path / "slow" / "__init__.py").write_text("from slow import part\n", encoding="utf-8")
    (tmp_path / "slow" / "part.py").write_text("sum(range(3_000_000))\n", encoding="utf-8")
    (tmp_path / "handler.py").write_text("import slow\n", encoding="utf-8")
    found = import_microseconds("handler", [tmp_path], {})
    assert found.most_common(1)[0][0] == "slow"
