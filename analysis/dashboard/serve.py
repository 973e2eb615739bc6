"""Serves the dashboard until it is interrupted."""

import importlib.util
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import webbrowser
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit

import uvicorn

from analysis.dashboard.app import make_app
from cluster.console import Console
from cluster.machine.user import user_name
from cluster.state.paths import SearchPaths, searches_root
from search_spaces.errors import UserError

LOOPBACK = "127.0.0.1"
GRACE_S = 3


class DashboardError(UserError):
    """The dashboard cannot be served; the message says why."""


def serve(paths: SearchPaths | None, port: int, open_browser: bool, with_optuna: bool) -> None:
    """Serve the searches until Ctrl-C or SIGTERM, beginning with one of them if it is given.

    Raises DashboardError if the port is taken, or if optuna-dashboard is asked for and is not there.
    """
    token = secrets.token_urlsafe(24)
    root = paths.root.parent if paths is not None else searches_root().resolve()
    for one in ends():  # each tidies up, also before the server runs
        signal.signal(one, signal.default_int_handler)
    with suppress(KeyboardInterrupt), _listening(port) as listener, _optuna(paths, with_optuna) as optuna:
        app = make_app(root, token, paths.name if paths is not None else "", optuna)
        config = uvicorn.Config(
            app, log_level="warning", access_log=False, lifespan="off", timeout_graceful_shutdown=GRACE_S
        )
        server = _Server(config)
        with server.capture_signals():  # from here on a signal is noted, and nothing is cut short
            at = listener.getsockname()[1]
            address = f"http://{LOOPBACK}:{at}/?token={token}"
            _introduce(root, at, address, optuna)
            if open_browser:
                webbrowser.open(address)
            server.run(sockets=[listener])


def ends() -> list[signal.Signals]:
    """Return the signals that end the dashboard; a terminal that goes is one, unless `nohup` has it ignored."""
    hang_up = [] if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN else [signal.SIGHUP]
    return [signal.SIGINT, signal.SIGTERM, *hang_up]


def _introduce(root: Path, port: int, address: str, optuna: str) -> None:
    console = Console()
    console.print(f"Dashboard of {root}", soft_wrap=True)
    console.print(f"  {address}", soft_wrap=True)
    console.print("From your own machine, first:")
    ports = [port, *([urlsplit(optuna).port] if optuna.startswith("http") else [])]
    forwards = " ".join(f"-L {one}:{LOOPBACK}:{one}" for one in ports)
    console.print(f"  ssh {forwards} {user_name()}@{socket.gethostname()}", soft_wrap=True)
    if optuna.startswith("http"):
        console.print(f"Optuna's own dashboard, on a copy of the study: {optuna}", soft_wrap=True)
        console.print("It knows no token: whoever is logged in on this machine can look at that copy.")
    console.print("It only reads. Ctrl-C ends it.")


class _Server(uvicorn.Server):
    """A server that returns when it is interrupted; uvicorn's own raises the signal again, and nothing is tidied up."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """End at Ctrl-C, SIGTERM, and the end of the terminal."""
        before = {one: signal.signal(one, self.handle_exit) for one in ends()}
        try:
            yield
        finally:
            for one, handler in before.items():
                signal.signal(one, handler)


@contextmanager
def _listening(port: int) -> Iterator[socket.socket]:
    """Yield a socket that listens on loopback; port 0 is any that is free."""
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((LOOPBACK, port))
        except OSError as error:
            raise DashboardError(f"--port {port}: {error.strerror}; without it a free one is taken") from None
        listener.listen()
        yield listener


@contextmanager
def _optuna(paths: SearchPaths | None, wanted: bool) -> Iterator[str]:
    """Yield the address of an optuna-dashboard on a copy of the study, or how to get one.

    It works on a copy, as its page can delete a study and write notes to it.
    """
    there = importlib.util.find_spec("optuna_dashboard") is not None
    if not wanted:
        yield "swell dashboard SEARCH --optuna" if there else ""
        return
    if not there:
        raise DashboardError("--optuna: optuna-dashboard is not installed here: pip install optuna-dashboard")
    if paths is None:
        raise DashboardError("--optuna: name the search that it is to show")
    if not paths.journal.exists():
        raise DashboardError(f"--optuna: {paths.name} has no study.journal: its study is on a server, or not begun")
    with tempfile.TemporaryDirectory(prefix="swell-optuna-") as folder, socket.socket() as free:
        copy = Path(folder) / paths.journal.name
        shutil.copyfile(paths.journal, copy)
        free.bind((LOOPBACK, 0))
        port = free.getsockname()[1]
        free.close()
        command = [sys.executable, "-P", "-m", "analysis.dashboard.optuna_page", str(copy)]
        command += ["--host", LOOPBACK, "--port", str(port)]
        # It ends when its standard input does: ours, which closes even if this process is killed.
        child = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            yield f"http://{LOOPBACK}:{port}/dashboard"
        finally:
            _end(child)


def _end(child: subprocess.Popen) -> None:
    if child.poll() is None:
        os.killpg(child.pid, signal.SIGTERM)
    end = time.monotonic() + GRACE_S
    while child.poll() is None and time.monotonic() < end:
        time.sleep(0.05)
    if child.poll() is None:
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()
