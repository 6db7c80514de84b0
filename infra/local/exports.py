"""What the demo leaves for people to look at, in `.closebell/demo/`."""

import csv
import json
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from closebell.model.books import Fill
from closebell.model.decision import PlanSet
from closebell.model.decision_document import PlacedPlans
from closebell.model.operations import MailRecord
from infra.local.render_page import ChromiumNotFoundError, chromium_path
from infra.local.session_report import Summary

LEDGER_COLUMNS = (
    "session", "occurred_at", "symbol", "side", "quantity_shares", "price_usd", "client_order_id", "plan_id", "activity_id",
)
RENDER_TIMEOUT_S = 60


def write_summary(folder: Path, summary: Summary) -> Path:
    """summary.json, its keys in the order of `Summary`."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "summary.json"
    path.write_text(json.dumps(summary._asdict(), indent=2) + "\n")
    return path


def write_ledger(folder: Path, fills: Sequence[Fill]) -> Path:
    """ledger.csv: every execution that the desk booked."""
    path = folder / "ledger.csv"
    with path.open("w", newline="", encoding="utf-8") as stream:
        table = csv.writer(stream)
        table.writerow(LEDGER_COLUMNS)
        for fill in fills:
            values = fill.model_dump(mode="json")
            table.writerow(["" if values[column] is None else values[column] for column in LEDGER_COLUMNS])
    return path


def write_newsletter(folder: Path, mail: MailRecord, bucket: str, s3: Any) -> tuple[list[Path], str]:
    """The archived mail's files, its page as a picture among them, and what is to be said about the picture."""
    paths = []
    for entry in s3.list_objects_v2(Bucket=bucket, Prefix=f"{mail.archive_prefix}/").get("Contents", []):
        path = folder / Path(entry["Key"]).name
        path.write_bytes(s3.get_object(Bucket=bucket, Key=entry["Key"])["Body"].read())
        if path.suffix in {".html", ".txt", ".png"}:
            paths.append(path)
        else:
            path.unlink()
    return _with_picture(folder, paths)


def _with_picture(folder: Path, paths: list[Path]) -> tuple[list[Path], str]:
    page, picture = folder / "newsletter.html", folder / "newsletter.png"
    if page not in paths:
        return paths, "the archive holds no newsletter.html"
    try:
        chromium_path()
    except ChromiumNotFoundError as missing:
        return paths, f"no picture of the newsletter: {missing}"
    command = [sys.executable, "-m", "infra.local.render_page", str(page), str(picture)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=RENDER_TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired:
        return paths, f"no picture of the newsletter: Chromium took more than {RENDER_TIMEOUT_S} s"
    if done.returncode != 0:
        return paths, f"no picture of the newsletter: {done.stderr.strip().splitlines()[-1:] or 'Chromium failed'}"
    return [*paths, picture], ""


def write_decisions(folder: Path, plan_sets: Sequence[PlanSet], placed: Sequence[PlacedPlans], bucket: str, s3: Any) -> Path:
    """decisions/<market>/<session>.json: every symbol's decision, with all it was made of; `closebell explain` reads them.

    The bars lie under the name that the document says, for `closebell replay`; what became of the plans beside the decisions, in
    placed/<session>.json.

    Parameters
    ----------
    placed
        For each of `plan_sets`.
    """
    decisions = folder / "decisions"
    shutil.rmtree(decisions, ignore_errors=True)  # another market's may lie there
    shutil.rmtree(folder / "inputs", ignore_errors=True)
    for plan_set, orders in zip(plan_sets, placed, strict=True):
        content = _copy(s3, bucket, plan_set.decisions_archive, decisions / plan_set.market / f"{plan_set.decided_session}.json")
        bars = json.loads(content)["bars_archive"]
        _copy(s3, bucket, bars, folder / bars)
        path = decisions / plan_set.market / "placed" / f"{plan_set.decided_session}.json"
        path.parent.mkdir(exist_ok=True)
        path.write_text(orders.model_dump_json())
    return decisions


def _copy(s3: Any, bucket: str, name: str, path: Path) -> bytes:
    content: bytes = s3.get_object(Bucket=bucket, Key=name)["Body"].read()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return content
