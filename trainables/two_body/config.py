"""The configuration of the two-body method; imports no JAX."""

import itertools
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, NamedTuple, Self, get_args

from pydantic import Field, field_validator, model_validator

from trainables._shared.artifact_names import is_artifact
from trainables._shared.config import (
    HELD_OUT,
    NUMERIC,
    TRAINING,
    TRAINING_METRICS,
    Branching,
    ConfigError,
    FrozenModel,
    MethodConfig,
    OtherName,
)
from trainables.two_body.dataset_names import DatasetName, parse_dataset
from trainables.two_body.metric_names import final_metric_names, metric_prefixes
from trainables.two_body.windows import NUM_SAMPLES, Sampling, num_missing, usable_starts, window_samples

FeaturesName = Literal["cartesian", "sph_4D_rinv_vel", "sph_4D_rinv_vel_rt", "sph_4D_rinv_vel_harmonics"]
HeadName = Literal[
    "mlp_4D_signed",
    "mlp_4D_abs",
    "mlp_4D_softplus",
    "mlp_4D_unit",
    "mlp_4D_unit_softplus",
    "mlp_4D_logmag_exp",
    "mlp_4D_logmag_unit_exp",
    "mlp_4D_logmag_unit_softplus",
    "mlp_4D_logmag_unit_tanh_exp",
    "mlp_4D_logmag_unit_tanh_softplus",
    "mlp_rtn",
    "mlp_cartesian",
    "mlp_simple",
]
THREE_OUTPUTS: tuple[HeadName, ...] = ("mlp_rtn", "mlp_cartesian")
SIX_OUTPUTS: tuple[HeadName, ...] = ("mlp_simple",)
_FOUR_OUTPUTS = tuple(name for name in get_args(HeadName) if name not in (*THREE_OUTPUTS, *SIX_OUTPUTS))
HEAD_GROUPS = (THREE_OUTPUTS, _FOUR_OUTPUTS, SIX_OUTPUTS)
"""Heads that take equally many outputs."""
ActivationName = Literal["leaky_relu", "tanh", "gelu", "elu", "softplus", "silu"]
LossName = Literal["percent_error", "percent_error_plus_nmse", "mse"]
SolverName = Literal["adaptive", "per_sample", "mesh"]
Window = Annotated[tuple[float, float], Field(strict=False)]
"""Start and end of a part of the orbit, as shares of it; a list in YAML."""

_REFUSED: Mapping[str, str] = {
    "mlp_4D": "has meant two different heads: say mlp_4D_signed (acceleration m d) or mlp_4D_abs (acceleration |m| d)",
    "mlp_4D_unit_scaled": "was named and never defined; near it are mlp_4D_unit (acceleration m d/|d|) and "
    "mlp_4D_unit_softplus (softplus(m) d/|d|)",
    "sph_4D_rinv_vinv": "was named and never defined; near it is sph_4D_rinv_vel (1/|r|, r/|r|, v)",
}
"""Names of heads and features that somebody may know, but that say nothing, and what to say instead."""
STRATEGIES = ("length_strategy", "lr_strategy", "steps_strategy", "segment_length_strategy")
NUM_VALIDATION_ORBITS = 16
TEST_ORBITS = (1, 10, 100)
_WHOLE: tuple[float, float] = (0.0, 1.0)


def _check_window(window: tuple[float, float]) -> tuple[float, float]:
    if not 0.0 <= window[0] < window[1] <= 1.0:
        raise ValueError(f"a window [start, end] must have 0 <= start < end <= 1, but got {list(window)}")
    return window


class CurriculumPhase(FrozenModel):
    """One phase of a curriculum; what it leaves out comes from the config's field of the same name."""

    steps: int | None = Field(default=None, ge=1)
    """Optimiser steps."""
    learning_rate: Annotated[float | None, Field(gt=0), NUMERIC] = None
    """Peak learning rate."""
    window: Window = _WHOLE
    """The part of each orbit that is trained on: [0.0, 0.1] is its first tenth."""
    segment_length: int | None = Field(default=None, ge=2, le=NUM_SAMPLES)
    """Samples of one initial-value problem."""

    _window = field_validator("window")(_check_window)


