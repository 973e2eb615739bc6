"""What an optimiser step of a method costs, in CPU milliseconds, before and after a change, or by two settings.

    python -m benchmarks.step_speed --method latent_ode --settings solver=tsit5 solver=mesh
    python -m benchmarks.step_speed --method latent_ode --against CHECKOUT
    python -m benchmarks.step_speed --method two_body --xla-flags=--xla_cpu_use_fusion_emitters=false

Two sides train in turn, a few steps each, in processes of their own: two settings of this checkout, its defaults and
those of another checkout that has a `.venv`, or XLA as it is and with flags. --case adds one of your own: --case "wide"
dataset=orbits width=64.
"""

import argparse
import itertools
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.in_turn import ROOT, Side, compare, header
from benchmarks.settings import config_of, tells_mistakes, values_of
from trainables._shared.discovery import load_config_type

_SPIRALS = {"dataset": "spirals", "noise": 0.1, "noise_variance": 0.01}
_ORBITS = {"dataset": "orbits", "noise": 0.05, "noise_variance": 0.0025, "decoder": "mlp", "hidden": 32, "latent": 8}
CASES: dict[str, dict[str, dict[str, Any]]] = {
    "two_body": {
        "10 orbits, segment 18": {"dataset": "complex_TBP_planar_10_train", "segment_length": 18},
        "100 orbits, segment 4": {"dataset": "complex_TBP_planar_100_train", "segment_length": 4},
    },
    "latent_ode": {
        "default": {},
        "spirals, gru, latent 2": {**_SPIRALS, "latent": 2, "deterministic": True},
        "spirals, mlp, latent 8": {**_SPIRALS, "latent": 8, "hidden": 32, "encoder": "mlp", "prefix": 20},
        "orbits, gru, width 32": {**_ORBITS, "width": 32, "target": "whole"},
        "orbits, mlp, width 64": {**_ORBITS, "width": 64, "target": "whole", "encoder": "mlp", "prefix": 20},
    },
}
"""Of each method, what its searches in search_spaces/ try; a method that is not here has its defaults alone."""


@tells_mistakes
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--method", required=True)
    parser.add_argument("--settings", nargs=2, metavar="NAME=VALUE", help="of the two sides")
    parser.add_argument("--against", type=Path, metavar="CHECKOUT", help="the first side's, with a .venv")
    parser.add_argument("--xla-flags", metavar="FLAGS", help="of the second side, as in XLA_FLAGS")
    parser.add_argument("--only", nargs="+", metavar="CASE")
    parser.add_argument("--case", nargs="+", action="append", default=[], metavar=("NAME", "SETTING"))
    parser.add_argument("--steps", type=int, default=30, help="optimiser steps of one turn")
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    if sum(given is not None for given in (options.settings, options.against, options.xla_flags)) != 1:
        parser.error("--settings for two settings, --against for two checkouts, or --xla-flags for the second side")
    own = load_config_type(options.method)
    given = {name: values_of(rest, "--case") for name, *rest in options.case}
    cases = CASES.get(options.method, {"default": {}}) | given
    settings = [values_of([one], "--settings") for one in options.settings] if options.settings else [{}, {}]
    flags = {} if options.xla_flags is None else {"XLA_FLAGS": options.xla_flags}
    names = options.settings or (
        ("as it is", "with the flags") if flags else (options.against.resolve().name, "this checkout")
    )
    chosen = {name: values for name, values in cases.items() if not options.only or name in options.only}
    for values, more in itertools.product(chosen.values(), settings):
        config_of(own, values | more)
    print(header(*names))
    for name, values in chosen.items():
        with tempfile.TemporaryDirectory() as folder:
            sides = [
                Side(options.method, values | more, Path(folder), checkout, environment)
                for more, checkout, environment in zip(
                    settings, (options.against or ROOT, ROOT), ({}, flags), strict=True
                )
            ]
            print(compare(sides, options.steps, options.rounds).row(name), flush=True)


if __name__ == "__main__":
    main()
