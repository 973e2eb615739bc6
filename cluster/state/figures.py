"""The figures that are recorded of every trial beside its configuration and its metrics, one line here for each.

A trial's worker (`cluster/worker/actor.py`) gives the figures that are measured. The record, the table, W&B's summary
and the sum over a trial's attempts take their list of figures from here.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any


@dataclass(frozen=True)
class Figure:
    """How a figure is shown, and how the figures of several attempts become the trial's."""

    name: str
    column: str
    """The name of its column in tables, with its unit if it has one."""
    unit: str
    """Empty if the figure is a count or a name."""
    sentence: str
    is_measured: bool
    """Whether the worker measures it; the driver gives the others."""
    is_added_up: bool
    """Whether a trial with several attempts has the sum of their values, instead of the last one."""


def figure(
    default: Any,
    sentence: str,
    *,
    column: str = "",
    unit: str = "",
    is_measured: bool = True,
    is_added_up: bool = False,
) -> Any:
    """Return a dataclass field that is a figure.

    `default` is its value while it is not known, `sentence` says what it is, `column` is its column's name if that is
    not the field's, `is_measured` whether the worker gives it, and `is_added_up` whether a trial's attempts are summed.
    """
    about = {"sentence": sentence, "unit": unit, "is_measured": is_measured, "is_added_up": is_added_up}
    return field(default=default, metadata={"figure": {"column": column, **about}})


@dataclass(frozen=True, kw_only=True)
class Figures:
    """The figures of one trial: what it has used, and how far it has come."""

    step: int = figure(0, "Optimiser steps it has made.", column="steps_trained")
    seconds: float = figure(
        0.0, "Time that it has run, with its compilations.", column="wall_time_s", unit="s", is_added_up=True
    )
    cpu_seconds: float = figure(
        0.0, "CPU time of its worker over all threads.", column="cpu_time_s", unit="s", is_added_up=True
    )
    compile_seconds: float = figure(
        0.0, "Time spent compiling its program.", column="compile_time_s", unit="s", is_added_up=True
    )
    peak_memory_mb: float = figure(0.0, "The most resident memory its worker had.", unit="MB")
    wave: int | None = figure(None, "The wave in which it ended.", is_measured=False)
    attempts: int = figure(1, "How often it was started.", is_measured=False)
    xla_threads: int | None = figure(None, "Threads of XLA's pool in its worker.")
    host: str = figure("", "The node it ran on.")
    code: str = figure("", "The code that made its numbers, with `+` between those of its attempts if they differ.")
    settings: str = figure("", "The libraries and their settings that made its numbers, likewise.")
    inputs: str = figure(
        "",
        "The version of the data files that it read, likewise: `first`, or an id of those that have changed since.",
        is_measured=False,
    )


def figures_of(record_type: type[Figures] = Figures) -> tuple[Figure, ...]:
    """Return what is known of each figure of a record type, in the order of their columns."""
    found = [(part.name, part.metadata["figure"]) for part in fields(record_type) if "figure" in part.metadata]
    return tuple(Figure(name, **{**about, "column": about["column"] or name}) for name, about in found)


MEASURED = tuple(one.name for one in figures_of() if one.is_measured)
"""The names of what a worker gives with every report."""
_ADDED_UP = tuple(one.name for one in figures_of() if one.is_added_up)


def measured(figures: Figures) -> dict[str, Any]:
    """Return the figures that a worker has measured, by name."""
    return {name: getattr(figures, name) for name in MEASURED}


def added_up(before: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, Any]:
    """Return the figures that are summed over attempts: those of the attempt that just ended plus those `before`."""
    return {name: now[name] + before.get(name, 0.0) for name in _ADDED_UP if name in now}