class ResolvedPhase(NamedTuple):
    """A phase with every value filled in."""

    steps: int
    learning_rate: float
    window: tuple[float, float]
    segment_length: int


class Config(MethodConfig):
    """A neural ODE of the two-body problem: an acceleration learned from segments of Kepler orbits."""

    reported_metrics: ClassVar[Mapping[str, str]] = {
        "val_accel_error_pct": "mean pointwise acceleration error on the validation orbits, in percent",
        "val_accel_angle_deg": "mean angle between true and predicted acceleration, validation orbits, in degrees",
        "val_outward_pct": "share of validation samples whose acceleration points outward, in percent",
        "train_loss": "mean training loss since the last report",
        "train_percent_error": "mean state error of the training segments, in percent",
        "train_nmse": "root of the normalised mean square error of the training segments, in percent",
        "train_mse": "mean square error of the training segments, in units with mu = 1",
        "train_attraction": "mean outward part of a.r along the training segments, before its weight",
        "train_solver_error_pct": "mean over the training segments of the solver's own error estimates, relative to "
        "the state and summed over a segment's steps, in percent",
        **TRAINING_METRICS,
    }
    metric_modes: ClassVar[Mapping[str, Literal["min", "max"]]] = {
        "val_accel_error_pct": "min",
        "val_accel_angle_deg": "min",
        "val_outward_pct": "min",
        "train_loss": "min",
        "train_percent_error": "min",
        "train_nmse": "min",
        "train_mse": "min",
    }
    yardstick_fields: ClassVar[Mapping[str, tuple[str, ...]]] = {
        **dict.fromkeys(("dataset", "data_seed", "fix_nu0", "sampling", "missing_tail"), (*HELD_OUT, *TRAINING)),
        "val_dataset": ("val_*",),
        "test_datasets": ("test_*",),
        **dict.fromkeys(("curriculum", "segment_length", *STRATEGIES[::3]), TRAINING),
        **dict.fromkeys(("loss", "nmse_weight", "attraction_weight"), ("train_loss",)),
    }

    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "source": {
            "head": "mlp_4D_signed",
            "activation": "leaky_relu",
            "learning_rate": 1e-3,
            "schedule": "constant",
            "warmup_steps": 0,
            "clip_norm": None,
        },
        # The defaults but for the head, whose exponential is a little better and loses some trainings. The rate needs
        # the warm-up and the clipping: docs/two_body.md.
        "cosine": {
            "head": "mlp_4D_logmag_unit_exp",
            "activation": "silu",
            "learning_rate": 1e-2,
            "schedule": "cosine",
            "warmup_steps": 200,
            "clip_norm": 1.0,
        },
    }
    later_fields: ClassVar[Mapping[str, Any]] = {"data_seed": 0}
    other_names: ClassVar[Mapping[str, Mapping[str, OtherName]]] = {
        "head": {
            "mlp_simple_hybrid": OtherName("mlp_cartesian"),
            "mlp_4D_accsoftplus": OtherName("mlp_4D_softplus"),
        },
        "loss": {
            "mean_squared_error": OtherName("mse"),
            "percent_error_with_attraction": OtherName("percent_error", needs="attraction_weight"),
        },
    }

    dataset: str = Field(
        default="complex_TBP_planar_10_train", examples=["simple_TBP_planar_10_train", "complex_TBP_3D_100_train"]
    )
    """Training orbits: FAMILY_TBP_PLANE_NUMBER_train, family complex, simple or circular, plane planar or 3D; or
    wandb:ENTITY/PROJECT/NAME:VERSION, arrays `y` and `t` in npz files; needs planar, val_dataset, test_datasets."""
    val_dataset: str = Field(default="auto", examples=["training", "complex_TBP_planar_100_val"])
    """Validation orbits: `auto` is 16 orbits of the training family, whatever the training count; `training` is the
    training orbits themselves; also wandb:ENTITY/PROJECT/NAME:VERSION."""
    test_datasets: Annotated[tuple[str, ...], Field(strict=False)] = ("auto",)
    """Test orbits, by name; `auto` stands for the family's sets of 1, 10 and 100 orbits."""
    planar: Literal["auto"] | bool = "auto"
    """Whether the acceleration is kept in the x-y plane; `auto` says so for planar data."""
    data_seed: int = Field(default=0, ge=0, lt=2**31)
    """Which draw of training orbits: the sets of validation and test are the same ones for all."""
    fix_nu0: bool = False
    """Start every orbit at its periapsis, instead of a uniform true anomaly."""
    sampling: Sampling = "mean_anomaly"
    """What the 360 samples of an orbit are spaced evenly in: time (mean anomaly) or angle (true anomaly)."""
    missing_tail: float = Field(default=0.0, ge=0.0, le=0.95)
    """Share of each training orbit that is missing at its end."""

    features: FeaturesName = "sph_4D_rinv_vel"
    """What the network sees of a state (r, v)."""
    head: Annotated[HeadName, Branching(*HEAD_GROUPS)] = "mlp_4D_unit"
    """How the network's outputs become an acceleration."""
    activation: Annotated[ActivationName, Branching()] = "silu"
    """Activation of the hidden layers."""
    width: int = Field(default=64, ge=1)
    """Units of a hidden layer."""
    depth: int = Field(default=2, ge=1)
    """Hidden layers."""

    # With silu and mlp_4D_unit these have a fifth of the error of the source's setting (preset source), and no training
    # was lost, nor any at five times this rate with 100 orbits: docs/two_body.md.
    learning_rate: Annotated[float, Field(gt=0), NUMERIC] = 2e-2
    """Adam's peak learning rate."""
    schedule: Literal["constant", "cosine", "linear"] = "cosine"
    """Shape of the learning rate over a phase, after the warm-up."""
    warmup_steps: int = Field(default=200, ge=0)
    """Steps over which the learning rate rises linearly from zero, in each phase: a short phase needs fewer."""
    clip_norm: Annotated[float | None, Field(gt=0)] = 1.0
    """Largest global norm of a gradient; null leaves gradients as they are."""
    steps: int = Field(default=1000, ge=1)
    """Optimiser steps of a phase that does not give its own."""
    segment_length: int = Field(default=18, ge=2, le=NUM_SAMPLES)
    """Samples of a segment, in a phase that does not give its own: 18 of 360 are 5 % of an orbit."""
    curriculum: Annotated[tuple[CurriculumPhase, ...], Field(strict=False)] = ()
    """Phases of training, one after the other; empty is one phase over the whole orbits."""
    length_strategy: Annotated[tuple[Window, ...], Field(strict=False)] = ()
    """Windows by phase, instead of a curriculum; a list of one holds for every phase, here and in the next three."""
    lr_strategy: Annotated[tuple[Annotated[float, Field(gt=0)], ...], Field(strict=False)] = ()
    """Learning rates by phase, instead of a curriculum."""
    steps_strategy: Annotated[tuple[Annotated[int, Field(ge=1)], ...], Field(strict=False)] = ()
    """Optimiser steps by phase, instead of a curriculum."""
    segment_length_strategy: Annotated[
        tuple[Annotated[int, Field(ge=2, le=NUM_SAMPLES)], ...], Field(strict=False)
    ] = ()
    """Segment lengths by phase, instead of a curriculum."""

    loss: LossName = "percent_error"
    """Error of the predicted states, the first of each segment left out."""
    nmse_weight: Annotated[float, Field(ge=0), NUMERIC] = 1.0
    """Weight of the second term of `percent_error_plus_nmse`."""
    attraction_weight: Annotated[float, Field(ge=0), NUMERIC] = 0.0
    """Weight of the penalty on accelerations that point outward, mean(relu(a.r)) along the predicted segments."""

    # Measured on one core, leaky_relu, 10 orbits, segments of 18: 3 times the steps per second of per_sample, which
    # makes 1.6 times as many as adaptive. Largest relative error against Kepler in float32 at e = 0.8: 2e-5, far below
    # that of any field learned so far (per_sample 9e-7, adaptive 2e-6).
    solver: SolverName = "mesh"
    """`per_sample`: a fixed number of Tsit5 steps between samples; `adaptive`: Tsit5 with a step size per segment;
    `mesh`: few steps per segment, placed by its observed states, and per_sample where test orbits are propagated."""
    substeps: int = Field(default=1, ge=1)
    """Tsit5 steps between two samples, with solver per_sample; with mesh, of propagated test orbits."""
    rtol: Annotated[float, Field(gt=0), NUMERIC] = 1e-6
    """Relative tolerance of the adaptive solver."""
    atol: Annotated[float, Field(gt=0), NUMERIC] = 1e-8
    """Absolute tolerance of the adaptive solver."""
    max_steps: int = Field(default=256, ge=1)
    """Most steps of the adaptive solver over a segment, rejected ones included; one that needs more has failed."""

    _windows = field_validator("length_strategy")(lambda cls, windows: tuple(_check_window(w) for w in windows))

    @field_validator("head", "features", mode="before")
    @classmethod
    def _refuse_undefined(cls, name: object) -> object:
        if isinstance(name, str) and name in _REFUSED:
            raise ValueError(_REFUSED[name])
        return name

    @model_validator(mode="after")
    def _check_datasets(self) -> "Config":
        self._check_fetched()
        training = _require_split("dataset", self.dataset, "train")
        if training is not None and self.is_planar and training.plane != "planar":
            raise ConfigError("planar", True, f"{self.dataset} leaves the x-y plane", "false, auto")
        if self.val_dataset == self.dataset:
            raise ConfigError(
                "val_dataset",
                self.val_dataset,
                "equals the training set; to validate on it all the same, write val_dataset: training",
                "auto, training, a dataset of split val",
            )
        others = [("val_dataset", self.validation_name, "train" if self.val_dataset == "training" else "val")]
        others += [("test_datasets", name, "test") for name in self.test_names]
        for field, name, split in others:
            parsed = _require_split(field, name, split)
            if parsed is not None and parsed.plane != "planar" and self.is_planar:
                raise ConfigError(field, name, "is not planar, and the model is", "planar: false, or a planar dataset")
        if len(set(self.test_names)) < len(self.test_names):
            raise ConfigError("test_datasets", list(self.test_datasets), "names a dataset twice", "each once")
        return self

    def _check_fetched(self) -> None:
        """Refuse what is derived from the training set's name where it has none that says anything."""
        if any(map(_is_fetched, self.test_datasets)):
            raise ConfigError("test_datasets", list(self.test_datasets), "cannot be fetched", "generated datasets")
        if not _is_fetched(self.dataset):
            return
        why = "cannot be told from a fetched dataset"
        if self.planar == "auto":
            raise ConfigError("planar", "auto", why, "true, false")
        if self.val_dataset == "auto":
            raise ConfigError("val_dataset", "auto", why, "training, a dataset of split val, a fetched one")
        if "auto" in self.test_datasets:
            raise ConfigError("test_datasets", list(self.test_datasets), why, "names of datasets of split test")

    @model_validator(mode="after")
    def _check_strategies(self) -> "Config":
        lengths = {name: len(getattr(self, name)) for name in STRATEGIES if getattr(self, name)}
        if lengths and self.curriculum:
            given = ", ".join(lengths)
            raise ConfigError(
                "curriculum", len(self.curriculum), f"given together with {given}: phases come from one of them"
            )
        longest = max(lengths, key=lambda name: lengths[name], default="")
        for name, length in lengths.items():
            if length not in (1, lengths[longest]):
                raise ConfigError(
                    name,
                    getattr(self, name),
                    f"has {length} values and {longest} has {lengths[longest]}: "
                    "lists by phase must be equally long, or of one value, which holds for every phase",
                )
        return self

    @property
    def is_planar(self) -> bool:
        """Whether the model's acceleration stays in the x-y plane."""
        return parse_dataset(self.dataset).plane == "planar" if self.planar == "auto" else self.planar

    @property
    def validation_name(self) -> str:
        """The validation set's name."""
        if self.val_dataset == "training":
            return self.dataset
        if self.val_dataset == "auto":
            return str(parse_dataset(self.dataset)._replace(num_orbits=NUM_VALIDATION_ORBITS, split="val"))
        return self.val_dataset

    @property
    def test_names(self) -> tuple[str, ...]:
        """The test sets' names."""
        if "auto" not in self.test_datasets:
            return self.test_datasets
        training = parse_dataset(self.dataset)
        auto = [str(training._replace(num_orbits=number, split="test")) for number in TEST_ORBITS]
        return tuple(name for given in self.test_datasets for name in (auto if given == "auto" else [given]))

    def resolved_phases(self) -> tuple[ResolvedPhase, ...]:
        """Return the phases of training, from the curriculum, the parallel lists or the top-level fields."""
        if self.curriculum:
            return tuple(
                ResolvedPhase(
                    phase.steps or self.steps,
                    phase.learning_rate or self.learning_rate,
                    phase.window,
                    phase.segment_length or self.segment_length,
                )
                for phase in self.curriculum
            )
        windows = self.length_strategy or (_WHOLE,)
        rates = self.lr_strategy or (self.learning_rate,)
        steps = self.steps_strategy or (self.steps,)
        lengths = self.segment_length_strategy or (self.segment_length,)
        num = max(len(windows), len(rates), len(steps), len(lengths))
        columns = [values * num if len(values) == 1 else values for values in (steps, rates, windows, lengths)]
        return tuple(ResolvedPhase(*row) for row in zip(*columns, strict=True))

    def for_training(self) -> Self:
        """Return the config that traced training gets: data are told apart by their shapes, phases on the host."""
        unread = {"report_every", "steps", "curriculum", *STRATEGIES, "dataset", "val_dataset", "test_datasets"}
        unread |= {"data_seed", "fix_nu0", "sampling", "missing_tail"}
        if self.solver == "mesh":  # its batches are as wide as its timetable
            unread |= {"batch_size"}
        return super().for_training().model_copy(update={"planar": self.is_planar, **self._defaults(unread)})

    def for_evaluation(self) -> Self:
        """Return the config that evaluation gets; the steps of an adaptive solver depend on the segments."""
        unread = {"batch_size", "schedule", "warmup_steps", "clip_norm", "loss"}
        if self.solver != "adaptive":
            unread |= {"segment_length"}
        return self.for_training().model_copy(update=self._defaults(unread))

    @classmethod
    def _defaults(cls, names: set[str]) -> dict[str, Any]:
        return {name: cls.model_fields[name].default for name in names}

    def task(self) -> Self:
        """Return the config whose validation and test data score this one; the model's plane is the training data's."""
        if not self.scored_on:
            return self
        return super(Config, self.model_copy(update={"planar": self.is_planar})).task()

    def yardstick(self, metric: str) -> dict[str, Any]:
        """Return what a metric is measured by: of the training orbits' name, what the held-out ones take from it."""
        found = super().yardstick(metric)
        if metric.startswith("train_"):
            phases = [(list(phase.window), phase.segment_length) for phase in self.resolved_phases()]
            other = {name: value for name, value in found.items() if self.yardstick_fields[name] != TRAINING}
            return {**other, "phases": [phase for phase, _ in itertools.groupby(phases)]}
        if metric.startswith("test_"):
            prefixes = metric_prefixes(self.test_names)
            names = [name for name, prefix in prefixes.items() if metric.startswith(prefix)]
            return {**found, "dataset": None, "test_datasets": names, "data_seed": None, "missing_tail": None}
        found |= {"dataset": None, "val_dataset": self.validation_name}
        if self.val_dataset != "training":
            found |= {"data_seed": None, "missing_tail": None}
        if _is_fetched(self.validation_name):
            found |= {"fix_nu0": None, "sampling": None}
        return found

    def num_steps(self) -> int:
        """Return the steps of all phases."""
        return sum(self.phase_steps())

    def phase_steps(self) -> tuple[int, ...]:
        """Return the steps of each phase."""
        return tuple(phase.steps for phase in self.resolved_phases())

    def check_data(self) -> None:
        """Raise ConfigError where a phase has no usable segment."""
        missing = num_missing(self.missing_tail)
        for index, phase in enumerate(self.resolved_phases()):
            if usable_starts(phase.window, phase.segment_length, missing):
                continue
            first, stop = window_samples(phase.window)
            there = min(stop, NUM_SAMPLES - missing) - first
            raise ConfigError(
                "segment_length",
                phase.segment_length,
                f"phase {index + 1} has no usable segment: its window {list(phase.window)} holds "
                f"{stop - first} samples, {max(there, 0)} of them not missing",
                f"2..{stop - first}" if there >= 2 else "a window with at least two samples that are not missing",
            )

    def selected_by(self) -> tuple[str, Literal["min", "max"]]:
        """Return the objective: the pointwise acceleration error on the validation orbits."""
        return "val_accel_error_pct", "min"

    def final_metrics(self) -> Mapping[str, str]:
        """Return the metrics of the test sets: name to one sentence."""
        return final_metric_names(self.test_names)

    def unused_fields(self) -> dict[str, str]:
        """Return the fields that have no effect here, and why: a search over one would repeat the same trial."""
        phases = self.curriculum
        unused = {}
        for name, strategy in (
            ("steps", "steps_strategy"),
            ("learning_rate", "lr_strategy"),
            ("segment_length", "segment_length_strategy"),
        ):
            if phases and all(getattr(phase, name) is not None for phase in phases):
                unused[name] = f"every phase of the curriculum gives its own {name}"
            elif getattr(self, strategy):
                unused[name] = f"{strategy} gives it for every phase"
        if self.solver == "adaptive":
            unused["substeps"] = "solver adaptive chooses its own steps"
        else:
            why = {"per_sample": "has a fixed step", "mesh": "places its steps by the data"}[self.solver]
            unused |= dict.fromkeys(("rtol", "atol", "max_steps"), f"solver {self.solver} {why}")
        if _is_fetched(self.dataset):
            unused["data_seed"] = "a fetched dataset is one draw"
        if self.loss != "percent_error_plus_nmse":
            unused["nmse_weight"] = f"loss {self.loss} has no such term"
        return unused


def _is_fetched(name: str) -> bool:
    try:
        return is_artifact(name)
    except ValueError as error:
        raise ConfigError("dataset", name, str(error)) from None


def _require_split(field: str, name: str, split: str) -> DatasetName | None:
    """Return the parts of a dataset's name; None for a fetched one, whose name says nothing."""
    if _is_fetched(name):
        return None
    try:
        parsed = parse_dataset(name)
    except ValueError as error:
        raise ConfigError(field, name, str(error)) from None
    if parsed.split != split:
        allowed = str(parsed._replace(split=split))
        raise ConfigError(field, name, f"is of split {parsed.split}, and this field takes split {split}", allowed)
    return parsed
