"""Processes that do not outlive the one that started them, and never share their state with another.

A killed parent cannot tell its children anything, so each child watches for itself: it compares its parent's id twice a
second. `python -m infra.local.lifeline LOCK MODULE ARGUMENTS...` runs any module that way: when the parent is gone, the module
is asked to stop (SIGTERM), and ended ten seconds later if it has not. A death signal set in the kernel would be faster, but it
follows the parent's *thread*, which may end long before the parent does.

The child holds LOCK for as long as it lives. A new start that comes while an orphan is still saving waits for it.
"""

import fcntl
import os
import runpy
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

POLL_S = 0.5
GRACE_S = 10.0
LOCK_TIMEOUT_S = 20.0
ROOT = Path(__file__).resolve().parents[2]


def stop_with_parent() -> None:
    """Ask this process to stop as soon as the process that started it is gone, which it may be already."""
    parent = int(os.environ["CLOSEBELL_PARENT"])

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(POLL_S)
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(GRACE_S)
        os._exit(1)

    threading.Thread(target=watch, name="lifeline", daemon=True).start()


def hold(lock: Path, timeout_s: float) -> bool:
    """Take an exclusive lock that ends with this process; False when somebody else keeps it for `timeout_s`."""
    lock.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(lock, os.O_RDWR | os.O_CREAT, 0o600)
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            if time.monotonic() >= deadline:
                os.close(descriptor)
                return False
            time.sleep(0.05)


def start_child(module: str, arguments: Sequence[str], environment: Mapping[str, str], log: Path) -> subprocess.Popen[bytes]:
    """Start `python -m module` so that it ends with this process; its output goes to the end of `log`, its lock lies beside it.

    It gets a session of its own: Ctrl-C in the terminal reaches the runner alone, which then stops its children in order.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    python = {
        "PYTHONPATH": os.pathsep.join((str(ROOT), str(ROOT / "layers" / "core"))),
        # ministack alone is 2 s of compiling, and wheels come without compiled modules.
        "PYTHONPYCACHEPREFIX": str(ROOT / ".closebell" / "build" / "pycache"),
        "PYTHONDONTWRITEBYTECODE": "",
    }
    with log.open("ab") as output:
        return subprocess.Popen(
            [sys.executable, "-m", "infra.local.lifeline", str(log.with_suffix(".lock")), module, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, **python, **environment, "CLOSEBELL_PARENT": str(os.getpid())},
            start_new_session=True,
        )


def stop_child(child: subprocess.Popen[bytes], timeout_s: float = 20.0) -> None:
    """Ask the child to stop and wait for it; end it when it takes longer than `timeout_s`."""
    if child.poll() is None:
        child.terminate()
    try:
        child.wait(timeout_s)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()


if __name__ == "__main__":
    stop_with_parent()
    if not hold(Path(sys.argv[1]), LOCK_TIMEOUT_S):
        sys.exit(f"another process uses {Path(sys.argv[1]).parent}; stop it first")
    sys.argv = sys.argv[2:]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
