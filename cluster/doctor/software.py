"""What `swell doctor` finds of versions, Ray and W&B."""

import configparser
import netrc
import platform
import re
import sys
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from cluster.doctor.threads import WorkerError
from cluster.machine.findings import Finding, Verdict
from cluster.machine.scratch import LONGEST_ROOT

SOFTWARE, RAY, WANDB = "Software", "Ray", "Weights & Biases"
MOST_NAMED = 6
OWN_RAY_VARIABLES = {
    "RAY_ADDRESS",
    "RAY_AUTH_MODE",
    "RAY_AUTH_TOKEN",
    "RAY_AUTH_TOKEN_PATH",
    "RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S",
    "RAY_health_check_failure_threshold",
    "RAY_health_check_period_ms",
    "RAY_health_check_timeout_ms",
    "RAY_USAGE_STATS_ENABLED",
    "RAY_DEDUP_LOGS",
    "RAY_AIR_NEW_OUTPUT",
    "RAY_memory_monitor_refresh_ms",
    "RAY_preload_python_modules",
    "RAY_gcs_rpc_server_reconnect_timeout_s",
    "RAY_prestart_worker_first_driver",
}
"""Variables that a wave sets for its Ray itself, or hides from it."""


WANDB_URL = "https://api.forge.coreweave.com"
"""W&B's own server, unless another is named."""
WANDB_MACHINES = {"api.forge.coreweave.com": "api.wandb.ai", "api.qa.forge.coreweave.com": "api.qa.wandb.ai"}
"""The machines under which keys are stored; W&B also looks for the earlier name."""


def version_of(package: str) -> str | None:
    """Return a package's version without importing it; None if it is not installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def read_constraints(file: Path) -> dict[str, str]:
    """Return the versions that the tests pass with, by package; empty if the file is missing, as in an installation."""
    try:
        lines = file.read_text().splitlines()
    except OSError:
        return {}
    pins = (line.split("#")[0].strip().partition("==") for line in lines)
    return {name: pinned for name, _, pinned in pins if pinned}


def missing_packages() -> list[str]:
    """Return the required packages that are not installed; extras are not required."""
    try:
        required = [line for line in requires("swell") or [] if "extra ==" not in line]
    except PackageNotFoundError:  # runs from a checkout
        return []
    names = [re.split(r"[^A-Za-z0-9._-]", line, maxsplit=1)[0] for line in required]
    return [name for name in names if version_of(name) is None]


def software_findings(
    constraints: Mapping[str, str], missing: list[str], python: tuple[int, int] = sys.version_info[:2]
) -> list[Finding]:
    """Return the versions of Python, JAX and all other packages, compared with the pinned ones."""
    wrong_python = python != (3, 11)
    advice = "Make the environment with Python 3.11: make clean, then make PYTHON=python3.11 setup."
    return [
        Finding(
            SOFTWARE,
            "Python",
            f"{platform.python_version()} at {sys.prefix}",
            Verdict.PROBLEM if wrong_python else Verdict.OK,
            advice if wrong_python else "",
        ),
        _packages(constraints, missing),
    ]


def _packages(constraints: Mapping[str, str], missing: list[str]) -> Finding:
    found = ", ".join(
        f"{name} {version_of(name) or 'missing'}" for name in ("swell", "jax", "jaxlib", "equinox", "diffrax")
    )
    if missing:
        advice = "Install them: make setup."
        return Finding(SOFTWARE, "packages", f"{found}; missing: {', '.join(missing)}", Verdict.PROBLEM, advice)
    if not constraints:
        return Finding(SOFTWARE, "packages", f"{found}; no constraints.txt beside the package to compare with")
    installed = {name: version_of(name) for name in constraints}
    different = [
        f"{name} {installed[name]} (tested: {pinned})"
        for name, pinned in constraints.items()
        # After a plus comes the build: PyTorch without CUDA is 2.13.0+cpu.
        if (installed[name] or pinned).partition("+")[0] != pinned
    ]
    if not different:
        num = sum(installed[name] is not None for name in constraints)
        return Finding(SOFTWARE, "packages", f"{found}; all {num} pinned ones as in constraints.txt")
    more = f" and {len(different) - MOST_NAMED} more" if len(different) > MOST_NAMED else ""
    found += f"; not as in constraints.txt: {', '.join(different[:MOST_NAMED])}{more}"
    advice = "Install the versions that the tests pass with: make setup, or pip install --constraint constraints.txt."
    return Finding(SOFTWARE, "packages", found, Verdict.WARNING, advice)


def ray_findings(
    installed: str | None,
    imported: Mapping[str, Any] | WorkerError,
    scratch: Path,
    environment: Mapping[str, str],
    home: Path,
) -> list[Finding]:
    """Return whether we could start Ray: its version and import, its sockets, and the environment's settings."""
    return [_ray(installed, imported), _sockets(scratch), _ray_environment(environment, home)]


