"""A search's specification: its sections, the rules between them, and how it is read from a file."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError, model_validator

from search_spaces.errors import BrokenRule, Source
from search_spaces.loader import load_yaml
from search_spaces.rules import rule_problems
from search_spaces.sections import SpecFields
from search_spaces.validation import explain_validation


class Spec(SpecFields):
    """One search: what is tried, how it is judged, and what it may cost."""

    @model_validator(mode="after")
    def _check_rules(self) -> "Spec":
        problems = rule_problems(self)
        if problems:
            raise BrokenRule(problems)
        return self


@dataclass(frozen=True)
class SpecFile:
    """A spec and its source, the file it was read from, which knows the line of every key."""

    spec: Spec
    source: Source


def load_spec(path: Path) -> SpecFile:
    """Return the spec in a YAML file.

    Raises SpecError, with one line per problem, if the file is no valid spec.
    """
    values, source = load_yaml(path)
    return SpecFile(parse_spec(values, source), source)


def parse_spec(values: Mapping[str, Any], source: Source) -> Spec:
    """Return the spec made of plain values; `source` knows the lines for its errors.

    Raises SpecError, with one line per problem, if the values are no valid spec.
    """
    try:
        return Spec.model_validate(values)
    except ValidationError as error:
        raise source.error(explain_validation(error, Spec, values)) from None
