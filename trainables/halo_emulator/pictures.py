"""What figures show of a trained halo emulator: plain arrays of test profiles and of what is predicted of them."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from trainables._shared.datasets import DatasetStore
from trainables._shared.program import traced_numbers
from trainables._shared.saved import SavedModel
from trainables.halo_emulator.generated import radii


def profiles(saved: SavedModel) -> dict[str, np.ndarray]:
    """Return the test haloes' transformed profiles in dex, and mean and standard deviation of what is predicted.

    `target`, `mean` and `std` are of the model, haloes and bins; each baseline's are `NAME_mean` and `NAME_std`.
    `log_mass` is of the haloes, `radius` of the bins: in R200c if they were generated, else their number from 1.
    """
    config: Any = saved.config
    tests = dict(saved.method.trial_data(config, DatasetStore()).tests)
    config = config.task()  # whose haloes they are
    hyper = traced_numbers(config)
    predict = jax.jit(lambda tests: saved.method.predict(config, hyper, saved.model, tests))
    ((name, predicted),) = predict(jax.tree.map(jnp.asarray, tests)).items()
    test = tests[name]
    radius = radii(config.num_bins) if config.file is None else 1.0 + np.arange(config.num_bins)
    found = {
        "radius": radius,
        "log_mass": np.asarray(test["log_mass"]),
        "target": np.asarray(test["target"]),
        "mean": np.asarray(predicted["mean"]),
        "std": np.sqrt(np.asarray(predicted["variance"])),
    }
    for baseline, values in test["baselines"].items():
        found |= {f"{baseline}_mean": np.asarray(values["mean"]), f"{baseline}_std": np.sqrt(values["variance"])}
    return found
