"""Where in a job this process runs: which of its nodes, which of several jobs on one search."""

import os
import socket
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass

NODES = "SWELL_NODES"
"""Variable with the number of nodes that a driver may expect, its own included."""
NODE = "SWELL_NODE"
"""Variable with this node's name."""
SLURM_PATIENCE_S = 30.0


def node_name() -> str:
    """Return the name of this node, as trials' records have it."""
    return os.environ.get(NODE) or socket.gethostname()


@dataclass(frozen=True)
class Place:
    """One node of one job."""

    rank: int
    num_nodes: int
    job: int | None
    """The number of this job among several on one search; None where it is the only one."""
    node: str
    incarnation: str
    """Which start of which job this is: it changes when SLURM starts the job again."""
    slurm_job: str | None
    """What SLURM calls the job; None outside of SLURM."""

    @classmethod
    def in_slurm(cls, environment: Mapping[str, str] = os.environ) -> "Place":
        """Return where SLURM says that this process of its job runs."""
        array, job = environment.get("SLURM_ARRAY_TASK_ID", ""), environment["SLURM_JOB_ID"]
        return cls(
            rank=int(environment.get("SLURM_PROCID", "0")),
            num_nodes=int(environment.get("SLURM_STEP_NUM_NODES") or environment.get("SLURM_JOB_NUM_NODES") or "1"),
            job=int(array) if array.isdigit() else None,
            node=environment.get("SLURMD_NODENAME") or socket.gethostname(),
            incarnation=f"{job}-{environment.get('SLURM_RESTART_COUNT', '0')}",
            slurm_job=f"{environment['SLURM_ARRAY_JOB_ID']}_{array}" if array.isdigit() else job,
        )

    @classmethod
    def alone(cls) -> "Place":
        """Return the place of a process that is no job's, even where somebody started it inside of one."""
        return cls(0, 1, None, socket.gethostname(), "local-0", None)


def address_for_others() -> str:
    """Return the address under which the other nodes of this job reach this one."""
    for name in _node_names():
        with suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.connect((name, 9))  # sends nothing: it only chooses the way
            address = str(probe.getsockname()[0])
            if not address.startswith("127."):
                return address
    return socket.gethostbyname(socket.gethostname())


def _node_names() -> list[str]:
    """Return the names of the job's nodes, others first."""
    names = os.environ.get("SLURM_JOB_NODELIST", "")
    if not names:
        return []
    try:
        command = ["scontrol", "show", "hostnames", names]
        done = subprocess.run(command, capture_output=True, text=True, timeout=SLURM_PATIENCE_S, check=True)
    except (OSError, subprocess.SubprocessError):
        return []
    return sorted(done.stdout.split(), key=lambda name: name == node_name())
