"""The robots: Denavit-Hartenberg parameters, joint limits and workspace, as their makers publish them."""

import math
from collections.abc import Mapping
from typing import Literal, NamedTuple

RobotName = Literal["panda", "ur10"]
LimitsName = Literal["published", "one_turn"]


class Robot(NamedTuple):
    """A chain of revolute joints in Craig's (modified) convention: frame i is Rx(twist) Tx(a) Rz(q_i) Tz(d) of i - 1.

    The flange lies `flange` metres along z of the last joint's frame, and is not turned against it.
    """

    twist: tuple[int, ...]
    """Angle about x of each joint, in quarter turns."""
    a: tuple[float, ...]
    """Length along x of each joint, in metres."""
    d: tuple[float, ...]
    """Offset along z of each joint, in metres."""
    flange: float
    low: tuple[float, ...]
    """Lower joint limits, in radians."""
    high: tuple[float, ...]
    shoulder: float
    """Height of the middle of the workspace above the base, in metres."""
    reach: float
    """Radius of the workspace about it, in metres."""

    @property
    def num_joints(self) -> int:
        """How many joints there are."""
        return len(self.a)


_FULL_TURN = 2 * math.pi

ROBOTS: Mapping[RobotName, Robot] = {
    # Franka Emika, "Robot and interface specifications" of the Franka Control Interface.
    "panda": Robot(
        twist=(0, -1, 1, 1, -1, 1, 1),
        a=(0.0, 0.0, 0.0, 0.0825, -0.0825, 0.0, 0.088),
        d=(0.333, 0.0, 0.316, 0.0, 0.384, 0.0, 0.0),
        flange=0.107,
        low=(-2.8973, -1.7628, -2.8973, -3.0718, -2.8973, -0.0175, -2.8973),
        high=(2.8973, 1.7628, 2.8973, -0.0698, 2.8973, 3.7525, 2.8973),
        shoulder=0.333,
        reach=0.855,
    ),
    # Universal Robots, "DH parameters for calculations of kinematics and dynamics", where twist and a stand in the row
    # of the joint before, as in Denavit and Hartenberg's own convention.
    "ur10": Robot(
        twist=(0, 1, 0, 0, 1, -1),
        a=(0.0, 0.0, -0.612, -0.5723, 0.0, 0.0),
        d=(0.1273, 0.0, 0.0, 0.163941, 0.1157, 0.0922),
        flange=0.0,
        low=(-_FULL_TURN,) * 6,
        high=(_FULL_TURN,) * 6,
        shoulder=0.1273,
        reach=1.3,
    ),
}


def joint_limits(robot: RobotName, limits: LimitsName) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return the lower and the upper joint limits in radians.

    With `one_turn`, a joint that turns more than once has half a turn to either side of the middle of its range: every
    pose is reached all the same, and each way to reach it occurs once.
    """
    pairs = list(zip(ROBOTS[robot].low, ROBOTS[robot].high, strict=True))
    if limits == "one_turn":
        pairs = [
            ((low + high) / 2 - math.pi, (low + high) / 2 + math.pi) if high - low > _FULL_TURN else (low, high)
            for low, high in pairs
        ]
    return tuple(low for low, _ in pairs), tuple(high for _, high in pairs)
