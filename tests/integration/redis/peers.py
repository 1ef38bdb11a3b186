"""Real Redis programs that the tests compare with; a machine may lack them, CI may not."""

from __future__ import annotations

import os
from typing import NoReturn

import pytest


def lacking(message: str) -> NoReturn:
    """Skip for want of a real peer; in CI, which installs it, that is a failure."""
    if os.environ.get("CI") == "true":
        pytest.fail(message)
    pytest.skip(message)
