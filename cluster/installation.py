"""Where swell itself is installed."""

from pathlib import Path

import cluster


def own_folder() -> Path:
    """Return the folder that holds our packages."""
    return Path(str(cluster.__file__)).resolve().parents[1]


def is_checkout(folder: Path) -> bool:
    """Return whether our packages are in a source tree; if they are installed, the nodes' Python finds its own."""
    return (folder / "pyproject.toml").is_file()
