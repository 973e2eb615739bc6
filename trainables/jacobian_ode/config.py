"""The configuration of the Jacobian method; imports no JAX."""

from collections.abc import Collection, Mapping
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from trainables._shared.artifact_names import is_artifact
from trainables._shared.config import HELD_OUT, NUMERIC, TRAINING, TRAINING_METRICS, ConfigError, MethodConfig
from trainables.jacobian_ode.metric_names import final_metric_names
from trainables.jacobian_ode.recordings import Recording, read_recording, recording_warnings
from trainables.jacobian_ode.systems import SYSTEMS, System

PAPER_HIDDEN = (256, 1024, 2048, 2048)
"""Hidden layers of the paper's networks, for a GPU."""
USUAL_INIT_STEPS = 15
"""Where held-out free runs start, unless the config says otherwise or more samples are given."""
NODES: Mapping[str, int] = {"trapezoid": 20, "simpson": 21}
NODES_OF_SPLINE: Mapping[str, int] = {"trapezoid": 4}
"""Nodes of a rule that is given without their number, if the default is too few of them."""
FREE_RUNS = ("val_*free_running_mse", "val_*one_step*", "val_*persistence_mse")
"""Patterns of the metrics of free runs."""
Widths = Annotated[tuple[Annotated[int, Field(ge=1)], ...], Field(strict=False, min_length=1)]


