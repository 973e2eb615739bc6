"""Why a worker was lost, as far as the machine tells: the kernel's count of memory kills, the worker's last words."""

from collections.abc import Callable
from pathlib import Path

from cluster.machine.memory import out_of_memory_kills
from cluster.machine.scratch import Scratch
from cluster.state.outcomes import Outcome
from cluster.wire.heartbeats import trial_pids

LAST_LINES = 15
TAIL_BYTES = 8192


class LostWorkers:
    """Explains the loss of one worker after the other."""

    def __init__(self, scratch: Scratch, memory_kills: Callable[[], int] = out_of_memory_kills) -> None:
        self._scratch = scratch
        self._memory_kills = memory_kills
        self._kills_before = memory_kills()

    def explain(self, trial: int) -> tuple[Outcome, str]:
        """Return the outcome of a trial whose worker has died without the supervisor's doing, and all that is known."""
        words = "\n".join(self._last_words(trial))
        kills = self._memory_kills()
        if kills > self._kills_before:
            self._kills_before = kills
            return Outcome.OUT_OF_MEMORY, f"the kernel ended a process for want of memory\n{words}".rstrip()
        return Outcome.WORKER_LOST, f"its worker process died\n{words}".rstrip()

    def _last_words(self, trial: int) -> list[str]:
        """Return the last lines that the trial's worker wrote to its standard error, a fault's stack among them."""
        for pid in trial_pids(self._scratch.heartbeats, trial):
            for file in self._scratch.ray.glob(f"session_*/logs/worker-*-{pid}.err"):
                lines = _tail(file).splitlines()
                return [line for line in lines if not line.startswith(":")][-LAST_LINES:]  # Ray's own marks
        return []


def _tail(file: Path) -> str:
    try:
        with file.open("rb") as opened:
            opened.seek(max(file.stat().st_size - TAIL_BYTES, 0))
            return opened.read().decode(errors="replace")
    except OSError:
        return ""
