"""Whether W&B is there for a search that wants it; imports next to nothing, for `swell check`."""

import importlib.util

from search_spaces.errors import Problem
from search_spaces.spec import Spec


def tracking_problems(spec: Spec) -> list[Problem]:
    """Return what keeps a search from being tracked as its spec wants."""
    if spec.tracking.wandb == "disabled" or has_wandb():
        return []
    rule = "this needs W&B, which is not installed: pip install 'swell[wandb]'"
    return [Problem(("tracking", "wandb"), rule, spec.tracking.wandb, allowed="disabled")]


def has_wandb() -> bool:
    """Return whether W&B is installed; does not import it."""
    return importlib.util.find_spec("wandb") is not None
