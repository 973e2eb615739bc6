"""Inputs and targets of the networks from a halo's numbers; the same functions for NumPy and for JAX arrays."""

from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from trainables.halo_emulator.config import Config

PIVOT = 14.0
"""log10 of the mass, in solar masses, about which the square of the log mass is taken."""
SMALLEST = 1e-30
"""What a value counts as at least before its logarithm: of another data set, one may not be positive."""
FLOOR = 1e-4
"""Of a column's scale, over its largest value: a column that hardly varies says nothing, and would be blown up."""
LN10 = float(np.log(10.0))
MAD_TO_STD = 1.4826
"""Standard deviation of a Gaussian over its median absolute deviation."""


class Statistics(NamedTuple):
    """What inputs and targets are normalised by, of the training haloes; in the model once it has trained."""

    logged: Float[Any, " parameters"]
    """1 for parameters that are positive in all training simulations: their log10 is taken; else 0."""
    center: Float[Any, " inputs"]
    scale: Float[Any, " inputs"]
    target_center: Float[Any, " bins"]
    target_scale: Float[Any, " bins"]


def to_target(config: Config, profile: np.ndarray) -> np.ndarray:
    """Return the transformed profile, in dex: log10, or asinh(profile / asinh_scale) / ln 10."""
    if config.transform == "log":
        return np.log10(profile)
    return np.arcsinh(profile / config.asinh_scale) / LN10


def from_target(config: Config, target: Any, xp: ModuleType) -> Any:
    """Return the profile of a transformed one."""
    if config.transform == "log":
        return 10.0**target
    return config.asinh_scale * xp.sinh(target * LN10)


def error_unit(config: Config, profile: Any, xp: ModuleType) -> Any:
    """Return what a profile's error is divided by for its percentage: its size, at least the asinh's scale."""
    least = config.asinh_scale if config.transform == "asinh" else SMALLEST
    return xp.maximum(xp.abs(profile), least)


def inputs_of(config: Config, logged: Any, params: Any, log_mass: Any, ratios: Any, xp: ModuleType) -> Any:
    """Return the inputs of haloes, (haloes, inputs), group by group as `Config.groups` counts them."""
    positive = xp.log10(xp.maximum(xp.where(logged > 0, params, 1.0), SMALLEST))
    columns = [xp.where(logged > 0, positive, params)]
    if config.engineered:
        matter, baryons = (params[:, column : column + 1] for column in config.density_columns)
        columns.append(matter / xp.where(xp.abs(baryons) < SMALLEST, SMALLEST, baryons))
    columns.append(log_mass[:, None])
    if config.engineered:
        columns.append((log_mass[:, None] - PIVOT) ** 2)
    columns.append(ratios)
    if config.engineered:
        columns += [xp.mean(ratios, axis=1, keepdims=True), xp.std(ratios, axis=1, keepdims=True)]
    return xp.concatenate(columns, axis=1)


def statistics(
    config: Config, params: np.ndarray, log_mass: np.ndarray, ratios: np.ndarray, target: np.ndarray
) -> Statistics:
    """Return the statistics of training haloes, in float32."""
    logged = (params > 0).all(0).astype(np.float64)
    params, log_mass, ratios = (x.astype(np.float64) for x in (params, log_mass, ratios))
    inputs = inputs_of(config, logged, params, log_mass, ratios, np)
    center, scale = _center_and_scale(config, inputs)
    target_center, target_scale = _center_and_scale(config, target.astype(np.float64))
    return Statistics(*(x.astype(np.float32) for x in (logged, center, scale, target_center, target_scale)))


def _center_and_scale(config: Config, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    if config.normalisation == "robust":
        center = np.median(values, axis=0)
        scale = MAD_TO_STD * np.median(np.abs(values - center), axis=0)
    else:
        center, scale = values.mean(0), values.std(0)
    largest = np.abs(values).max(0)
    return center, np.maximum(scale, FLOOR * np.where(largest > 0, largest, 1.0))
