"""Haloes from a file: what it must hold, and which simulations train, validate and test; NumPy, float64."""

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float64, Int

from trainables._shared.config import ConfigError
from trainables._shared.data_files import LARGEST_ARRAY, Source, read_npz, regular_file
from trainables._shared.data_numbers import look_at_columns, real_numbers, resolution
from trainables._shared.extras import require
from trainables.halo_emulator.wanted import Wanted

SPLITS: Mapping[str, float] = {"train": 0.7, "val": 0.15, "test": 0.15}
"""Shares of a file's simulations."""
FEWEST_SIMULATIONS = 4
NAMES = ("params", "mass", "pk_ratio", "profile", "sim")
WANTED = "params (haloes, parameters), mass (haloes), pk_ratio (haloes, ratios), profile (haloes, bins), sim (haloes)"
LARGEST_WHOLE = 2.0**53
"""Beyond it float64 does not hold every whole number."""
SMALLEST_MASS = 100.0
"""Solar masses below which all masses are probably logarithms."""


def read_file(wanted: Wanted, split: str, data_seed: int) -> dict[str, np.ndarray]:
    """Return the same arrays as `generate` for the haloes of a file's simulations of a split.

    Raises ConfigError for a file that cannot be read, or does not hold haloes of these inputs and bins.
    """
    arrays = _read(Source(wanted.path), wanted)
    rows = np.isin(arrays["sim"], split_of(arrays["sim"], data_seed)[split])
    # Numbered from 0: ids of any size stay apart in 32 bits.
    _, sim = np.unique(arrays["sim"], return_inverse=True)
    found = {name: arrays[name][rows].astype(np.float32) for name in ("params", "ratios", "profile")}
    return {**found, "log_mass": np.log10(arrays["mass"][rows]).astype(np.float32), "sim": sim[rows].astype(np.int32)}


def split_of(sim: Int[np.ndarray, " haloes"], data_seed: int) -> dict[str, Int[np.ndarray, " some"]]:
    """Return the simulations of each split, at least one each, drawn by the seed."""
    shuffled = np.random.default_rng(data_seed).permutation(np.unique(sim))
    held = [max(1, round(SPLITS[name] * len(shuffled))) for name in ("val", "test")]
    parts = np.split(shuffled, [len(shuffled) - sum(held), len(shuffled) - held[1]])
    return dict(zip(SPLITS, parts, strict=True))


def file_warnings(wanted: Wanted) -> tuple[str, ...]:
    """Return what a user must know of a file that can be used; raises ConfigError for one that cannot."""
    try:
        status = Path(wanted.path).stat()
    except OSError as error:
        raise ConfigError("file", wanted.path, f"cannot be read: {error.strerror}", "a file that exists") from None
    return _warnings(wanted, (status.st_mtime_ns, status.st_size))


@functools.lru_cache(maxsize=64)
def _warnings(wanted: Wanted, state: tuple[int, int]) -> tuple[str, ...]:
    """Return a file's warnings: a check asks for them at every configuration."""
    source = Source(wanted.path)
    _read(source, wanted)
    return tuple(source.warnings)


def _read(source: Source, wanted: Wanted) -> dict[str, np.ndarray]:
    held = _read_hdf5(source) if wanted.is_hdf5 else read_npz(source, WANTED, NAMES)
    dimensions = {"params": 2, "mass": 1, "pk_ratio": 2, "profile": 2, "sim": 1}
    num = len(held["sim"]) if "sim" in held and held["sim"].ndim == 1 else -1
    if any(name not in held or held[name].ndim != dims or len(held[name]) != num for name, dims in dimensions.items()):
        raise source.error(f"must hold {WANTED}, but it has {source.holds(held)}", "such arrays")
    for name, field in (("params", "num_parameters"), ("pk_ratio", "num_ratios"), ("profile", "num_bins")):
        columns = held[name].shape[1]
        if columns != getattr(wanted, field):
            why = f"{source.name} has {columns} columns of {name}"
            raise ConfigError(field, getattr(wanted, field), why, str(columns))
    numbers = {name: _finite(source, name, held[name]) for name in NAMES}
    arrays = {"params": numbers["params"], "mass": numbers["mass"], "ratios": numbers["pk_ratio"]}
    arrays |= {"profile": numbers["profile"], "sim": _simulations(source, held["sim"], numbers["sim"])}
    _look_at(source, wanted, arrays, {name: resolution(held[name]) for name in NAMES})
    return arrays


