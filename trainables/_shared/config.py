"""What every method's configuration has in common; imports neither JAX nor a method."""

import fnmatch
import json
from collections.abc import Collection, Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal, NamedTuple, Self

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError, model_validator


class _Numeric:
    """Marks a field that enters the compiled program as a traced scalar."""


NUMERIC = _Numeric()
"""Annotation for a field whose change compiles nothing new: `Annotated[float, Field(gt=0), NUMERIC]`."""


class _OnHost:
    """Marks a field that no program reads."""


ON_HOST = _OnHost()
"""Annotation for a field that only the host reads: configs that differ in it alone share a program."""


TRAINING_METRICS: Mapping[str, str] = {
    "skipped_steps": "optimiser steps skipped because loss or gradient was not finite, the loss exploded or the solver "
    "failed; each takes back half of what is left of the step before",
    "recoveries": "how often training got over skipped steps: as many good ones followed",
}
"""Metrics of every report that the training loop itself makes, name to one sentence."""


HELD_OUT = ("val_*", "test_*")
"""Patterns of the metrics that are measured on validation and test data, for `MethodConfig.yardstick_fields`."""
TRAINING = ("train_*",)
"""Likewise of those that training itself measures, on its own data."""


Branches = Mapping[str, tuple[str, ...]]
"""The values, by field, that one program has branches for; fields of one value are left out."""


class Branching:
    """Marks a field that chooses among cheap branches: `Annotated[Name, Branching()]`.

    If a search varies it, the values that it takes become branches of one program. Traced functions read it from
    `hyper`, as a `Choice`, and never from the config. `groups` are values that can be branches of one program, where
    not all can be: the model's arrays must have the same shapes.
    """

    def __init__(self, *groups: tuple[str, ...]) -> None:
        self.groups = groups

    def together(self, value: str, others: Collection[str]) -> tuple[str, ...]:
        """Return a value and those of the others that can share its program, in an order that only depends on them."""
        group = next((group for group in self.groups if value in group), None)
        return tuple(sorted({value, *(other for other in others if group is None or other in group)}))


class OtherName(NamedTuple):
    """Another name of one of a field's values: a spec may give it, and the value is what is recorded."""

    value: str
    needs: str = ""
    """The field that must be given beside it, if the name says more than the value; empty if it does not."""


class ConfigError(ValueError):
    """A configuration that is well-formed but cannot be trained: names the field, the value and the way out."""

    def __init__(self, field: str, value: object, message: str, allowed: str | None = None) -> None:
        self.field = field
        self.value = value
        self.message = message
        self.allowed = allowed
        super().__init__(f"{field} = {value!r}: {message}" + (f" (allowed: {allowed})" if allowed else ""))


