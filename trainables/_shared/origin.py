"""Records what a trial's numbers depend on beside its configuration: the code, the libraries and JAX's settings."""

import os
from importlib.metadata import version
from typing import Any, NamedTuple

import jax
import numpy as np

from trainables._shared.frozen import code_of_this_process
from trainables._shared.joining import joined

DEFAULTS = {
    "jax_enable_x64": False,
    "jax_default_prng_impl": "threefry2x32",
    "jax_threefry_partitionable": True,
    "jax_default_matmul_precision": None,
    "jax_numpy_dtype_promotion": "standard",
    "jax_numpy_rank_promotion": "allow",
}
"""JAX's settings that change numbers, with their default values."""
FLAGS = ("XLA_FLAGS", "NVIDIA_TF32_OVERRIDE", "MKL_CBWR", "PYTHONHASHSEED")


def number_settings() -> dict[str, Any]:
    """Return the values of JAX's settings in this process that change numbers: precision, generator, promotion."""
    found = {name: getattr(jax.config, name, default) for name, default in DEFAULTS.items()}
    return {name: getattr(value, "value", value) for name, value in found.items()}  # one of them is an enum


def describe_settings() -> str:
    """Return one line with the libraries' versions, the device, and the settings that differ from the defaults."""
    versions = [f"jax {jax.__version__}", f"jaxlib {version('jaxlib')}", f"numpy {np.__version__}"]
    set_here = [f"{name}={value}" for name, value in number_settings().items() if value != DEFAULTS[name]]
    flags = [f"{name}={os.environ[name]}" for name in FLAGS if os.environ.get(name)]
    return ", ".join([*versions, jax.default_backend(), *set_here, *flags])


class NumbersOrigin(NamedTuple):
    """The code and the settings that computed a trial's numbers, in all its attempts."""

    code: str
    """The id of the code; the ids in order, joined by `+`, if attempts used several."""
    settings: str

    @classmethod
    def here(cls) -> "NumbersOrigin":
        """Return the code and the settings of this process."""
        return cls(code_of_this_process(), describe_settings())

    def after(self, earlier: "NumbersOrigin") -> "NumbersOrigin":
        """Return the origin of a training that began with `earlier` and continues with this one."""
        return NumbersOrigin(*(joined(before, now) for before, now in zip(earlier, self, strict=True)))
