"""Where swell itself lies."""

from pathlib import Path

import cluster


def own_folder() -> Path:
    """Return the folder that our packages lie in."""
    return Path(str(cluster.__file__)).resolve().parents[1]


def is_checkout(folder: Path) -> bool:
    """Return whether our packages lie in a source tree; of an installed one the nodes' Python finds its own."""
    return (folder / "pyproject.toml").is_file()
