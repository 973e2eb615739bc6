"""The state of a worker's process that a method may change, and that is restored before the worker's next trial.

A trial must get the numbers that it would get alone. What can be restored exactly is restored. If something cannot, or
the user's code still runs in a thread, `ProcessState.restore` says so, and the worker is replaced
(`TrialActor.reset`). The variables in a user's own module are not restored: a method has no state (see
`Method`).
"""

import decimal
import faulthandler
import gc
import locale
import logging
import os
import random
import resource
import signal
import socket
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cluster.installation import own_folder
from cluster.worker.namespaces import Namespaces

_LIBRARY = ("/site-packages/", "/dist-packages/", f"/lib/python3.{sys.version_info.minor}/")
_OURS = ("cluster", "search_spaces", "trainables/_shared")


@dataclass(frozen=True)
class Part:
    """One part of a process's state: its name, how it is read and how it is put back."""

    name: str
    read: Callable[[], Any]
    write: Callable[[Any], None]


def _read_umask() -> int:
    now = os.umask(0o77)
    os.umask(now)
    return now


def _write_umask(mask: int) -> None:
    os.umask(mask)


def _write_locale(name: str) -> None:
    locale.setlocale(locale.LC_ALL, name)


def _write_environment(values: Mapping[str, str]) -> None:
    for name in os.environ.keys() - values.keys():
        del os.environ[name]
    os.environ.update(values)
    time.tzset()  # which has read TZ


def _write_filters(filters: list[Any]) -> None:
    warnings.resetwarnings()  # tells Python that its cached filters are outdated
    warnings.filters[:] = filters  # pyright: ignore[reportIndexIssue]


def _read_streams() -> tuple[Any, ...]:
    return sys.stdin, sys.stdout, sys.stderr, sys.excepthook, threading.excepthook, warnings.showwarning


def _write_streams(values: tuple[Any, ...]) -> None:
    sys.stdin, sys.stdout, sys.stderr, sys.excepthook, threading.excepthook, warnings.showwarning = values


def _read_handlers() -> dict[int, Any]:
    return {number: signal.getsignal(number) for number in signal.valid_signals()}


def _write_handlers(handlers: Mapping[int, Any]) -> None:
    for number, handler in handlers.items():
        if signal.getsignal(number) != handler:
            signal.signal(number, handler)


def _read_timers() -> list[bool]:
    return [signal.getitimer(which)[0] > 0 for which in (signal.ITIMER_REAL, signal.ITIMER_VIRTUAL, signal.ITIMER_PROF)]


def _write_timers(_: list[bool]) -> None:
    for which in (signal.ITIMER_REAL, signal.ITIMER_VIRTUAL, signal.ITIMER_PROF):
        signal.setitimer(which, 0)


def _read_logging() -> tuple[int, list[logging.Handler], int]:
    return logging.root.level, list(logging.root.handlers), logging.root.manager.disable


def _write_logging(values: tuple[int, list[logging.Handler], int]) -> None:
    logging.root.setLevel(values[0])
    logging.root.handlers[:] = values[1]
    logging.disable(values[2])


def _read_limits() -> dict[int, tuple[int, int]]:
    names = [name for name in dir(resource) if name.startswith("RLIMIT_")]
    return {getattr(resource, name): resource.getrlimit(getattr(resource, name)) for name in names}


def _write_limits(limits: Mapping[int, tuple[int, int]]) -> None:
    for which, limit in limits.items():
        if resource.getrlimit(which) != limit:
            resource.setrlimit(which, limit)


def _read_tracing() -> tuple[Any, ...]:
    return sys.gettrace(), sys.getprofile(), gc.isenabled(), faulthandler.is_enabled(), gc.get_threshold()


def _write_tracing(values: tuple[Any, ...]) -> None:
    sys.settrace(values[0])
    sys.setprofile(values[1])
    (gc.enable if values[2] else gc.disable)()
    if values[3]:
        faulthandler.enable(all_threads=False)
    else:
        faulthandler.disable()
    gc.set_threshold(*values[4])


def _read_switch_interval() -> int:
    return round(sys.getswitchinterval() * 1e6)


def _write_switch_interval(microseconds: int) -> None:
    sys.setswitchinterval((microseconds + 0.5) / 1e6)  # Python cuts off what is below a microsecond


def _read_decimal() -> list[tuple[Any, ...]]:
    """Return the settings of this thread's context and of that of new threads, without the flags that results set."""
    return [
        (
            context.prec,
            context.rounding,
            context.Emin,
            context.Emax,
            context.capitals,
            context.clamp,
            dict(context.traps),
        )
        for context in (decimal.getcontext(), decimal.DefaultContext)
    ]


def _write_decimal(values: list[tuple[Any, ...]]) -> None:
    decimal.setcontext(decimal.getcontext().copy())  # the present one may be the method's own
    names = ("prec", "rounding", "Emin", "Emax", "capitals", "clamp")
    for context, (*settings, traps) in zip((decimal.getcontext(), decimal.DefaultContext), values, strict=True):
        for name, value in zip(names, settings, strict=True):
            setattr(context, name, value)
        context.traps.update(traps)


def _read_stack_size() -> int:
    now = threading.stack_size()  # which sets it to the default
    threading.stack_size(now)
    return now


def _write_stack_size(size: int) -> None:
    threading.stack_size(size)


