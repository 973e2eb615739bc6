"""The configuration of the recurrent dynamics model; imports no JAX."""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from trainables._shared.config import (
    HELD_OUT,
    NUMERIC,
    TRAINING,
    TRAINING_METRICS,
    Branching,
    ConfigError,
    MethodConfig,
)
from trainables._shared.data_files import Source
from trainables.gru_dynamics.layout import KINDS, Layout
from trainables.gru_dynamics.metric_names import HORIZON, final_metric_names, folder_names, validation_metric_names
from trainables.gru_dynamics.recordings import left_out, read_folder
from trainables.gru_dynamics.splits import split_indices

GENERATED = "double_cart_pole"
"""The name of the generated data set, and of its test set."""
SHORTEST = HORIZON + 1
"""Rows that a trajectory needs to be used: a free run's first state, and as many as it predicts."""
FEWEST = 3
"""Trajectories of a folder: one trains, one validates, one tests."""
Indices = Annotated[tuple[Annotated[int, Field(ge=0)], ...], Field(strict=False)]


class Config(MethodConfig):
    """A GRU that predicts a controlled mechanical system step by step from its last states and actions."""

    reported_metrics: ClassVar[Mapping[str, str]] = {
        **validation_metric_names(),
        "train_loss": "mean training loss since the last report",
        "train_mse": "mean square error over the trained horizon of training windows, weighted as loss_units says",
        **TRAINING_METRICS,
    }
    metric_modes: ClassVar[Mapping[str, Literal["min", "max"]]] = {
        **dict.fromkeys(validation_metric_names(), "min"),
        "train_loss": "min",
        "train_mse": "min",
    }

    yardstick_fields: ClassVar[Mapping[str, tuple[str, ...]]] = {
        **dict.fromkeys(("dataset", "folders", "data_seed", "samples"), (*HELD_OUT, *TRAINING)),
        **dict.fromkeys(tuple(KINDS), (*HELD_OUT, *TRAINING)),
        "num_trajectories": ("test_*baseline*", *TRAINING),
        "horizons": TRAINING,
        "loss_units": TRAINING,
        "loss_space": ("train_loss",),
    }
    predicts_by: ClassVar[Collection[str]] = ("history", "base_step", "linear_base")

    learning_rate: Annotated[float, Field(gt=0), NUMERIC] = 1e-3
    """AdamW's peak learning rate."""
    weight_decay: Annotated[float, Field(ge=0), NUMERIC] = 1e-5
    """AdamW's decoupled weight decay."""
    batch_size: int = Field(default=32, ge=1)
    """Windows of one optimiser step; all of them where the data has fewer."""
    report_every: int = Field(default=500, ge=1)
    """Optimiser steps between two reports (validation, early stopping, checkpoint)."""
    steps: int = Field(default=10_000, ge=1)
    """Optimiser steps of the whole training, shared out among the phases."""

    dataset: Literal["double_cart_pole", "csv"] = "double_cart_pole"
    """`double_cart_pole`: simulated with MuJoCo under smooth random controls; `csv`: recordings in `folders`."""
    folders: Annotated[tuple[Annotated[str, Field(min_length=1)], ...], Field(strict=False)] = ()
    """With dataset csv: absolute paths of folders of CSV files, a trajectory in each, with the columns timestamp,
    qpos_0,.., qvel_0,.., ctrl_0,..; several folders are trained on together, and tested one by one."""
    coordinates: Indices = (0,)
    """Which qpos are Cartesian coordinates: the model sees only how they differ within a window."""
    angles: Indices = (1, 2)
    """Which qpos are angles, in radians: the state has their cosine and sine."""
    velocities: Indices = (0, 1, 2)
    """Which qvel belong to the state; the qvel of a position's index is its rate."""
    controls: Indices = (0,)
    """Which ctrl are the action."""
    num_trajectories: int = Field(default=100, ge=1)
    """Training trajectories that are simulated; 16 to validate on and 16 to test on come besides. Of a folder, 80, 10
    and 10 percent of the trajectories train, validate and test."""
    samples: int = Field(default=500, ge=SHORTEST)
    """Rows of a simulated trajectory, 0.01 s apart."""
    data_seed: int = Field(default=0, ge=0)
    """Seed of the simulated training trajectories (those to validate and test on stay), or of the folders' split."""

    history: int = Field(default=11, ge=1, le=200)
    """Rows of states and actions that the GRU reads, from a zero hidden state, to predict each step; if fewer are
    known, the first state is repeated, without action."""
    horizons: Annotated[tuple[Annotated[int, Field(ge=1, le=200)], ...], Field(strict=False, min_length=1)] = (9,)
    """Steps ahead that training predicts, phase by phase: [1, 3, 9] is a curriculum of three phases. Validation always
    scores 9."""
    shares: Annotated[tuple[Annotated[float, Field(gt=0)], ...], Field(strict=False)] = ()
    """Shares of the steps that the phases have; empty for equal ones."""
    folder_draws: Literal["equal", "by_size"] = "equal"
    """How often training draws from each of several folders: equally, or as often as they have windows."""
    hidden: int = Field(default=128, ge=1)
    """Units of the GRU's state."""
    base_step: Annotated[Literal["constant_velocity", "persistence"], Branching()] = "constant_velocity"
    """What the network's output is added to: the state that goes on at its rates, or the last state itself. Untrained,
    the model predicts just that."""
    linear_base: bool = False
    """Whether the network's output is added, instead, to what a linear map of the history predicts: by least squares on
    the training data, with the ridge that validates best, as the baseline `linear`. Untrained, the model is that
    baseline, whose map stays as it is. It is trained from rows alone before which the history is known whole. It did
    not help on the double cart-pole: free runs of a linear map of several rows amplify what the network adds."""
    normalise: bool = True
    """Whether inputs are standardised and outputs in units of the training data's changes; false leaves both as they
    are."""
    loss_space: Annotated[Literal["delta", "state"], Branching()] = "delta"
    """Whether the loss is of the changes from step to step, or of the states that they add up to."""
    loss_units: Literal["standard", "data"] = "standard"
    """Units of the components' errors in the loss: standard deviations of the training data (of the changes, or of the
    states), or the data's own, in which fast velocities count most."""

    @model_validator(mode="after")
    def _check_indices(self) -> "Config":
        for name in KINDS:
            given = getattr(self, name)
            if len(set(given)) < len(given):
                raise ConfigError(name, list(given), "names an index twice", "each once")
            limit = {"angles": 3, "coordinates": 3, "velocities": 3, "controls": 1}[name]
            if self.dataset == GENERATED and max(given, default=0) >= limit:
                why = f"the double cart-pole has {KINDS[name]}_0 to {KINDS[name]}_{limit - 1}"
                raise ConfigError(name, list(given), why, f"0 to {limit - 1}")
        if both := sorted({*self.coordinates} & {*self.angles}):
            why = f"qpos_{both[0]} is one of the coordinates, too"
            raise ConfigError("angles", list(self.angles), why, "each qpos in one of both")
        if self.layout.num_states == 0:
            why = "neither coordinates nor angles nor velocities: there is no state"
            raise ConfigError("coordinates", list(self.coordinates), why, "some index")
        return self

    @model_validator(mode="after")
    def _check_folders(self) -> "Config":
        folders = list(self.folders)
        if (self.dataset == "csv") != bool(folders):
            rule = "are needed with dataset csv" if self.dataset == "csv" else "belong to dataset csv"
            allowed = "absolute paths of folders" if self.dataset == "csv" else "[], or dataset: csv"
            raise ConfigError("folders", folders, rule, allowed)
        for folder in folders:
            if not folder.startswith("/"):
                raise ConfigError("folders", folder, "workers need it in their own folders", "absolute paths")
        if len(set(folders)) < len(folders):
            raise ConfigError("folders", folders, "names a folder twice", "each once")
        return self

    @model_validator(mode="after")
    def _check_phases(self) -> "Config":
        if self.shares and len(self.shares) != len(self.horizons):
            why = f"there are {len(self.horizons)} horizons"
            raise ConfigError("shares", list(self.shares), why, f"[], or {len(self.horizons)} shares")
        if self.steps < len(self.horizons):
            why = f"there are {len(self.horizons)} phases (horizons)"
            raise ConfigError("steps", self.steps, why, f"at least {len(self.horizons)}")
        if self.dataset == GENERATED and max(self.horizons) >= self.samples:
            why = f"a trajectory has {self.samples} rows (samples)"
            raise ConfigError("horizons", list(self.horizons), why, f"at most {self.samples - 1}")
        return self

    @property
    def layout(self) -> Layout:
        """Which columns the states and actions are made of."""
        return Layout(self.coordinates, self.angles, self.velocities, self.controls)

    @property
    def test_sets(self) -> tuple[str, ...]:
        """Names of the test sets: the folders', or that of the simulated system."""
        return folder_names(self.folders) or (GENERATED,)

    def phase_steps(self) -> tuple[int, ...]:
        """Return the optimiser steps of each phase, at least one; they add up to `steps`."""
        shares = self.shares or (1.0,) * len(self.horizons)
        free = self.steps - len(shares)
        ends = [round(free * sum(shares[: k + 1]) / sum(shares)) for k in range(len(shares))]
        return tuple(1 + end - begin for begin, end in zip([0, *ends[:-1]], ends, strict=True))

    def num_steps(self) -> int:
        """Return the optimiser steps of the training."""
        return self.steps

    def needs(self) -> Mapping[str, str]:
        """Return MuJoCo, if it simulates the data."""
        return {"mujoco": "dataset"} if self.dataset == GENERATED else {}

    def check_task(self, task: Any) -> None:
        """Raise ConfigError if the task's states are others, or it holds out what is trained on."""
        if task.layout != self.layout:
            why = "has states or actions of other columns than the model"
            raise ConfigError("scored_on", self.scored_on, why, "the same coordinates, angles, velocities and controls")
        if set(task.folders) & set(self.folders) and task.data_seed != self.data_seed:
            why = "splits a folder that is trained on otherwise: what it holds out would be trained on"
            raise ConfigError("scored_on", self.scored_on, why, f"data_seed: {self.data_seed}, or other folders")

    def yardstick(self, metric: str) -> dict[str, Any]:
        """Return what a metric is measured by: other draws of simulated training data are held out on the same."""
        found = super().yardstick(metric)
        if self.dataset == GENERATED and metric.startswith("val_"):
            found.pop("data_seed", None)
        return found

    def for_training(self) -> Self:
        """Return the config that traced training gets: phases and data are told apart by their shapes."""
        unread = ("report_every", "steps", "horizons", "shares", "num_trajectories", "samples", "data_seed")
        return super().for_training().model_copy(update=self._defaults((*unread, "normalise", "loss_units")))

    def for_evaluation(self) -> Self:
        """Return the config that evaluation gets: also what only training reads at its default."""
        unread = ("batch_size", "schedule", "warmup_steps", "clip_norm", "folder_draws")
        return self.for_training().model_copy(update=self._defaults(unread))

    @classmethod
    def _defaults(cls, names: Collection[str]) -> dict[str, Any]:
        return {name: cls.model_fields[name].default for name in names}

    def check_data(self) -> None:
        """Raise ConfigError, with file, line and column, where a folder cannot be read or has too few trajectories."""
        for index, folder in enumerate(self.folders):
            earlier = [other for other in self.folders[:index] if Path(other).resolve() == Path(folder).resolve()]
            if earlier:
                raise ConfigError("folders", folder, f"is the same folder as {earlier[0]}", "each once")
            found = read_folder(folder, self.layout, self.folders[:1])
            lengths = [len(states) for states in found.states]
            source = Source(folder, "folders")
            usable = [length for length in lengths if length >= SHORTEST]
            if len(usable) < FEWEST:
                why = f"{len(usable)} of its {len(lengths)} trajectories have {SHORTEST} rows or more"
                raise source.error(why, f"at least {FEWEST}: one trains, one validates, one tests")
            longest = max(usable[k] for k in split_indices(len(usable), self.data_seed)["train"])
            if longest <= max(self.horizons):
                why = f"the longest training trajectory of {folder} has {longest} rows"
                raise ConfigError("horizons", list(self.horizons), why, f"at most {longest - 1}")

    def data_warnings(self) -> tuple[str, ...]:
        """Return what a user must know of the folders' files; raises ConfigError if one cannot be read.

        Unlike `check_data` it takes each folder by itself, and any number of trajectories: models are evaluated on it.
        """
        found: list[str] = []
        for folder in self.folders:
            read = read_folder(folder, self.layout)
            lengths = [len(states) for states in read.states]
            found += (*read.warnings, *left_out(Source(folder, "folders"), lengths, SHORTEST))
        return tuple(found)

    def selected_by(self) -> tuple[str, Literal["min", "max"]]:
        """Return the objective: the free-running error over a fixed horizon, whatever horizon was trained."""
        return "val_free_running_mse", "min"

    def final_metrics(self) -> Mapping[str, str]:
        """Return the metrics of each test set, the baselines' among them: name to one sentence."""
        return final_metric_names(self.task().test_sets)

    def unused_fields(self) -> dict[str, str]:
        """Return the fields that have no effect here, and why: a search over one would repeat the same trial."""
        unused = {}
        if self.dataset == "csv":
            unused |= dict.fromkeys(("num_trajectories", "samples"), "the folders say how many there are")
        if len(self.folders) < 2:
            unused["folder_draws"] = "there is one data set"
        if len(self.horizons) < 2:
            unused["shares"] = "there is one phase"
        if self.linear_base:
            unused["base_step"] = "the linear map (linear_base) is what the output is added to"
        elif all(place < 0 for place in self.layout.rates):
            unused["base_step"] = "no velocity is the rate of a position: both are the same"
        return unused
