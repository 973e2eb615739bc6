"""Compiled forms of traced functions, made once per process, and by one process of a node at a time."""

import fcntl
import hashlib
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

import jax
from jaxtyping import Array, PyTree

NUM_LOCKS = 64
"""Lock files of a cache of compiled programs; two programs that share one wait for each other."""
PATIENCE_S = 60.0
"""How long a lock is waited for: a process that holds one longer may hang, and to compile twice is better than that."""
ASKS_EVERY_S = 0.05
"""Between two tries to get a lock; flock itself cannot stop waiting after a time."""


class Busy(Exception):  # noqa: N818  no error: somebody else is at it
    """Another process is compiling the same function, and the caller does not want to wait."""


class Compiled:
    """Traced functions that are compiled ahead of their first call with arguments of given shapes.

    Where there is a persistent cache, one process compiles while others that need the same wait for it, up to a minute,
    and then load it.
    """

    def __init__(self, key: str, donated: tuple[str, ...] = ()) -> None:
        self._key = key
        self._donated = donated
        self._compilations = 0
        self._compile_s = 0.0
        self._forms: dict[Any, Callable[..., Any]] = {}

    @property
    def compilations(self) -> int:
        """How many functions were compiled."""
        return self._compilations

    @property
    def compile_s(self) -> float:
        """How long that took, less the time that other processes were waited for."""
        return self._compile_s

    def run(self, name: str, *args: Any) -> Any:
        """Call a traced function by name, compiled for arguments of these shapes."""
        key = _key(name, args)
        if key not in self._forms:
            self.compile(name, *args)
        return self._forms[key](*args)

    def has(self, name: str, *args: Any) -> bool:
        """Return whether a function is compiled for arguments of these shapes."""
        return _key(name, args) in self._forms

    def compile(self, name: str, *args: Any, wait: bool = True) -> None:
        """Compile a function for arguments of these shapes, or load it; raise Busy if others do, unless it may wait."""
        key = _key(name, args)
        if key in self._forms:
            return
        with _lock(f"{self._key} {key}", wait=wait):
            start = time.perf_counter()
            # What is donated, a training's state, needs no second copy.
            jitted = jax.jit(getattr(self, name), donate_argnums=(0,) if name in self._donated else ())
            self._forms[key] = jitted.lower(*args).compile()
        self._compilations += 1
        self._compile_s += time.perf_counter() - start


def _key(name: str, args: PyTree[Array]) -> Any:
    leaves, structure = jax.tree.flatten(args)
    return name, structure, tuple((jax.numpy.shape(leaf), str(jax.numpy.result_type(leaf))) for leaf in leaves)


@contextmanager
def _lock(key: str, *, wait: bool) -> Iterator[None]:
    """Hold a lock beside the persistent cache, if there is one that can be locked; raise Busy instead of waiting.

    Who has waited for PATIENCE_S goes on without it.
    """
    folder = jax.config.jax_compilation_cache_dir  # pyright: ignore[reportAttributeAccessIssue]
    if not folder:
        yield
        return
    number = int(hashlib.sha256(key.encode()).hexdigest(), 16) % NUM_LOCKS
    file = None
    with suppress(OSError):  # the cache is a help, no condition
        locks = Path(f"{folder}-locks")
        locks.mkdir(parents=True, exist_ok=True)
        file = (locks / f"{number:02}").open("w")
    try:
        if file is not None:
            with suppress(OSError):  # a file system without locks
                until = time.monotonic() + PATIENCE_S
                while not _taken(file):
                    if not wait:
                        raise Busy
                    if time.monotonic() >= until:
                        break
                    time.sleep(ASKS_EVERY_S)
        yield
    finally:
        if file is not None:
            file.close()


def _taken(file: IO[str]) -> bool:
    """Take a lock if nobody holds it, and return whether it is this process's now."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
