"""Which trajectories train, validate and test."""

import numpy as np
from jaxtyping import Int


def split_counts(num: int) -> tuple[int, int, int]:
    """Return how many of `num` trajectories (at least 3) train, validate and test: about 3/4, 1/8 and 1/8."""
    held_out = max(1, round(num / 8))
    return num - 2 * held_out, held_out, held_out


def split_indices(num: int, seed: int = 0) -> list[Int[np.ndarray, " some"]]:
    """Return which trajectories train, validate and test, drawn in an order of their own, the same for each seed.

    A file may be sorted, and its last trajectories unlike its first ones.
    """
    order = np.random.default_rng((num, seed) if seed else num).permutation(num)
    training, validation, _ = split_counts(num)
    return [np.sort(part) for part in np.split(order, [training, training + validation])]
