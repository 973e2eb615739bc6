"""How many trajectories train, validate and test."""


def split_counts(num: int) -> tuple[int, int, int]:
    """Return how many of `num` trajectories (at least 3) train, validate and test: about 3/4, 1/8 and 1/8."""
    held_out = max(1, round(num / 8))
    return num - 2 * held_out, held_out, held_out
