"""The limit on the size of files that a process writes: journals, checkpoints and logs grow beyond any small one."""

import resource

from search_spaces.errors import UserError


class FileSizeError(UserError):
    """Processes here cannot write files as large as a search needs."""


def require_unlimited_files() -> None:
    """Raise FileSizeError if this process, and so those that it starts, may not write files of any size."""
    limit, _ = resource.getrlimit(resource.RLIMIT_FSIZE)
    if limit != resource.RLIM_INFINITY:
        raise FileSizeError(
            f"files here cannot grow beyond {limit:,} bytes (the limit `ulimit -f`), and what a search writes may: "
            "lift it with `ulimit -f unlimited`"
        )
