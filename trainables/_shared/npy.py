"""Reads what an array of NumPy's own format says of itself; whoever reads no array does without NumPy."""

from typing import IO, Any


def read_header(member: IO[bytes]) -> tuple[tuple[int, ...], Any]:
    """Return the shape and the dtype of an open `.npy` file; raises ValueError if it is none."""
    import numpy as np

    # Version 3 differs from 2 in the encoding of fields' names alone.
    first = np.lib.format.read_magic(member) == (1, 0)
    read = np.lib.format.read_array_header_1_0 if first else np.lib.format.read_array_header_2_0
    shape, _, dtype = read(member)
    return tuple(shape), dtype
