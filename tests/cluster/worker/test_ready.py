"""What a worker imports before its first trial, in a process of its own: modules stay imported."""

import json
import os
import subprocess
import sys

from cluster.machine.resources import THREAD_VARIABLES, thread_caps

ASKED = """
import gc, importlib, json, os, sys
from cluster.machine.resources import THREAD_VARIABLES, xla_pool_threads

def state():
    return {"modules": sorted(sys.modules), "threads": xla_pool_threads(), "collects": gc.isenabled()}

import cluster.worker.ready
uncapped = state()
os.environ.update(json.loads(sys.argv[1]))
importlib.reload(cluster.worker.ready)
print(json.dumps([uncapped, state(), gc.get_freeze_count()]))
"""


def test_a_capped_worker_imports_what_every_trial_needs_and_starts_no_backend():
    environment = {name: value for name, value in os.environ.items() if name not in THREAD_VARIABLES}
    command = [sys.executable, "-c", ASKED, json.dumps(thread_caps(1))]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    uncapped, capped, frozen = json.loads(done.stdout)
    assert not {"jax", "numpy"} & set(uncapped["modules"])
    assert {"cluster.worker.actor", "trainables._shared.training", "jax", "equinox", "optax"} <= set(capped["modules"])
    needless = {"ray", "pandas", "pyarrow", "scipy", "optuna", "diffrax", "wandb", "trainables.two_body"}
    assert not needless & set(capped["modules"])
    assert (capped["threads"], uncapped["collects"], capped["collects"]) == (0, True, True)
    assert frozen > 100_000
