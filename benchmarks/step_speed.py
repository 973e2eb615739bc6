"""What an optimiser step of a method costs, in CPU milliseconds, before and after a change, or by two settings.

    python -m benchmarks.step_speed --method latent_ode --settings solver=tsit5 solver=mesh
    python -m benchmarks.step_speed --method latent_ode --against CHECKOUT

Two sides train in turn, a few steps each, in processes of their own: two settings of this checkout, or its defaults and
those of another checkout that has a `.venv`. --case adds one of your own: --case "wide" dataset=orbits width=64.
"""

import argparse
import tempfile
from pathlib import Path
from typing import Any

import yaml

from benchmarks.in_turn import ROOT, Side, compare, header

_SPIRALS = {"dataset": "spirals", "noise": 0.1, "noise_variance": 0.01}
_ORBITS = {"dataset": "orbits", "noise": 0.05, "noise_variance": 0.0025, "decoder": "mlp", "hidden": 32, "latent": 8}
CASES: dict[str, dict[str, dict[str, Any]]] = {
    "latent_ode": {
        "default": {},
        "spirals, gru, latent 2": {**_SPIRALS, "latent": 2, "deterministic": True},
        "spirals, mlp, latent 8": {**_SPIRALS, "latent": 8, "hidden": 32, "encoder": "mlp", "prefix": 20},
        "orbits, gru, width 32": {**_ORBITS, "width": 32, "target": "whole"},
        "orbits, mlp, width 64": {**_ORBITS, "width": 64, "target": "whole", "encoder": "mlp", "prefix": 20},
    },
}
"""Of each method, what its searches in search_spaces/ try; a method that is not here has its defaults alone."""


def values_of(settings: list[str]) -> dict[str, Any]:
    """Return the values of settings such as `width=64`, read as in a spec."""
    return {name: yaml.safe_load(value) for name, value in (setting.split("=", 1) for setting in settings)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--method", required=True)
    parser.add_argument("--settings", nargs=2, metavar="NAME=VALUE", help="of the two sides")
    parser.add_argument("--against", type=Path, metavar="CHECKOUT", help="the first side's, with a .venv")
    parser.add_argument("--only", nargs="+", metavar="CASE")
    parser.add_argument("--case", nargs="+", action="append", default=[], metavar=("NAME", "SETTING"))
    parser.add_argument("--steps", type=int, default=30, help="optimiser steps of one turn")
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    if (options.settings is None) == (options.against is None):
        parser.error("--settings for two settings, or --against for two checkouts")
    cases = CASES.get(options.method, {"default": {}}) | {name: values_of(rest) for name, *rest in options.case}
    names = options.settings or (options.against.resolve().name, "this checkout")
    print(header(*names))
    for name, values in cases.items():
        if options.only and name not in options.only:
            continue
        with tempfile.TemporaryDirectory() as folder:
            sides = [
                Side(options.method, values | values_of(more), Path(folder), checkout)
                for more, checkout in zip(
                    [[setting] for setting in options.settings] if options.settings else ([], []),
                    (options.against or ROOT, ROOT),
                    strict=True,
                )
            ]
            print(compare(sides, options.steps, options.rounds).row(name), flush=True)


if __name__ == "__main__":
    main()
