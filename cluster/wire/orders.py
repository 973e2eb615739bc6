"""The orders that a supervisor sends its wave driver, and the exit statuses with which the driver answers.

Orders go through a pipe, one JSON line each, so that a full disk cannot block them.
"""

import json
import threading
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from enum import IntEnum
from queue import Empty, SimpleQueue
from typing import IO, Literal

PREDECESSOR_PATIENCE_S = 120.0
"""How long a driver waits for the one before it to end, before it gives up."""


class DriverExit(IntEnum):
    """The exit status of a wave driver that did not die."""

    GO_ON = 13  # not 0, with which a library might exit
    FINISHED = 10
    STOPPED = 11
    DISK_FULL = 12
    STORAGE_AWAY = 14
    PAUSED = 17  # not 15, with which Ray ends a process that gets a SIGTERM while it starts
    """Trials fail for a cause that seems to be outside them, and no more shall be started."""
    TIME_IS_UP = 16
    """The job's time is up: the search goes on in the job's next run."""


@dataclass(frozen=True)
class Order:
    """One order: stop the search, end the wave early, stop its trials, or learn why a worker is about to be ended."""

    do: Literal["stop", "end_wave", "stop_trials", "lose_trial"]
    reason: str
    trial: int = -1
    outcome: str = ""
    memory_gb: float = 0.0

    def send(self, pipe: IO[bytes]) -> None:
        """Write the order to a pipe; does nothing if its reader is gone."""
        try:
            pipe.write(json.dumps(asdict(self)).encode() + b"\n")
            pipe.flush()
        except BrokenPipeError:
            return


class Orders:
    """The orders that have come; a thread reads them, and the driver takes them when it has time.

    An order to stop does not wait for that: the thread calls `on_stop` with its reason.
    """

    def __init__(self, stream: Iterable[bytes], on_stop: Callable[[str], None]) -> None:
        self._queue: SimpleQueue[Order] = SimpleQueue()
        self._on_stop = on_stop
        threading.Thread(target=self._read, args=(stream,), daemon=True, name="orders").start()

    def _read(self, stream: Iterable[bytes]) -> None:
        for line in stream:
            order = Order(**json.loads(line))
            if order.do == "stop":
                self._on_stop(order.reason)
            else:
                self.put(order)

    def put(self, order: Order) -> None:
        """Add an order that came another way: from the supervisor of a further node."""
        self._queue.put(order)

    def take(self, obey: Callable[[Order], None]) -> None:
        """Call `obey` with each order that has come since the last call."""
        while True:
            try:
                order = self._queue.get_nowait()
            except Empty:
                return
            obey(order)
