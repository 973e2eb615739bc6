"""What a benchmark's options ask of a method, and what it says if that cannot be done. Not a benchmark itself."""

import argparse
import functools
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from pydantic import ValidationError

from search_spaces.errors import Problem, SpecError, UserError
from search_spaces.loader import parse_yaml
from search_spaces.validation import explain_validation
from trainables._shared.config import ConfigError, MethodConfig
from trainables._shared.discovery import UnknownMethodError
from trainables._shared.extras import MissingPackageError, require_needed
from trainables._shared.model_file import CheckpointError

P = ParamSpec("P")
T = TypeVar("T")
C = TypeVar("C", bound=MethodConfig)
WRONG_INPUT = 2
_MISTAKES = (UserError, ConfigError, CheckpointError, MissingPackageError, UnknownMethodError)


def tells_mistakes(main: Callable[P, T]) -> Callable[P, T]:
    """Have a command tell what its user has to mend in one message, and end with status 2; other errors stay."""

    @functools.wraps(main)
    def told(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return main(*args, **kwargs)
        except _MISTAKES as error:
            print(error, file=sys.stderr)
            sys.exit(WRONG_INPUT)

    return told


def add_set(parser: argparse.ArgumentParser, unlike: str) -> None:
    """Give a command the option `--set`: fields unlike `unlike`, several at once or one at a time."""
    parser.add_argument(
        "--set", nargs="*", action="extend", default=[], metavar="FIELD=VALUE", help=f"fields unlike {unlike}"
    )


def values_of(
    settings: Sequence[str], option: str = "--set", elsewhere: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """Return the values of settings such as `width=64`, read as in a spec.

    Raises SpecError if one has another form, if a field has two values, or if another option says it: `elsewhere` has
    such fields, and the option of each.
    """
    found: dict[str, Any] = {}
    for setting in settings:
        name, equals, text = setting.partition("=")
        if not (name and equals):
            raise SpecError([Problem((option,), "is no setting", setting, allowed="FIELD=VALUE")])
        try:
            value = parse_yaml(f"value: {text}", Path(option))[0]["value"]
        except SpecError as error:
            raise SpecError([Problem((name,), one.message, text) for one in error.problems]) from None
        if elsewhere and name in elsewhere:
            rule = f"is not taken from {option}: {elsewhere[name]} says it"
            raise SpecError([Problem((name,), rule, value)])
        if name in found and found[name] != value:
            raise SpecError([Problem((name,), f"{option} gives it two values, {found[name]!r} and {value!r}")])
        found[name] = value
    return found


def config_of(config_type: type[C], values: Mapping[str, Any]) -> C:
    """Return a method's config of plain values.

    Raises SpecError with field, value and what is allowed if they make none, ConfigError or MissingPackageError if they
    need a package that is not installed.
    """
    try:
        config = config_type.of_values(values)
    except ValidationError as error:
        raise SpecError(explain_validation(error, config_type, dict(values))) from None
    require_needed(config)
    return config