class FrozenModel(BaseModel):
    """A frozen pydantic model that refuses unknown keys and silent conversions, documented field by field."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class MethodConfig(FrozenModel):
    """The fields of every method; a method's own config adds to them."""

    reported_metrics: ClassVar[Mapping[str, str]] = {}
    """Metrics of every report, name to one sentence with the unit: what an objective with early stopping may be."""
    metric_modes: ClassVar[Mapping[str, Literal["min", "max"]]] = {}
    """Whether small (`min`) or large (`max`) is good, of the metrics where that is certain: `swell check` refuses a
    search for the opposite."""
    other_names: ClassVar[Mapping[str, Mapping[str, OtherName]]] = {}
    """Other names that a spec may give, by field: tables, programs and records only know the value's own."""
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    """Values that a spec may name together, as `base: {preset: NAME}`; base and space override each of them."""
    later_fields: ClassVar[Mapping[str, Any]] = {"scored_on": {}}
    """Fields that came with a later version, and what they were in effect before: a record without one had this value.
    """
    yardstick_fields: ClassVar[Mapping[str, tuple[str, ...]]] = {}
    """Fields that change what a trial is measured by, and patterns of the metrics that they change: which data validate
    and test, how a metric is computed from a model, what a training loss is the sum of. `swell check` refuses a search
    that varies one for such a metric: its trials could not be compared."""
    yardstick_advice: ClassVar[Mapping[str, str]] = {}
    """What to do so that one of them can be searched all the same, by field, if `scored_on` does not help."""
    predicts_by: ClassVar[Collection[str]] = ()
    """Fields that `validate` reads because the model predicts by them (a solver's tolerances): they change the
    prediction, and not what it is held against."""

    seed: Annotated[int, Field(ge=0, lt=2**31), NUMERIC] = 0
    """Seed of the initial parameters and of every batch."""
    learning_rate: Annotated[float, Field(gt=0), NUMERIC] = 1e-3
    """Adam's peak learning rate."""
    weight_decay: Annotated[float, Field(ge=0), NUMERIC] = 0.0
    """AdamW's decoupled weight decay."""
    batch_size: int = Field(default=256, ge=1)
    """Examples in one optimiser step; all of them where the data has fewer."""
    schedule: Literal["constant", "cosine", "linear"] = "constant"
    """Shape of the learning rate over a phase, after the warm-up."""
    warmup_steps: int = Field(default=0, ge=0)
    """Steps over which the learning rate rises linearly from zero, in each phase."""
    clip_norm: Annotated[float | None, Field(gt=0)] = None
    """Largest global norm of a gradient; null leaves gradients as they are."""
    report_every: int = Field(default=100, ge=1)
    """Optimiser steps between two reports (validation, early stopping, checkpoint)."""
    init_from: Annotated[str | None, Field(min_length=1), ON_HOST] = None
    """Saved model of the same method and shapes whose parameters training starts with: SEARCH/TRIAL for the best model
    of a trial, or a file such as `swell best` writes. null starts with random ones."""
    scored_on: dict[str, JsonValue] = {}
    """The task that validation and test data come from: values of fields, such as the data set, that hold for those
    data alone, whatever the training's are. With it, trials that train on different data are scored on the same."""

    def __hash__(self) -> int:
        """Return a hash of the values: pydantic's own has none of a mapping."""
        return hash((type(self), self.model_dump_json()))

    @model_validator(mode="after")
    def _check_scored_on(self) -> Self:
        fields = self.scorable_fields()
        for name in self.scored_on:
            if name not in fields:
                why = "is no field that says what trials are scored on"
                allowed = ", ".join(fields) or "nothing: the method's config declares no `yardstick_fields`"
                raise ConfigError("scored_on", name, why, allowed)
        if not self.scored_on:
            return self
        try:  # a method's own validators come after this one: what they refuse is theirs to say
            self.of_values({**self.model_dump(mode="json"), "scored_on": {}})
        except ValidationError:
            return self
        self.check_task(self.task())
        return self

    @classmethod
    def of_values(cls, values: Mapping[str, Any]) -> Self:
        """Return the config of plain values, as a spec gives them and as a trial's record keeps them.

        As JSON, whose lists stand for tuples too: whoever makes a config of the same values gets the same one. Raises
        pydantic's ValidationError.
        """
        return cls.model_validate_json(json.dumps(values))

    @classmethod
    def recorded(cls, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return the values of a recorded configuration, with those in effect of fields that came later."""
        return {**MethodConfig.later_fields, **cls.later_fields, **values}

    @classmethod
    def scorable_fields(cls) -> tuple[str, ...]:
        """Return the fields that `scored_on` may give: those that change a metric of validation or test data.

        Not those that the model itself predicts by: each trial's own holds.
        """
        return tuple(
            name
            for name, patterns in cls.yardstick_fields.items()
            if name not in cls.predicts_by and not all(pattern.startswith("train_") for pattern in patterns)
        )

    def task(self) -> Self:
        """Return the config whose validation and test data score this one: itself, changed as `scored_on` says.

        Raises ConfigError if there is no such configuration.
        """
        if not self.scored_on:
            return self
        try:
            return self.of_values({**self.model_dump(mode="json"), **self.scored_on, "scored_on": {}})
        except ValidationError as error:
            why = f"with it there is no such task: {reason(error)}"
            raise ConfigError("scored_on", self.scored_on, why, "values that fit the others") from None

    def check_task(self, task: Any) -> None:
        """Raise ConfigError if a model that is trained by this config cannot be scored on the data of `task`."""

    def yardstick(self, metric: str) -> dict[str, Any]:
        """Return what a metric is measured by: by field, what counts of its value.

        By default the values of `yardstick_fields` that have an effect here. A method of which only a part of a value
        counts says so here.
        """
        unused = self.unused_fields()
        return {
            name: None if name in unused else getattr(self, name)
            for name, patterns in self.yardstick_fields.items()
            if any(fnmatch.fnmatchcase(metric, pattern) for pattern in patterns)
        }

    def measured_by(self, metric: str) -> str:
        """Return canonical JSON of what a metric of this config is measured by: trials of equal ones are comparable."""
        task = self if metric.startswith("train_") else self.task()
        return json.dumps(task.yardstick(metric), sort_keys=True, default=str)

    def num_steps(self) -> int | None:
        """Return the optimiser steps of the whole training, for early stopping's bounds; None says nothing."""
        return None

    def phase_steps(self) -> Sequence[int]:
        """Return the optimiser steps of each phase of training, by default of the only one; empty says nothing."""
        steps = self.num_steps()
        return () if steps is None else (steps,)

    def check_data(self) -> None:
        """Raise ConfigError where the data rules this configuration out; must not import JAX."""

    def needs(self) -> Mapping[str, str]:
        """Return the optional packages that this configuration needs: import name to the field that asks for it.

        The field is empty if the whole method does. `swell check` says which are missing and how to install them; where
        one is used, `trainables._shared.extras.require` imports it.
        """
        return {}

    def data_warnings(self) -> Sequence[str]:
        """Return what a user must know of data that can be used, one sentence each; must not import JAX.

        `swell check` and every launch print them. Only asked for if `check_data` has not raised.
        """
        return ()

    def for_training(self) -> Self:
        """Return the config that `init`, `batch`, `loss` and `rate_factor` get: what none of them reads at its default.

        Trials of equal ones share a program. Which data there are need not tell them apart: their shapes do.
        """
        return self.model_copy(update={"scored_on": {}}) if self.scored_on else self

    def for_evaluation(self) -> Self:
        """Return the config that `validate` and `predict` get: also what only training reads at its default."""
        return self.for_training()

    def selected_by(self) -> tuple[str, Literal["min", "max"]] | None:
        """Return the reported metric that picks the best model, and its mode; None leaves it to `Method.selection`."""
        return None

    def final_metrics(self) -> Mapping[str, str]:
        """Return the metrics measured once, after training, on the named test sets: name to one sentence."""
        return {}

    def unused_fields(self) -> Mapping[str, str]:
        """Return the fields that have no effect in this configuration, and why: searching over one is a mistake."""
        return {}


def check_all_data(config: MethodConfig) -> None:
    """Raise ConfigError where the data that a config trains on, or those that it is scored on, rule it out."""
    config.check_data()
    if config.scored_on:
        try:
            config.task().check_data()
        except ConfigError as error:
            raise ConfigError("scored_on", config.scored_on, str(error)) from None


def reason(error: Exception) -> str:
    """Return what an error says; of values that make no config without pydantic's words around it."""
    if isinstance(error, ValidationError):
        return "; ".join(_said(one) for one in error.errors(include_url=False))
    return str(error)


def _said(error: Any) -> str:
    cause = error.get("ctx", {}).get("error")
    if isinstance(cause, ConfigError):
        return str(cause)
    return f"{'.'.join(map(str, error['loc']))} = {error['input']!r}: {error['msg']}"


def _numeric_fields(config: BaseModel) -> list[str]:
    return [name for name, field in type(config).model_fields.items() if NUMERIC in field.metadata]


def host_fields(config: BaseModel) -> dict[str, Any]:
    """Return the top-level fields that only the host reads, with their defaults."""
    return {name: field.default for name, field in type(config).model_fields.items() if ON_HOST in field.metadata}


def numeric(config: MethodConfig) -> dict[str, float | int]:
    """Return the top-level numeric fields, which enter the program as traced scalars."""
    return {name: getattr(config, name) for name in _numeric_fields(config)}


def branch_fields(config: MethodConfig | type[MethodConfig]) -> dict[str, Branching]:
    """Return the fields that choose among branches, with their marks."""
    fields = config.model_fields if isinstance(config, type) else type(config).model_fields
    marks = {name: [mark for mark in field.metadata if isinstance(mark, Branching)] for name, field in fields.items()}
    return {name: found[0] for name, found in marks.items() if found}


def branches_of(config: MethodConfig, searched: Mapping[str, Collection[Any]]) -> dict[str, tuple[str, ...]]:
    """Return the branches of a config's program, in a search that gives fields these values."""
    found = {}
    for name, mark in branch_fields(config).items():
        values = mark.together(getattr(config, name), searched.get(name, ()))
        if len(values) > 1:
            found[name] = values
    return found


def _without_numeric(value: Any) -> Any:
    if isinstance(value, BaseModel):
        untold = {*_numeric_fields(value), *host_fields(value)}
        return {
            name: None if name in untold else _without_numeric(getattr(value, name))
            for name in type(value).model_fields
        }
    if isinstance(value, list | tuple):
        return [_without_numeric(item) for item in value]
    return value


def structural_key(config: MethodConfig, branches: Branches | None = None) -> str:
    """Return canonical JSON of the structural fields, or their branches: equal keys mean one program."""
    return json.dumps({**_without_numeric(config), **(branches or {})}, sort_keys=True)
