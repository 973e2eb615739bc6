"""From a trial to its configuration: what the sampler chooses, resolved by the spec and checked by the method."""

import warnings
from typing import Any

from optuna.trial import Trial
from pydantic import ValidationError

from cluster.state.notes import ASSIGNED
from search_spaces.space import FloatRange, IntRange, Parameter, is_active, order, resolve
from search_spaces.spec import Spec
from search_spaces.steps import Steps
from search_spaces.validation import explain_validation
from trainables._shared.config import ConfigError, MethodConfig


def suggest(trial: Trial, spec: Spec) -> dict[str, Any]:
    """Return what the sampler chooses for a trial, or has chosen: the parameters that are active, by name."""
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
    # Optuna's values end in digits of its own, which conditions and the method's bounds do not know.
    return values[values.place(suggested)]


def assign(trial: Trial, spec: Spec, config_type: type[MethodConfig]) -> tuple[dict[str, Any], str]:
    """Give a trial its configuration and note it there; return it, and why the method or its data rule it out.

    The reason is empty for one that can be trained.
    """
    values, reason = resolve(spec, suggest(trial, spec)), ""
    seed = spec.seeds[trial.number % len(spec.seeds)]
    if seed is not None:
        values["seed"] = seed
    known = ASSIGNED.of(trial)
    if known is not None:  # what it has begun with, whatever the method's defaults are by now
        values = known["config"]
    try:
        config = config_type.model_validate(values)
        config.check_data()
        values = config.model_dump(mode="json")
    except ValidationError as error:
        reason = "; ".join(map(str, explain_validation(error, config_type, values)))
    except ConfigError as error:
        reason = str(error)
    if known is None or reason or values != known["config"]:
        ASSIGNED.write(trial, {"configuration": trial.number // len(spec.seeds), "config": values})
    return values, reason
