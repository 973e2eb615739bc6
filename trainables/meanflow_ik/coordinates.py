"""Joint angles as the network has them: scaled by their limits, the outer two relative to the target if asked for.

A chain looks the same from every azimuth: if the base's joint turns, the pose turns with it about the base's axis, and
if the last joint turns, the flange turns about its own. Relative to the target's azimuth and roll, these two angles
depend on four numbers of the pose and not on six, and on the other two through their limits alone.
"""

import math
from typing import Any, NamedTuple

from trainables.meanflow_ik.robots import Robot

Array = Any
"""An array of NumPy or of JAX: results are of the same library."""


class Scaling(NamedTuple):
    """What joint angles are measured from, and in which units."""

    low: Array
    """Lower limits (joints) in radians."""
    high: Array
    scale: Array | float = 1.0
    """What half a joint's range, or half a turn of a joint that is relative, becomes."""


class Seen(NamedTuple):
    """A target pose from where its azimuth is 0, and with its roll taken away."""

    azimuth: Array
    """(*batch,), of the wrist about the base's axis, in radians."""
    roll: Array
    """(*batch,), of the flange about its own axis, in radians."""
    wrist: Array
    """(*batch, 2): distance from the base's axis, and height, in metres."""
    axis: Array
    """(*batch, 3), direction of the flange's axis."""


def seen_from_its_azimuth(robot: Robot, position: Array, rotation: Array) -> Seen:
    """Return target poses, position (*batch, 3) in metres and rotation (*batch, 3, 3), as seen from their azimuth.

    The wrist is the last joint's origin, a point on the flange's axis. Roll jumps where the flange's axis is normal to
    the plane of azimuth 0, azimuth where the wrist is on the base's axis.
    """
    xp = position.__array_namespace__()
    axis, side = rotation[..., 2], rotation[..., 0]
    wrist = position - (robot.d[-1] + robot.flange) * axis
    azimuth = xp.arctan2(wrist[..., 1], wrist[..., 0])
    axis, side = _turned_back(axis, azimuth), _turned_back(side, azimuth)
    # (z, 0, -x) is normal to the axis (x, y, z) and to the plane's normal (0, 1, 0).
    start = xp.stack([axis[..., 2], xp.zeros_like(azimuth), -axis[..., 0]], axis=-1)
    quarter_on = xp.cross(axis, start)
    roll = xp.arctan2(xp.sum(side * quarter_on, axis=-1), xp.sum(side * start, axis=-1))
    return Seen(azimuth, roll, xp.stack([xp.hypot(wrist[..., 0], wrist[..., 1]), wrist[..., 2]], axis=-1), axis)


def _turned_back(vector: Array, azimuth: Array) -> Array:
    xp = vector.__array_namespace__()
    x, y, z = (vector[..., k] for k in range(3))
    cos, sin = xp.cos(azimuth), xp.sin(azimuth)
    return xp.stack([cos * x + sin * y, cos * y - sin * x, z], axis=-1)


def to_latent(q: Array, scaling: Scaling, seen: Seen | None = None) -> Array:
    """Return joint angles (*batch, joints) in radians as the network has them.

    The limits become -scale and scale; with `seen` the outer joints are relative to it, within half a turn either way,
    which are -scale and scale.
    """
    middle, half, outer = _centred(scaling, seen)
    gap = q - middle
    return scaling.scale * q.__array_namespace__().where(outer, _within_half_a_turn(gap), gap) / half


def from_latent(x: Array, scaling: Scaling, seen: Seen | None = None) -> Array:
    """Return the joint angles (*batch, joints) in radians that the network has as x.

    An angle that is relative is within half a turn of the middle of its limits.
    """
    middle, half, outer = _centred(scaling, seen)
    q = middle + x / scaling.scale * half
    inside = (scaling.low + scaling.high) / 2
    return x.__array_namespace__().where(outer, inside + _within_half_a_turn(q - inside), q)


def _centred(scaling: Scaling, seen: Seen | None) -> tuple[Array, Array, Array]:
    """Return where each joint is 0, in radians, what it is divided by, and whether it is relative."""
    # Limits of a saved model are NumPy's, poses in a traced program are not.
    xp = (scaling.low if seen is None else seen.azimuth).__array_namespace__()
    middle, half = (scaling.low + scaling.high) / 2, (scaling.high - scaling.low) / 2
    place = xp.arange(len(middle))
    is_first, is_last = place == 0, place == len(middle) - 1
    if seen is None:
        return middle, half, place < 0
    azimuth, roll, outer = seen.azimuth[..., None], seen.roll[..., None], is_first | is_last
    middle = xp.where(is_first, azimuth, xp.where(is_last, roll, middle))
    return middle, xp.where(outer, xp.asarray(math.pi, dtype=half.dtype), half), outer


def _within_half_a_turn(angle: Array) -> Array:
    return angle - 2 * math.pi * angle.__array_namespace__().round(angle / (2 * math.pi))
