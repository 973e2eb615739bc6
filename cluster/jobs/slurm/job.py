"""Reads SLURM's environment variables of the job that a process runs in."""

import socket
from collections.abc import Mapping

from cluster.jobs.place import Place
from cluster.machine.allocation import Allocation

NAME = "slurm"


def place(environment: Mapping[str, str]) -> Place | None:
    """Return where in a job the process with this environment runs; None outside a SLURM job."""
    if not (job := environment.get("SLURM_JOB_ID", "")):
        return None
    array = environment.get("SLURM_ARRAY_TASK_ID", "")
    return Place(
        rank=int(environment.get("SLURM_PROCID", "0")),
        num_nodes=int(environment.get("SLURM_STEP_NUM_NODES") or environment.get("SLURM_JOB_NUM_NODES") or "1"),
        job=int(array) if array.isdigit() else None,
        node=environment.get("SLURMD_NODENAME") or socket.gethostname(),
        incarnation=f"{job}-{environment.get('SLURM_RESTART_COUNT', '0')}",
        queue=NAME,
        queue_id=f"{environment['SLURM_ARRAY_JOB_ID']}_{array}" if array.isdigit() else job,
    )


def allocation(environment: Mapping[str, str]) -> Allocation | None:
    """Return what the job gives the process with this environment; None if SLURM says nothing."""
    found = Allocation(
        job_id=environment.get("SLURM_JOB_ID", ""),
        node=environment.get("SLURMD_NODENAME", ""),
        cpus=environment.get("SLURM_CPUS_ON_NODE", ""),
        end_time=environment.get("SLURM_JOB_END_TIME", ""),  # older SLURMs do not set it
    )
    return found if found.job_id else None
