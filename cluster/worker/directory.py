"""The working directory of all trials: the folder that their search was launched from."""

import os

WORKING_DIRECTORY = "SWELL_WORKING_DIRECTORY"
"""Variable that names it."""


def enter_working_directory() -> None:
    """Change to the folder that the search was launched from; call it before the method is loaded.

    Ray starts its workers elsewhere, and an earlier trial may have changed the folder.
    """
    if folder := os.environ.get(WORKING_DIRECTORY):
        os.chdir(folder)
