"""Which user runs this process; in containers and on clusters, users may have no name and no home."""

import getpass
import os
from pathlib import Path


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


def name_this_user() -> None:
    """Set a user name for the processes started from here, if there is none: Ray, JAX and W&B ask for one."""
    if not os.environ.get("USER"):
        os.environ["USER"] = user_name()
