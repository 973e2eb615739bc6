"""Trained models from their checkpoints: for analysis, for a controller, for the start of another training."""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import equinox as eqx

from trainables._shared.checkpoint import CheckpointError, read_checkpoint
from trainables._shared.config import MethodConfig, branches_of
from trainables._shared.contract import Method
from trainables._shared.discovery import add_folders, load_method
from trainables._shared.program import Evaluation, traced_numbers


class SavedModel(NamedTuple):
    """A trained model, and the method and config that made it."""

    method: Method[Any]
    config: MethodConfig
    model: Any
    metrics: dict[str, float]


def load_model(path: Path, *folders: Path, searched: Mapping[str, Collection[Any]] | None = None) -> SavedModel:
    """Return the best model of a checkpoint or of an exported `model.npz`.

    A method of the user's own is found in `folders` too: in the `code` that was exported with the model, for instance.
    With `searched`, the values that a search gives fields (see `branches_of`), the model chooses among their branches
    by traced indices: a function that is compiled for one such model is compiled for all of the same structure.
    Raises CheckpointError for a file that is damaged, or holds no finished model.
    """
    checkpoint = read_checkpoint(path)
    meta = checkpoint.meta
    if "trainable" not in meta.get("extra", {}) or "best" not in meta.get("bests", {}) or "config" not in meta:
        raise CheckpointError(f"{path}: holds no finished model")
    add_folders(*(folder.resolve() for folder in folders))
    method = load_method(meta["extra"]["trainable"])
    config = method.config_type.of_values(method.config_type.recorded(meta["config"]))
    branches = branches_of(config, searched or {})
    evaluation = Evaluation(method, config, branches)
    model = evaluation.model(checkpoint.tree("best", evaluation.shapes), traced_numbers(config, branches))
    return SavedModel(method, config, eqx.nn.inference_mode(model), meta["bests"]["best"]["metrics"])
