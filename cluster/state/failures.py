"""What failed trials have in common: how they ended, which exception came from where, or what was said.

By this one rule a search pauses (`cluster/study/brake.py`), and `swell crashed` puts trials together.
"""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from cluster.installation import own_folder
from cluster.state.raised import Frame, Raised, from_text, is_fatal, telling_line
from cluster.state.records import TrialRecord

_LIBRARY = re.compile(r"^.*/(?:site|dist)-packages/|^.*/lib(?:64)?/python3\.\d+/")
_ACTORS = ("/cluster/worker/actor.py", "/cluster/waves/actor.py")  # the second: in searches of earlier versions
_OURS = ("cluster/", "trainables/_shared/", "search_spaces/")
_VARYING = re.compile(
    r"""'[^']*'|"[^"]*"|/[^\s,;:)]+|\b(?=[0-9a-f-]*\d)[0-9a-f]{8,}(?:-[0-9a-f]+)*\b|[-+]?\d+(?:\.\d*)?(?:[eE][-+]?\d+)?"""
)
"""What differs between equal messages: quoted names, paths, hashes and other identifiers, numbers."""


# -- alike


def failure_kind(record: TrialRecord, trainable: str) -> str:
    """Return what like failures have in common; `trainable` is the method's name.

    That is the outcome, and which exception came from where; if there is no exception, what was said.
    """
    assert record.outcome is not None
    chain = chain_in(record)
    place = worth_naming(chain, (), trainable) if chain else ""
    if chain and (record.raised or "(most recent call first)" not in record.error):
        return f"{record.outcome.value} {place} {chain[-1].message.split(':')[0]}"
    said = first_words(record)
    if record.outcome.is_machines and any(map(is_fatal, record.error.splitlines())):
        said += f" {telling_line(record.error.splitlines())}"
    return f"{record.outcome.value} {place} {_VARYING.sub('#', said)}"


def chain_in(record: TrialRecord) -> list[Raised]:
    """Return the exceptions that ended a trial, the last one at the end; empty if none did."""
    return record.raised or from_text(record.error)


def first_words(record: TrialRecord) -> str:
    """Return the first line that a trial's record says of its failure."""
    return next((line.strip() for line in record.error.splitlines() if line.strip()), "")


# -- places


class _Sources:
    """Tells whose code a file is, and what its module is called."""

    def __init__(self, folders: Iterable[Path], trainable: str, chain: Iterable[Raised]) -> None:
        files = [frame.file for raised in chain for frame in raised.frames]
        actor = next((file for file in files if file.endswith(_ACTORS)), None)  # its path on the machine that it ran on
        self._own = actor[: actor.rindex("/cluster/")] if actor else str(own_folder())
        # The longest first: a search may be launched from our own folder or from one inside it.
        self._roots = sorted({self._own, *map(str, folders)}, key=lambda root: (-len(root), root))
        self._package = trainable.split(".")[0] if "." in trainable else ""

    def rank(self, frame: Frame) -> int:
        """Return 2 if a frame is in a method's or the user's code, 1 if in ours, 0 if in a library's."""
        inside = frame.file.removeprefix(f"{self._own}/")
        if inside != frame.file and inside.startswith((*_OURS, "trainables/")):
            return 1 if inside.startswith(_OURS) else 2  # even if we are installed among the libraries
        if frame.file.startswith("<"):  # code that was made at run time
            return 0
        module = _LIBRARY.sub("", frame.file)
        is_library = module != frame.file and re.split(r"[/.]", module)[0] != self._package
        return 0 if is_library else 2

    def name(self, frame: Frame) -> str:
        """Return a frame as `module:line in function`."""
        file = frame.file
        for root in self._roots:
            if file.startswith(f"{root}/"):
                file = file.removeprefix(f"{root}/")
                break
        file = _LIBRARY.sub("", file)
        if not file.startswith(("/", "<")):
            file = file.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
        return f"{file}:{frame.line}" + (f" in {frame.function}" if frame.function else "")


def worth_naming(chain: Sequence[Raised], folders: Iterable[Path], trainable: str) -> str:
    """Return the most telling frame: the innermost of the method's or user's code, in the last exception that has one.

    If all frames are ours or a library's, it is the innermost of ours, else the innermost of all. `folders` are where
    the user's modules are found, `trainable` is the method's name.
    """
    sources = _Sources(folders, trainable, chain)
    frames = [frame for raised in reversed(chain) for frame in reversed(raised.frames)]
    best = max(frames, key=sources.rank, default=None)  # the first if several are equal
    return sources.name(best) if best else ""
