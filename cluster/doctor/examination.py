"""`swell doctor`: examines everything on this machine that a search depends on, without starting one."""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from cluster.doctor.disks import SCRATCH, folder_findings, folders, journal_finding, read_folders, space_findings
from cluster.doctor.machine import (
    cpu_findings,
    gpu_findings,
    memory_findings,
    read_cards,
    read_cpus,
    read_memory,
)
from cluster.doctor.needs import Needs
from cluster.doctor.software import (
    has_wandb_key,
    missing_packages,
    ray_findings,
    read_constraints,
    software_findings,
    version_of,
    wandb_findings,
)
from cluster.doctor.threads import (
    WorkerError,
    measure_trial,
    method_findings,
    run_worker,
    setting_findings,
    thread_findings,
)
from cluster.installation import own_folder
from cluster.jobs.queues import all_queues
from cluster.machine.findings import Finding
from cluster.machine.resources import thread_caps
from cluster.machine.user import home_folder
from search_spaces.spec import Spec


def needs_of(spec: Spec, code: Path | None = None) -> Needs:
    """Return what a search asks of its machine; `code` is the folder of its method if that is a W&B artifact."""
    return Needs(spec.resources, spec.guard, spec.trainable, str(spec.tracking.wandb), code)


def examine(needs: Needs) -> list[Finding]:
    """Return the findings on this machine for a search with these needs.

    Imports JAX and Ray in other processes, so that this one stays small; never starts a Ray.
    """
    places = folders()
    cpus, memory = read_cpus(needs.resources, places[SCRATCH]), read_memory()  # before processes of our own count
    environment, home = dict(os.environ), home_folder() or Path("/")
    with ThreadPoolExecutor() as pool:
        trial = pool.submit(_or_error, lambda: measure_trial(needs))
        ray = pool.submit(_or_error, lambda: run_worker("ray", environment=thread_caps(1)))
        cards = pool.submit(read_cards)
        of_queues = [pool.submit(queue.machine_findings, environment) for queue in all_queues()]
        read = read_folders(places)
        space = space_findings(needs.guard, places)
    measured = trial.result()
    figures = {} if isinstance(measured, WorkerError) else measured
    return [
        *cpu_findings(cpus),
        *thread_findings(measured, needs.resources.cpus_per_trial),
        *setting_findings(environment),
        *memory_findings(memory, needs, cpus.slots, figures.get("memory_gb")),
        *gpu_findings(needs, cards.result(), list(figures.get("platforms", {})), figures.get("plugins", [])),
        *folder_findings(read, home),
        *space,
        *method_findings(measured, needs.trainable),
        *software_findings(read_constraints(own_folder() / "constraints.txt"), missing_packages()),
        *ray_findings(version_of("ray"), ray.result(), places[SCRATCH], environment, home),
        journal_finding(read[0], version_of("optuna")),
        *(finding for found in of_queues for finding in found.result()),
        *wandb_findings(needs.wandb, version_of("wandb"), environment, has_wandb_key(environment, home)),
    ]


def _or_error(measure: Callable[[], dict[str, Any]]) -> dict[str, Any] | WorkerError:
    try:
        return measure()
    except WorkerError as error:
        return error
