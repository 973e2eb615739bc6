"""Runs other programs that should answer at once but may hang."""

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Answer:
    """A program's output, or in `failure` why there is none."""

    text: str = ""
    failure: str = ""


def ask(
    command: Sequence[str], timeout_s: float, environment: Mapping[str, str] | None = None, limit: int = 120
) -> Answer:
    """Run a program and return its answer.

    A program that takes longer than `timeout_s` is ended, with every process that it has started. `limit` is the most
    characters of an error that are kept.
    """
    try:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            env=environment,
            start_new_session=True,
        )
    except OSError as error:
        return Answer(failure=f"cannot be run: {error.strerror}")
    try:
        output, said = process.communicate(timeout=timeout_s)
    except subprocess.TimeoutExpired:
        # Its children are ended too: as long as one lives, it holds the pipes open, and we would wait for it.
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        return Answer(failure=f"no answer within {timeout_s:g} s")
    if process.returncode == 0:
        return Answer(text=output.strip())
    lines = [line.strip() for line in (said or output).splitlines() if line.strip()]
    # Behind a traceback JAX adds lines about its frames; the error itself is the last line that names one.
    named = [line for line in lines if "Error" in line.split(":")[0]]
    status = f"signal {-process.returncode}" if process.returncode < 0 else f"exit status {process.returncode}"
    return Answer(failure=(named or lines or [status])[-1][:limit])
