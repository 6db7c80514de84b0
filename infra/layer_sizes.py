"""How much Lambda unpacks for each function, against its limit: `python -m infra.layer_sizes [BUILD]` after `sam build`."""

import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from samtranslator.yaml_helper import yaml_parse

UNZIPPED_BYTES_MAX = 262_144_000
"""Lambda's limit for a function and its layers together (250 MiB)."""

_MIB = 1 << 20


class FunctionSize(NamedTuple):
    """A function's own code and what it unpacks with its layers."""

    name: str
    code_bytes: int
    total_bytes: int

    @property
    def fits(self) -> bool:
        """Whether Lambda accepts it."""
        return self.total_bytes <= UNZIPPED_BYTES_MAX


def folder_bytes(folder: Path) -> int:
    """The bytes of all files below a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def package_bytes(layer: Path) -> Counter[str]:
    """Bytes per top-level entry of a layer's `python/`."""
    sizes: Counter[str] = Counter()
    for entry in (layer / "python").iterdir():
        sizes[entry.name] = folder_bytes(entry) if entry.is_dir() else entry.stat().st_size
    return sizes


def layer_folders(build: Path) -> dict[str, Path]:
    """The built folder of each layer by logical id. Raises FileNotFoundError when nothing was built."""
    return {name: build / properties["ContentUri"] for name, properties in _resources(build, "AWS::Serverless::LayerVersion")}


def function_sizes(build: Path) -> list[FunctionSize]:
    """The size of every function of a built template; all of them share all layers. Raises FileNotFoundError."""
    layers_bytes = sum(folder_bytes(folder) for folder in layer_folders(build).values())
    sizes = []
    for name, properties in _resources(build, "AWS::Serverless::Function"):
        code_bytes = folder_bytes(build / properties["CodeUri"])
        sizes.append(FunctionSize(name, code_bytes, code_bytes + layers_bytes))
    return sizes


def _resources(build: Path, kind: str) -> Iterator[tuple[str, dict[str, Any]]]:
    path = build / "template.yaml"
    if not path.is_file():
        raise FileNotFoundError(f"{build} holds no build; run `make build`")
    template = yaml_parse(path.read_text())
    for name, resource in template["Resources"].items():
        if resource["Type"] == kind:
            yield name, resource["Properties"]


def main(build: Path) -> int:
    """Print the table; 1 when a function does not fit."""
    for name, folder in layer_folders(build).items():
        biggest = ", ".join(f"{package} {size / _MIB:.0f}" for package, size in package_bytes(folder).most_common(8))
        print(f"{name:20} {folder_bytes(folder) / _MIB:7.1f} MiB  ({biggest})")
    sizes = function_sizes(build)
    for size in sizes:
        verdict = "fits" if size.fits else "DOES NOT FIT"
        print(f"{size.name:20} {size.total_bytes / _MIB:7.1f} MiB of {UNZIPPED_BYTES_MAX / _MIB:.0f}, {verdict}")
    return 0 if all(size.fits for size in sizes) else 1


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(".aws-sam/build")))
