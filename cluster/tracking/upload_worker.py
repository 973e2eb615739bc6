"""The process that uploads runs with W&B's own sync; its exit status says whether the login worked.

    python -P -m cluster.tracking.upload_worker FILE ...

W&B marks each file that it has uploaded completely; its output goes to standard error. Ends with the process that
started it.
"""

import os
import sys
import threading

NOT_LOGGED_IN, NOT_REACHED = 3, 4


def _end_with_parent() -> None:
    while os.read(0, 1024):  # not sys.stdin: Python would abort at exit, as its lock is still held
        pass
    os._exit(1)


def upload(files: list[str]) -> int:
    """Upload runs; return 0, NOT_LOGGED_IN or NOT_REACHED."""
    import wandb
    from wandb.cli.cli import sync
    from wandb.errors import CommError, UsageError

    try:
        wandb.login(verify=True)
    except UsageError as error:
        print(error, file=sys.stderr)
        return NOT_LOGGED_IN
    except CommError as error:
        print(error, file=sys.stderr)
        return NOT_REACHED
    sync.main(["-n", "1", "--include-online", *files], prog_name="wandb sync", standalone_mode=False)
    return 0


if __name__ == "__main__":
    threading.Thread(target=_end_with_parent, daemon=True).start()
    sys.exit(upload(sys.argv[1:]))
