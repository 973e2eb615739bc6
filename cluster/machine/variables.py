"""The user's environment: which variables change numbers and are noted at launch, and which ones no trial gets."""

import os
from collections.abc import Mapping
from pathlib import Path

from cluster.machine.user import missing_variables

DEVICES = "a trial has one CPU device, sized by resources.cpus_per_trial"
COMPILED = "trials are compiled; set jax.config.jax_disable_jit in the method to look at one step by step"
DEBUG = "it is for a terminal: every process of a search would stop, slow down or print for nobody"
OPTIMISED = "libraries check themselves by what it strips"
OVERRULED = {
    "JAX_DISABLE_JIT": COMPILED,
    "JAX_NUM_CPU_DEVICES": DEVICES,
    "NPROC": DEVICES,
    "OMP_PROC_BIND": "all trials of a node would be bound to the same cores",
    "OMP_PLACES": "all trials of a node would be bound to the same cores",
    "GOMP_CPU_AFFINITY": "all trials of a node would be bound to the same cores",
    "KMP_AFFINITY": "all trials of a node would be bound to the same cores",
    "PYTHONOPTIMIZE": OPTIMISED,
    "PYTHONWARNINGS": "warnings of libraries would end every process of a search",
    "PYTHONINSPECT": DEBUG,
    "PYTHONVERBOSE": DEBUG,
    "PYTHONPROFILEIMPORTTIME": DEBUG,
    "PYTHONTRACEMALLOC": DEBUG,
    "PYTHONDEVMODE": DEBUG,
    "PYTHONDEBUG": DEBUG,
    "PYTHONASYNCIODEBUG": DEBUG,
    "PYTHONMALLOCSTATS": DEBUG,
}
"""Variables that no trial gets, whoever has set them, and why. (Thread caps replace theirs: `thread_caps`.)"""
UNSAID = ("PYTHONSTARTUP",)
"""Variables that no process of ours gets either, but that many shells set for good reason: nobody is warned of them."""
OVERRULED_FLAGS = {
    "--xla_force_host_platform_device_count": DEVICES,
    "--xla_cpu_multi_thread_eigen": DEVICES,
    "intra_op_parallelism_threads": DEVICES,
}
"""Parts of XLA_FLAGS that no trial gets, and why."""
RAY = ("RAY_", "TUNE_")
"""Beginnings of the variables of Ray: a search's Ray is its own, and gets what it needs from us."""
SETTINGS = (
    "JAX_",
    "XLA_",
    "EQX_",
    "JAXTYPING_",
    "NPY_",
    "TF_XLA_",
    "TF_ENABLE_ONEDNN_OPTS",
    "ONEDNN_",
    "DNNL_",
    "MKL_CBWR",
    "MKL_ENABLE_INSTRUCTIONS",
    "OPENBLAS_CORETYPE",
    "CUBLAS_WORKSPACE_CONFIG",
    "NVIDIA_TF32_OVERRIDE",
    "PYTHONHASHSEED",
)
"""Beginnings of the variables that change what is computed: they are noted at a launch, and kept from then on."""
OF_A_MACHINE = (
    "JAX_COMPILATION_CACHE",
    "JAX_PERSISTENT_CACHE",
    "JAX_PLATFORMS",
    "JAX_PLATFORM_NAME",
    "JAX_TRACEBACK_FILTERING",
    "JAX_LOG",
    "JAX_EXPLAIN_CACHE_MISSES",
    "XLA_PYTHON_CLIENT",
)
"""Beginnings of those of them that change no number, and are each process's own."""


def is_setting(name: str) -> bool:
    """Return whether a variable changes the numbers that are computed."""
    return name.startswith(SETTINGS) and not name.startswith(OF_A_MACHINE) and name not in OVERRULED


def _flags(text: str) -> tuple[list[str], list[str]]:
    """Return the XLA flags in a text that a trial gets, and those that it does not get."""
    kept, left = [], []
    for flag in text.split():
        (left if flag.partition("=")[0] in OVERRULED_FLAGS else kept).append(flag)
    return kept, left


def overruled(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the variables of an environment that no trial gets, as `NAME=value`, each with the reason."""
    found = {f"{name}={environment[name]}": why for name, why in OVERRULED.items() if environment.get(name)}
    for flag in _flags(environment.get("XLA_FLAGS", ""))[1]:
        found[f"{flag} in XLA_FLAGS"] = OVERRULED_FLAGS[flag.partition("=")[0]]
    return found


def overruled_warnings(environment: Mapping[str, str]) -> list[str]:
    """Return a sentence for each variable that is set but that no trial gets."""
    return [f"{what} does not count: {why}" for what, why in overruled(environment).items()]


def settings(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the variables of an environment that change numbers, with the values that a trial gets."""
    found = {name: value for name, value in environment.items() if is_setting(name)}
    if "XLA_FLAGS" in found:
        found["XLA_FLAGS"] = " ".join(_flags(found["XLA_FLAGS"])[0])
    return {name: value for name, value in sorted(found.items()) if value}


def changes_python(name: str) -> bool:
    """Return whether a variable would change Python itself in a process of ours."""
    return name in UNSAID or (name.startswith("PYTHON") and name in OVERRULED)


def own_environment() -> dict[str, str]:
    """Return the environment for a process of ours that trains nothing: without variables that change Python itself."""
    return {name: value for name, value in os.environ.items() if not changes_python(name)} | missing_variables()


def users_environment(noted: Mapping[str, str] | None) -> dict[str, str]:
    """Return this process's environment for the processes of a search, with the settings noted at its launch.

    If `noted` is None, the search has noted none, and this process's settings are used.
    """
    kept = {
        name: value
        for name, value in os.environ.items()
        if name not in (*OVERRULED, *UNSAID) and not is_setting(name) and not name.startswith(RAY)
    }
    if path := kept.get("PYTHONPATH"):  # relative paths: a search's processes work elsewhere
        kept["PYTHONPATH"] = os.pathsep.join(str(Path(part).absolute()) for part in path.split(os.pathsep) if part)
    return kept | missing_variables() | dict(settings(os.environ) if noted is None else noted)


def setting_changes(noted: Mapping[str, str], environment: Mapping[str, str]) -> list[str]:
    """Return a sentence for each setting whose value differs from the one noted at the launch, which trials get."""
    now = settings(environment)
    sentences = []
    for name in sorted({*noted, *now}):
        was, is_now = noted.get(name), now.get(name)
        if was == is_now:
            continue
        here = f"{name} is not set here" if is_now is None else f"{name}={is_now} does not count here"
        launch = "it was not set" if was is None else f"it was {was}"
        sentences.append(f"{here}: {launch} when the search was launched, and stays so")
    return sentences
