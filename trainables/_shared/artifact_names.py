"""Names of W&B artifacts, `wandb:entity/project/name:version`; imports neither W&B nor NumPy."""

import hashlib
import re

PREFIX = "wandb:"
ARTIFACTS = "SWELL_ARTIFACTS"
"""Variable that says where the files of fetched data sets lie, for all nodes of a search."""
PATTERN_HELP = (
    "wandb:ENTITY/PROJECT/NAME:VERSION, with VERSION v0, v1, ... or an alias like latest "
    "(for instance wandb:lab/orbits/leo-train:v3)"
)
_PART = r"[^/:\s]+"
_PATTERN = re.compile(rf"{PREFIX}{_PART}/{_PART}/{_PART}:{_PART}")


def is_artifact(name: str) -> bool:
    """Whether a data set is fetched from W&B.

    Raises ValueError for a name that begins as one and is none.
    """
    if not name.startswith(PREFIX):
        return False
    if _PATTERN.fullmatch(name) is None:
        raise ValueError(f"{name!r} is no name of a W&B artifact: must be {PATTERN_HELP}")
    return True


def is_exact(name: str) -> bool:
    """Whether an artifact's name has its very version, not an alias that may mean another one tomorrow."""
    return re.fullmatch("v[0-9]+", name.rpartition(":")[2]) is not None


def folder_name(name: str) -> str:
    """Return the folder that the files of an artifact lie in, beside others."""
    readable = re.sub(r"[^A-Za-z0-9_.-]", "_", name.removeprefix(PREFIX))
    return f"{readable}-{hashlib.sha256(name.encode()).hexdigest()[:12]}"