class Config(MethodConfig):
    """Dynamics through a learned Jacobian (Eisen et al. 2025, arXiv 2507.01946)."""

    reported_metrics: ClassVar[Mapping[str, str]] = {
        "val_free_running_mse": "mean square error of the free run over `horizon` samples from given ones, on "
        "noise-free validation trajectories, in variances of the training data",
        "val_one_step_mse": "mean square error of the first sample of those runs, in variances of the training data",
        "val_persistence_mse": "the same error where the last given sample is the prediction",
        "val_one_step_over_persistence": "val_one_step_mse over val_persistence_mse: at most 1 where the model knows "
        "more than persistence",
        **{
            f"val_noisy_{name}": f"val_{name} on validation trajectories that have the noise of the training data"
            for name in ("free_running_mse", "one_step_mse", "persistence_mse", "one_step_over_persistence")
        },
        "val_loop_loss": "mean square of the integrals of J around closed loops of validation states, in variances of "
        "the training data per unit of time squared; the loops and the rule are the same for every trial",
        "val_loop_loss_over_sqrt_n": "val_loop_loss over the root of the number of components",
        "val_eigenvalue_share": "share of J's eigenvalues at validation states with real part <= -1/dt",
        "val_jacobian_error": "mean Frobenius norm of J's error at validation states; NaN where the exact J is unknown",
        "val_jacobian_error_pct": "mean of that norm over the mean of the exact J's, in percent; NaN as above",
        "train_loss": "mean training loss since the last report, in variances of the training data",
        "train_trajectory": "mean square error of the predicted samples, in variances of the training data",
        "train_loop": "loop-closure loss before its weight, units as of val_loop_loss; 0 where it is not computed",
        "train_pair": "mean square of what the field's differences between windows leave of the integrals of J between "
        "them, before its weight, units as of val_loop_loss; 0 where its weight is",
        "train_jacobian": "mean square Frobenius norm of J before its weight, per unit of time squared; 0 where its "
        "weight is",
        "train_l1": "sum of the absolute weights of the network; 0 where its weight is",
        "train_alpha": "mean share of the observed sample in generalised teacher forcing",
        **TRAINING_METRICS,
    }
    metric_modes: ClassVar[Mapping[str, Literal["min", "max"]]] = {
        "val_free_running_mse": "min",
        "val_one_step_mse": "min",
        "val_one_step_over_persistence": "min",
        "val_noisy_free_running_mse": "min",
        "val_noisy_one_step_mse": "min",
        "val_noisy_one_step_over_persistence": "min",
        "val_loop_loss": "min",
        "val_loop_loss_over_sqrt_n": "min",
        "val_jacobian_error": "min",
        "val_jacobian_error_pct": "min",
        "train_loss": "min",
        "train_trajectory": "min",
        "train_loop": "min",
    }

    later_fields: ClassVar[Mapping[str, Any]] = {
        "stages": "straight_lines",
        "spline_quadrature": "trapezoid",
        "free_run_start": USUAL_INIT_STEPS,
        "validation": "clean",
        "data_seed": 0,
        "smoothing": 1,
        "base_point": "two_ends",
        "release": 0.0,
        "loop_weight_start": 1.0,
        "pair_weight": 0.0,
        "anchor": "window",
    }

    yardstick_fields: ClassVar[Mapping[str, tuple[str, ...]]] = {
        # The training trajectories too: errors are in units of their variance.
        **dict.fromkeys(("system", "dimension", "file", "file_pieces", "data_seed"), (*HELD_OUT, *TRAINING)),
        **dict.fromkeys(("trajectories", "periods", "points_per_period"), (*HELD_OUT, *TRAINING)),
        "horizon": FREE_RUNS,
        **dict.fromkeys(("traj_init_steps", "free_run_start"), (*FREE_RUNS, "test_*mse_*")),
        "test_horizons": ("test_*mse_*",),
        "noise": ("val_noisy_*", "test_lwlr_*", *TRAINING),
        "smoothing": ("test_lwlr_*", *TRAINING),
        "sequence_length": TRAINING,
        **dict.fromkeys(("gamma", "release", "alpha_min"), ("train_trajectory", "train_loss")),
        "model": ("train_loop", "train_pair", "train_loss"),
        **dict.fromkeys(("loop_closure", "loop_weight"), ("train_loop", "train_loss")),
        **dict.fromkeys(("loop_points", "loop_inner_points", "quadrature"), ("train_loop", "train_loss")),
        "loop_weight_start": ("train_loss",),
        **dict.fromkeys(("pair_weight", "anchor"), ("train_pair", "train_loss")),
        "jacobian_weight": ("train_jacobian", "train_loss"),
        "l1_weight": ("train_l1", "train_loss"),
    }
    yardstick_advice: ClassVar[Mapping[str, str]] = {
        "traj_init_steps": "base.free_run_start as large as the largest of them, where every free run then starts"
    }
    predicts_by: ClassVar[Collection[str]] = (
        *("traj_init_steps", "quadrature", "inner_points", "stages", "spline_quadrature", "spline_points"),
        *("base_point", "anchor", "smoothing"),
    )

    system: Literal["lorenz", "van_der_pol", "lorenz96", "file"] = "lorenz"
    """Where trajectories come from: Lorenz's system, Van der Pol's oscillator, Lorenz-96, or recordings in `file`."""
    dimension: int = Field(default=12, ge=1)
    """Components of Lorenz-96 (at least 4), or of the recordings in `file`."""
    file: str | None = None
    """With system file: an absolute path to .npz (arrays `x` (trajectories, samples, n) or (samples, n) and `t`, or
    `dt`) or .csv (header trajectory,t,NAME,..., `trajectory` may be missing); or wandb:ENTITY/PROJECT/NAME:VERSION."""
    file_pieces: int = Field(default=1, ge=1)
    """Pieces that each recording is cut into, one after the other in time, before they are split: a single recording
    needs at least 3."""
    trajectories: int = Field(default=32, ge=3)
    """Initial conditions of a generated data set, split into training, validation and test."""
    periods: int = Field(default=12, ge=1)
    """Length of a generated trajectory in typical periods of its system."""
    points_per_period: int = Field(default=100, ge=4)
    """Samples of a period, evenly spaced in time."""
    data_seed: int = Field(default=0, ge=0)
    """Seed of the initial conditions, of which trajectories train, validate and test, and of the noise."""
    noise: Annotated[float, Field(ge=0), NUMERIC] = 0.0
    """Standard deviation of the noise on the trajectories, over that of the signal: 0.05 is 5 %. Every sample keeps its
    noise. Test trajectories are free of it; validation is made with it and without it."""
    smoothing: int = Field(default=1, ge=1, examples=[5, 11])
    """Samples (an odd number) of the window in which a cubic smooths the training trajectories, and the given samples
    of noisy validation; 1 leaves them as they are."""
    validation: Literal["noisy", "clean"] = "noisy"
    """Which free-running error picks the best step of a training: on validation trajectories with the noise of the
    training data, or without it, which no recording offers."""

    model: Literal["jacobian", "neural_ode"] = "jacobian"
    """`jacobian`: the network's outputs are J; `neural_ode`: they are the vector field, whose J is its derivative (the
    baseline of equal size, of which every loop closes by construction)."""
    hidden: Literal["paper"] | Widths = (256, 256)
    """Units of each hidden layer; `paper` is [256, 1024, 2048, 2048]."""

    traj_init_steps: int = Field(default=15, ge=3)
    """Given samples at the start of a sequence, from which the vector field at the last of them is estimated."""
    sequence_length: int = Field(default=25, ge=4)
    """Samples of a training sequence; those after the given ones are predicted."""
    horizon: int = Field(default=25, ge=1)
    """Samples of the free runs that validation scores."""
    free_run_start: int = Field(default=USUAL_INIT_STEPS, ge=3)
    """Samples of a held-out trajectory before its free runs start, if `traj_init_steps` are not more: trials that
    differ in these up to there are scored on the same runs."""
    test_horizons: Annotated[tuple[Annotated[int, Field(ge=1)], ...], Field(strict=False, min_length=1)] = (
        1,
        5,
        10,
        25,
        50,
    )
    """Samples after the given ones at which free runs of the test trajectories are scored."""
    # Of a learned J, four nodes are more exact than 20 of the trapezoid: 280 times on Lorenz's lines, four times on Van
    # der Pol's.
    quadrature: Literal["trapezoid", "simpson", "gauss_legendre"] = "gauss_legendre"
    """Rule of the integrals along straight lines, in the vector field and in loops."""
    inner_points: int = Field(default=4, ge=2)
    """Nodes of the integral from the base point to a state; where it is not given, 20 with the trapezoid and 21 with
    Simpson's rule."""
    stages: Literal["along_step", "straight_lines"] = "along_step"
    """Where the vector field within an RK4 step comes from: `along_step` integrates it to the step's first state and
    follows it from there (df/dt = J f), one node for each further stage; `straight_lines` integrates it from the base
    point to every stage."""
    spline_quadrature: Literal["trapezoid", "gauss_legendre"] = "gauss_legendre"
    """Rule of the integral along the spline through the given samples, within each interval between two of them."""
    spline_points: int = Field(default=2, ge=2)
    """Nodes of each such interval, both ends included with the trapezoid; where it is not given, 4 with that."""
    base_point: Literal["two_ends", "least_squares"] = "two_ends"
    """What a run starts from: `two_ends` is the last given sample, and of a learned J the vector field there from that
    and the first one; `least_squares` fits state and field to all of the given samples."""
    anchor: Literal["window", "learned"] = "window"
    """Where the vector field is known that a learned J is integrated from: `window` is the last given sample of each
    run, where it is estimated from the given ones; `learned` is the mean of the training data, where it is a parameter,
    so that a run depends on its given samples by its start alone."""

    loop_closure: bool = True
    """Whether loops are closed at all: false leaves loop_weight without effect, as a weight of 0 does."""
    loop_weight: Annotated[float, Field(ge=0), NUMERIC] = 1e-3
    """Weight of the loop-closure loss; with 0 no loop is computed."""
    loop_weight_start: Annotated[float, Field(ge=0), NUMERIC] = 1.0
    """Share of loop_weight while alpha is 1: the weight is loop_weight (1 - alpha + alpha loop_weight_start)."""
    loop_points: int = Field(default=20, ge=3)
    """States drawn from the batch for one loop."""
    loop_inner_points: int = Field(default=4, ge=2)
    """Nodes of the integral along one segment of a loop; where it is not given, as many as of `inner_points` then."""
    pair_weight: Annotated[float, Field(ge=0), NUMERIC] = 0.0
    """Weight of the pair loss: between the base points of two sequences of a batch the integral of J is the difference
    of the vector field, which each of the two estimates by itself; with 0 it is not computed."""
    jacobian_weight: Annotated[float, Field(ge=0), NUMERIC] = 0.0
    """Weight of the mean square Frobenius norm of J at the states of the batch."""
    l1_weight: Annotated[float, Field(ge=0), NUMERIC] = 0.0
    """Weight of the sum of the absolute weights of the network, biases left out."""

    steps: int = Field(default=2000, ge=1)
    """Optimiser steps."""
    batch_size: int = Field(default=16, ge=1)
    """Sequences of one optimiser step, and loops."""
    learning_rate: Annotated[float, Field(gt=0), NUMERIC] = 1e-4
    """AdamW's learning rate while alpha is 1."""
    learning_rate_min: Annotated[float, Field(ge=0), NUMERIC] = 1e-6
    """The learning rate that is left when alpha is 0."""
    learning_rate_k: Annotated[float, Field(ge=0), NUMERIC] = 1.0
    """k in the share alpha / (alpha + (1 - alpha) exp(-k alpha)) of the way between the two learning rates."""
    weight_decay: Annotated[float, Field(ge=0), NUMERIC] = 1e-4
    """AdamW's decoupled weight decay."""
    gamma: Annotated[float, Field(ge=0, le=1), NUMERIC] = 0.999
    """Share of alpha that stays at each of its updates, every 5 steps: 1 - gamma is how fast the forcing is let go."""
    release: Annotated[float, Field(ge=0, le=1), NUMERIC] = 0.0
    """Share of the steps after which gamma would leave a hundredth of alpha; with 0 gamma is what it says itself."""
    alpha_min: Annotated[float, Field(ge=0, le=1), NUMERIC] = 0.0
    """The least alpha."""

    @model_validator(mode="before")
    @classmethod
    def _as_many_nodes_as_the_rule_needs(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        lines, spline = (
            NODES.get(str(values.get("quadrature"))),
            NODES_OF_SPLINE.get(str(values.get("spline_quadrature"))),
        )
        needed = {"inner_points": lines, "loop_inner_points": lines, "spline_points": spline}
        return {name: num for name, num in needed.items() if num is not None} | values

    @model_validator(mode="after")
    def _check_lengths(self) -> "Config":
        if self.sequence_length <= self.traj_init_steps:
            raise ConfigError(
                "sequence_length",
                self.sequence_length,
                f"must be more than traj_init_steps, which is {self.traj_init_steps}: nothing would be predicted",
                f"at least {self.traj_init_steps + 1}",
            )
        if len(set(self.test_horizons)) < len(self.test_horizons):
            raise ConfigError("test_horizons", list(self.test_horizons), "names a horizon twice", "each once")
        if self.smoothing != 1 and (self.smoothing < 5 or self.smoothing % 2 == 0):
            why = "is no window that a cubic smooths: it goes through four samples, and a window has a middle"
            raise ConfigError("smoothing", self.smoothing, why, "1, 5, 7, 9, ...")
        if self.learning_rate_min > self.learning_rate:
            raise ConfigError(
                "learning_rate_min",
                self.learning_rate_min,
                f"must not exceed learning_rate, which is {self.learning_rate:g}",
                f"0 to {self.learning_rate:g}",
            )
        if self.quadrature == "simpson":
            for name in ("inner_points", "loop_inner_points"):
                num = getattr(self, name)
                if num % 2 == 0:
                    why = "must be odd with quadrature simpson, whose panels have two intervals"
                    raise ConfigError(name, num, why, f"{num - 1}, {num + 1}" if num > 2 else "3")
        return self

    @model_validator(mode="after")
    def _check_source(self) -> "Config":
        if self.system == "lorenz96" and self.dimension < 4:
            raise ConfigError("dimension", self.dimension, "Lorenz-96 couples four neighbours", "at least 4")
        if self.system != "file":
            if self.file is not None:
                raise ConfigError("file", self.file, f"given with system {self.system}, which is generated", "null")
            return self
        if self.file is None:
            raise ConfigError("file", None, "system file needs a file", "an absolute path to .npz or .csv")
        try:
            fetched = is_artifact(self.file)
        except ValueError as error:
            raise ConfigError("file", self.file, str(error)) from None
        if not fetched and not (self.file.startswith("/") and self.file.endswith((".npz", ".csv"))):
            why = "trials run in folders of their own, so a path must be absolute, and end in .npz or .csv"
            raise ConfigError("file", self.file, why, "/FOLDER/NAME.npz, /FOLDER/NAME.csv, wandb:...")
        return self

    @property
    def known_system(self) -> System | None:
        """The system whose vector field is known; None for recordings."""
        return None if self.system == "file" else SYSTEMS[self.system]

    @property
    def is_fetched(self) -> bool:
        """Whether the recordings come from W&B."""
        return self.file is not None and is_artifact(self.file)

    @property
    def widths(self) -> tuple[int, ...]:
        """Units of each hidden layer."""
        return PAPER_HIDDEN if self.hidden == "paper" else self.hidden

    @property
    def num_components(self) -> int:
        """Components of a state."""
        known = self.known_system
        return known.dimension or self.dimension if known else self.dimension

    @property
    def base_sample(self) -> int:
        """Samples of a held-out window up to where its free run starts: the given ones are the last of them."""
        return max(self.traj_init_steps, self.free_run_start)

    @property
    def window(self) -> int:
        """Samples that a held-out trajectory needs: those up to its base point and the longest free run."""
        return self.base_sample + max(self.horizon, *self.test_horizons)

    def check_task(self, task: Any) -> None:
        """Raise ConfigError if the task has other components, or holds out other pieces of the file trained on."""
        if task.num_components != self.num_components:
            why = f"has trajectories of {task.num_components} components, and the model is of {self.num_components}"
            raise ConfigError("scored_on", self.scored_on, why, "a system of as many components")
        if self.file is not None and task.file == self.file and task.file_pieces != self.file_pieces:
            why = "cuts the file that is trained on into other pieces: what it holds out would be trained on"
            raise ConfigError("scored_on", self.scored_on, why, f"file_pieces: {self.file_pieces}, or another file")
        if self.file is not None and task.file == self.file and task.data_seed != self.data_seed:
            why = "splits the file that is trained on otherwise: what it holds out would be trained on"
            raise ConfigError("scored_on", self.scored_on, why, f"data_seed: {self.data_seed}, or another file")

    def yardstick(self, metric: str) -> dict[str, Any]:
        """Return what a metric is measured by: where its free runs start, and those loops and pairs that there are."""
        found = super().yardstick(metric)
        if "free_run_start" in found:
            found = {**found, "traj_init_steps": None, "free_run_start": self.base_sample}
        if metric in ("train_loop", "train_loss"):
            weight = self.loop_weight if self.loop_closure and self.model == "jacobian" else 0.0
            rule = {"loop_points": self.loop_points, "quadrature": [self.quadrature, self.loop_inner_points]}
            loops = {"loop_weight": weight, **rule} if weight else {"loop_weight": 0.0}
            names = ("model", "loop_closure", "loop_weight", "loop_points", "loop_inner_points", "quadrature")
            rest = {name: value for name, value in found.items() if name not in names}
            found = {**rest, **(loops if metric == "train_loss" else {**loops, "loop_weight": weight > 0})}
        if metric in ("train_pair", "train_loss"):
            weight = self.pair_weight if self.model == "jacobian" and self.anchor == "window" else 0.0
            rest = {name: value for name, value in found.items() if name not in ("model", "anchor")}
            found = {**rest, "pair_weight": weight if metric == "train_loss" else weight > 0}
        for name in ("jacobian", "l1"):
            if metric == f"train_{name}":
                found[f"{name}_weight"] = getattr(self, f"{name}_weight") > 0
        return found

    def for_training(self) -> Self:
        """Return the config that traced training gets: the host alone draws data, smooths them and picks steps."""
        unread = ("data_seed", "smoothing", "validation")
        fields = type(self).model_fields
        return super().for_training().model_copy(update={name: fields[name].default for name in unread})

    def num_steps(self) -> int:
        """Return the optimiser steps."""
        return self.steps

    def check_data(self) -> None:
        """Raise ConfigError where the data cannot be read, or its trajectories are too few or too short."""
        if self.system != "file":
            self.check_samples([self.periods * self.points_per_period] * self.trajectories, "periods", self.periods)
        elif self.file is not None and not self.is_fetched:
            self.check_recording(read_recording(self.file))

    def data_warnings(self) -> tuple[str, ...]:
        """Return what a user must know of the file, once `check_data` has not refused it."""
        if self.file is None or self.is_fetched:
            return ()
        return recording_warnings(self.file, self.file_pieces, self.data_seed)

    def check_recording(self, recording: Recording) -> None:
        """Raise ConfigError where a recording has other components, or too few or too short trajectories once cut."""
        if recording.num_components != self.dimension:
            why = f"{self.file} has {recording.num_components} components"
            raise ConfigError("dimension", self.dimension, why, str(recording.num_components))
        lengths = [len(x) for x in recording.x]
        pieces = [length // self.file_pieces for length in lengths for _ in range(self.file_pieces)]
        if len(pieces) < 3:
            why = f"leaves {len(pieces)} of the 3 pieces that training, validation and test need"
            raise ConfigError("file_pieces", self.file_pieces, why, f"at least {-(-3 // len(lengths))}")
        self.check_samples(pieces, "file_pieces" if self.file_pieces > 1 else "file", self.file_pieces)

    def check_samples(self, lengths: list[int], field: str, value: object) -> None:
        """Raise ConfigError where a trajectory is shorter than a window of held-out data or a training sequence."""
        shortest = min(lengths)
        needed = max(self.window, self.sequence_length, self.smoothing)
        if shortest < needed:
            why = f"its shortest trajectory has {shortest} samples; "
            longest = max(("sequence_length", "smoothing"), key=lambda name: getattr(self, name))
            if getattr(self, longest) == needed > self.window:
                why += f"{longest} needs {needed}"
                allowed = f"longer trajectories, or a smaller {longest}"
            else:
                horizon = self.window - self.base_sample
                why += (
                    f"{self.base_sample} up to where a free run starts, and the longest of horizon and test_horizons "
                )
                why += f"({horizon}), need {needed}"
                allowed = "longer trajectories, or smaller horizons"
            raise ConfigError(field, self.file if field == "file" else value, why, allowed)

    def selected_by(self) -> tuple[str, Literal["min", "max"]]:
        """Return the free-running error on the validation trajectories, with noise or without."""
        return ("val_noisy_free_running_mse" if self.validation == "noisy" else "val_free_running_mse"), "min"

    def final_metrics(self) -> Mapping[str, str]:
        """Return the metrics of the test trajectories: name to one sentence."""
        return final_metric_names(self.test_horizons, self.num_components, self.system != "file")

    def unused_fields(self) -> dict[str, str]:
        """Return the fields that have no effect here, and why: a search over one would repeat the same trial."""
        unused = {}
        if self.system not in ("lorenz96", "file"):
            unused["dimension"] = f"system {self.system} says it"
        if self.system == "file":
            unused |= dict.fromkeys(("trajectories", "periods", "points_per_period"), "recordings are as they are")
        else:
            unused["file_pieces"] = f"system {self.system} has no recordings"
        if self.free_run_start < self.traj_init_steps:
            unused["free_run_start"] = f"{self.traj_init_steps} samples are given before a free run starts"
        loops = ("loop_weight", "loop_weight_start", "loop_points", "loop_inner_points")
        if not self.loop_closure:
            unused |= dict.fromkeys(loops[:2], "loop_closure is false")
        elif self.loop_weight == 0:
            unused["loop_weight_start"] = "loop_weight is 0"
        if self.release > 0:
            unused["gamma"] = "release says how fast alpha is let go"
        if self.batch_size == 1:
            unused["pair_weight"] = "a batch of one sequence has no pair"
        if self.anchor == "learned":
            unused["pair_weight"] = "the field is not estimated in each sequence: anchor is learned"
            if self.base_point == "two_ends":
                why = "a run starts at the last given sample, and its field is not estimated: anchor is learned"
                unused |= dict.fromkeys(("spline_quadrature", "spline_points"), why)
        if self.model == "neural_ode":
            unused |= dict.fromkeys(
                ("loop_closure", *loops, "pair_weight", "anchor", "quadrature", "inner_points", "stages"),
                "a neural ODE's vector field is its network, and every loop of its J closes",
            )
            if self.base_point == "two_ends":
                why = "a neural ODE starts at the last given sample"
                unused |= dict.fromkeys(("spline_quadrature", "spline_points"), why)
        return unused
