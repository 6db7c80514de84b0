"""A real Chromium for the tests of this folder."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser

from infra.local.render_page import ChromiumNotFoundError, chromium


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """A headless Chromium; without one the test fails and says how to install it."""
    try:
        with chromium() as running:
            yield running
    except ChromiumNotFoundError as missing:
        pytest.fail(str(missing), pytrace=False)