def _write_temporary_folder(folder: str | None) -> None:
    tempfile.tempdir = folder


def _read_numpy() -> dict[str, Any]:
    import numpy as np

    return {"errors": np.geterr(), "call": np.geterrcall(), "print": np.get_printoptions(), "buffer": np.getbufsize()}


def _write_numpy(values: Mapping[str, Any]) -> None:
    import numpy as np

    np.seterr(**values["errors"])
    np.seterrcall(values["call"])
    np.set_printoptions(**values["print"])
    np.setbufsize(values["buffer"])


def jax_settings() -> dict[str, Any]:
    """Return JAX's present settings in this thread, by name."""
    import jax

    return {name: getattr(jax.config, name, value) for name, value in jax.config.values.items()}


def _write_jax(values: Mapping[str, Any]) -> None:
    import jax

    for name, value in jax_settings().items():
        if name in values and value != values[name]:
            jax.config.update(name, values[name])


PARTS = (
    Part("working directory", os.getcwd, os.chdir),
    Part("umask", _read_umask, _write_umask),
    Part("environment", lambda: dict(os.environ), _write_environment),
    Part("import path", lambda: list(sys.path), lambda value: sys.path.__setitem__(slice(None), value)),
    Part("warning filters", lambda: list(warnings.filters), _write_filters),
    Part("standard streams and hooks", _read_streams, _write_streams),
    Part("signal handlers", _read_handlers, _write_handlers),
    Part("timers", _read_timers, _write_timers),
    Part("logging", _read_logging, _write_logging),
    Part("resource limits", _read_limits, _write_limits),
    Part("CPU affinity", lambda: os.sched_getaffinity(0), lambda value: os.sched_setaffinity(0, value)),
    Part("locale", lambda: locale.setlocale(locale.LC_ALL), _write_locale),
    Part("recursion limit", sys.getrecursionlimit, sys.setrecursionlimit),
    Part("tracing and garbage collection", _read_tracing, _write_tracing),
    Part("switch interval", _read_switch_interval, _write_switch_interval),
    Part("threads' stack size", _read_stack_size, _write_stack_size),
    Part("longest number in digits", sys.get_int_max_str_digits, sys.set_int_max_str_digits),
    Part("sockets' timeout", socket.getdefaulttimeout, socket.setdefaulttimeout),
    Part("temporary folder", lambda: tempfile.tempdir, _write_temporary_folder),
    Part("decimal arithmetic", _read_decimal, _write_decimal),
    Part("NumPy's error handling", _read_numpy, _write_numpy),
    Part("JAX's settings", jax_settings, _write_jax),
)
_NO_CHANGE_OF_ITS_OWN = ("working directory", "temporary folder")
"""Parts that others than the method change too: a trial's start, and Python at the first temporary file."""


class ProcessState:
    """A process's state before a method's code first ran in a trial, after its modules were imported."""

    def __init__(self) -> None:
        self._namespaces = Namespaces()
        self._values = {part.name: part.read() for part in PARTS if _is_readable(part)}
        self._threads = set(threading.enumerate())
        self._modules = set(sys.modules)

    def restore(self) -> str:
        """Restore the state; return in words why that is impossible, empty if it was done."""
        replaced = self._namespaces.put_back()  # first: all below uses them
        changed: list[str] = []
        for part in PARTS:
            if part.name not in self._values:
                continue
            before = self._values[part.name]
            try:
                if part.read() != before:
                    changed += [part.name] if part.name not in _NO_CHANGE_OF_ITS_OWN else []
                    part.write(before)
                    if part.read() != before:
                        return f"its {part.name} cannot be put back"
            except Exception as error:
                return f"its {part.name} cannot be put back ({error})"
        if thread := self._users_thread():
            return f"thread {thread} of the user's code still runs in it"
        if replaced:
            return f"its {replaced[0]} had been replaced, which programs that were compiled then may have in them"
        # A module's import may have made the change, which would not be made again: nobody can tell.
        imported = [name for name in sys.modules.keys() - self._modules if _is_users(_file_of(sys.modules[name]))]
        if changed and imported:
            return f"its {changed[0]} had changed when {min(imported)} was imported within a trial"
        return ""

    def _users_thread(self) -> str:
        frames = sys._current_frames()
        for thread in set(threading.enumerate()) - self._threads:
            frame = frames.get(thread.ident or 0)
            while frame is not None:
                if _is_users(frame.f_code.co_filename):
                    return thread.name
                frame = frame.f_back
        return ""


def _is_readable(part: Part) -> bool:
    """Return whether a part can be restored at all: signals only in the main thread."""
    return part.name not in ("signal handlers", "timers") or threading.current_thread() is threading.main_thread()


def _file_of(module: Any) -> str:
    file = getattr(module, "__file__", None)
    return file if isinstance(file, str) else ""


def _is_users(file: str) -> bool:
    if not file or (file.startswith("<") and file != "<string>") or any(part in file for part in _LIBRARY):
        return False
    return not any(Path(file).is_relative_to(own_folder() / part) for part in _OURS)


def seed_global_generators(seed: int) -> None:
    """Start Python's and NumPy's global random numbers from a seed, so that a method that draws from them repeats."""
    import numpy as np

    random.seed(seed)
    np.random.seed(seed)
