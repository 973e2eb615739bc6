"""Has a search's report written when it has ended: by a process of its own, whatever becomes of that one."""

import os
import subprocess
import sys
from contextlib import suppress

from cluster.console import Console
from cluster.machine.allocation import allocation_left_s
from cluster.machine.processes import python_path
from cluster.machine.scratch import ScratchError
from cluster.machine.variables import own_environment
from cluster.state.paths import SearchPaths
from cluster.state.records import load_spec
from cluster.supervision.supervisor import Ending
from cluster.worker.environment import program_cache

PATIENCE_S = 240.0
"""How long the report may take; it takes a minute for 6000 trials."""
SPARED_S = 30.0
"""So much of a job's time is left when the report is given up: the job must not end as one that ran out of time."""
NICENESS = 5
"""Others go first: further searches may run on this machine."""
LONGEST = 300
"""Characters of what went wrong, in one line."""


def write_report(paths: SearchPaths, ending: Ending, console: Console) -> bool:
    """Have the report of a search written that has ended by itself, unless its spec says not to; return whether it is.

    If that fails, the whole of what was said is in the search's `report.log`, and the user is told in one line.
    """
    try:
        if ending.state == "stopped" or not load_spec(paths).report:
            return False
        trouble = _run(paths)
    except Exception as error:  # the search has ended well: nothing about its report may change that
        trouble = f"{type(error).__name__}: {error}"
    if trouble:
        with suppress(OSError, SystemExit):  # nobody may read the output
            said = f"The report could not be written ({trouble[:LONGEST]}); try again: swell report {paths.name}"
            console.print(said, soft_wrap=True)
    return not trouble


def _run(paths: SearchPaths) -> str:
    """Run `swell report`; return why it failed, in a line, empty if it did not."""
    left_s = allocation_left_s()
    patience_s = PATIENCE_S if left_s is None else min(PATIENCE_S, left_s - SPARED_S)
    if patience_s <= 0:
        return "the job's time is up"
    # -P: `-m` would put the working directory, which is the user's, before our own packages.
    command = [sys.executable, "-P", "-m", "swell", "report", str(paths.root)]
    environment = own_environment() | {"PYTHONPATH": python_path()}
    with suppress(ScratchError):  # without its cache the report compiles what another may have compiled
        environment |= program_cache()
    with (
        paths.report_log.open("w") as output,
        subprocess.Popen(
            command, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT
        ) as process,
    ):
        with suppress(OSError):  # it may be over already
            os.setpriority(os.PRIO_PROCESS, process.pid, NICENESS)
        try:
            status = process.wait(patience_s)
        except subprocess.TimeoutExpired:
            process.kill()
            said = f"it took longer than {patience_s:.0f} s"
            output.write(f"{said}, and was ended\n")
            return said
    if status == 0:
        return ""
    lines = paths.report_log.read_text(errors="replace").strip().splitlines()
    return lines[-1].strip() if lines else f"its process ended with status {status}"
