"""Trained models of a search's trials, loaded from their checkpoints; JAX is imported by the call."""

from typing import Any

from cluster.machine.files import read_json
from cluster.state.paths import SearchPaths
from cluster.state.records import method_folders
from search_spaces.errors import UserError


class ModelError(UserError):
    """A trial's model cannot be loaded; the message says why."""


def saved_model(paths: SearchPaths, trial: int, *, shares_programs: bool = False) -> Any:
    """Return a trial's trained model with its method and config, as `trainables._shared.saved.load_model` does.

    If it shares programs, what is compiled for it is compiled for all of the search's models that training has one
    program for.
    Raises ModelError if the checkpoint is damaged or unfinished, or if its method or config is not what it was.
    """
    from pydantic import ValidationError

    from trainables._shared.checkpoint import CheckpointError
    from trainables._shared.discovery import UnknownMethodError
    from trainables._shared.saved import load_model

    try:
        searched = read_json(paths.branches) if shares_programs else None
        return load_model(paths.checkpoint(trial), *method_folders(paths), searched=searched)
    except ValidationError as error:
        fields = ", ".join(".".join(map(str, one["loc"])) for one in error.errors())
        why = f"its config is not one of this version of the method: {fields or error}"
    except (CheckpointError, UnknownMethodError) as error:
        why = f"{error} (swell rerun {paths.name} {trial} trains it again)"
    raise ModelError(f"the model of trial {trial} of {paths.name} cannot be loaded: {why}") from None
