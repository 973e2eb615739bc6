"""What an emulator is held against: mean profiles by mass, ridge regression, Gaussian processes (on the host)."""

import hashlib
import json
import warnings
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float64

from trainables._shared.datasets import DatasetStore
from trainables.halo_emulator.config import Config
from trainables.halo_emulator.data import Haloes, statistics_of
from trainables.halo_emulator.features import PIVOT, inputs_of

VERSION = 2
HALOES_PER_MASS_BIN = 50
MOST_MASS_BINS = 20
PENALTIES = np.geomspace(1e-2, 1e5, 22)
"""Penalties of ridge regression among which the validation haloes choose."""
NUM_RATIO_COMPONENTS = 5
"""Principal components of the power spectrum ratios that the Gaussian processes read."""
EXPLAINED = 0.999
"""Share of the profiles' variance that their components keep."""
MOST_COMPONENTS = 8
FITTED_ON = 300
"""Haloes that the hyperparameters of a Gaussian process are fitted to: each of its iterations costs their cube."""
ITERATIONS = 60
SMALLEST_VARIANCE = 1e-12
VARIANCE_SLOPES = np.linspace(-1.5, 1.5, 121)
"""Exponents of mass that a variance may be corrected by, among which the validation haloes choose."""
_Matrix = Float64[np.ndarray, "n columns"]


class Predicted(NamedTuple):
    """Mean and variance of the transformed profile, in dex."""

    mean: Float64[np.ndarray, "n bins"]
    variance: Float64[np.ndarray, "n bins"]


def predictions(
    config: Config, training: Haloes, validation: Haloes, test: Haloes, store: DatasetStore
) -> dict[str, dict[str, np.ndarray]]:
    """Return what each baseline predicts of test haloes: `mean` and `variance`, by its name.

    The first caller on a node computes it: trials of the same data share it.
    """
    digest = hashlib.sha256()
    for part in (training, validation, test):
        for name in ("params", "log_mass", "ratios", "target", "sim"):
            digest.update(np.ascontiguousarray(part[name]).tobytes())
    names = ("gp_haloes", "transform", "normalisation", "engineered", "density_columns")
    recipe = json.dumps([VERSION, digest.hexdigest(), *(getattr(config, name) for name in names)])
    flat = store.get("halo_emulator_baselines", recipe, lambda: _predictions(config, training, validation, test))
    found: dict[str, dict[str, np.ndarray]] = {name: {} for name in config.baselines}
    for key, array in flat.items():
        name, _, what = key.rpartition("-")
        found[name][what] = array
    return found


def _predictions(config: Config, training: Haloes, validation: Haloes, test: Haloes) -> dict[str, np.ndarray]:
    sets = _Inputs(config, training)
    x, x_val, x_test = (sets.standardised(part) for part in (training, validation, test))
    y, y_val = (np.asarray(part["target"], np.float64) for part in (training, validation))
    by_name = {
        "mean_profile": mean_profile(np.asarray(training["log_mass"], np.float64), y, np.asarray(test["log_mass"])),
        "ridge": ridge(x, y, x_val, y_val, x_test),
    }
    if config.gp_haloes:
        narrow, *others = (sets.compressed(part) for part in (training, validation, test))
        found = gaussian_process(narrow, y, np.concatenate(others), config.gp_haloes)
        on_val, on_test = (
            Predicted(*(part[rows] for part in found)) for rows in (slice(len(y_val)), slice(len(y_val), None))
        )
        masses = (np.asarray(part["log_mass"], np.float64) for part in (validation, test))
        by_name["gaussian_process"] = corrected(on_val, y_val, on_test, *masses)
    return {
        f"{name}-{what}": np.asarray(array, np.float32)
        for name, predicted in by_name.items()
        for what, array in predicted._asdict().items()
    }


class _Inputs:
    """The networks' own inputs, standardised by the training haloes."""

    def __init__(self, config: Config, training: Haloes) -> None:
        self._config, self._statistics = config, statistics_of(config, training)
        x = self.standardised(training)
        ratios = x[:, -config.groups[2] :]
        self._center = ratios.mean(0)
        _, _, rows = np.linalg.svd(ratios - self._center, full_matrices=False)
        self._axes = rows[:NUM_RATIO_COMPONENTS].T
        self._spread = np.maximum(((ratios - self._center) @ self._axes).std(0), 1e-6)

    def standardised(self, haloes: Haloes) -> _Matrix:
        """Return the inputs, (haloes, inputs)."""
        params, log_mass, ratios = (np.asarray(haloes[name], np.float64) for name in ("params", "log_mass", "ratios"))
        inputs = inputs_of(self._config, self._statistics.logged, params, log_mass, ratios, np)
        return (inputs - self._statistics.center) / self._statistics.scale

    def compressed(self, haloes: Haloes) -> _Matrix:
        """Return the inputs with principal components in place of the power spectrum ratios."""
        x, num = self.standardised(haloes), self._config.groups[2]
        return np.concatenate([x[:, :-num], (x[:, -num:] - self._center) @ self._axes / self._spread], axis=1)


