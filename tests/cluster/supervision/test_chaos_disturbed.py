"""Workers hang, files are torn, clocks jump and people interrupt at random moments of a search, and it survives."""

import pytest

from tests.chaotic import Struck

KINDS = (
    "kill_gcs",
    "hang_worker",
    "torn_journal",
    "clock_jump",
    "other_clock",
    "ctrl_c",
    "ctrl_c_twice",
    "stop",
)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
class TestDisturbed(Struck):
    kinds = KINDS
