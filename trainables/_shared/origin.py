"""What makes a trial's numbers beside its configuration: the code, the libraries, and how JAX is set to compute."""

import os
from importlib.metadata import version
from typing import Any, NamedTuple

import jax
import numpy as np

from trainables._shared.frozen import code_of_this_process

DEFAULTS = {
    "jax_enable_x64": False,
    "jax_default_prng_impl": "threefry2x32",
    "jax_threefry_partitionable": True,
    "jax_default_matmul_precision": None,
    "jax_numpy_dtype_promotion": "standard",
    "jax_numpy_rank_promotion": "allow",
}
"""JAX's settings that change numbers, and what they are unless the user says otherwise."""
FLAGS = ("XLA_FLAGS", "NVIDIA_TF32_OVERRIDE", "MKL_CBWR", "PYTHONHASHSEED")


def number_settings() -> dict[str, Any]:
    """Return how JAX computes in this process: precision, random numbers, promotion."""
    found = {name: getattr(jax.config, name, default) for name, default in DEFAULTS.items()}
    return {name: getattr(value, "value", value) for name, value in found.items()}  # one of them is an enum


def describe_settings() -> str:
    """Return the libraries, the device, and the settings that are not the usual ones, on one line."""
    versions = [f"jax {jax.__version__}", f"jaxlib {version('jaxlib')}", f"numpy {np.__version__}"]
    set_here = [f"{name}={value}" for name, value in number_settings().items() if value != DEFAULTS[name]]
    flags = [f"{name}={os.environ[name]}" for name in FLAGS if os.environ.get(name)]
    return ", ".join([*versions, jax.default_backend(), *set_here, *flags])


class NumbersOrigin(NamedTuple):
    """Where a trial's numbers come from, its earlier attempts included."""

    code: str
    """The id of the code; of several, in order, with `+` between them."""
    settings: str

    @classmethod
    def here(cls) -> "NumbersOrigin":
        """Return what numbers of this process come from."""
        return cls(code_of_this_process(), describe_settings())

    def after(self, earlier: "NumbersOrigin") -> "NumbersOrigin":
        """Return the origin of a training that goes on here from what another process has made."""
        return NumbersOrigin(*(_joined(before, now) for before, now in zip(earlier, self, strict=True)))


def _joined(before: str, now: str) -> str:
    if not before or before == now or before.endswith(f"+{now}"):
        return now if not before or before == now else before
    return f"{before}+{now}"
