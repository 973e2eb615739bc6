"""A method that leaves much behind: files in TMPDIR, objects in Ray's store, a staged W&B artifact per trial."""

import os
import tempfile
from pathlib import Path

import numpy as np
import ray
import wandb

from benchmarks.hoard.config import Config
from benchmarks.nothing.method import DoNothing
from trainables._shared.contract import TrialData
from trainables._shared.datasets import DatasetStore


class Hoard(DoNothing):
    """Does nothing else."""

    config_type = Config  # pyright: ignore[reportAssignmentType]

    def data(self, config: Config, store: DatasetStore) -> TrialData:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Leave everything behind, and return no data."""
        with tempfile.NamedTemporaryFile(delete=False) as file:
            file.write(os.urandom(2**20) * config.file_mb)
        self._object = ray.put(np.zeros(config.object_mb * 2**20, np.uint8))  # of the last trial, freed by this one's
        if config.artifact_kb:
            self._stage(Path(file.name), config)
        return TrialData([{}], {}, {})

    def _stage(self, file: Path, config: Config) -> None:
        small = file.with_suffix(".small")
        small.write_bytes(os.urandom(1024 * config.artifact_kb))
        with wandb.init(project="hoard", mode="offline", settings=wandb.Settings(console="off", silent=True)) as run:
            artifact = wandb.Artifact("left", "data")
            artifact.add_file(str(small))
            run.log_artifact(artifact)
            run.log({"x": config.x})


method = Hoard()
