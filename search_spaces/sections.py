"""The sections of a spec: everything its YAML file may say, each field checked by itself."""

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, JsonValue, model_validator

from search_spaces.errors import BrokenRule, Problem
from search_spaces.parameters import AnyParameter, Many, SpecModel, as_tuple
from search_spaces.samplers import SAMPLERS, SamplerFacts, describe_samplers


class Objective(SpecModel):
    """A metric to make as small or as large as possible."""

    metric: str
    """Name of a metric that the method reports."""
    mode: Literal["min", "max"] = "min"
    """Whether small or large is good."""


class Constraint(SpecModel):
    """A metric that must stay within bounds; trials that do rank first, and samplers know."""

    metric: str
    """Name of a metric that the method reports."""
    max: float | None = None
    """The largest value allowed."""
    min: float | None = None
    """The smallest value allowed."""

    @model_validator(mode="after")
    def _check_bounds(self) -> "Constraint":
        if self.max is None and self.min is None:
            raise BrokenRule([Problem((), f"the constraint on {self.metric} needs max, min, or both")])
        if self.max is not None and self.min is not None and self.min > self.max:
            raise BrokenRule([Problem(("min",), f"min <= max must hold, but max is {self.max:g}", self.min)])
        return self


def _check_sampler(value: str) -> str:
    if value in SAMPLERS:
        return value
    raise BrokenRule([Problem((), "is not one of the choices", value, choices=tuple(SAMPLERS))])


class Sampler(SpecModel):
    """What proposes the next configuration."""

    name: Annotated[
        str,
        AfterValidator(_check_sampler),
        Field(description=describe_samplers(), json_schema_extra={"enum": [*SAMPLERS]}),
    ] = "tpe"
    seed: int = Field(default=0, ge=0, lt=2**32)
    """Seed of the proposals."""

    @property
    def facts(self) -> SamplerFacts:
        """What is to be known of it."""
        return SAMPLERS[self.name]


class EarlyStopping(SpecModel):
    """What ends a trial that falls behind the others at the same step."""

    name: Literal["asha", "hyperband", "none"] = "none"
    """asha: successive halving; hyperband: several brackets of it; none: every trial trains to its end."""
    grace_steps: int = Field(default=100, ge=1)
    """Optimiser steps before the first decision about a trial."""
    reduction: int = Field(default=3, ge=2)
    """At each rung one in this many trials goes on, to this many times the steps."""


class Repeats(SpecModel):
    """Every configuration once per seed; ranked by the mean over complete sets."""

    seeds: Many[Annotated[int, Field(ge=0, lt=2**31)]] = Field(min_length=1)
    """The method's `seed` of each repeat."""

    @model_validator(mode="after")
    def _check_unique(self) -> "Repeats":
        twice = [index for index, seed in enumerate(self.seeds) if seed in self.seeds[:index]]
        if twice:
            rule = "this seed is given twice"
            raise BrokenRule([Problem(("seeds", index), rule, self.seeds[index]) for index in twice])
        return self


ENDING_BOUNDS = ("trials", "hours", "core_hours", "patience_trials")
"""Bounds of a budget that every search reaches; it may never reach its target."""


class Budget(SpecModel):
    """When the search ends: whichever comes first."""

    trials: int | None = Field(default=None, ge=1)
    """Trials in all, every repeat counted."""
    hours: float | None = Field(default=None, gt=0)
    """Hours since the search began."""
    core_hours: float | None = Field(default=None, gt=0)
    """Hours of training times the CPUs they held."""
    target: float | None = None
    """Value of the objective that is good enough."""
    patience_trials: int | None = Field(default=None, ge=1)
    """Finished trials in a row without a better one."""

    @property
    def ends(self) -> bool:
        """Whether the search is sure to end by it."""
        return any(getattr(self, bound) is not None for bound in ENDING_BOUNDS)


class Resources(SpecModel):
    """What the search may use of a machine, and what one trial gets."""

    cpus: Literal["auto"] | Annotated[int, Field(ge=1)] = "auto"
    """CPUs for all trials together; auto is what the machine, its limits and the scheduler give."""
    cpus_per_trial: int = Field(default=1, ge=1)
    """CPUs of one trial: the width of every thread pool in it."""
    gpus_per_trial: float = Field(default=0, ge=0)
    """GPUs of one trial; a part of one shares it."""
    memory_gb_per_trial: Literal["auto"] | Annotated[float, Field(gt=0)] = "auto"
    """Memory of one trial in GB, which bounds how many run at once, and which a trial may not exceed; auto learns it
    from the trials that have run."""

    @property
    def max_cpus(self) -> int | None:
        """The most CPUs the search may use, None for all there are."""
        return None if self.cpus == "auto" else self.cpus


