"""Names of two-body datasets: family, plane, number of orbits and split; imports no NumPy."""

import functools
import re
from typing import NamedTuple

_PATTERN = re.compile(r"(complex|circular|simple)_TBP_(planar|3D)_([1-9][0-9]*)_(train|val|test)")
PATTERN_HELP = (
    "FAMILY_TBP_PLANE_NUMBER_SPLIT, with FAMILY complex, simple or circular, PLANE planar or 3D, "
    "NUMBER of orbits at least 1, SPLIT train, val or test (for instance complex_TBP_planar_10_train)"
)


class DatasetName(NamedTuple):
    """What a dataset's name says."""

    family: str
    plane: str
    num_orbits: int
    split: str

    def __str__(self) -> str:
        return f"{self.family}_TBP_{self.plane}_{self.num_orbits}_{self.split}"


@functools.lru_cache(maxsize=1024)
def parse_dataset(name: str) -> DatasetName:
    """Return the parts of a dataset's name; raises ValueError, with the pattern, for anything else."""
    match = _PATTERN.fullmatch(name)
    if match is None:
        raise ValueError(f"unknown dataset {name!r}: a name must be {PATTERN_HELP}")
    family, plane, number, split = match.groups()
    return DatasetName(family, plane, int(number), split)
