"""What figures show of a trained latent ODE: plain arrays of test series and of what is predicted of them."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from trainables._shared.datasets import DatasetStore
from trainables._shared.program import traced_numbers
from trainables._shared.saved import SavedModel
from trainables.latent_ode.data import Series, Span, Statistics
from trainables.latent_ode.metrics import baseline_predictions, observations


def series(saved: SavedModel) -> dict[str, np.ndarray]:
    """Return test series, what is observed of them, and how the model and each baseline (by its name) go on.

    `observed` and `later` are the truth, `model_observed` and `model_later` the model's; series, samples and components
    are the axes. Missing samples are NaN.
    """
    config: Any = saved.config
    ((name, test),) = saved.method.trial_data(config, DatasetStore()).tests.items()
    config = config.task()  # whose series they are, and whose noise
    truth = Series(*(Span(*span) for span in test["series"]))
    stats = Statistics(*test["statistics"])
    on_device = jax.tree.map(jnp.asarray, {name: test})
    model = jax.jit(lambda tests: saved.method.predict(config, traced_numbers(config), saved.model, tests))(on_device)[
        name
    ]
    baselines = baseline_predictions(truth, test["pooled_law"], stats, config.noise)
    arrays = {
        "observed": np.where(truth.observed.mask[..., None], truth.observed.y, np.nan),
        "later": np.where(truth.later.mask[..., None], truth.later.y, np.nan),
        "seen": np.where(truth.observed.mask[..., None], observations(truth.observed, stats, config.noise)[0], np.nan),
        "model_observed": np.asarray(model["observed"]),
        "model_later": np.asarray(model["later"]),
    }
    return {**arrays, **baselines}
