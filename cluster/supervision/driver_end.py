"""Why a wave driver ended, in one line: what its supervisor saw, and what the driver or Ray's servers said last."""

import signal
from pathlib import Path

from cluster.machine.files import last_bytes
from cluster.state.raised import from_text, telling_line

TAIL_BYTES = 16_384
SERVERS = ("raylet.err", "gcs_server.err", "raylet.out", "gcs_server.out")
"""Logs of Ray's servers, first those that most likely say why Ray ended."""
LONGEST = 300


def explain_end(status: int, seen: str, log: Path, ray: Path) -> str:
    """Return how a driver ended.

    Args:
        status: its exit status, negative for a signal.
        seen: why the supervisor ended it at once; empty if it ended by itself.
        log: the driver's log.
        ray: the folder of its Ray's files, as long as they are there.
    """
    how = seen or f"ended with status {status}"
    if status < 0 and not seen:
        how = f"was ended by {signal.Signals(-status).name}"
    servers = [file for name in SERVERS for file in sorted(ray.glob(f"session_2*/logs/{name}"))]
    for file in (*servers, log) if seen else (log, *servers):
        if said := _last_said(file):
            return f"{how}; {'its' if file is log else file.stem + chr(39) + 's'} last words: {said}"
    return how


def _last_said(file: Path) -> str:
    text = last_bytes(file, TAIL_BYTES)
    chain = from_text(text)
    said = chain[-1].message if chain else ""
    return (said or telling_line(text.splitlines()))[:LONGEST]
