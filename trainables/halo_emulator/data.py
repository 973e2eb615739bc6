"""The splits of a data set: arrays of haloes, each simulation in one of them; NumPy."""

import json

import numpy as np

from trainables._shared.datasets import DatasetStore
from trainables.halo_emulator.config import Config
from trainables.halo_emulator.features import Statistics, statistics, to_target
from trainables.halo_emulator.files import read_file
from trainables.halo_emulator.generated import VERSION, generate

Haloes = dict[str, np.ndarray]
"""`params` (haloes, parameters), `log_mass` (haloes), `ratios` (haloes, ratios), `profile` (haloes, bins), `target`,
the transformed profile, and `sim` (haloes), the simulation's number within its data set."""


def load(config: Config, split: str, store: DatasetStore) -> Haloes:
    """Return the haloes of a split: train, val or test."""
    if config.wanted is not None:
        haloes = read_file(config.wanted, split, config.data_seed)
    else:
        num = config.num_simulations if split == "train" else config.num_held_out
        haloes = store.get(
            f"halo_emulator_{split}", _recipe(config, split, num), lambda: generate(config, split, num, store)
        )
    target = to_target(config, np.asarray(haloes["profile"], np.float64)).astype(np.float32)
    return {**haloes, "target": target}


def _recipe(config: Config, split: str, num: int) -> str:
    names = ("quantity", "num_bins", "num_ratios", "haloes_per_simulation", "scatter")
    seed = config.data_seed if split == "train" else 0
    return json.dumps([VERSION, num, seed, *(getattr(config, name) for name in names)])


def statistics_of(config: Config, training: Haloes) -> Statistics:
    """Return what the training haloes are normalised by."""
    return statistics(config, *(np.asarray(training[name]) for name in ("params", "log_mass", "ratios", "target")))