class Waves(SpecModel):
    """How many trials run between two clean-ups."""

    trials: Literal["auto"] | Annotated[int, Field(ge=1)] = "auto"
    """Trials of one wave, after which workers are replaced and their temporary files deleted; auto is 16 per slot, at
    least 100."""
    restart_ray_trials: Literal["auto"] | Annotated[int, Field(ge=1)] = "auto"
    """Trials after which Ray too is started afresh, at the end of a wave; auto is 2000. The guard may want it
    sooner."""


class Guard(SpecModel):
    """What must stay free on every file system in use, and what we may use ourselves."""

    min_free_gb: Literal["auto"] | Annotated[float, Field(ge=0)] = "auto"
    """Free space in GB below which no trial is started and the wave ends early to be cleaned up; auto is a tenth of the
    file system, at most 5."""
    stop_free_gb: Literal["auto"] | Annotated[float, Field(ge=0)] = "auto"
    """Free space in GB below which running trials too are saved and stopped, to go on later; auto is a quarter of
    min_free_gb."""
    min_free_inodes: Literal["auto"] | Annotated[int, Field(ge=0)] = "auto"
    """Free inodes (files that may still be made) below which the wave ends early, and at a quarter of which trials are
    stopped; auto is a twentieth of the file system's, at most 50000."""
    max_scratch_gb: Literal["auto"] | Annotated[float, Field(gt=0)] = "auto"
    """Our own scratch in GB above which the wave ends early, and at one and a half times of which trials are stopped;
    auto is half of its file system, at most 100."""
    check_every_s: float = Field(default=2.0, gt=0, le=600)
    """Seconds between two looks."""

    @model_validator(mode="after")
    def _check_order(self) -> "Guard":
        low, high = self.stop_free_gb, self.min_free_gb
        if low != "auto" and high != "auto" and low > high:
            raise BrokenRule([Problem(("stop_free_gb",), f"must be at most min_free_gb, which is {high:g}", low)])
        return self


class Keep(SpecModel):
    """What stays on disk of a finished trial."""

    checkpoints: Literal["best", "all", "none"] = "best"
    """Whose checkpoints stay: the best trials', everyone's, nobody's. A best model is in that of a completed trial
    alone; one that was stopped early has those on the way."""
    top: int = Field(default=10, ge=1)
    """How many trials count as best."""
    last: bool = False
    """Whether the model after the last step stays too, beside the best one, of each trial whose checkpoint does."""
    every_steps: int | None = Field(default=None, ge=1)
    """Likewise its models on the way: those at the first report at or after each multiple of so many steps."""
    most_steps: int = Field(default=20, ge=1)
    """Of those on the way, how many of one trial stay: the latest."""

    @property
    def further_models(self) -> bool:
        """Whether a trial keeps other models than its best one."""
        return self.last or self.every_steps is not None

    @model_validator(mode="after")
    def _check_kept(self) -> "Keep":
        given = [("last", self.last or None), ("every_steps", self.every_steps)]
        if self.checkpoints == "none" and (vain := [(key, value) for key, value in given if value is not None]):
            rule = "has no effect: checkpoints = 'none' keeps nothing of a finished trial"
            raise BrokenRule([Problem((key,), rule, value, allowed="with best or all") for key, value in vain])
        return self


def _check_wandb_name(name: str) -> str:
    if found := sorted(set(name) & set("/\\#?%:")):
        raise ValueError(f"W&B allows no {' '.join(found)} in a name")
    return name


WandbName = Annotated[str, Field(min_length=1, max_length=128), AfterValidator(_check_wandb_name)]


class Tracking(SpecModel):
    """Where runs are shown besides the search's own records."""

    wandb: Literal["disabled", "offline", "online"] = "disabled"
    """Weights & Biases, one run per trial. offline: written to the search directory, uploaded by `swell sync`; online:
    uploaded as trials report, by machines that reach the internet."""
    project: WandbName | None = None
    """Project of the runs; the trainable's name when left out."""
    entity: WandbName | None = None
    """User or team that the project belongs to; your own default when left out."""
    group: WandbName | None = None
    """Group of the runs; the search's name when left out."""
    tags: Many[Annotated[str, Field(min_length=1, max_length=64)]] = ()
    """Tags of every run."""


