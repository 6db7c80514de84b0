"""cfn-lint has nothing to say about the template, infos included."""

import subprocess
import sys
from pathlib import Path

from tests.infrastructure.transformed import ROOT


def test_the_template_is_clean() -> None:
    lint = Path(sys.executable).with_name("cfn-lint")
    done = subprocess.run([lint], cwd=ROOT, capture_output=True, text=True, check=False, timeout=100)
    assert (done.returncode, done.stdout) == (0, ""), done.stdout + done.stderr
