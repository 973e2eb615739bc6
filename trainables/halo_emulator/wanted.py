"""What a configuration wants of a file; imports neither NumPy nor a package that reads files."""

from typing import NamedTuple

HDF5_SUFFIXES = (".h5", ".hdf5", ".hdf")
SUFFIXES = (".npz", *HDF5_SUFFIXES)


class Wanted(NamedTuple):
    """A file, and what it must hold."""

    path: str
    num_parameters: int
    num_ratios: int
    num_bins: int
    is_positive: bool
    """Whether profiles must have a logarithm."""

    @property
    def is_hdf5(self) -> bool:
        """Whether it is an HDF5 file, by its name."""
        return self.path.endswith(HDF5_SUFFIXES)
