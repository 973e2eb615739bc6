"""Trained models of a search's trials, loaded from their checkpoints; JAX is imported by the call."""

from pathlib import Path
from typing import Any

from cluster.machine.files import read_json
from cluster.state.paths import LAST, SearchPaths
from cluster.state.records import method_folders
from search_spaces.errors import UserError


class ModelError(UserError):
    """A trial's model cannot be loaded; the message says why."""


Step = int | str | None
"""After how many steps a model is meant, or `last`; None for the best one."""


def step_named(text: str | None) -> Step:
    """Return the step that an option names; raises ModelError if it names none."""
    if text is None or text == LAST:
        return text
    if text.isdecimal():
        return int(text)
    raise ModelError(f"--step {text}: neither a number of optimiser steps nor last")


def kept_model(paths: SearchPaths, trial: int, step: Step) -> Path:
    """Return the file of a trial's model after a step; raises ModelError, which says what there is, if it is not kept.

    The file of the best model, its checkpoint, need not be there.
    """
    file = paths.model(trial, step)
    if step is None or file.is_file():
        return file
    there = ", ".join(map(str, paths.kept_steps(trial))) or "none"
    raise ModelError(
        f"{paths.name} has kept no model of trial {trial} at step {step} (keep: in the spec); beside the "
        f"best one there are: {there}"
    )


def saved_model(paths: SearchPaths, trial: int, step: Step = None, *, shares_programs: bool = False) -> Any:
    """Return a trial's trained model with its method and config, as `trainables._shared.saved.load_model` does.

    It is the best one, or that of a `step`. If it shares programs, what is compiled for it is compiled for all of the
    search's models that training has one program for. Raises ModelError if it is not kept, damaged or unfinished, or if
    its method or config is not what it was.
    """
    from trainables._shared.checkpoint import CheckpointError
    from trainables._shared.saved import load_model

    try:
        searched = read_json(paths.branches) if shares_programs else None
        return load_model(kept_model(paths, trial, step), *method_folders(paths), searched=searched)
    except CheckpointError as error:
        why = f"{error} (swell rerun {paths.name} {trial} trains it again)"
    raise ModelError(f"the model of trial {trial} of {paths.name} cannot be loaded: {why}") from None
