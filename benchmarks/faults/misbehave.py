"""Misbehaviour on order: one worker of a search takes more memory or disk than it should, once, while it trains.

An order is a file in a folder; the worker that first renames it obeys it, and no other does, so that the trial behaves
when it is taken up again.
"""

import json
import os
import tempfile
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ORDER, TAKEN = "order-", "taken-"
LOOK_EVERY_S = 0.1
MB = 10**6


def give_order(folder: Path, name: str, order: Mapping[str, Any]) -> Path:
    """Write an order (`what`: memory or files; `mb`, `chunk_mb`, `pause_s`, `hold_s`); return the file it becomes."""
    unfinished = folder / f".{name}"
    unfinished.write_text(json.dumps(order))
    unfinished.replace(folder / f"{ORDER}{name}")
    return folder / f"{TAKEN}{name}"


class Obedience:
    """Looks for orders in a folder while a trial trains, in a thread.

    It ends with the trial: a worker in which a thread of the method's still runs is replaced before the next one.
    """

    def __init__(self) -> None:
        self._over = threading.Event()
        self._thread: threading.Thread | None = None

    def begin(self, folder: Path) -> None:
        """Look for orders in this folder from now on."""
        self.end()
        self._over.clear()
        self._thread = threading.Thread(target=self._watch, args=(folder,), daemon=True, name="orders")
        self._thread.start()

    def end(self) -> None:
        """Obey what has been taken, and look no more."""
        self._over.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def _watch(self, folder: Path) -> None:
        while not self._over.wait(LOOK_EVERY_S):
            for file in sorted(folder.glob(f"{ORDER}*")):
                order = _take(file)
                if order is not None:
                    {"memory": _take_memory, "files": _take_disk}[order["what"]](order)


def _take(file: Path) -> dict[str, Any] | None:
    taken = file.with_name(TAKEN + file.name.removeprefix(ORDER))
    try:
        order = json.loads(file.read_text())
        file.rename(taken)
    except FileNotFoundError:  # another worker's
        return None
    return order


def _take_memory(order: Mapping[str, Any]) -> None:
    held = []
    try:
        for _ in range(int(order["mb"] / order["chunk_mb"])):
            held.append(b"\1" * int(order["chunk_mb"] * MB))  # a 1, so that every page is touched
            time.sleep(order["pause_s"])
        time.sleep(order["hold_s"])
    except MemoryError:
        time.sleep(order["hold_s"])


def _take_disk(order: Mapping[str, Any]) -> None:
    folder = Path(tempfile.mkdtemp())
    chunk = os.urandom(int(order["chunk_mb"] * MB))
    try:
        for index in range(int(order["mb"] / order["chunk_mb"])):
            (folder / f"{index:05d}").write_bytes(chunk)
            time.sleep(order["pause_s"])
    except OSError:  # full: that is what was asked for
        return
