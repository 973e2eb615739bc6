"""What is known of every trial beside its configuration and its metrics: one line here for each figure.

A figure that is measured is given by the trial's worker (`cluster/worker/actor.py`); the record, the table, W&B's
summary and the sum over a trial's attempts know it from here.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any


@dataclass(frozen=True)
class Figure:
    """How a figure is shown, and how the figures of a trial's attempts become one."""

    name: str
    column: str
    """Its column of the table, with the unit if it has one."""
    unit: str
    """Empty for what is a count or a name."""
    sentence: str
    is_measured: bool
    """Whether the worker gives it; the others are the driver's."""
    is_added_up: bool
    """Whether a trial that was stopped and taken up again has the sum over its attempts, and not the last one's."""


def figure(
    default: Any,
    sentence: str,
    *,
    column: str = "",
    unit: str = "",
    is_measured: bool = True,
    is_added_up: bool = False,
) -> Any:
    """Return a dataclass field that is a figure; `default` stands for what is not known, `column` is its own name."""
    about = {"sentence": sentence, "unit": unit, "is_measured": is_measured, "is_added_up": is_added_up}
    return field(default=default, metadata={"figure": {"column": column, **about}})


@dataclass(frozen=True, kw_only=True)
class Figures:
    """What a trial has used and how far it has come."""

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


def figures_of(record_type: type[Figures] = Figures) -> tuple[Figure, ...]:
    """Return the figures of a record, in the order of their columns."""
    found = [(part.name, part.metadata["figure"]) for part in fields(record_type) if "figure" in part.metadata]
    return tuple(Figure(name, **{**about, "column": about["column"] or name}) for name, about in found)


MEASURED = tuple(one.name for one in figures_of() if one.is_measured)
"""The names of what a worker gives with every report."""
_ADDED_UP = tuple(one.name for one in figures_of() if one.is_added_up)


def measured(figures: Figures) -> dict[str, Any]:
    """Return what a worker has measured, by name."""
    return {name: getattr(figures, name) for name in MEASURED}


def added_up(before: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, Any]:
    """Return the figures that count over all attempts: those of the one that has just ended with those before."""
    return {name: now[name] + before.get(name, 0.0) for name in _ADDED_UP if name in now}
