import errno

import jax
import pytest

from cluster.state.outcomes import Outcome, outcome_of


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (MemoryError(), Outcome.OUT_OF_MEMORY),
        (jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 8 bytes"), Outcome.OUT_OF_MEMORY),
        (jax.errors.JaxRuntimeError("INTERNAL: Out of luck"), Outcome.CRASHED),
        (OSError(errno.ENOSPC, "No space left on device"), Outcome.DISK_FULL),
        (OSError(errno.EDQUOT, "Disk quota exceeded"), Outcome.DISK_FULL),
        (FileNotFoundError(errno.ENOENT, "No such file"), Outcome.CRASHED),
        (ValueError("the method's own bug"), Outcome.CRASHED),
    ],
)
def test_an_exception_says_whose_fault_it_was(error, outcome):
    assert outcome_of(error) is outcome
    assert outcome.is_own == (outcome is Outcome.CRASHED)
