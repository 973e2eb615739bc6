"""A grid, killed at random moments and resumed, ends with the table of an undisturbed one."""

import pytest

from tests.chaotic import Killed


@pytest.mark.slow
class TestGrid(Killed):
    sampler = "grid"
