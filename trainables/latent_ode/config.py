"""The configuration of the latent ODE; imports no JAX."""

import math
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, model_validator

from trainables._shared.config import HELD_OUT, NUMERIC, TRAINING, TRAINING_METRICS, ConfigError, MethodConfig
from trainables.latent_ode.metric_names import final_metric_names

DatasetName = Literal["spirals", "orbits", "file"]
OrbitFamily = Literal["circular", "simple", "complex"]
EncoderName = Literal["gru", "mlp"]
FieldName = Literal["mlp", "bounded", "linear"]
DecoderName = Literal["linear", "mlp"]
ActivationName = Literal["tanh", "softplus", "silu", "gelu", "elu"]
SolverName = Literal["mesh", "tsit5", "rk4", "adaptive"]
TargetName = Literal["observed", "whole"]

FEWEST_OBSERVED = 3
"""Samples that a series keeps of its observed span, however many are missing."""
FEWEST_STEPS = 4
"""Steps of solver mesh over an observed span, however few samples it has."""


class Config(MethodConfig):
    """A latent ODE: a variational autoencoder of irregularly sampled series, whose latent state follows an ODE."""

    reported_metrics: ClassVar[Mapping[str, str]] = {
        "val_extrapolation_error_pct": "root mean square error beyond the observed span, validation series, in percent "
        "of the signal's: predicting the training mean scores 100",
        "val_extrapolation_mse": "mean square error beyond the observed span, in units of the training variance",
        "val_reconstruction_error_pct": "root mean square error in the observed span, in percent of the signal's",
        "val_reconstruction": "reconstruction term of the loss on the validation series, from the posterior mean",
        "val_kl": "KL(q(z0) || N(0, I)) in nats, mean over the validation series; 0 where deterministic",
        "val_active_units": "latent dimensions whose posterior mean has a variance over 0.01 on the validation series",
        "val_collapsed_pct": "share of latent dimensions with a mean KL below 0.01 nats, in percent",
        "val_kl_collapse": "1 where the latent state says nothing of a series: no active unit, or no KL; else 0",
        "val_solver_error_pct": "the solver's own estimates of its steps' errors, over both spans, validation series, "
        "relative to the latent state and summed, in percent; solvers rk4 and adaptive have none",
        "train_loss": "mean training loss since the last report",
        "train_reconstruction": "1/2 sum (y - yhat)^2 / noise_variance of a training series, mean",
        "train_kl": "KL(q(z0) || N(0, I)) in nats of a training series, mean; before its weight",
        "train_beta": "weight of the KL term after its warm-up so far",
        **TRAINING_METRICS,
    }
    metric_modes: ClassVar[Mapping[str, Literal["min", "max"]]] = {
        "val_extrapolation_error_pct": "min",
        "val_extrapolation_mse": "min",
        "val_reconstruction_error_pct": "min",
        "val_reconstruction": "min",
        "val_solver_error_pct": "min",
        "val_collapsed_pct": "min",
        "val_kl_collapse": "min",
        "train_loss": "min",
        "train_reconstruction": "min",
        "val_active_units": "max",
    }

    later_fields: ClassVar[Mapping[str, Any]] = {"samples_per_step": 3, "state": None}
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        # Spirals have a variance of 0.71: divided by 1.41, the loss is in the units of the observations, as there.
        "diffrax_tutorial": {
            "dataset": "spirals", "num_series": 10_000, "noise": 0.0, "encoder": "gru", "hidden": 16, "latent": 16,
            "state": 16, "field": "bounded", "width": 16, "depth": 2, "activation": "softplus", "decoder": "linear",
            "noise_variance": 1.41, "kl_weight": 1.0, "kl_warmup_steps": 0.0, "learning_rate": 1e-2, "batch_size": 256,
            "steps": 250, "report_every": 50,
        },
    }  # fmt: skip
    yardstick_fields: ClassVar[Mapping[str, tuple[str, ...]]] = {
        # The training series too: errors are in units of their variance.
        **dict.fromkeys(("dataset", "file", "orbit_family", "num_series", "num_observed"), (*HELD_OUT, *TRAINING)),
        **dict.fromkeys(("missing_share", "extrapolation", "noise"), (*HELD_OUT, *TRAINING)),
        "file_components": HELD_OUT,
        "noise_variance": ("val_reconstruction", "train_reconstruction", "train_loss"),
        "target": ("train_reconstruction", "train_loss"),
        **dict.fromkeys(("deterministic", "kl_weight", "kl_warmup_steps"), ("train_loss",)),
    }
    predicts_by: ClassVar[Collection[str]] = ("solver", "samples_per_step", "substeps", "rtol", "atol", "max_steps")

    learning_rate: Annotated[float, Field(gt=0), NUMERIC] = 1e-2
    """Adam's peak learning rate."""
    report_every: int = Field(default=50, ge=1)
    """Optimiser steps between two reports (validation, early stopping, checkpoint)."""
    steps: int = Field(default=250, ge=1)
    """Optimiser steps."""

    dataset: DatasetName = "spirals"
    """`spirals`: x' = A x, damped; `orbits`: planar two-body orbits, states (r, v) in the plane; `file`."""
    file: str | None = None
    """With dataset file: absolute path of an npz file with y (series, samples, components), t (series, samples), and
    perhaps mask (series, samples), true where there is a sample; split by series, 70, 15 and 15 percent."""
    file_components: int | None = Field(default=None, ge=1)
    """With dataset file: the components of an observation."""
    orbit_family: OrbitFamily = "simple"
    """Eccentricity of the orbits: circular 0, simple up to 0.1, complex as far as the Earth's surface allows."""
    num_series: int = Field(default=2048, ge=2)
    """Training series that are generated; 256 to validate on and 256 to test on come besides."""
    num_observed: int = Field(default=20, ge=FEWEST_OBSERVED)
    """Irregular samples of a generated series in its observed span, and as many beyond it."""
    missing_share: float = Field(default=0.0, ge=0.0, le=0.9)
    """Share of the observed samples that are missing at random, so that series differ in length; 3 always stay."""
    extrapolation: float = Field(default=1.0, gt=0.0, le=20.0)
    """Length of the extrapolation span, in observed spans; it follows the observed one and is never read."""
    noise: Annotated[float, Field(ge=0), NUMERIC] = 0.0
    """Standard deviation of the observation noise, in those of the signal; errors are measured against the truth."""

    encoder: EncoderName = "gru"
    """What reads a series: a GRU, backwards in time over all its samples, or an MLP, the first of them."""
    prefix: int = Field(default=8, ge=1)
    """Samples that the encoder mlp reads."""
    hidden: int = Field(default=16, ge=1)
    """Units of the GRU's state, or of the encoder MLP's hidden layers."""
    latent: int = Field(default=16, ge=1)
    """Dimensions of the latent state."""
    field: FieldName = "mlp"
    """The latent vector field: an MLP; `bounded`, a learnt number times the tanh of an MLP; or `linear`, z' = W z."""
    state: int | None = Field(default=None, ge=1)
    """Dimensions of the ODE's state, to which an MLP lifts z0; null: the latent state is the ODE's."""
    decoder: DecoderName = "linear"
    """From the latent state to the observation: an affine map, or an MLP."""
    width: int = Field(default=16, ge=1)
    """Units of a hidden layer of the field and the decoder."""
    depth: int = Field(default=2, ge=1)
    """Hidden layers of every MLP."""
    activation: ActivationName = "tanh"
    """Activation of the hidden layers."""

    target: TargetName = "observed"
    """What the loss reconstructs of a training series: its observed span, or the extrapolation span too."""
    deterministic: bool = False
    """No sampling and no KL term: z0 is what the encoder says."""
    noise_variance: Annotated[float, Field(gt=0), NUMERIC] = 1.0
    """Variance of the decoder's Gaussian, in units of the training variance: divides the reconstruction term."""
    kl_weight: Annotated[float, Field(ge=0), NUMERIC] = 1.0
    """Weight beta of KL(q(z0) || N(0, I))."""
    kl_warmup_steps: Annotated[float, Field(ge=0), NUMERIC] = 100.0
    """Steps over which beta rises linearly from zero."""

    # Measured on models trained on spirals, over the extrapolation span that the objective scores, in standard
    # deviations of the latent state (benchmarks/latent_ode.py --errors): mesh is off by 2e-5 (root mean square; 2e-4 at
    # most) with 37 evaluations a training series, tsit5 by 7e-3 (0.3 at most) with 120, 2e-5 (8e-4) with substeps: 2.
    # Without the extrapolation span both are better; in float64 they are the same.
    solver: SolverName = "mesh"
    """`mesh`: Tsit5 steps that are equally long in each series, samples read from between; `tsit5`, `rk4`: a fixed
    number of steps from sample to sample; `adaptive`: diffrax's Tsit5, a step size each."""
    samples_per_step: int = Field(default=3, ge=1)
    """With solver mesh: observed samples of a series for each step. At least 4 steps are made over the observed span,
    and as long ones over the extrapolation span."""
    substeps: int = Field(default=1, ge=1)
    """Steps between two samples, with solvers tsit5 and rk4."""
    rtol: Annotated[float, Field(gt=0), NUMERIC] = 1e-4
    """Relative tolerance of the adaptive solver."""
    atol: Annotated[float, Field(gt=0), NUMERIC] = 1e-5
    """Absolute tolerance of the adaptive solver."""
    max_steps: int = Field(default=256, ge=1)
    """Most steps of the adaptive solver over a series; one that needs more has failed."""

    @model_validator(mode="after")
    def _check_file(self) -> "Config":
        for name in ("file", "file_components"):
            if (getattr(self, name) is None) == (self.dataset == "file"):
                rule = "is needed with dataset file" if self.dataset == "file" else "belongs to dataset file"
                allowed = "a value" if self.dataset == "file" else "null, or dataset: file"
                raise ConfigError(name, getattr(self, name), rule, allowed)
        if self.file is not None and not (Path(self.file).is_absolute() and self.file.endswith(".npz")):
            raise ConfigError(
                "file",
                self.file,
                "is none, as workers need it in their own folders",
                "an absolute path of an .npz file",
            )
        return self

    @model_validator(mode="after")
    def _check_prefix(self) -> "Config":
        if self.encoder == "mlp" and self.dataset != "file" and self.prefix > self.num_observed:
            rule = f"a series has {self.num_observed} observed samples"
            raise ConfigError("prefix", self.prefix, rule, f"1..{self.num_observed}")
        return self

    @property
    def num_components(self) -> int:
        """Components of an observation."""
        return self.file_components or {"spirals": 2, "orbits": 4}[self.dataset]

    def check_task(self, task: Any) -> None:
        """Raise ConfigError if the task's series have other components, or its file holds them out otherwise."""
        if task.num_components != self.num_components:
            why = f"has series of {task.num_components} components, and the model is of {self.num_components}"
            raise ConfigError("scored_on", self.scored_on, why, "series of as many components")
        if self.file is not None and task.file == self.file and task.extrapolation != self.extrapolation:
            why = "cuts the file that is trained on otherwise: series that it holds out may be trained on"
            raise ConfigError("scored_on", self.scored_on, why, f"extrapolation: {self.extrapolation:g}, another file")

    def num_steps(self) -> int:
        """Return the optimiser steps of the training."""
        return self.steps

    def mesh_steps(self, num_samples: int, *, whole: bool) -> int:
        """Return the steps of solver mesh over the observed span of series, or over both spans.

        Of a file's series, `num_samples` are observed; of generated ones, all have as many steps, whatever is missing.
        """
        num = num_samples if self.dataset == "file" else self.num_observed
        steps = max(FEWEST_STEPS, num // self.samples_per_step)
        return math.ceil(steps * (1 + self.extrapolation)) if whole else steps

    def check_data(self) -> None:
        """Raise ConfigError where the file is missing or does not hold series of these components."""
        if self.file is None:
            return
        if not Path(self.file).exists():
            raise ConfigError("file", self.file, "there is no such file", "a file that every worker can read")
        from trainables.latent_ode.files import check_file  # brings NumPy

        check_file(Path(self.file), self.num_components, self.extrapolation)

    def data_warnings(self) -> tuple[str, ...]:
        """Return what a user must know of the file; raises ConfigError as `check_data` does."""
        if self.file is None:
            return ()
        from trainables.latent_ode.files import file_warnings  # brings NumPy

        return file_warnings(Path(self.file), self.num_components, self.extrapolation)

    def selected_by(self) -> tuple[str, Literal["min", "max"]]:
        """Return the objective: the extrapolation error on the validation series."""
        return "val_extrapolation_error_pct", "min"

    def final_metrics(self) -> Mapping[str, str]:
        """Return the metrics of the test series, the baselines' among them: name to one sentence."""
        return final_metric_names(law_is_known=self.dataset == "spirals")

    def unused_fields(self) -> dict[str, str]:
        """Return the fields that have no effect here, and why: a search over one would repeat the same trial."""
        unused = {}
        if self.deterministic:
            unused |= dict.fromkeys(("kl_weight", "kl_warmup_steps"), "deterministic has no KL term")
        if self.dataset != "orbits":
            unused["orbit_family"] = f"dataset {self.dataset} has no orbits"
        if self.dataset == "file":
            names = ("num_series", "num_observed", "missing_share")
            unused |= dict.fromkeys(names, "the file says how many there are")
        if self.encoder == "gru":
            unused["prefix"] = "encoder gru reads every sample"
        if self.field == "linear" and self.decoder == "linear" and self.state is None:
            unused["width"] = "field and decoder are linear"
            if self.encoder == "gru":
                unused |= dict.fromkeys(("depth", "activation"), "there is no MLP")
        if self.solver != "mesh":
            unused["samples_per_step"] = f"solver {self.solver} has no mesh"
        if self.solver in ("adaptive", "mesh"):
            unused["substeps"] = f"solver {self.solver} chooses its own steps"
        if self.solver != "adaptive":
            unused |= dict.fromkeys(("rtol", "atol", "max_steps"), f"solver {self.solver} has a fixed step")
        return unused