def _ray(installed: str | None, imported: Mapping[str, Any] | WorkerError) -> Finding:
    advice = "Install it anew: make setup."
    if installed is None:
        return Finding(RAY, "Ray Tune", "Ray is not installed", Verdict.PROBLEM, advice)
    if isinstance(imported, WorkerError):
        return Finding(RAY, "Ray Tune", f"Ray {installed} cannot be imported: {imported}", Verdict.PROBLEM, advice)
    return Finding(RAY, "Ray Tune", f"Ray {installed}, imported in {imported['import_s']:.1f} s")


def _sockets(scratch: Path) -> Finding:
    length = len(str(scratch))
    found = f"scratch has a path of {length} characters, {LONGEST_ROOT} may be"
    if length <= LONGEST_ROOT:
        return Finding(RAY, "sockets", found)
    advice = f"Set SWELL_SCRATCH to a path of at most {LONGEST_ROOT} characters: Ray's sockets lie below it."
    return Finding(RAY, "sockets", found, Verdict.PROBLEM, advice)


def _ray_environment(environment: Mapping[str, str], home: Path) -> Finding:
    notes = []
    if environment.get("RAY_ADDRESS"):
        notes.append("RAY_ADDRESS is set and ignored")
    if (home / ".ray" / "auth_token").exists() or environment.keys() & {"RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"}:
        notes.append("your own Ray token is there and not used")
    if environment.get("RAY_AUTH_MODE", "token") != "token":
        notes.append(f"RAY_AUTH_MODE={environment['RAY_AUTH_MODE']} is overridden")
    found = "; ".join(["every wave starts its own Ray with its own token", *notes])
    others = sorted(name for name in environment if name.startswith("RAY_") and name not in OWN_RAY_VARIABLES)
    if not others:
        return Finding(RAY, "environment", found)
    advice = "Unset them, unless you mean them: they change the Ray of every search."
    return Finding(RAY, "environment", f"{found}; also set: {', '.join(others)}", Verdict.WARNING, advice)


def has_wandb_key(environment: Mapping[str, str], home: Path) -> bool:
    """Return whether W&B would find a key in the environment, its settings or a netrc file; keeps no key."""
    if environment.get("WANDB_API_KEY") or environment.get("WANDB_IDENTITY_TOKEN_FILE"):
        return True
    folder = environment.get("WANDB_CONFIG_DIR")
    settings = _wandb_settings((Path(folder) if folder else home / ".config" / "wandb") / "settings")
    if settings.get("api_key"):
        return True
    machine = urlsplit(environment.get("WANDB_BASE_URL") or settings.get("base_url") or WANDB_URL).netloc
    if f"api.{machine}" in WANDB_MACHINES:  # W&B also accepts the address of its web pages
        machine = f"api.{machine}"
    chosen = environment.get("NETRC")
    file = Path(chosen).expanduser() if chosen else home / ".netrc"
    if not chosen and not file.exists():
        file = home / "_netrc"
    try:
        entries = netrc.netrc(str(file))
    except (OSError, netrc.NetrcParseError, UnicodeDecodeError):
        return False
    entry = entries.authenticators(machine) or entries.authenticators(WANDB_MACHINES.get(machine, machine))
    return entry is not None and bool(entry[2])


def _wandb_settings(file: Path) -> Mapping[str, str]:
    """Return the settings that `wandb login` has written."""
    parser = configparser.ConfigParser(interpolation=None)
    try:
        parser.read_string(file.read_text())
    except (OSError, configparser.Error, UnicodeDecodeError):
        return {}
    return dict(parser["default"]) if "default" in parser else {}


def wandb_findings(mode: str, installed: str | None, environment: Mapping[str, str], has_key: bool) -> list[Finding]:
    """Return whether runs can be shown on W&B as the spec's `tracking` asks."""
    stated = environment.get("WANDB_MODE")
    found = (
        f"{f'wandb {installed}' if installed else 'not installed'}; tracking.wandb: {mode}; "
        f"WANDB_MODE {stated or 'not set'}; API key: {'yes' if has_key else 'no'}"
    )
    verdict, advice = Verdict.OK, ""
    if mode != "disabled" and installed is None:
        verdict, advice = Verdict.PROBLEM, "Install it (pip install wandb), or set tracking.wandb to disabled."
    elif mode == "online" and not has_key:
        verdict, advice = Verdict.PROBLEM, "Log in (wandb login), or set tracking.wandb to offline and sync later."
    return [Finding(WANDB, "wandb", found, verdict, advice)]
