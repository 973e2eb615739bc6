"""Who runs this process: containers and clusters have users without a name, and without a home."""

import getpass
import os
from pathlib import Path


def user_name() -> str:
    """Return this user's name; the id if it has none."""
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
    """Give processes that are started from here a name for this user: Ray's, JAX's and W&B's libraries ask for one."""
    if not os.environ.get("USER"):
        os.environ["USER"] = user_name()
