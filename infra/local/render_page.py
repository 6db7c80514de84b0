"""A page on disk as a picture: `python -m infra.local.render_page IN.html OUT.png [--width 600]`.

The page is shown by Chromium with every request blocked, so a picture shows exactly what the file holds.
"""

import argparse
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright

CHROMIUM_ARGUMENTS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
)
"""Chromium without the services that would call home."""

_NAMES = ("chromium", "chromium-browser", "google-chrome")
INSTALL_HINT = (
    "Chromium was not found. Install it (Debian, Ubuntu: apt-get install chromium; macOS: brew install --cask chromium) "
    "or set CHROMIUM to its path."
)


class ChromiumNotFoundError(RuntimeError):
    """No Chromium on this machine; the message says how to install one."""


def chromium_path() -> str:
    """The browser to use: `CHROMIUM` from the environment, else the first one on the path. Raises ChromiumNotFoundError."""
    named = os.environ.get("CHROMIUM", "")
    found = shutil.which(named) if named else next(filter(None, map(shutil.which, _NAMES)), None)
    if not found:
        raise ChromiumNotFoundError(INSTALL_HINT)
    return found


@contextmanager
def chromium() -> Iterator[Browser]:
    """A headless Chromium, ended with the block. Raises ChromiumNotFoundError."""
    path = chromium_path()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=list(CHROMIUM_ARGUMENTS), timeout=60_000)
        try:
            yield browser
        finally:
            browser.close()


def render_page(source: Path, target: Path, width_px: int = 600) -> None:
    """Write a full-page PNG of an HTML file, two device pixels to a CSS pixel. Raises ChromiumNotFoundError."""
    with chromium() as browser:
        context = browser.new_context(
            viewport={"width": width_px, "height": 800}, device_scale_factor=2, offline=True, java_script_enabled=False,
        )
        page = context.new_page()
        page.route("**/*", lambda route: route.abort())
        page.set_content(source.read_text(encoding="utf-8"), wait_until="load", timeout=30_000)
        target.write_bytes(page.screenshot(full_page=True, timeout=30_000))


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="Render an HTML file to a PNG with Chromium, without network.")
    parser.add_argument("source", type=Path, metavar="IN.html")
    parser.add_argument("target", type=Path, metavar="OUT.png")
    parser.add_argument("--width", type=int, default=600, metavar="PIXELS")
    arguments = parser.parse_args()
    try:
        render_page(arguments.source, arguments.target, arguments.width)
    except ChromiumNotFoundError as missing:
        raise SystemExit(str(missing)) from missing


if __name__ == "__main__":
    main()
