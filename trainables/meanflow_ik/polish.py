"""Joint angles that nearly reach a pose, brought there by damped Gauss-Newton steps within the joint limits."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from trainables.meanflow_ik.kinematics import Chain, Pose, chain, jacobian
from trainables.meanflow_ik.robots import Robot
from trainables.meanflow_ik.rotations import relative, rotation_vector

NUM_ITERATIONS = 40
METRES_PER_RADIAN = 0.3
"""What a rotation error counts for as a position error."""
DAMPING = 1e-2
"""Of the first iteration, in m^2; it falls as long as the error does."""
DAMPING_RANGE = (1e-6, 10.0)
DAMPING_DOWN, DAMPING_UP = 0.3, 4.0

Joints = Float[Array, "n joints"]
Error = Float[Array, "n 6"]


class _State(NamedTuple):
    """The best joint angles so far, how they are to be moved, and what was learnt of that."""

    q: Joints
    error: Error
    J: Float[Array, "n 6 joints"]
    square: Float[Array, " n"]
    damping: Float[Array, " n"]


def polish(robot: Robot, limits: tuple[Array, Array], target: Pose, q: Joints, num: int = NUM_ITERATIONS) -> Joints:
    """Return joint angles (n, joints) within the limits whose poses are nearer to the targets (n), if any are.

    Levenberg's damping, each solution its own: a step that makes the error no smaller is not taken. Joints that a step
    would carry beyond a limit go to it, and the others make up for it.
    """
    low, high = limits

    def iterate(_: Array, state: _State) -> _State:
        tried = jnp.clip(state.q + _step(state, low, high), low, high)
        at = chain(robot, tried)
        error = _error(at, target)
        square = jnp.sum(error * error, axis=-1)
        is_better = square < state.square
        moves, turns = jacobian(at)
        J_tried = jnp.concatenate([moves, METRES_PER_RADIAN * turns], axis=-2)
        q = jnp.where(is_better[:, None], tried, state.q)
        error = jnp.where(is_better[:, None], error, state.error)
        J = jnp.where(is_better[:, None, None], J_tried, state.J)
        damping = state.damping * jnp.where(is_better, DAMPING_DOWN, DAMPING_UP)
        return _State(q, error, J, jnp.minimum(square, state.square), jnp.clip(damping, *DAMPING_RANGE))

    # Nothing is known of the start: the first iteration looks at it, as it moves nothing.
    n, joints = q.shape
    error, J, square = jnp.zeros((n, 6)), jnp.zeros((n, 6, joints)), jnp.full(n, jnp.inf)
    start = _State(jnp.clip(q, low, high), error, J, square, jnp.full(n, DAMPING / DAMPING_DOWN))
    return jax.lax.fori_loop(0, num + 1, iterate, start).q


def _error(at: Chain, target: Pose) -> Error:
    position = target.position - at.flange.position
    turn = rotation_vector(relative(at.flange.rotation, target.rotation))
    return jnp.concatenate([position, METRES_PER_RADIAN * turn], axis=-1)


def _step(state: _State, low: Array, high: Array) -> Joints:
    """Return how the joints are to move, perhaps beyond a limit by what rounding leaves."""
    wanted = state.q + _damped(state.J, state.error, state.damping)
    is_blocked = (wanted < low) | (wanted > high)
    to_limit = jnp.where(is_blocked, jnp.clip(wanted, low, high) - state.q, 0.0)
    left = state.error - jnp.einsum("nij,nj->ni", state.J, to_limit)
    return to_limit + _damped(_without(state.J, is_blocked), left, state.damping)


def _without(J: Float[Array, "n 6 joints"], is_blocked: Bool[Array, "n joints"]) -> Float[Array, "n 6 joints"]:
    return jnp.where(is_blocked[:, None], 0.0, J)


def _damped(J: Float[Array, "n 6 joints"], error: Error, damping: Float[Array, " n"]) -> Joints:
    """Return J^T (J J^T + damping I)^-1 error."""
    normal = jnp.einsum("nij,nkj->nik", J, J) + damping[:, None, None] * jnp.eye(6)
    return jnp.einsum("nij,ni->nj", J, jnp.linalg.solve(normal, error[..., None])[..., 0])
