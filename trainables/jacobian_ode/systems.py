"""Dynamical systems with known vector fields; the same functions take NumPy and JAX arrays, and none is imported."""

from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple

SystemName = Literal["lorenz", "van_der_pol", "lorenz96"]
Field = Callable[[Any], Any]
"""dx/dt of states whose components are the last axis."""


def lorenz(x: Any) -> Any:
    """Return dx/dt of Lorenz's system with sigma = 10, rho = 28, beta = 8/3 (Lorenz 1963)."""
    a, b, c = x[..., 0], x[..., 1], x[..., 2]
    return x.__array_namespace__().stack([10 * (b - a), a * (28 - c) - b, a * b - 8 / 3 * c], axis=-1)


def van_der_pol(x: Any) -> Any:
    """Return dx/dt of Van der Pol's oscillator with mu = 2: x'' = mu (1 - x^2) x' - x."""
    position, velocity = x[..., 0], x[..., 1]
    return x.__array_namespace__().stack([velocity, 2 * (1 - position**2) * velocity - position], axis=-1)


def lorenz96(x: Any) -> Any:
    """Return dx/dt of the ring dx_i/dt = (x_{i+1} - x_{i-2}) x_{i-1} - x_i + F with F = 8 (Lorenz 1996)."""
    roll = x.__array_namespace__().roll
    return (roll(x, -1, axis=-1) - roll(x, 2, axis=-1)) * roll(x, 1, axis=-1) - x + 8


class System(NamedTuple):
    """A vector field, how many components its states have, and what its data is drawn from."""

    field: Field
    dimension: int | None
    """None where the config says it."""
    period: float
    """Time of a typical oscillation: 100 samples of it are the paper's sampling."""
    center: tuple[float, ...]
    """Middle of the box of states before the transient; one number holds for every component."""
    half_width: tuple[float, ...]
    transient: float
    """Time after which a trajectory is recorded."""


SYSTEMS: Mapping[SystemName, System] = {
    "lorenz": System(lorenz, 3, 1.5, (0.0, 0.0, 25.0), (15.0, 15.0, 15.0), 15.0),
    # Off the limit cycle at first: on it alone, the data says nothing of the directions across it.
    "van_der_pol": System(van_der_pol, 2, 7.63, (0.0, 0.0), (3.0, 4.0), 0.5),
    # 1.5 is the mean of the spectrum at n = 12, 32 and 64.
    "lorenz96": System(lorenz96, None, 1.5, (2.5,), (4.0,), 15.0),
}
