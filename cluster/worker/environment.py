"""The environments of processes that train: a wave driver's, which Ray and every worker inherit, and a single one's."""

import hashlib
import os
import secrets
from collections.abc import Iterable
from pathlib import Path

from cluster.jobs.place import NODE, node_name
from cluster.machine.processes import python_path
from cluster.machine.resources import CPUS, thread_caps
from cluster.machine.scratch import Scratch, node_cache
from cluster.state.paths import SearchPaths
from cluster.state.records import method_folders
from cluster.wire.heartbeats import HEARTBEATS
from search_spaces.sections import Resources
from search_spaces.spec import Spec
from trainables._shared.datasets import ARTIFACTS

COMPILATION_CACHE_BYTES = 2 * 2**30
OBJECT_STORE_BYTES = 100 * 2**20
"""Trials exchange numbers, not arrays: Ray's smallest object store is enough, its default is 30 % of the memory."""
TOKEN = "SWELL_WAVE"
"""Variable that marks every process of a wave driver's, whatever group it has moved to."""
GCS_PATIENCE_S = 10
"""How long Ray's processes wait for a lost head before they end; 60 by default, in which nothing trains."""


def _cpu_kind() -> str:
    """Return a short id of the processor: code compiled for another must not be loaded."""
    try:
        lines = Path("/proc/cpuinfo").read_text().split("\n\n", 1)[0].splitlines()
    except OSError:
        lines = []
    kind = [line for line in lines if line.startswith(("model name", "flags"))]
    return hashlib.sha256("\n".join(kind).encode()).hexdigest()[:8]


def training_environment(resources: Resources, folders: Iterable[Path]) -> dict[str, str]:
    """Return the environment of a process that trains a search's trials: its thread caps, the node's compiled programs.

    A user's own method is found in these folders. Raises ScratchError if the node's cache cannot be used.
    """
    environment = {
        **os.environ,
        **thread_caps(resources.cpus_per_trial),
        "PYTHONPATH": python_path(*folders, Path.cwd()),
        "JAX_COMPILATION_CACHE_DIR": str(node_cache() / f"compiled-{_cpu_kind()}"),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
        "JAX_COMPILATION_CACHE_MAX_SIZE": str(COMPILATION_CACHE_BYTES),
    }
    if not resources.gpus_per_trial:
        environment["JAX_PLATFORMS"] = "cpu"
    return environment


def driver_environment(spec: Spec, paths: SearchPaths, scratch: Scratch, token: str, cpus: int) -> dict[str, str]:
    """Return the environment of a wave driver that may use `cpus` CPUs."""
    environment = training_environment(spec.resources, method_folders(paths))
    environment.pop("RAY_ADDRESS", None)
    return environment | {
        TOKEN: token,
        HEARTBEATS: str(scratch.heartbeats),
        CPUS: str(cpus),
        "SPT_NOENV": "1",  # Ray's processes rename themselves: their titles must not be written over the mark
        "TMPDIR": str(scratch.tmp),
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": secrets.token_hex(32),
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_DEDUP_LOGS": "0",
        "RAY_AIR_NEW_OUTPUT": "0",
        "RAY_memory_monitor_refresh_ms": "0",  # it ends the driver too; the supervisor watches the memory
        # Those that Ray starts ahead of any work stay idle beside the trials' own: a second of CPU and 90 MB each.
        "RAY_prestart_worker_first_driver": "0",
        "RAY_gcs_rpc_server_reconnect_timeout_s": str(GCS_PATIENCE_S),
        # A node that has lost its power is given up after about 15 s, not a minute.
        "RAY_health_check_period_ms": "2000",
        "RAY_health_check_timeout_ms": "5000",
        "RAY_health_check_failure_threshold": "3",
        "RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S": "0",  # a node that ends has saved what there is to save
        NODE: node_name(),
        "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
        "TUNE_GLOBAL_CHECKPOINT_S": "86400",  # Tune's own snapshots are never read
        ARTIFACTS: str(paths.artifacts),
        # Offline runs refer to their staged files until they are synced: both stay in the search directory.
        "WANDB_DIR": str(paths.spool),
        "WANDB_DATA_DIR": str(paths.spool / "staging"),
        "WANDB_CACHE_DIR": str(scratch.wandb / "cache"),
        "WANDB_ARTIFACT_DIR": str(scratch.wandb / "artifacts"),
    }
