"""Which columns of a recording the state is made of, and in which order."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from jaxtyping import Float64

TIME = "timestamp"
KINDS = {"coordinates": "qpos", "angles": "qpos", "velocities": "qvel", "controls": "ctrl"}
"""The fields of a config that name columns, and what these begin with."""


class Layout(NamedTuple):
    """Indices of the columns `qpos_i`, `qvel_i` and `ctrl_i`.

    The state is the coordinates, the cosine and the sine of each angle, and the velocities, in this order.
    """

    coordinates: tuple[int, ...]
    angles: tuple[int, ...]
    velocities: tuple[int, ...]
    controls: tuple[int, ...]

    @property
    def num_states(self) -> int:
        """Components of a state."""
        return len(self.coordinates) + 2 * len(self.angles) + len(self.velocities)

    @property
    def num_controls(self) -> int:
        """Components of an action."""
        return len(self.controls)

    @property
    def num_moves(self) -> int:
        """Components of a change of state, in which an angle is one number."""
        return len(self.coordinates) + len(self.angles) + len(self.velocities)

    @property
    def positions(self) -> tuple[int, ...]:
        """Indices of qpos: coordinates, then angles."""
        return self.coordinates + self.angles

    @property
    def rates(self) -> tuple[int, ...]:
        """Of each position, the place of its rate among the velocities, the qvel of the same index; -1 if none is."""
        return tuple(self.velocities.index(i) if i in self.velocities else -1 for i in self.positions)

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns that are read: positions, velocities, controls."""
        return (
            *(f"qpos_{i}" for i in self.positions),
            *(f"qvel_{i}" for i in self.velocities),
            *(f"ctrl_{i}" for i in self.controls),
        )

    @property
    def state_names(self) -> tuple[str, ...]:
        """Names of the components of a state."""
        return (
            *(f"qpos_{i}" for i in self.coordinates),
            *(f"{function} qpos_{i}" for i in self.angles for function in ("cos", "sin")),
            *(f"qvel_{i}" for i in self.velocities),
        )

    def state_of(
        self, qpos: Float64[np.ndarray, "*n positions"], qvel: Float64[np.ndarray, "*n velocities"]
    ) -> Float64[np.ndarray, "*n states"]:
        """Return the states of all generalised positions and velocities of a system, as a simulator has them."""
        return self.joined(qpos[..., list(self.positions)], qvel[..., list(self.velocities)])

    def joined(
        self, positions: Float64[np.ndarray, "*n chosen"], velocities: Float64[np.ndarray, "*n velocities"]
    ) -> Float64[np.ndarray, "*n states"]:
        """Return the states of the chosen positions and velocities, in the layout's order."""
        num = len(self.coordinates)
        angles = positions[..., num:]
        circle = np.stack([np.cos(angles), np.sin(angles)], axis=-1).reshape(*angles.shape[:-1], -1)
        return np.concatenate([positions[..., :num], circle, velocities], axis=-1)

    def named(self) -> Iterator[tuple[str, int, str]]:
        """Yield the field, the index and the column of everything that is read."""
        for field, indices in zip(self._fields, self, strict=True):
            for index in indices:
                yield field, index, f"{KINDS[field]}_{index}"
