"""From a trial to its configuration: what the sampler chooses, resolved by the spec and checked by the method."""

import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from optuna.trial import FrozenTrial, Trial
from pydantic import ValidationError

from cluster.state.notes import ASSIGNED, Assigned
from cluster.study.inputs import Inputs
from search_spaces.space import FloatRange, IntRange, Parameter, is_active, order, resolve
from search_spaces.spec import Spec
from search_spaces.steps import Steps
from search_spaces.validation import explain_validation
from trainables._shared.config import ConfigError, MethodConfig, check_all_data
from trainables._shared.joining import joined


def suggest(trial: Trial, spec: Spec) -> dict[str, Any]:
    """Return the values of a trial's active parameters, by name; the sampler chooses those that are not chosen yet."""
    chosen: dict[str, Any] = {}
    for name, parameter in order(spec.space):
        if is_active(parameter, {**spec.base, **chosen}):
            chosen[name] = _suggest(trial, name, parameter)
    return chosen


def _suggest(trial: Trial, name: str, parameter: Parameter) -> Any:
    if isinstance(parameter, IntRange):
        return trial.suggest_int(name, parameter.low, parameter.high, log=parameter.log, step=parameter.step or 1)
    if not isinstance(parameter, FloatRange):
        return trial.suggest_categorical(name, parameter.labels)
    values = parameter.values()
    if not isinstance(values, Steps):
        return trial.suggest_float(name, parameter.low, parameter.high, log=parameter.log)
    with warnings.catch_warnings():
        # A step like 1/3 has no exact digits: Optuna, which rounds down, would leave out the last value.
        warnings.filterwarnings("ignore", "The distribution is specified by")
        end = values.high if values.is_exact else values.high + values.step / 2
        suggested = trial.suggest_float(name, values.low, end, step=values.step)
    # Optuna's floats differ in the last digits from the spec's, and would miss a condition or a method's bound.
    return values[values.place(suggested)]


@dataclass(frozen=True)
class Configured:
    """A trial's configuration, or why it cannot be trained: `reason` if it never can, `away` if it cannot now."""

    config: dict[str, Any]
    reason: str = ""
    """Why the method or its data rule it out; empty if it can be trained."""
    away: str = ""
    """Which file of it existed before and cannot be read now; empty if none."""


def kept_defaults(trials: Iterable[FrozenTrial], spec: Spec, config_type: type[MethodConfig]) -> dict[str, Any]:
    """Return what a search's first trials had of fields that it leaves to the method, if these now give another value.

    Trials of one search would otherwise differ in what nobody varied, once the method's defaults have changed. What a
    method derives from other fields is no default: it is the same again for the values that the trial was given.
    """
    kept: dict[str, Any] = {}
    known = config_type.model_fields.keys()
    unseen = set(known - spec.base.keys())
    if spec.seeds != (None,):
        unseen.discard("seed")
    for trial in trials:
        if not unseen:
            break
        assigned = ASSIGNED.of(trial)
        begun = {} if assigned is None else config_type.recorded(assigned["config"])
        # A parameter that was active in this trial may be left to the method in another.
        if seen := unseen & begun.keys() - trial.params.keys():
            given = {name: value for name, value in begun.items() if name in known - seen}
            now = _completed(given, config_type)
            kept |= {name: begun[name] for name in seen if name not in now or now[name] != begun[name]}
            unseen -= seen
    return kept


def _completed(values: Mapping[str, Any], config_type: type[MethodConfig]) -> dict[str, Any]:
    """Return what the method makes of values; nothing if it refuses them."""
    try:
        return config_type.of_values(values).model_dump(mode="json")
    except ValidationError:
        return {}


def configure(
    trial: Trial,
    spec: Spec,
    config_type: type[MethodConfig],
    inputs: Inputs,
    kept: Mapping[str, Any],
    *,
    goes_on: bool = False,
) -> Configured:
    """Return a trial's configuration: the one that it began with, else the sampler's choice, completed by the spec.

    What neither says is as `kept` has it (`kept_defaults`), or the method's default. A trial that goes on from a
    checkpoint does without the model that it started from.
    """
    values = {**kept, **resolve(spec, suggest(trial, spec))}
    seed = spec.seeds[trial.number % len(spec.seeds)]
    if seed is not None:
        values["seed"] = seed
    known = ASSIGNED.of(trial)
    if known is not None:  # the method's defaults may have changed since it began
        values = config_type.recorded(known["config"])
    try:
        config = config_type.of_values(values)
    except ValidationError as error:
        return Configured(values, "; ".join(map(str, explain_validation(error, config_type, values))))
    whole = config.model_dump(mode="json")
    if away := inputs.away(whole | {"init_from": None} if goes_on else whole):
        return Configured(whole, away=away)
    try:
        check_all_data(config)
    except Exception as error:  # a user's own module may raise anything
        if away := inputs.trouble(whole, error):
            return Configured(whole, away=away)
        said = str(error) if isinstance(error, ConfigError) else f"check_data: {type(error).__name__}: {error}"
        return Configured(values, said)
    inputs.passed(whole)
    return Configured(whole)


def note_assigned(trial: Trial, spec: Spec, config: dict[str, Any], inputs: str, *, goes_on: bool) -> None:
    """Write to the study what a trial trains, its configuration and the `inputs` it reads, if that is new.

    `goes_on` says whether it goes on from what earlier attempts, perhaps with other inputs, have trained.
    """
    known = ASSIGNED.of(trial)
    before = known.get("inputs", "") if known is not None and goes_on else ""
    assigned: Assigned = {"configuration": trial.number // len(spec.seeds), "config": config}
    if origin := joined(before, inputs):
        assigned["inputs"] = origin
    if assigned != known:
        ASSIGNED.write(trial, assigned)
