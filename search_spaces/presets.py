"""Puts a method's preset, many values under one name, in place of `base: {preset: NAME}`."""

from collections.abc import Mapping
from typing import Any

from search_spaces.errors import Problem
from search_spaces.parameters import plain_text
from search_spaces.spec import SpecFile

PRESET = "preset"
"""The key of `base`; it is no field, and no record has it."""
Presets = Mapping[str, Mapping[str, Any]]
"""Values of fields, by the preset's name."""


def with_preset(file: SpecFile, presets: Presets) -> tuple[SpecFile, list[str]]:
    """Return a spec whose base has a preset's values where neither base nor space has others, and a note that says so.

    Raises SpecError if there is no such preset, or if it is searched.
    """
    spec = file.spec
    if not presets or (PRESET not in spec.base and PRESET not in spec.space):
        return file, []
    if PRESET in spec.space:
        rule = "a preset is many values under one name, and belongs under base; search the fields that it stands for"
        raise file.source.error([Problem(("space", PRESET), rule, allowed=f"base: {{preset: {' | '.join(presets)}}}")])
    name = spec.base[PRESET]
    if not isinstance(name, str) or name not in presets:
        raise file.source.error([Problem(("base", PRESET), "there is no such preset", name, choices=tuple(presets))])
    added = {key: value for key, value in presets[name].items() if key not in spec.base and key not in spec.space}
    base = {**added, **{key: value for key, value in spec.base.items() if key != PRESET}}
    said = ", ".join(f"{key}: {plain_text(value)}" for key, value in added.items()) or "all that it says is given"
    return SpecFile(spec.model_copy(update={"base": base}), file.source), [f"preset {name}: {said}"]
