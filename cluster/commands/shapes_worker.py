"""Tells the arrays of models: reads {trainable, configs} on stdin, writes each config's, with types, on stdout."""

import contextlib
import json
import sys
from typing import Any

from cluster.worker.directory import enter_working_directory
from trainables._shared.checkpoint import leaves_of
from trainables._shared.discovery import load_method
from trainables._shared.model_file import Leaf
from trainables._shared.program import Evaluation


def shapes(trainable: str, configs: list[dict[str, Any]]) -> list[list[Leaf]]:
    """Return the names, shapes and types of the arrays of each config's model; nothing is computed."""
    enter_working_directory()
    method = load_method(trainable)
    found = []
    for values in configs:
        config = method.config_type.of_values(values)
        found.append(leaves_of(Evaluation(method, config, {}).shapes))
    return found


if __name__ == "__main__":
    request = json.load(sys.stdin)
    with contextlib.redirect_stdout(sys.stderr):  # keep a method's prints out of the result
        result = shapes(request["trainable"], request["configs"])
    json.dump(result, sys.stdout)
