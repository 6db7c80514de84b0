"""Builds what `template.yaml` refers to, for this machine: a zip per function and layer.

The template is kept as it is but for what `aws cloudformation package` rewrites: `CodeUri` and `ContentUri` become objects in S3.
`sam build` does the same for AWS (python3.13, arm64); this does it for the interpreter and processor that run here, where the
functions will. Equal content gives equal zips, so an unchanged function is not deployed again.
"""

import hashlib
import os
import platform
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from samtranslator.yaml_helper import yaml_parse

URI_PROPERTIES = {"AWS::Serverless::Function": "CodeUri", "AWS::Serverless::LayerVersion": "ContentUri"}
LEFT_OUT = {"__pycache__", "Makefile", "requirements.txt"}
NEVER_RUN_FOLDERS = {"tests"}
NEVER_RUN_SUFFIXES = {".c", ".cpp", ".h", ".pyx", ".pxd", ".pyi", ".a"}
_EPOCH = (1980, 1, 1, 0, 0, 0)


class PackageFailed(Exception):
    """A zip could not be built; the message says which and why."""


def read_template(path: Path) -> dict[str, Any]:
    """The template with its short intrinsic functions (`!Ref`) in their long form."""
    template: dict[str, Any] = yaml_parse(path.read_text())
    return template


def build(template: dict[str, Any], root: Path, folder: Path) -> dict[str, Path]:
    """The zip of every function and layer by logical id; `folder` is the cache. Raises PackageFailed."""
    folder.mkdir(parents=True, exist_ok=True)
    zips: dict[str, Path] = {}
    for name, resource in template["Resources"].items():
        uri = URI_PROPERTIES.get(resource["Type"])
        if uri is not None:
            source = root / resource["Properties"][uri]
            if not source.is_dir():
                raise PackageFailed(f"{name}: the template's {uri} names {source}, which is not a folder")
            if (source / "requirements.txt").exists():
                zips[name] = _build_dependencies(source, folder)
            else:
                zips[name] = _build_code(source, folder, prefix="python/" if uri == "ContentUri" else "")
    return zips


def _build_code(source: Path, folder: Path, prefix: str) -> Path:
    """Our own files; a layer's lie under `python/`, where the runtime looks."""
    files = [(prefix + name, path) for name, path in _files(source)]
    digest = hashlib.sha256()
    for name, path in files:
        digest.update(f"{name}\0".encode() + path.read_bytes() + b"\0")
    target = folder / f"{source.name}-{digest.hexdigest()[:16]}.zip"
    if not target.exists():
        _write_zip(target, files)
    return target


def _build_dependencies(source: Path, folder: Path) -> Path:
    """The locked packages for the running interpreter, installed once per lock."""
    lock = source / "requirements.txt"
    host = f"{sys.implementation.cache_tag} {platform.system()} {platform.machine()}"
    digest = hashlib.sha256(lock.read_bytes() + host.encode() + Path(__file__).read_bytes()).hexdigest()[:16]
    target = folder / f"{source.name}-{digest}.zip"
    if target.exists():
        return target
    staging = folder / f"{source.name}-{digest}"
    shutil.rmtree(staging, ignore_errors=True)
    command = [_uv(), "pip", "install", "--quiet", "--require-hashes", "--python", sys.executable]
    command += ["--target", str(staging / "python"), "--requirements", str(lock)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise PackageFailed(f"the packages of {lock} could not be installed:\n{done.stderr.strip()}")
    _write_zip(target, [(name, path) for name, path in _files(staging) if _is_shipped(path.relative_to(staging))])
    shutil.rmtree(staging)
    return target


def _is_shipped(file: Path) -> bool:
    """Whether a package's file is in the layer for AWS too; layers/deps/Makefile leaves out the same."""
    is_run = file.suffix not in NEVER_RUN_SUFFIXES and not NEVER_RUN_FOLDERS & set(file.parts)
    return is_run and file.parts[1] not in {"bin", "share"}


def _uv() -> str:
    beside = Path(sys.executable).with_name("uv")
    found = str(beside) if beside.exists() else shutil.which("uv")
    if found is None:
        raise PackageFailed("uv is not installed; run `make setup`")
    return found


def _files(root: Path) -> Iterator[tuple[str, Path]]:
    """Names inside the zip and the files behind them, in a fixed order."""
    for path in sorted(root.rglob("*")):
        relative = path.relative_to(root)
        if path.is_file() and not LEFT_OUT & set(relative.parts):
            yield relative.as_posix(), path


def _write_zip(target: Path, files: list[tuple[str, Path]]) -> None:
    """Write with fixed times and modes; compressed lightly, since the zip only travels to this machine."""
    partial = target.with_name(f"{target.name}.{os.getpid()}.partial")
    with zipfile.ZipFile(partial, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name, path in files:
            info = zipfile.ZipInfo(name, _EPOCH)
            info.external_attr = 0o100644 << 16
            info.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(info, path.read_bytes())
    partial.rename(target)


def upload(template: dict[str, Any], zips: dict[str, Path], bucket: str, s3: Any) -> dict[str, Any]:
    """The template with every built folder replaced by its object in `bucket`; what is there already is not sent again."""
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket)
    present = {entry["Key"] for page in pages for entry in page.get("Contents", [])}
    resources = dict(template["Resources"])
    for name, path in zips.items():
        if path.name not in present:
            s3.upload_file(str(path), bucket, path.name)
            present.add(path.name)
        resource = resources[name]
        uri = URI_PROPERTIES[resource["Type"]]
        resources[name] = {**resource, "Properties": {**resource["Properties"], uri: f"s3://{bucket}/{path.name}"}}
    return {**template, "Resources": resources}
