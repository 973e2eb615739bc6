"""Runs optuna-dashboard on a copy of a study until the process that asked for it has ended, in whatever way."""

import os
import shutil
import sys
import threading
from pathlib import Path


def _end_with_parent(copy: Path) -> None:
    """Wait for the end of standard input, which the other side holds open while it lives; leave nothing behind."""
    while os.read(0, 1024):
        pass
    shutil.rmtree(copy.parent, ignore_errors=True)
    os._exit(0)


def main() -> None:
    """Serve the copy that the first argument names; the others are optuna-dashboard's own."""
    from optuna_dashboard._cli import main as serve

    threading.Thread(target=_end_with_parent, args=(Path(sys.argv[1]),), daemon=True).start()
    serve()


if __name__ == "__main__":
    main()
