"""Trained models from their checkpoints: for analysis, for a controller, for the start of another training."""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Array, PyTree
from pydantic import ValidationError

from trainables._shared.checkpoint import leaves_of, read_checkpoint
from trainables._shared.choice import is_choice
from trainables._shared.config import ConfigError, MethodConfig, branches_of
from trainables._shared.contract import Method
from trainables._shared.discovery import UnknownMethodError, add_folders, is_name_of, load_method
from trainables._shared.model_file import CheckpointError, misfit, own_version, read_model_file, require_model
from trainables._shared.program import Evaluation, Program, traced_numbers


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
    Raises CheckpointError for a file that is damaged, holds no finished model, or one of a method or of a config that
    this version does not have.
    """
    checkpoint = read_checkpoint(path)
    meta = checkpoint.meta
    require_model(path, meta)
    add_folders(*(folder.resolve() for folder in folders))
    name = meta["extra"]["trainable"]
    try:
        method = load_method(name)
        config = method.config_type.of_values(method.config_type.recorded(meta["config"]))
    except UnknownMethodError as error:
        raise CheckpointError(f"{path}: is a model of {name}: {error}") from None
    except ValidationError as error:
        fields = ", ".join(".".join(map(str, one["loc"])) for one in error.errors(include_url=False))
        why = f"its config is not one of this version of {name} ({fields or error})"
        versions = f"written by swell {meta.get('swell') or 'of an earlier version'}, read by swell {own_version()}"
        raise CheckpointError(f"{path}: {why}; {versions}") from None
    branches = branches_of(config, searched or {})
    evaluation = Evaluation(method, config, branches)
    model = evaluation.model(checkpoint.tree("best", evaluation.shapes), traced_numbers(config, branches))
    return SavedModel(method, config, eqx.nn.inference_mode(model), meta["bests"]["best"]["metrics"])


def load_model_of(method: Method[Any], path: Path) -> SavedModel:
    """Return the best model of a file as `load_model` does, if it is one of this method.

    Raises CheckpointError, as `load_model` does, and for a model of another method, which is not loaded.
    """
    trainable = read_model_file(path).trainable
    if not is_name_of(trainable, method):
        wanted = type(method).__module__.removeprefix("trainables.").removesuffix(".method")
        raise CheckpointError(f"{path}: is a model of {trainable}, and {wanted} is wanted")
    return load_model(path)


def start_params(
    program: Program, config: MethodConfig, hyper: Mapping[str, Any], fresh: PyTree[Array]
) -> PyTree[np.ndarray]:
    """Return the parameters with which a training starts that a config's `init_from` names, instead of `fresh` ones.

    Raises ConfigError if the file cannot be read, or is of another method or other shapes.
    """
    assert config.init_from is not None
    path = Path(config.init_from)
    try:
        file = read_model_file(path)
        if not is_name_of(file.trainable, program.method):
            raise CheckpointError(f"is a model of {file.trainable}")
        if different := misfit(file, leaves_of(fresh)):
            raise CheckpointError(f"does not fit this model: {different}")
        saved = read_checkpoint(path).tree("best", fresh)
    except CheckpointError as error:
        raise ConfigError("init_from", config.init_from, str(error).removeprefix(f"{path}: ")) from error
    model = program.method.start_from(program.model(saved, hyper), program.model(fresh, hyper))
    return jax.tree.map(np.asarray, eqx.filter(model, eqx.is_array, is_leaf=is_choice))
