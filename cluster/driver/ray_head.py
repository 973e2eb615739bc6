"""Starts the Ray of one wave driver, below its scratch and for it alone."""

import contextlib
import logging
import shutil
import time
from collections.abc import Iterator
from functools import partial
from typing import Any

from cluster.installation import own_folder
from cluster.machine.resources import gpu_count
from cluster.machine.scratch import Scratch
from cluster.worker.environment import OBJECT_STORE_BYTES
from search_spaces.spec import Spec

LOOPBACK = "127.0.0.1"
START_PATIENCE_S = 120.0
"""How long Ray's processes may take to start: Ray's own 30 s are too few on a loaded machine."""


@contextlib.contextmanager
def replaced(owner: Any, name: str, value: Any) -> Iterator[None]:
    """Put a value in the place of an object's attribute for a while."""
    before = getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, before)


@contextlib.contextmanager
def loopback_is_meant() -> Iterator[None]:
    """Keep Ray from replacing 127.0.0.1 by the machine's address, on which its servers would listen to everybody."""
    from ray._private import services

    with replaced(services, "resolve_ip_for_localhost", lambda host: host):
        yield


@contextlib.contextmanager
def patient_start() -> Iterator[None]:
    """Make `ray.init` wait up to START_PATIENCE_S for its node to register, instead of Ray's fixed 30 s."""
    from ray._private import services

    ask = services.get_node

    def ask_on(*arguments: Any) -> Any:
        end = time.monotonic() + START_PATIENCE_S
        while time.monotonic() < end:
            with contextlib.suppress(RuntimeError):  # Ray raises it while the node is missing
                return ask(*arguments)
            time.sleep(0.2)
        return ask(*arguments)

    with replaced(services, "get_node", ask_on):
        yield


@contextlib.contextmanager
def lean_node(num_ready: int) -> Iterator[None]:
    """Make Ray's node server start so many workers in advance, and no agents: no task may need a runtime environment.

    Its agents serve the dashboard and prepare runtime environments, and Ray waits until both are there: a second at
    every start, 0.9 s of CPU and 150 MB. Without a command for them the server ends, so it gets one that only waits,
    until the server's end of its standard input closes. The port -1 says that a service is not there, as in a Ray that
    is installed without its dashboard.
    """
    from ray._private import ray_constants, services

    start = services.start_ray_process
    waiting = shutil.which("cat") or "/bin/cat"
    options = [f"--{agent}_agent_command={waiting}" for agent in ("dashboard", "runtime_env")]
    ports = ("metrics_agent", "metrics_export", "dashboard_agent_listen", "runtime_env_agent")
    options += [f"--{port}_port=-1" for port in ports]
    options += [f"--num_prestart_python_workers={num_ready}"]

    def start_lean(command: list[str], process_type: str, *arguments: Any, **named: Any) -> Any:
        lean = [*command, *options] if process_type == ray_constants.PROCESS_TYPE_RAYLET else command
        return start(lean, process_type, *arguments, **named)  # of an option that is given twice, the last counts

    with replaced(services, "start_ray_process", start_lean):
        yield


@contextlib.contextmanager
def _nothing_beside() -> Iterator[None]:
    """Keep `ray.init` from starting the autoscaler's monitor, the log monitor and the dashboard's server.

    They take 4 s of CPU at every start, and 250 MB, and nobody uses them. Only Ray's command line has options for this.
    """
    from ray._private import node, parameter

    unasked: dict[str, Any] = {"no_monitor": True, "include_log_monitor": False}
    lean = partial(parameter.RayParams, **unasked)
    with (
        replaced(parameter, "RayParams", lean),
        replaced(node.Node, "start_api_server", lambda self, **options: None),
    ):
        yield


def start_ray(spec: Spec, scratch: Scratch, num_slots: int, num_ready: int, address: str) -> str:
    """Start a Ray of our own on this node, below our scratch; return the address at which further nodes find it.

    It begins at once to get `num_ready` workers ready for trials.

    At the loopback address only this machine reaches it; at any other, whoever has the token.
    """
    import ray

    # Ray's workers import first from the working directory: the user's would hide our packages.
    with contextlib.chdir(own_folder()), loopback_is_meant(), patient_start(), _nothing_beside(), lean_node(num_ready):
        ray.init(
            address="local",
            num_cpus=num_slots * spec.resources.cpus_per_trial,
            num_gpus=gpu_count() if spec.resources.gpus_per_trial else 0,
            object_store_memory=OBJECT_STORE_BYTES,
            include_dashboard=False,
            log_to_driver=False,
            logging_level=logging.WARNING,
            _temp_dir=str(scratch.ray),
            _node_ip_address=address,
        )
    return str(ray.get_runtime_context().gcs_address)


def num_ray_nodes() -> int:
    """Return how many nodes are part of this driver's Ray."""
    import ray

    return sum(bool(node["Alive"]) for node in ray.nodes())
