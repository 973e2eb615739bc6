"""Where joint angles put a robot's flange, and how that moves with them; for arrays of NumPy and of JAX alike."""

from typing import Any, NamedTuple

from trainables.meanflow_ik.robots import Robot
from trainables.meanflow_ik.rotations import relative, rotation_angle

Array = Any
"""An array of NumPy or of JAX: results are of the same library."""


class Pose(NamedTuple):
    """Where the flange is, in the frame of the robot's base."""

    position: Array
    """(*batch, 3), in metres."""
    rotation: Array
    """(*batch, 3, 3)."""


class Chain(NamedTuple):
    """The flange's pose, and the axes that the joints turn about."""

    flange: Pose
    axes: Array
    """(*batch, joints, 3), unit vectors."""
    origins: Array
    """(*batch, joints, 3): a point on each axis, in metres."""


class _Frame(NamedTuple):
    """Columns of a frame's rotation, and its origin, all (*batch, 3)."""

    x: Array
    y: Array
    z: Array
    origin: Array


def chain(robot: Robot, q: Array) -> Chain:
    """Return axes, origins and the flange's pose at joint angles (*batch, joints) in radians.

    The frames' columns are followed joint by joint: products of small matrices take XLA several times as long.
    """
    xp = q.__array_namespace__()
    one = xp.ones_like(q[..., :1])
    base = _Frame(*(one * xp.asarray(column, dtype=q.dtype) for column in ((1, 0, 0), (0, 1, 0), (0, 0, 1), (0, 0, 0))))
    quarters = {0: (1, 0), 1: (0, 1), -1: (0, -1)}
    cos_twist, sin_twist = zip(*(quarters[twist] for twist in robot.twist), strict=True)
    constants = (xp.asarray(values, dtype=q.dtype) for values in (cos_twist, sin_twist, robot.a, robot.d))
    last, (axes, origins) = _over_joints(base, (*constants, xp.moveaxis(q, -1, 0)))
    flange = Pose(last.origin + robot.flange * last.z, xp.stack([last.x, last.y, last.z], axis=-1))
    return Chain(flange, xp.moveaxis(axes, 0, -2), xp.moveaxis(origins, 0, -2))


def _next(frame: _Frame, joint: tuple[Array, ...]) -> tuple[_Frame, tuple[Array, Array]]:
    """Return the frame of the next joint, and the axis that it turns about with a point on it."""
    cos_twist, sin_twist, a, d, q = joint
    xp = q.__array_namespace__()
    y, z = cos_twist * frame.y + sin_twist * frame.z, cos_twist * frame.z - sin_twist * frame.y
    origin = frame.origin + a * frame.x + d * z
    cos, sin = xp.cos(q)[..., None], xp.sin(q)[..., None]
    return _Frame(cos * frame.x + sin * y, cos * y - sin * frame.x, z, origin), (z, origin)


def _over_joints(base: _Frame, joints: tuple[Array, ...]) -> tuple[_Frame, tuple[Array, Array]]:
    """Return the last frame, and what all joints gave, the joints' axis first."""
    xp = base.x.__array_namespace__()
    if xp.__name__ != "numpy":
        from jax import lax  # one joint is compiled, and not seven; checks of a spec do without JAX

        return lax.scan(_next, base, joints)
    frame, given = base, []
    for joint in zip(*joints, strict=True):
        frame, found = _next(frame, joint)
        given.append(found)
    axes, origins = (xp.stack(arrays) for arrays in zip(*given, strict=True))
    return frame, (axes, origins)


def forward_kinematics(robot: Robot, q: Array) -> Pose:
    """Return the flange's pose at joint angles (*batch, joints) in radians."""
    return chain(robot, q).flange


def jacobian(at: Chain) -> tuple[Array, Array]:
    """Return how position and rotation move with each joint, both (*batch, 3, joints): m/rad and rad/rad."""
    xp = at.axes.__array_namespace__()
    moves = xp.cross(at.axes, at.flange.position[..., None, :] - at.origins)
    return xp.swapaxes(moves, -1, -2), xp.swapaxes(at.axes, -1, -2)


def pose_errors(reached: Pose, target: Pose) -> tuple[Array, Array]:
    """Return the distance in metres and the angle in radians between poses, both (*batch,)."""
    xp = reached.position.__array_namespace__()
    distance = xp.sqrt(xp.sum((reached.position - target.position) ** 2, axis=-1))
    return distance, rotation_angle(relative(reached.rotation, target.rotation))
