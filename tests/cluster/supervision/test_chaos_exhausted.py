"""Memory, disks and inodes run out at random moments of a search, and it survives."""

import pytest

from tests.chaotic import Struck

KINDS = (
    "memory_hog",
    "kernel_oom",
    "full_scratch",
    "full_searches",
    "full_cache",
    "no_scratch_inodes",
    "no_searches_inodes",
    "scratch_hog",
)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
class TestExhausted(Struck):
    kinds = KINDS
