"""What tests do without a program they need: fail; a developer without root, who cannot install it, is let off."""

import os
from typing import NoReturn

import pytest


def missing(what: str) -> NoReturn:
    """End the test for what is missing: a skip for a developer without root, a failure for root and in CI."""
    if os.geteuid() == 0 or os.environ.get("CI"):
        pytest.fail(f"{what} (`make test` installs what the tests need)", pytrace=False)
    pytest.skip(f"{what}; root installs it with `make test`, and in CI this is a failure")
