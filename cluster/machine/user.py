"""Which user runs this process; in containers and on clusters, users may have no name and no home."""

import getpass
import os
from pathlib import Path

from trainables._shared.node_cache import default_cache


def user_name() -> str:
    """Return this user's name; the user id if there is no name."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # neither the environment nor the machine's list of users has it
        return str(os.getuid())


def home_folder() -> Path | None:
    """Return this user's home; None if there is none."""
    try:
        return Path.home().resolve()
    except (RuntimeError, KeyError):
        return None


def missing_variables() -> dict[str, str]:
    """Return USER and HOME for the processes started from here, if there are none: Ray, JAX and W&B ask for them.

    A user without a home gets the node's cache for one.
    """
    missing = {} if os.environ.get("USER") else {"USER": user_name()}
    if home_folder() is None:  # of which the cache's place would be worked out anew
        missing |= {"HOME": str(default_cache()), "SWELL_CACHE": str(default_cache())}
    return missing
