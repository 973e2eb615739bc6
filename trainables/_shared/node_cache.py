"""Where a node keeps what all searches on it share: data sets and compiled programs."""

import os
from pathlib import Path


def default_cache() -> Path:
    """Return the node's cache: `$SWELL_CACHE`, else `swell` under the user's cache folder.

    A user without a home, as containers have them, gets a folder of its own in /tmp.
    """
    chosen = os.environ.get("SWELL_CACHE")
    if chosen:
        return Path(chosen)
    if chosen := os.environ.get("XDG_CACHE_HOME"):
        return Path(chosen) / "swell"
    try:
        return Path.home() / ".cache" / "swell"
    except (RuntimeError, KeyError):
        return Path(f"/tmp/swell-{os.getuid()}-cache")
