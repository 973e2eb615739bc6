"""Draws the figures that `swell plot` was asked for."""

import inspect
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args, get_origin

from analysis.drawing.discovery import find_figures
from analysis.drawing.figure import Figure, FigureError, NothingToShowError
from analysis.drawing.render import Form, save
from analysis.search import Search
from analysis.tables.trial_numbers import numbers_in
from cluster.console import Console


def plot_figures(
    search: Search,
    names: Sequence[str],
    form: Form,
    trials: str | None,
    options: Sequence[str],
    places: Sequence[str],
    output: Path | None,
) -> list[Path]:
    """Write figures to files and say where they are; without names, all figures that the search has something for.

    Raises FigureError for a figure or an option that there is not, and NothingToShowError if none could be drawn.
    """
    console, wanted = Console(), find_figures(search, names, places)
    if options and len(names) != 1:
        raise FigureError("--set is for one figure: name it")
    numbers = numbers_in(trials) if trials else None
    for number in numbers or ():
        search.row(number)  # says what is not there
    folder = output or (search.paths.root / "figures" if search.paths else Path("figures"))
    files, empty = [], []
    for figure in wanted:
        try:
            data = figure.look(search, numbers, **_values(figure, options))
        except NothingToShowError as error:
            empty.append((figure.name, str(error)))
            continue
        folder.mkdir(parents=True, exist_ok=True)
        files.append(folder / f"{figure.name}.{form}")
        save(figure, data, files[-1])
    for name, why in empty:
        console.print(f"not drawn: {name}: {why}", style="dim", soft_wrap=True)
    if not files:
        raise NothingToShowError(f"{search.name}: no figure could be drawn")
    console.print(f"{len(files)} figures in {folder}: {', '.join(file.name for file in files)}", soft_wrap=True)
    return files


def list_figures(search: Search, places: Sequence[str]) -> None:
    """Print the figures that fit a search, with their options."""
    console = Console()
    for figure in find_figures(search, (), places):
        options = ", ".join(_describe(one) for one in figure.options.values())
        console.print(f"{figure.name}  {figure.title}" + (f"  ({options})" if options else ""), soft_wrap=True)


def _describe(option: inspect.Parameter) -> str:
    choices = get_args(option.annotation) if get_origin(option.annotation) is not None else ()
    texts = [one for one in choices if isinstance(one, str)]
    return f"{option.name}={'|'.join(texts)}" if texts else f"{option.name}={option.default}"


def _values(figure: Figure, options: Sequence[str]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for option in options:
        name, equals, text = option.partition("=")
        if not equals:
            raise FigureError(f"--set {option}: must be OPTION=VALUE")
        parameter = figure.options.get(name)
        choices = [one for one in get_args(parameter.annotation) if isinstance(one, str)] if parameter else []
        if choices and text not in choices:
            raise FigureError(f"--set {option}: {name} must be one of {', '.join(choices)}")
        values[name] = text if choices or (parameter and parameter.annotation in (str, str | None)) else _value(text)
    return values


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text
