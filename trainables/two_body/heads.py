"""Heads: the acceleration from the network's outputs, (m, d) with m a magnitude, d a vector, or 3 or 6 scalars."""

from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from trainables.two_body.features import State, cross, inverse, norm

Outputs = Float[Array, "outputs *batch"]
Acceleration = Float[Array, "3 *batch"]
_Part = Callable[[Array], Array]

EPSILON = 1e-8


def _unit(d: Acceleration) -> Acceleration:
    return d * inverse(norm(d))


def _soft_unit(d: Acceleration) -> Acceleration:
    return d / (norm(d) + EPSILON)


def _soft_unit_tanh(d: Acceleration) -> Acceleration:
    return _soft_unit(jnp.tanh(d))


def _softplus_above_zero(m: Array) -> Array:
    return jax.nn.softplus(m) + EPSILON


def _itself(x: Array) -> Array:
    return x


def _product(magnitude: _Part, direction: _Part) -> Callable[[Outputs, State], Acceleration]:
    """Return the head magnitude(m) direction(d) of the outputs (m, d)."""

    def head(out: Outputs, y: State) -> Acceleration:
        return magnitude(out[:1]) * direction(out[1:])

    return head


def rtn(out: Outputs, y: State) -> Acceleration:
    """Return the three outputs along R = r/|r|, T = N x R, N = r x v/|r x v|, in this order."""
    R = _unit(y[:3])
    N = _unit(cross(y[:3], y[3:]))
    return out[:1] * R + out[1:2] * cross(N, R) + out[2:] * N


def cartesian(out: Outputs, y: State) -> Acceleration:
    """Return the three outputs themselves."""
    return out


def simple(out: Outputs, y: State) -> Acceleration:
    """Return the last three outputs; all six are the time derivative of the state."""
    return out[3:]


HEADS: Mapping[str, tuple[int, Callable[[Outputs, State], Acceleration]]] = {
    "mlp_4D_signed": (4, _product(_itself, _itself)),
    "mlp_4D_abs": (4, _product(jnp.abs, _itself)),
    "mlp_4D_softplus": (4, _product(jax.nn.softplus, _itself)),
    "mlp_4D_unit": (4, _product(_itself, _unit)),
    "mlp_4D_unit_softplus": (4, _product(jax.nn.softplus, _unit)),
    "mlp_4D_logmag_exp": (4, _product(jnp.exp, _itself)),
    "mlp_4D_logmag_unit_exp": (4, _product(jnp.exp, _soft_unit)),
    "mlp_4D_logmag_unit_softplus": (4, _product(_softplus_above_zero, _soft_unit)),
    "mlp_4D_logmag_unit_tanh_exp": (4, _product(jnp.exp, _soft_unit_tanh)),
    "mlp_4D_logmag_unit_tanh_softplus": (4, _product(_softplus_above_zero, _soft_unit_tanh)),
    "mlp_rtn": (3, rtn),
    "mlp_cartesian": (3, cartesian),
    "mlp_simple": (6, simple),
}
"""Heads by name: how many outputs they take, and the function."""

HEAD_FUNCTIONS = {name: head for name, (_, head) in HEADS.items()}
MAGNITUDE_STARTS_AT_ONE = ("mlp_4D_signed", "mlp_4D_abs", "mlp_4D_unit")
"""Heads whose m may be zero: its bias starts at 1.

Drawn around zero, m often takes one sign on one side of the orbit and the other opposite, with d turned over to match:
a place that training does not leave. 100 orbits, 500 steps, leaky_relu + signed, seeds 0 to 2: validation errors of
14.1, 12.3 and 2.6 % with m around zero; 2.6, 3.5 and 3.4 % with the bias at 1.
"""
