"""Explains why a worker was lost, as far as this machine knows: the kernel's memory kills, the worker's last words."""

from collections.abc import Callable

from cluster.machine.files import last_bytes
from cluster.machine.memory import out_of_memory_kills
from cluster.machine.scratch import Scratch
from cluster.state.outcomes import Outcome
from cluster.state.raised import bounded, is_fatal
from cluster.wire.heartbeats import trial_pids

LAST_LINES = 15
BEFORE_FATAL, AFTER_FATAL = 5, 40
"""How many lines are kept before and after the one that says what ended the process; the stack comes after it."""
TAIL_BYTES = 65_536


NOT_ITS_OWN = (":", "Extension modules: ")
"""The beginnings of lines that say nothing: Ray's marks, and the thousand modules listed after a fault's stack."""


class LostWorkers:
    """Explains the losses of workers, one at a time."""

    def __init__(self, scratch: Scratch, memory_kills: Callable[[], int] = out_of_memory_kills) -> None:
        self._scratch = scratch
        self._memory_kills = memory_kills
        self._kills_before = memory_kills()

    def explain(self, trial: int) -> tuple[Outcome, str]:
        """Return the outcome of a trial whose worker died by itself, with everything that is known of its death."""
        words = "\n".join(self._last_words(trial))
        kills = self._memory_kills()
        if kills > self._kills_before:
            self._kills_before = kills
            return Outcome.OUT_OF_MEMORY, f"the kernel ended a process for want of memory\n{words}".rstrip()
        return Outcome.WORKER_LOST, bounded(f"its worker process died\n{words}".rstrip())

    def _last_words(self, trial: int) -> list[str]:
        """Return the last lines that the trial's worker wrote to its standard error, a fault's stack among them."""
        for pid in trial_pids(self._scratch.heartbeats, trial):
            for file in self._scratch.ray.glob(f"session_*/logs/worker-*-{pid}.err"):
                said = [line for line in last_bytes(file, TAIL_BYTES).splitlines() if not line.startswith(NOT_ITS_OWN)]
                fatal = next((index for index, line in enumerate(said) if is_fatal(line)), None)
                if fatal is None:
                    return said[-LAST_LINES:]
                return said[max(fatal - BEFORE_FATAL, 0) : fatal + AFTER_FATAL]
        return []
