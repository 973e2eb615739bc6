"""The environments of processes that train: a wave driver's, which Ray and every worker inherit, and a single one's.

`check --probe`, `doctor`, `rerun --here` and a search's workers all get theirs from `training_environment`.
"""

import hashlib
import logging
import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from cluster.jobs.place import NODE, node_name
from cluster.machine.processes import python_path
from cluster.machine.resources import CPUS, thread_caps
from cluster.machine.scratch import Scratch, node_cache
from cluster.machine.variables import users_environment
from cluster.state.code import code_in_use
from cluster.state.paths import SearchPaths
from cluster.state.records import launched_from, method_folders, noted_settings
from cluster.wire.heartbeats import HEARTBEATS
from cluster.worker.directory import WORKING_DIRECTORY
from search_spaces.sections import Resources
from search_spaces.spec import Spec
from trainables._shared.artifact_names import ARTIFACTS
from trainables._shared.frozen import CODE, METHOD_FOLDERS

log = logging.getLogger(__name__)

COMPILATION_CACHE_BYTES = 2 * 2**30
OBJECT_STORE_BYTES = 100 * 2**20
"""Trials exchange numbers, not arrays: Ray's smallest object store is enough, its default is 30 % of the memory."""
TOKEN = "SWELL_WAVE"
"""The variable that marks all processes of a wave driver, even those that change their process group."""
READY = "cluster.worker.ready"
"""The module that Ray imports in a worker before its first trial."""
GCS_PATIENCE_S = 10
"""How long Ray's processes wait for a lost head before they end; Ray's default is 60, and nothing trains meanwhile."""


def _cpu_kind() -> str:
    """Return a short id of the processor's kind: code compiled for another kind must not be loaded."""
    try:
        lines = Path("/proc/cpuinfo").read_text().split("\n\n", 1)[0].splitlines()
    except OSError:
        lines = []
    kind = [line for line in lines if line.startswith(("model name", "flags"))]
    return hashlib.sha256("\n".join(kind).encode()).hexdigest()[:8]


@dataclass(frozen=True)
class Origin:
    """Where a search comes from: what its trials need of the folder and the shell that it was launched in."""

    working_directory: Path
    """Where its trials work: the folder that it was launched from."""
    method_folders: tuple[Path, ...]
    """Where its method is found, after all that is installed."""
    settings: Mapping[str, str] | None = None
    """The variables that change numbers, as noted at the launch; None for those of this process."""
    code: Path | None = None
    """The folder with the copies of its method's modules; None for the modules as they are."""

    @classmethod
    def of(cls, paths: SearchPaths) -> "Origin":
        """Return where a search comes from; trials work in the present folder if the launch's is missing here."""
        folder = launched_from(paths)
        if not folder.is_dir():
            log.warning(
                "%s, where the search was launched, is not on this machine: trials work in %s", folder, Path.cwd()
            )
            folder = Path.cwd()
        folders = dict.fromkeys([*method_folders(paths), Path.cwd()])
        return cls(folder, tuple(folders), noted_settings(paths), code_in_use(paths))

    @classmethod
    def here(cls, code: Path | None = None) -> "Origin":
        """Return the origin of a search that is launched here; `code` is the folder of its W&B artifact, if any."""
        return cls(Path.cwd(), (*([code] if code else []), Path.cwd()))

    def with_code(self, folder: Path | None) -> "Origin":
        """Return the same origin with the code in another folder."""
        return replace(self, code=folder)

    def variables(self) -> dict[str, str]:
        """Return the environment of a process that imports the search's method."""
        environment = users_environment(self.settings)
        environment["PYTHONPATH"] = python_path(environment.get("PYTHONPATH", ""))
        environment[METHOD_FOLDERS] = os.pathsep.join(map(str, self.method_folders))
        environment[WORKING_DIRECTORY] = str(self.working_directory)
        environment.pop(CODE, None)  # may name another search, which this process belongs to
        return environment | ({CODE: str(self.code)} if self.code is not None else {})


def program_cache() -> dict[str, str]:
    """Return the variables by which JAX keeps compiled programs on this node.

    Raises ScratchError if the node's cache cannot be used.
    """
    return {
        "JAX_COMPILATION_CACHE_DIR": str(node_cache() / f"compiled-{_cpu_kind()}"),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
        "JAX_COMPILATION_CACHE_MAX_SIZE": str(COMPILATION_CACHE_BYTES),
    }


def training_environment(resources: Resources, origin: Origin) -> dict[str, str]:
    """Return the environment of a process that trains: thread caps, cache of compiled programs, the origin's variables.

    Raises ScratchError if the node's cache cannot be used.
    """
    environment = {
        **origin.variables(),
        **thread_caps(resources.cpus_per_trial),
        **program_cache(),
    }
    if not resources.gpus_per_trial:
        environment["JAX_PLATFORMS"] = "cpu"
        environment.pop("JAX_PLATFORM_NAME", None)
    return environment


def driver_environment(spec: Spec, paths: SearchPaths, scratch: Scratch, token: str, cpus: int) -> dict[str, str]:
    """Return the environment of a wave driver that may use `cpus` CPUs."""
    return training_environment(spec.resources, Origin.of(paths)) | {
        TOKEN: token,
        HEARTBEATS: str(scratch.heartbeats),
        CPUS: str(cpus),
        "SPT_NOENV": "1",  # Ray's processes write their titles over their environment, which has the mark
        "TMPDIR": str(scratch.tmp),
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": secrets.token_hex(32),
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_DEDUP_LOGS": "0",
        "RAY_AIR_NEW_OUTPUT": "0",
        "RAY_memory_monitor_refresh_ms": "0",  # Ray's monitor also ends drivers; the supervisor watches memory
        "RAY_preload_python_modules": READY,
        "RAY_gcs_rpc_server_reconnect_timeout_s": str(GCS_PATIENCE_S),
        # Give up a node without power after about 15 s, not a minute.
        "RAY_health_check_period_ms": "2000",
        "RAY_health_check_timeout_ms": "5000",
        "RAY_health_check_failure_threshold": "3",
        "RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S": "0",  # a node that ends has saved everything already
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
