"""The process that uploads runs with W&B's own sync; its exit status says whether the login worked.

    python -P -m cluster.tracking.upload_worker FILE ...

W&B marks each file that it has uploaded completely; its output goes to standard error. Ends with the process that
started it.
"""

import os
import sys
import threading

NOT_LOGGED_IN, NOT_REACHED = 3, 4
LOGIN_PATIENCE_S = 180.0
"""W&B's client has been seen to wait for ever for its own server process, where nothing answers at the address."""


def _end_with_parent() -> None:
    while os.read(0, 1024):  # not sys.stdin: Python would abort at exit, as its lock is still held
        pass
    os._exit(1)


def _give_up() -> None:
    print(f"ERROR no answer within {LOGIN_PATIENCE_S:.0f} s", file=sys.stderr, flush=True)
    os._exit(NOT_REACHED)


def upload(files: list[str]) -> int:
    """Upload runs; return 0, NOT_LOGGED_IN or NOT_REACHED."""
    watch = threading.Timer(LOGIN_PATIENCE_S, _give_up)
    watch.daemon = True
    watch.start()
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
    finally:
        watch.cancel()
    sync.main(["-n", "1", "--include-online", *files], prog_name="wandb sync", standalone_mode=False)
    return 0


if __name__ == "__main__":
    threading.Thread(target=_end_with_parent, daemon=True).start()
    sys.exit(upload(sys.argv[1:]))
