"""Files that take the place of earlier ones all together, or not at all."""

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from tempfile import mkdtemp

_NAMED_COUNT_MAX = 40
"""How many letters of a folder's name are in the name beside it, which has to be a name too."""


def replace_files(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write files into a folder, which is made if it is missing. Raises OSError, as for a full disk.

    All are written beside their places before the first is moved there; whatever ends that leaves the earlier ones.
    """
    folder.mkdir(parents=True, exist_ok=True)
    written = {folder / f".{name}.new": folder / name for name in files}
    try:
        for beside, content in zip(written, files.values(), strict=True):
            beside.write_bytes(content)
        for beside, path in written.items():
            os.replace(beside, path)
    finally:
        for beside in written:
            beside.unlink(missing_ok=True)


def replace_folder(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write a folder, subfolders and all, in place of an earlier one. Raises OSError, as for a full disk.

    It is written beside its place, in a hidden folder that does not outlive this, whatever ends it; what was there before is
    there still, unless all is.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    beside = Path(mkdtemp(prefix=f".{folder.name[:_NAMED_COUNT_MAX]}-", dir=folder.parent))
    try:
        for name, content in files.items():
            (beside / "new" / name).parent.mkdir(parents=True, exist_ok=True)
            (beside / "new" / name).write_bytes(content)
        _put_in_place(beside / "new", folder, beside / "earlier")
    finally:
        if folder.exists() or not (beside / "earlier").exists():  # what could not be brought back is not deleted
            _removed(beside)


def _put_in_place(written: Path, folder: Path, earlier: Path) -> None:
    """Move a folder to its place, and what was there to `earlier`, from where it is brought back when that fails."""
    try:
        if folder.exists():
            os.rename(folder, earlier)
        os.rename(written, folder)
    except BaseException:
        if earlier.exists() and not folder.exists():
            os.rename(earlier, folder)
        raise


def _removed(beside: Path) -> None:
    """Delete what is left beside, also when that is interrupted."""
    try:
        shutil.rmtree(beside, ignore_errors=True)
    except BaseException:
        shutil.rmtree(beside, ignore_errors=True)
        raise
