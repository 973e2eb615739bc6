"""Chooses the configurations that are checked before launch: all of them, or a sample that has every choice."""

import math
import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from search_spaces.grid import grid_points, grid_size
from search_spaces.parameters import place_of
from search_spaces.space import Choice, FloatRange, IntRange, Parameter, is_active, labels, order, resolve
from search_spaces.spec import Spec
from trainables._shared.config import MethodConfig, branch_fields, branches_of, numeric, structural_key

MOST = 1000
"""Up to this many configurations of a search, all are checked."""
SAMPLE = 300
"""If there are more, this many are checked: about a sixth of a second."""


@dataclass(frozen=True)
class Configuration:
    """The labels of one configuration by parameter, and the configuration itself."""

    params: Mapping[str, Any]
    config: MethodConfig


@dataclass(frozen=True)
class Configurations:
    """The labels by parameter of all of a search's configurations, or of a sample of them."""

    points: Sequence[Mapping[str, Any]]
    size: int | None
    """How many configurations the search has; None if they cannot be counted."""

    @property
    def sampled(self) -> bool:
        """Whether the points are a sample."""
        return self.size is None or self.size > MOST


def choose_configurations(spec: Spec) -> Configurations:
    """Return all configurations if there are at most MOST, else a sample drawn with the sampler's seed.

    The sample has every choice and both ends of every range at least once.
    """
    size = grid_size(spec)
    if size is not None and size <= MOST:
        return Configurations(grid_points(spec), size)
    rng = random.Random(spec.sampler.seed)
    points: dict[str, dict[str, Any]] = {}
    for name, parameter in spec.space.items():
        for value in _landmarks(parameter):
            _add(points, _draw(spec, rng, {**_needed(spec, name), name: value}))
    for _ in range(SAMPLE - len(points)):
        _add(points, _draw(spec, rng, {}))
    return Configurations(list(points.values()), size)


def searched_branches(spec: Spec, config_type: type[MethodConfig]) -> dict[str, list[Any]]:
    """Return the values that a search gives the fields of which several can share one program."""
    found = {}
    for name in branch_fields(config_type):
        parameter = spec.space.get(name)
        if isinstance(parameter, Choice):
            otherwise = [spec.base.get(name, config_type.model_fields[name].default)] if parameter.when else []
            found[name] = [*parameter.choices, *otherwise]
    return found


def group_by_structure(
    built: Sequence[Configuration], searched: Mapping[str, Sequence[Any]]
) -> list[list[Configuration]]:
    """Return configurations in groups that differ in nothing that enters a program as a number."""
    keys: dict[str, str] = {}
    groups: dict[str, list[Configuration]] = {}
    for configuration in built:
        branches = branches_of(configuration.config, searched)
        traced = {*numeric(configuration.config), *branches}
        # Configurations with equal structural labels have equal keys, so few keys need to be computed.
        structure = repr([branches, *(item for item in configuration.params.items() if item[0] not in traced)])
        if structure not in keys:
            keys[structure] = structural_key(configuration.config, branches)
        groups.setdefault(keys[structure], []).append(configuration)
    return list(groups.values())


def count_programs(configs: Iterable[MethodConfig], searched: Mapping[str, Sequence[Any]]) -> int:
    """Return how many programs these configurations compile, as far as the shapes of their data do not differ."""
    return len({structural_key(config.for_training(), branches_of(config, searched)) for config in configs})


def _add(points: dict[str, dict[str, Any]], point: dict[str, Any]) -> None:
    points.setdefault(repr(point), point)


def _landmarks(parameter: Parameter) -> list[Any]:
    if isinstance(parameter, FloatRange | IntRange):
        return [parameter.low, parameter.high]
    return list(parameter.labels)


def _needed(spec: Spec, name: str) -> dict[str, Any]:
    """Return values of other parameters under which this one is active."""
    needed: dict[str, Any] = {}
    asking = [name]
    while asking:
        for parent, allowed in spec.space[asking.pop()].when.items():
            if parent in spec.space and parent not in needed:
                countable = labels(spec.space[parent])
                assert countable is not None
                place = place_of(countable, allowed[0])
                assert place is not None, "a condition that never holds is refused before"
                needed[parent] = countable[place]
                asking.append(parent)
    return needed


def _draw(spec: Spec, rng: random.Random, forced: Mapping[str, Any]) -> dict[str, Any]:
    """Return the labels of one configuration: those in `forced` as given, the others drawn evenly."""
    chosen: dict[str, Any] = {}
    for name, parameter in order(spec.space):
        if is_active(parameter, {**spec.base, **chosen}):
            chosen[name] = forced[name] if name in forced else _random_value(parameter, rng)
    return chosen


def _random_value(parameter: Parameter, rng: random.Random) -> Any:
    countable = labels(parameter)
    if countable is not None:
        return rng.choice(countable)
    assert isinstance(parameter, FloatRange)
    if parameter.log:
        value = math.exp(rng.uniform(math.log(parameter.low), math.log(parameter.high)))
        return min(max(value, parameter.low), parameter.high)
    return rng.uniform(parameter.low, parameter.high)


def largest_num_steps(spec: Spec, config_type: type[MethodConfig]) -> int | None:
    """Return the number of steps of a search's longest training; None if the method does not say."""
    most: int | None = None
    for point in choose_configurations(spec).points:
        try:
            steps = config_type.of_values(resolve(spec, point)).num_steps()
        except ValueError:  # the trial that gets it will say so
            continue
        most = steps if most is None or (steps is not None and steps > most) else most
    return most