JOURNAL = "journal"
"""The storage that is a file in the search directory."""
DATABASE = "postgresql://"
"""What the address of any other storage begins with."""


def _check_storage(value: str) -> str:
    if value == JOURNAL or (len(value) > len(DATABASE) and value.startswith(DATABASE)):
        return value
    rule = "is neither the journal nor the address of a PostgreSQL server"
    raise BrokenRule([Problem((), rule, value, allowed="journal, postgresql://USER@HOST:PORT/DATABASE")])


CODE = r"wandb:[^/:\s]+/[^/:\s]+/[^/:\s]+:[^/:\s]+"
"""The name of a W&B artifact, with its version or an alias of one."""


def _check_code(value: str) -> str:
    if re.fullmatch(CODE, value):
        return value
    allowed = (
        "wandb:ENTITY/PROJECT/NAME:VERSION, with VERSION v0, v1, ... or an alias like latest "
        "(for instance wandb:lab/methods/my-methods:v3)"
    )
    raise BrokenRule([Problem((), "is no name of a W&B artifact", value, allowed=allowed)])


class SpecFields(SpecModel):
    """Everything a spec may say, not yet held against the rules between its fields."""

    name: str = Field(min_length=1, max_length=64)
    """Name of the search, and of its directory."""
    trainable: str = Field(min_length=1)
    """A method of this package, or the import path of your own module (my_package.my_module)."""
    code: Annotated[str, AfterValidator(_check_code), Field(json_schema_extra={"pattern": f"^{CODE}$"})] | None = None
    """The W&B artifact that your own module is in, as wandb:ENTITY/PROJECT/NAME:VERSION; fetched once, and copied into
    the search directory. Without it the module is found from where the search is launched."""
    objective: Annotated[
        Many[Objective],
        Field(min_length=1),
        BeforeValidator(as_tuple, json_schema_input_type=Objective | list[Objective]),
    ]
    """What makes a trial good; a list of several asks for the trade-offs between them."""
    constraints: Many[Constraint] = ()
    """Bounds on other metrics."""
    base: dict[str, JsonValue] = Field(default={})
    """Fixed values of the method's configuration; they override its defaults."""
    space: dict[str, AnyParameter] = Field(min_length=1)
    """What is searched, by field of the method's configuration."""
    sampler: Sampler = Sampler()
    """What proposes the next configuration."""
    early_stopping: EarlyStopping = EarlyStopping()
    """What ends a trial that falls behind."""
    repeats: Repeats | None = None
    """Every configuration once per seed."""
    budget: Budget = Budget()
    """When the search ends."""
    resources: Resources = Resources()
    """What the search may use of a machine."""
    waves: Waves = Waves()
    """How many trials run between two clean-ups."""
    guard: Guard = Guard()
    """What must stay free on the disks."""
    keep: Keep = Keep()
    """What stays on disk of a finished trial."""
    tracking: Tracking = Tracking()
    """Where runs are shown besides the search's own records."""
    report: bool = True
    """Whether a report of the search, one HTML file, is written to its directory when it ends."""
    storage: Annotated[
        str, AfterValidator(_check_storage), Field(json_schema_extra={"pattern": f"^({JOURNAL}|{DATABASE}.+)$"})
    ] = JOURNAL
    """Where the search's state is kept: journal, a file in its directory that several jobs can share too; or a
    PostgreSQL server, as postgresql://USER@HOST:PORT/DATABASE. Keep the password in ~/.pgpass, not here."""
    retries: int = Field(default=2, ge=0)
    """How often a trial is taken up again after a failure of the machine; its own failures end it at once."""
    keep_going: bool = False
    """Whether the search goes on if configuration after configuration fails in the same way. By default it pauses: the
    cause is then most likely outside of them (a data file that is gone, a module that cannot be imported)."""
    trial_timeout_min: float = Field(default=60.0, gt=0)
    """Minutes without a report, its start and its compilation included, after which a trial counts as hung: it is ended
    and taken up again."""

    @property
    def objectives(self) -> tuple[Objective, ...]:
        """The objectives, usually one."""
        return self.objective

    @property
    def seeds(self) -> tuple[int | None, ...]:
        """The seed of each trial of a configuration; None leaves it to the configuration."""
        return self.repeats.seeds if self.repeats else (None,)

    @property
    def is_multi_objective(self) -> bool:
        """Whether the search asks for trade-offs."""
        return len(self.objective) > 1

    @property
    def is_grid(self) -> bool:
        """Whether every combination is tried."""
        return self.sampler.facts.is_grid
