import errno

import jax
import pytest

from cluster.state.outcomes import Fault, Outcome, Stays, Told, outcome_of


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


@pytest.mark.parametrize("outcome", Outcome)
def test_what_is_known_of_an_outcome_fits_together(outcome):
    assert (outcome.stays is Stays.RETRIED) == (outcome.fault is Fault.MACHINES)
    assert (outcome.told is Told.NOTHING) == (outcome.stays is Stays.OPEN)
    assert outcome.stays_open(retry=False) == (outcome is Outcome.STOPPED)
    assert outcome.stays_open(retry=True) == (not outcome.is_own)
    assert not (outcome.told is Told.VALUE and outcome.is_failure)
    assert outcome.sentence.endswith(".")