def _read_hdf5(source: Source) -> dict[str, np.ndarray]:
    """Return the arrays of an HDF5 file that have one of the names; others are noted as a warning."""
    h5py: Any = require("h5py")
    allowed = f"an HDF5 file of {WANTED}"
    path = regular_file(source, allowed)
    try:
        with h5py.File(path, "r") as file:
            held = {name: node for name, node in file.items() if isinstance(node, h5py.Dataset)}
            if others := sorted(set(file) - set(NAMES)):
                source.warn(
                    f"its {', '.join(others[:5])} {'is' if len(others) == 1 else 'are'} not read, only {WANTED}"
                )
            groups = [f"{name} (a group)" for name in sorted(set(file) - set(held))]
            arrays = [f"{name} {node.shape}" for name, node in sorted(held.items())]
            source.held = ", ".join([*arrays, *groups[:5]]) or "nothing"
            for name in sorted(held.keys() & set(NAMES)):
                if held[name].size is None or held[name].size > LARGEST_ARRAY:
                    why = f"its {name} {held[name].shape} has {held[name].size} numbers"
                    raise source.error(why, f"at most {LARGEST_ARRAY:,}")
            return {name: np.asarray(held[name][()]) for name in sorted(held.keys() & set(NAMES))}
    except OSError as error:
        raise source.error(f"cannot be read: {error.strerror or error}", allowed) from None


def _finite(source: Source, name: str, array: np.ndarray) -> Float64[np.ndarray, "..."]:
    """Return an array in float64; raises ConfigError that names the first value that is no finite number."""
    values = real_numbers(source, name, array)
    bad = np.argwhere(~np.isfinite(values))
    if len(bad):
        why = f"{len(bad)} values of its {name} are not finite, first {values[tuple(bad[0])]} at {_place(bad[0])}"
        raise source.error(why, "finite numbers")
    return values


def _place(index: np.ndarray) -> str:
    """Return where a value is, counted from 1."""
    row, *column = (int(k) + 1 for k in index)
    return f"row {row}" + (f", column {column[0]}" if column else "")


def _simulations(source: Source, sim: np.ndarray, values: Float64[np.ndarray, " n"]) -> Int[np.ndarray, " n"]:
    """Return the numbers of the haloes' simulations, integers of any size as they are; `values` are the same."""
    if sim.dtype.kind in "iu":
        return _require_several(source, sim.astype(np.int64 if sim.dtype.kind == "i" else np.uint64))
    sim, whole = values, values.round()
    if len(bad := np.flatnonzero(whole != sim)):
        why = f"{len(bad)} values of its sim are no whole numbers, first {sim[bad[0]]:g} at row {bad[0] + 1}"
        raise source.error(why, "the number of each halo's simulation")
    if len(bad := np.flatnonzero(np.abs(whole) > LARGEST_WHOLE)):
        why = f"{len(bad)} values of its sim are floats too large to be told apart, first {sim[bad[0]]:g} at row "
        raise source.error(f"{why}{bad[0] + 1}", "integers, or floats up to 2^53")
    return _require_several(source, whole.astype(np.int64))


def _require_several(source: Source, sim: Int[np.ndarray, " n"]) -> Int[np.ndarray, " n"]:
    """Return the numbers of the haloes' simulations; raises ConfigError if there are too few simulations."""
    if (num := len(np.unique(sim))) < FEWEST_SIMULATIONS:
        why = f"has haloes of {num} simulations, too few to train on some and to hold out others"
        raise source.error(why, f"at least {FEWEST_SIMULATIONS} simulations")
    return sim


def _look_at(source: Source, wanted: Wanted, arrays: Mapping[str, np.ndarray], grain: Mapping[str, float]) -> None:
    """Refuse masses and profiles that have no logarithm; note what is odd as warnings."""
    for name, needed in (("mass", True), ("profile", wanted.is_positive)):
        bad = np.argwhere((arrays[name] <= 0) & needed)
        if len(bad):
            why = f"{len(bad)} values of its {name} are not positive, first {arrays[name][tuple(bad[0])]:g} at "
            allowed = "positive masses" if name == "mass" else "positive profiles, or transform: asinh"
            raise source.error(why + _place(bad[0]), allowed)
    if arrays["mass"].max() < SMALLEST_MASS:
        source.warn(
            f"its mass is at most {arrays['mass'].max():.4g} solar masses: logarithms are to be written as 10**mass"
        )
    start = np.zeros(1, np.int64)
    for name, held in (("params", "params"), ("pk_ratio", "ratios"), ("profile", "profile")):
        columns = look_at_columns(source, name, arrays[held], start, grain=grain[name], series="file")
        if name == "profile" and columns.constant.all():
            raise source.error("its profile never changes", "a bin that varies")
        if columns.constant.any():
            which = ", ".join(str(k + 1) for k in np.flatnonzero(columns.constant)[:5])
            source.warn(f"{int(columns.constant.sum())} columns of {name} never change: {which}")
    _warn_of_simulations(source, arrays["params"], arrays["sim"])


def _warn_of_simulations(source: Source, params: np.ndarray, sim: np.ndarray) -> None:
    """Note simulations whose haloes have different parameters, and those that have the same as another one."""
    ids, first, of = np.unique(sim, return_index=True, return_inverse=True)
    varies = np.unique(sim[(params != params[first][of]).any(1)])
    if len(varies):
        source.warn(f"params differ between haloes of {len(varies)} of {len(ids)} simulations, first {varies[0]}")
    elif (num := len(ids) - len(np.unique(params[first], axis=0))) > 0:
        source.warn(
            f"{num} of {len(ids)} simulations have the params of another one: if they are the same simulation, "
            "training and test share it"
        )
