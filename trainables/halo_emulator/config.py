"""The configuration of the halo emulator; imports no JAX."""

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
from trainables.halo_emulator.metric_names import BASELINES, SCORE_MODES, SCORES, final_metric_names
from trainables.halo_emulator.wanted import SUFFIXES, Wanted

DatasetName = Literal["generated", "file"]
QuantityName = Literal["gas", "total"]
TransformName = Literal["log", "asinh"]
NormalisationName = Literal["standard", "robust"]
ModelName = Literal["mlp", "grouped"]
ActivationName = Literal["silu", "gelu", "tanh"]
LossName = Literal["nll", "huber", "mse"]

NUM_PARAMETERS = 35
"""Cosmological and astrophysical parameters of generated simulations."""
FEWEST_GP_HALOES = 10
_GENERATED = ("quantity", "num_simulations", "num_held_out", "haloes_per_simulation", "scatter")


class Config(MethodConfig):
    """An emulator of halo profiles: from parameters, mass and power spectra to mean and variance of each bin."""

    reported_metrics: ClassVar[Mapping[str, str]] = {
        **{f"val_{name}": f"{what}; validation simulations" for name, what in SCORES.items()},
        "val_disagreement_dex": "root mean square spread of the members' means, in dex; validation simulations",
        "train_loss": "mean training loss of a member since the last report",
        "train_fit": "the loss's Huber or squared error part of standardised profiles; 0 with loss nll",
        "train_nll": "negative log likelihood of a bin of standardised profiles, with dropout and input noise",
        "train_smoothness": "mean square second difference of the predicted mean along the radius, in dex^2",
        "train_boundary": "mean square error of the slopes between the two bins at either end, in dex^2",
        "train_mass_scaling": "mean square of d log profile / d log mass less mass_exponent; 0 while its weight is",
        "train_monotone": "mean square of what the predicted mean increases by from one bin to the next, in dex^2",
        "train_physics": "what the physics weights are multiplied by: the curriculum so far",
        **TRAINING_METRICS,
    }
    metric_modes: ClassVar[Mapping[str, Literal["min", "max"]]] = {
        **{f"{where}_{name}": mode for where in ("val", "test") for name, mode in SCORE_MODES.items()},
        "train_loss": "min",
    }
    yardstick_fields: ClassVar[Mapping[str, tuple[str, ...]]] = {
        **dict.fromkeys(
            ("dataset", "file", "quantity", "num_held_out", "haloes_per_simulation", "scatter"),
            (*HELD_OUT, *TRAINING),
        ),
        **dict.fromkeys(("num_parameters", "num_ratios", "num_bins"), (*HELD_OUT, *TRAINING)),
        **dict.fromkeys(("transform", "asinh_scale"), (*HELD_OUT, *TRAINING)),
        # A file's split; generated simulations are validated and tested on the same ones.
        "data_seed": (*HELD_OUT, *TRAINING),
        "num_simulations": ("test_baseline*", *TRAINING),
        "gp_haloes": ("test_baseline*",),
        "normalisation": TRAINING,
        "loss": ("train_loss", "train_fit"),
        **dict.fromkeys(("huber_delta",), ("train_loss", "train_fit")),
        **dict.fromkeys(
            ("smoothness_weight", "boundary_weight", "mass_scaling_weight", "monotone_weight", "physics_start"),
            ("train_loss", "train_physics"),
        ),
        "physics_full": ("train_loss", "train_physics"),
        "mass_exponent": ("train_loss", "train_mass_scaling"),
        **dict.fromkeys(("dropout", "input_noise"), ("train_loss", "train_nll", "train_fit")),
    }
    predicts_by: ClassVar[Collection[str]] = ("activation",)

    learning_rate: Annotated[float, Field(gt=0), NUMERIC] = 2e-3
    """AdamW's peak learning rate."""
    weight_decay: Annotated[float, Field(ge=0), NUMERIC] = 1.0
    """AdamW's decoupled weight decay."""
    schedule: Literal["constant", "cosine", "linear"] = "cosine"
    """Shape of the learning rate over the training, after the warm-up."""
    steps: int = Field(default=1500, ge=1)
    """Optimiser steps."""
    report_every: int = Field(default=150, ge=1)
    """Optimiser steps between two reports (validation, early stopping, checkpoint)."""

    dataset: DatasetName = "generated"
    """`generated`: haloes of Sobol-sampled simulations, by colossus and a gas profile that follows the feedback
    parameters; `file`."""
    file: str | None = None
    """With dataset file: absolute path of an .npz or HDF5 file with params (haloes, parameters), mass (haloes) in solar
    masses, pk_ratio (haloes, ratios), profile (haloes, bins) and sim (haloes), the simulation of each; split by
    simulation, 70, 15 and 15 percent."""
    num_parameters: int = Field(default=NUM_PARAMETERS, ge=1)
    """Parameters of a simulation; generated ones have 35."""
    num_ratios: int = Field(default=79, ge=1)
    """Power spectrum ratios of a simulation."""
    num_bins: int = Field(default=21, ge=3)
    """Radial bins of a profile."""
    quantity: QuantityName = "gas"
    """What the generated profiles are of, in units of the critical density: gas, or gas and dark matter."""
    num_simulations: int = Field(default=256, ge=1)
    """Generated training simulations."""
    num_held_out: int = Field(default=64, ge=1)
    """Generated simulations to validate on, and as many to test on."""
    haloes_per_simulation: int = Field(default=68, ge=1)
    """Haloes of a generated simulation."""
    scatter: float = Field(default=0.1, ge=0.0, le=1.0)
    """Scatter of generated profiles from halo to halo in dex, at 10^15 solar masses; it is twice as large at 10^13."""
    data_seed: int = Field(default=0, ge=0, lt=2**31)
    """Seed of the generated training simulations, all of which are validated and tested on the same; of a file's split.
    """
    transform: TransformName = "log"
    """What is emulated: log10 of the profile, or asinh(profile / asinh_scale) / ln 10, which takes either sign."""
    asinh_scale: float = Field(default=1.0, gt=0)
    """With transform asinh: the profile's value at which it turns from linear to logarithmic."""
    normalisation: NormalisationName = "standard"
    """Statistics that inputs and targets are divided by: mean and standard deviation, or median and 1.4826 times the
    median absolute deviation."""
    engineered: bool = False
    """Further inputs: the ratio of the matter densities of `density_columns`, the square of log10 mass about 14, mean
    and standard deviation of the power spectrum ratios."""
    density_columns: tuple[int, int] = (0, 6)
    """With engineered: columns of params, from 0, with the densities of all matter and of baryons."""

    model: ModelName = "grouped"
    """`mlp`: one network over all inputs; `grouped`: encoders of their own for parameters, mass and power spectrum
    ratios, and a layer that mass scales and shifts."""
    attention: bool = False
    """With model grouped: attention over the parameters, each a token, instead of an MLP."""
    members: int = Field(default=5, ge=1)
    """Members of the ensemble, trained side by side, each with initial weights, dropout and noise of its own."""
    first_member: Annotated[int, Field(ge=0, lt=2**20), NUMERIC] = 0
    """Number of the first member: 3 with members 1 trains the fourth member of an ensemble alone."""
    bootstrap: bool | None = False
    """Whether each member weighs the training simulations by its own Poisson(1) draws; null: if there are several
    members."""
    width: int = Field(default=128, ge=2)
    """Units of the first hidden layer."""
    depth: int = Field(default=2, ge=1)
    """Hidden layers."""
    halving: bool = True
    """Whether each hidden layer has half of the units of the one before."""
    activation: Annotated[ActivationName, Branching()] = "silu"
    """Activation of the hidden layers; silu is also called swish."""
    dropout: Annotated[float, Field(ge=0, lt=1), NUMERIC] = 0.05
    """Share of the hidden units that a training step leaves out."""

    loss: Annotated[LossName, Branching()] = "nll"
    """`nll`: Gaussian negative log likelihood; `huber`, `mse`: of the mean alone. With these, a variance is learnt
    beside, by the likelihood with the mean and the hidden layers held fixed."""
    huber_delta: Annotated[float, Field(gt=0), NUMERIC] = 1.0
    """With loss huber: error beyond which it is linear, in units of the standardised profile."""
    member_clip_norm: Annotated[float, Field(gt=0), NUMERIC] = 1.0
    """Largest norm of each member's gradient; clip_norm, of all members together, would make them depend on each
    other."""
    input_noise: Annotated[float, Field(ge=0), NUMERIC] = 0.0
    """Standard deviation of the noise that is added to standardised inputs in training, drawn anew in each step."""
    smoothness_weight: Annotated[float, Field(ge=0), NUMERIC] = 0.0
    """Weight of the square of the predicted mean's second differences along the radius."""
    boundary_weight: Annotated[float, Field(ge=0), NUMERIC] = 0.0
    """Weight of the squared error of the slope between the two bins at either end."""
    mass_scaling_weight: Annotated[float, Field(ge=0), NUMERIC] = 0.0
    """Weight of the square of d log profile / d log mass, mean over the bins, less mass_exponent."""
    mass_exponent: Annotated[float, NUMERIC] = 0.0
    """Exponent of self-similar scaling with mass: 0 for a density, 2/3 for a pressure."""
    monotone_weight: Annotated[float, Field(ge=0), NUMERIC] = 0.0
    """Weight of the square of what the predicted mean increases by from one bin to the next."""
    physics_start: Annotated[float, Field(ge=0, le=1), NUMERIC] = 0.1
    """Share of the steps before which the physics terms do not count; from then on they count by a tenth."""
    physics_full: Annotated[float, Field(ge=0, le=1), NUMERIC] = 0.3
    """Share of the steps from which the physics terms count by their whole weight."""
    gp_haloes: int = Field(default=1000, ge=0)
    """Training haloes that the baseline of Gaussian processes is conditioned on; 0 leaves it out."""

    @model_validator(mode="after")
    def _check_dataset(self) -> Self:
        if (self.file is None) == (self.dataset == "file"):
            rule = "is needed with dataset file" if self.dataset == "file" else "belongs to dataset file"
            allowed = "a value" if self.dataset == "file" else "null, or dataset: file"
            raise ConfigError("file", self.file, rule, allowed)
        if self.file is not None:
            if not (Path(self.file).is_absolute() and self.file.endswith(SUFFIXES)):
                why = "is none that every worker finds in a folder of its own"
                raise ConfigError("file", self.file, why, f"an absolute path that ends with {', '.join(SUFFIXES)}")
        elif self.num_parameters != NUM_PARAMETERS:
            why = "generated simulations have others"
            raise ConfigError("num_parameters", self.num_parameters, why, str(NUM_PARAMETERS))
        if self.gp_haloes and self.gp_haloes < FEWEST_GP_HALOES:
            raise ConfigError("gp_haloes", self.gp_haloes, "is too few", f"0, or at least {FEWEST_GP_HALOES}")
        return self

    @model_validator(mode="after")
    def _check_terms(self) -> Self:
        if self.monotone_weight > 0 and self.transform == "asinh":
            why = "profiles of either sign, such as those of compensated apertures, need not decrease"
            raise ConfigError("monotone_weight", self.monotone_weight, why, "0 with transform asinh")
        if self.clip_norm is not None and self.members > 1:
            why = "would clip the gradients of all members together, so that each depended on the others"
            raise ConfigError("clip_norm", self.clip_norm, why, "null, and member_clip_norm instead")
        if self.physics_full < self.physics_start:
            why = f"comes before physics_start, {self.physics_start:g}"
            raise ConfigError("physics_full", self.physics_full, why, f"{self.physics_start:g}..1")
        if self.attention and self.model != "grouped":
            raise ConfigError("attention", self.attention, "is a part of model grouped", "false, or model: grouped")
        if self.engineered and not all(0 <= column < self.num_parameters for column in self.density_columns):
            why = f"there are {self.num_parameters} parameters"
            raise ConfigError("density_columns", self.density_columns, why, f"0..{self.num_parameters - 1}")
        return self

    @property
    def has_bootstrap(self) -> bool:
        """Whether members weigh the training simulations by draws of their own."""
        return self.members > 1 if self.bootstrap is None else self.bootstrap

    @property
    def groups(self) -> tuple[int, int, int]:
        """Inputs that are parameters, of mass, and of power spectrum ratios, in this order."""
        further = (1, 1, 2) if self.engineered else (0, 0, 0)
        return self.num_parameters + further[0], 1 + further[1], self.num_ratios + further[2]

    @property
    def widths(self) -> tuple[int, ...]:
        """Units of the hidden layers."""
        return tuple(max(2, self.width // 2**k) if self.halving else self.width for k in range(self.depth))

    @property
    def baselines(self) -> tuple[str, ...]:
        """The baselines that are measured, by name."""
        return tuple(name for name in BASELINES if self.gp_haloes or name != "gaussian_process")

    def check_task(self, task: Any) -> None:
        """Raise ConfigError if the task's haloes have other inputs or bins, or its file holds others out."""
        for name in ("num_parameters", "num_ratios", "num_bins", "transform", "asinh_scale"):
            if getattr(task, name) != getattr(self, name):
                why = f"has {name} {getattr(task, name)}, and the model {getattr(self, name)}"
                raise ConfigError("scored_on", self.scored_on, why, f"{name}: {getattr(self, name)}")
        if self.file is not None and task.file == self.file and task.data_seed != self.data_seed:
            why = "splits the file that is trained on otherwise: what it holds out would be trained on"
            raise ConfigError("scored_on", self.scored_on, why, f"data_seed: {self.data_seed}, or another file")

    def yardstick(self, metric: str) -> dict[str, Any]:
        """Return what a metric is measured by; another draw of generated training simulations moves no held-out one."""
        found = super().yardstick(metric)
        if self.dataset == "generated" and not metric.startswith(("train_", "test_baseline")):
            found = {**found, "data_seed": None}
        return found

    def for_training(self) -> Self:
        """Return the config that traced training gets: how many haloes there are, their shapes say."""
        unread = {"report_every", "normalisation", "data_seed", "gp_haloes", *_GENERATED}
        return super().for_training().model_copy(update=self._defaults(unread))

    def for_evaluation(self) -> Self:
        """Return the config that evaluation gets."""
        unread = {"batch_size", "schedule", "warmup_steps", "clip_norm", "loss", "steps", "bootstrap"}
        return self.for_training().model_copy(update=self._defaults(unread))

    @classmethod
    def _defaults(cls, names: set[str]) -> dict[str, Any]:
        return {name: cls.model_fields[name].default for name in names}

    @property
    def wanted(self) -> Wanted | None:
        """What is wanted of the file, if there is one."""
        if self.file is None:
            return None
        return Wanted(self.file, self.num_parameters, self.num_ratios, self.num_bins, self.transform == "log")

    def num_steps(self) -> int:
        """Return the optimiser steps of the training."""
        return self.steps

    def needs(self) -> Mapping[str, str]:
        """Return colossus for generated haloes, h5py for an HDF5 file."""
        if self.wanted is None:
            return {"colossus": "dataset"}
        return {"h5py": "file"} if self.wanted.is_hdf5 else {}

    def check_data(self) -> None:
        """Raise ConfigError where the file is missing, or does not hold haloes of these inputs and bins."""
        self.data_warnings()

    def data_warnings(self) -> tuple[str, ...]:
        """Return what a user must know of the file; raises ConfigError as `check_data` does."""
        if self.wanted is None:
            return ()
        from trainables.halo_emulator.files import file_warnings  # brings NumPy

        return file_warnings(self.wanted)

    def selected_by(self) -> tuple[str, Literal["min", "max"]]:
        """Return the objective: the negative log likelihood of the validation simulations."""
        return "val_nll", "min"

    def final_metrics(self) -> Mapping[str, str]:
        """Return the metrics of the test simulations, the baselines' among them: name to one sentence."""
        return final_metric_names(self.baselines)

    def unused_fields(self) -> dict[str, str]:
        """Return the fields that have no effect here, and why: a search over one would repeat the same trial."""
        unused = {}
        if self.dataset == "file":
            unused |= dict.fromkeys(_GENERATED, "the file says how many and which haloes there are")
        if self.transform == "log":
            unused["asinh_scale"] = "transform log has no scale"
        if not self.engineered:
            unused["density_columns"] = "no input is made of them"
        if self.model != "grouped":
            unused["attention"] = f"model {self.model} has no encoders"
        if self.loss != "huber":
            unused["huber_delta"] = f"loss {self.loss} has no Huber error"
        weights = ("smoothness_weight", "boundary_weight", "mass_scaling_weight", "monotone_weight")
        if not any(getattr(self, name) for name in weights):
            unused |= dict.fromkeys(("physics_start", "physics_full"), "no physics term has a weight")
        if not self.mass_scaling_weight:
            unused["mass_exponent"] = "mass_scaling_weight is 0"
        return unused
