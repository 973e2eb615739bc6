"""Trained models from their checkpoints: for analysis, for a controller, for the start of another training."""

from pathlib import Path
from typing import Any, NamedTuple

import equinox as eqx
import jax

from trainables._shared.checkpoint import CheckpointError, read_checkpoint
from trainables._shared.config import MethodConfig
from trainables._shared.contract import Method
from trainables._shared.discovery import add_folders, load_method
from trainables._shared.program import Program, traced_numbers


class SavedModel(NamedTuple):
    """A trained model, and the method and config that made it."""

    method: Method[Any]
    config: MethodConfig
    model: Any
    metrics: dict[str, float]


def load_model(path: Path, *folders: Path) -> SavedModel:
    """Return the best model of a checkpoint or of an exported `model.npz`.

    A method of the user's own is found in `folders` too: in the `code` that was exported with the model, for instance.
    Raises CheckpointError for a file that is damaged, or holds no finished model.
    """
    checkpoint = read_checkpoint(path)
    meta = checkpoint.meta
    if "trainable" not in meta.get("extra", {}) or "best" not in meta.get("bests", {}) or "config" not in meta:
        raise CheckpointError(f"{path}: holds no finished model")
    add_folders(*(folder.resolve() for folder in folders))
    method = load_method(meta["extra"]["trainable"])
    config = method.config_type.of_values(method.config_type.recorded(meta["config"]))
    program = Program(method, config)
    like = jax.eval_shape(program.init, traced_numbers(config)).params
    model = program.model(checkpoint.tree("best", like))
    return SavedModel(method, config, eqx.nn.inference_mode(model), meta["bests"]["best"]["metrics"])
