"""Files that grow by a line at a time, and may have been cut off within one."""

from typing import BinaryIO


def whole_lines(file: BinaryIO) -> list[bytes]:
    """The lines of a file that is open for reading and appending; what a killed run left of its last line is cut off."""
    file.seek(0)
    content = file.read()
    whole = content[: content.rfind(b"\n") + 1]
    file.truncate(len(whole))
    return whole.splitlines()
