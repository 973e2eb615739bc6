"""Which trajectories train, validate and test."""

import numpy as np
from jaxtyping import Int


def split_indices(num: int, seed: int) -> dict[str, Int[np.ndarray, " some"]]:
    """Return which of `num` trajectories (at least 3) train, validate and test: about 80, 10 and 10 percent.

    Drawn in an order of their own, the same for each seed: files may be sorted.
    """
    held_out = max(1, round(num / 10))
    order = np.random.default_rng((num, seed)).permutation(num)
    parts = np.split(order, [num - 2 * held_out, num - held_out])
    return dict(zip(("train", "val", "test"), map(np.sort, parts), strict=True))
