"""Reads a spec as a launch does: with its method's preset and other names in place."""

from pathlib import Path

from search_spaces.other_names import with_own_names
from search_spaces.presets import with_preset
from search_spaces.spec import Spec, load_spec
from trainables._shared.discovery import load_config_type


def launched(path: Path) -> Spec:
    """Return a file's spec, a preset and a method's other names replaced by what they stand for."""
    file = load_spec(path)
    config_type = load_config_type(file.spec.trainable)
    named, _ = with_own_names(file, config_type.other_names)
    return with_preset(named, config_type.presets)[0].spec