def mean_profile(
    log_mass: Float64[np.ndarray, " n"], y: _Matrix, test_log_mass: Float64[np.ndarray, " m"]
) -> Predicted:
    """Return mean and variance of the training haloes in the bin of mass that each test halo falls in."""
    num = int(np.clip(len(log_mass) // HALOES_PER_MASS_BIN, 1, MOST_MASS_BINS))
    edges = np.quantile(log_mass, np.linspace(0, 1, num + 1))[1:-1]
    of, of_test = np.searchsorted(edges, log_mass, side="right"), np.searchsorted(edges, test_log_mass, side="right")
    whole = y.mean(0), y.var(0)
    stats = [(y[of == k].mean(0), y[of == k].var(0)) if (of == k).sum() > 1 else whole for k in range(num)]
    mean, variance = (np.stack(part)[of_test] for part in zip(*stats, strict=True))
    return Predicted(mean, np.maximum(variance, SMALLEST_VARIANCE))


def ridge(x: _Matrix, y: _Matrix, x_val: _Matrix, y_val: _Matrix, x_test: _Matrix) -> Predicted:
    """Return ridge regression with the penalty, and the variance of each bin, that the validation haloes say."""
    center, x_center = y.mean(0), x.mean(0)
    values, vectors = np.linalg.eigh((x - x_center).T @ (x - x_center))
    moments = vectors.T @ ((x - x_center).T @ (y - center))

    def predict(penalty: float, inputs: _Matrix) -> _Matrix:
        # Rounding can leave an eigenvalue slightly below 0.
        weights = vectors @ (moments / (np.maximum(values, 0.0) + penalty)[:, None])
        return center + (inputs - x_center) @ weights

    errors = [float(((predict(penalty, x_val) - y_val) ** 2).mean()) for penalty in PENALTIES]
    best = float(PENALTIES[int(np.argmin(errors))])
    variance = ((predict(best, x_val) - y_val) ** 2).mean(0)
    mean = predict(best, x_test)
    return Predicted(mean, np.broadcast_to(np.maximum(variance, SMALLEST_VARIANCE), mean.shape))


def gaussian_process(x: _Matrix, y: _Matrix, x_test: _Matrix, num_haloes: int) -> Predicted:
    """Return a Gaussian process for each principal component of the profiles, with a length scale for each input.

    Conditioned on so many training haloes, drawn at random; its hyperparameters are fitted to the first 300 of them.
    The variance is that of the components, noise included, and of what they leave out.
    """
    rows = np.random.default_rng(0).permutation(len(x))[:num_haloes]
    center = y.mean(0)
    _, sizes, axes = np.linalg.svd(y - center, full_matrices=False)
    share = np.cumsum(sizes**2) / max(float((sizes**2).sum()), SMALLEST_VARIANCE)
    num = min(MOST_COMPONENTS, 1 + int(np.searchsorted(share, EXPLAINED)), len(sizes))
    axes = axes[:num]
    scores = (y - center) @ axes.T
    left_out = (y - center - scores @ axes).var(0)
    parts = [_process(x[rows], scores[rows, k], x_test) for k in range(num)]
    mean, variance = (np.stack(part, axis=1) for part in zip(*parts, strict=True))
    return Predicted(center + mean @ axes, np.maximum(variance @ axes**2 + left_out, SMALLEST_VARIANCE))


def corrected(
    on_val: Predicted,
    y_val: _Matrix,
    on_test: Predicted,
    log_mass_val: Float64[np.ndarray, " n"],
    log_mass_test: Float64[np.ndarray, " m"],
) -> Predicted:
    """Return test predictions with the variance that the validation haloes say: a factor for each bin, a power of mass.

    A process's own noise is the same for all haloes, and its hyperparameters are fitted to few of them.
    """
    squares = np.maximum((y_val - on_val.mean) ** 2 / on_val.variance, SMALLEST_VARIANCE)

    def power(slope: float, log_mass: np.ndarray) -> _Matrix:
        return 10 ** (slope * (log_mass - PIVOT))[:, None]

    def likelihood(slope: float) -> float:
        # With each bin's best factor, the squares over the variances are 1 in the mean, and logarithms are left.
        mean_log = slope * np.log(10) * float((log_mass_val - PIVOT).mean())
        return float(np.log((squares / power(slope, log_mass_val)).mean(0)).mean()) + mean_log

    slope = float(min(VARIANCE_SLOPES, key=likelihood))
    factor = (squares / power(slope, log_mass_val)).mean(0)
    variance = on_test.variance * factor * power(slope, log_mass_test)
    return Predicted(on_test.mean, np.maximum(variance, SMALLEST_VARIANCE))


def _process(x: _Matrix, y: np.ndarray, x_test: _Matrix) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and variance of one process at the test inputs, its noise included."""
    from scipy.optimize import minimize
    from sklearn.exceptions import ConvergenceWarning  # imported here: it takes a second
    from sklearn.gaussian_process import GaussianProcessRegressor
    from sklearn.gaussian_process.kernels import RBF, ConstantKernel, WhiteKernel

    # scikit-learn's own annotations know no array of length scales, no optimiser of one's own and no None.
    process: Any = GaussianProcessRegressor
    rbf: Any = RBF

    def optimise(objective: Any, start: np.ndarray, bounds: np.ndarray) -> tuple[np.ndarray, float]:
        options: Mapping[str, int] = {"maxiter": ITERATIONS}
        result = minimize(objective, start, method="L-BFGS-B", jac=True, bounds=bounds, options=options)
        return result.x, float(result.fun)

    scale = max(float(y.std()), 1e-9)
    start = np.full(x.shape[1], np.sqrt(x.shape[1]))
    kernel = ConstantKernel(1.0, (1e-3, 1e3)) * rbf(start, (0.3, 1e3)) + WhiteKernel(0.3, (1e-8, 1e1))
    with warnings.catch_warnings():
        # A length scale at its upper bound says that the input has no part in it.
        warnings.simplefilter("ignore", ConvergenceWarning)
        fitted = process(kernel, optimizer=optimise).fit(x[:FITTED_ON], y[:FITTED_ON] / scale)
        whole = process(fitted.kernel_, optimizer=None).fit(x, y / scale)
        mean, std = whole.predict(x_test, return_std=True)
    return scale * mean, (scale * std) ** 2
