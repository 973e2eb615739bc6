"""The folder that trials work in: the one that their search was launched from, for all processes alike."""

import os

WORKING_DIRECTORY = "SWELL_WORKING_DIRECTORY"
"""Variable that names it."""


def enter_working_directory() -> None:
    """Work in the folder that the search was launched from; call it before the method is loaded.

    Ray starts its workers elsewhere, and a trial before may have changed it.
    """
    if folder := os.environ.get(WORKING_DIRECTORY):
        os.chdir(folder)
