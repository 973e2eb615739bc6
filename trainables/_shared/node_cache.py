"""Where a node keeps what all searches on it share: data sets and compiled programs."""

import os
from pathlib import Path


def default_cache() -> Path:
    """Return the node's cache: `$SWELL_CACHE`, else `swell` under the user's cache folder."""
    chosen = os.environ.get("SWELL_CACHE")
    if chosen:
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "swell"
