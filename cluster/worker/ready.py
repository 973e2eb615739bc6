"""What Ray imports in every worker before its first trial comes: all that a trial needs and that is not its method's.

So workers get ready while their driver still imports Ray Tune. Nothing of the user's is imported here: what a method
does when it is imported is a trial's, with its time limit and its failure. JAX starts no backend, and so no threads and
no context on a GPU, when it is imported.
"""

import gc
import importlib
import os

from cluster.machine.resources import THREAD_VARIABLES

MODULES = (
    *("cluster.worker.actor", "trainables._shared.checkpoint", "trainables._shared.datasets"),
    *("trainables._shared.discovery", "trainables._shared.training"),
)

if all(os.environ.get(name) for name in THREAD_VARIABLES):  # else the first trial says what is missing
    # What modules make stays: to look for cycles in it again and again takes a quarter of the imports' time, and, if it
    # is not frozen, a fifth of the time of tracing a program.
    gc.disable()
    try:
        for name in MODULES:
            importlib.import_module(name)
    finally:
        gc.freeze()
        gc.enable()
