"""What figures show of a learned Jacobian: plain arrays of its entries along a test trajectory."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from trainables._shared.datasets import DatasetStore
from trainables._shared.saved import SavedModel
from trainables.jacobian_ode.method import TEST_SET

SHOWN_SAMPLES = 300


def entries(saved: SavedModel) -> dict[str, np.ndarray]:
    """Return times, and the learned and the exact Jacobian along the first test trajectory, in the data's units.

    `exact` is left out where no vector field is known: of recordings.
    """
    config: Any = saved.config
    test = saved.method.trial_data(config, DatasetStore()).tests[TEST_SET]
    model = saved.model.in_units(*map(jnp.asarray, test["scaling"]))
    config, untrained = config.task(), model.untrained
    z = jnp.asarray(test["test"].trajectories[0][:SHOWN_SAMPLES])
    found = {
        "t": np.arange(len(z)) * float(untrained.dt),
        "learned": np.asarray(model.physical(model.jacobian(z))),
    }
    if config.known_system is not None:
        found["exact"] = np.asarray(jax.vmap(jax.jacfwd(config.known_system.field))(untrained.mean + untrained.std * z))
    return found
