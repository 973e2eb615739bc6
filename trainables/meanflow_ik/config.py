"""The configuration of MeanFlow inverse kinematics; imports no JAX."""

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
from trainables.meanflow_ik.metric_names import SUCCESS_DEG, SUCCESS_MM, final_metric_names
from trainables.meanflow_ik.robots import LimitsName, RobotName, joint_limits

DatasetName = Literal["on_the_fly", "generated", "file"]
ObjectiveName = Literal["meanflow", "improved", "flow_matching"]
TimesName = Literal["logit_normal", "uniform"]
ActivationName = Literal["silu", "gelu", "tanh"]
PredictionName = Literal["velocity", "sample"]
JointAnglesName = Literal["absolute", "relative"]
PrecisionName = Literal["float32", "bfloat16"]
NumSteps = Annotated[int, Field(ge=1, le=1000)]

NUM_VALIDATION_SOLUTIONS = 8
"""Solutions of each validation pose."""


class Config(MethodConfig):
    """A MeanFlow model of the joint angles that bring a robot's flange to a pose, sampled in one step or a few."""

    reported_metrics: ClassVar[Mapping[str, str]] = {
        "val_position_error_mm": "median distance between the flange and its target, validation poses, in mm",
        "val_mean_position_error_mm": "mean distance between the flange and its target, validation poses, in mm",
        "val_rotation_error_deg": "median angle between the flange and its target, validation poses, in degrees",
        "val_success_pct": f"share of solutions within {SUCCESS_MM:g} mm and {SUCCESS_DEG:g} degrees, in percent",
        "val_limit_violation_pct": "share of solutions with a joint beyond its limits, in percent",
        "val_best_of_8_position_error_mm": "median over the validation poses of the least of 8 position errors, in mm",
        "val_spread_deg": "standard deviation of a joint over the 8 solutions of a pose, in degrees, mean",
        "train_loss": "mean training loss since the last report",
        "train_residual": "mean |residual|^2 before its weight, in squared half ranges of a joint",
        "train_instantaneous": "likewise of the examples with r = t; 0 where there are none",
        "train_average": "likewise of the examples with r < t; 0 where there are none",
        "train_pose": "mean distance of one-step solutions from their poses, in metres; 0 where there are none",
        **TRAINING_METRICS,
    }
    metric_modes: ClassVar[Mapping[str, Literal["min", "max"]]] = {
        "val_position_error_mm": "min",
        "val_mean_position_error_mm": "min",
        "val_rotation_error_deg": "min",
        "val_success_pct": "max",
        "val_limit_violation_pct": "min",
        "val_best_of_8_position_error_mm": "min",
        "train_residual": "min",
        "train_instantaneous": "min",
        "train_average": "min",
        "train_pose": "min",
    }
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        # About two minutes of one slow core.
        "panda": {
            "robot": "panda", "objective": "meanflow", "width": 128, "blocks": 3, "batch_size": 256,
            "learning_rate": 1e-2, "schedule": "cosine", "warmup_steps": 200, "weight_decay": 1e-5, "clip_norm": 1.0,
            "joint_angles": "relative", "prediction": "sample", "equal_share": 0.5, "pose_share": 0.25,
            "pose_weight": 0.2, "pose_start": 0.5, "ema_decay": 0.995, "steps": 16_000, "report_every": 1000,
        },
        # Within one turn each way to reach a pose occurs once, and not 64 times.
        "ur10": {
            "robot": "ur10", "limits": "one_turn", "objective": "meanflow", "width": 128, "blocks": 3,
            "batch_size": 256, "learning_rate": 1e-2, "schedule": "cosine", "warmup_steps": 200, "weight_decay": 1e-5,
            "clip_norm": 1.0, "joint_angles": "relative", "prediction": "sample", "equal_share": 0.5,
            "pose_share": 0.25, "pose_weight": 0.2, "pose_start": 0.5, "ema_decay": 0.995, "steps": 16_000,
            "report_every": 1000,
        },
        "quick_test": {
            "robot": "panda", "width": 64, "blocks": 2, "batch_size": 128, "steps": 400, "warmup_steps": 50,
            "report_every": 200, "num_validation": 64, "num_test": 64, "ema_decay": 0.98,
        },
    }  # fmt: skip
    yardstick_fields: ClassVar[Mapping[str, tuple[str, ...]]] = {
        **dict.fromkeys(("robot", "limits", "dataset", "file"), (*HELD_OUT, *TRAINING)),
        "num_validation": ("val_*",),
        "num_test": ("test_*",),
        "test_steps": ("test_*",),
        **dict.fromkeys(("objective", "equal_share", "latent_scale", "joint_angles"), TRAINING),
        **dict.fromkeys(("time_distribution", "time_mean", "time_std"), TRAINING),
        **dict.fromkeys(("weight_power", "weight_offset", "pose_weight", "pose_start"), ("train_loss",)),
        "pose_share": ("train_loss", "train_pose"),
    }
    predicts_by: ClassVar[Collection[str]] = (
        "sampling_steps", "latent_scale", "objective", "precision", "joint_angles", "prediction",
    )  # fmt: skip
    later_fields: ClassVar[Mapping[str, Any]] = {
        "joint_angles": "absolute", "prediction": "velocity", "pose_share": 0.0, "pose_weight": 1.0, "pose_start": 0.0,
    }  # fmt: skip

    learning_rate: Annotated[float, Field(gt=0), NUMERIC] = 1e-3
    """AdamW's peak learning rate."""
    weight_decay: Annotated[float, Field(ge=0), NUMERIC] = 1e-5
    """AdamW's decoupled weight decay."""
    batch_size: int = Field(default=1024, ge=1)
    """Examples in one optimiser step."""
    schedule: Literal["constant", "cosine", "linear"] = "cosine"
    """Shape of the learning rate after the warm-up; cosine and linear end at 0."""
    warmup_steps: int = Field(default=1000, ge=0)
    """Steps over which the learning rate rises linearly from zero."""
    clip_norm: Annotated[float | None, Field(gt=0)] = 1.0
    """Largest global norm of a gradient; null leaves gradients as they are."""
    report_every: int = Field(default=1000, ge=1)
    """Optimiser steps between two reports (validation, early stopping, checkpoint)."""
    steps: Annotated[int, Field(ge=1), NUMERIC] = 20_000
    """Optimiser steps."""

    robot: RobotName = "panda"
    """`panda`: Franka Panda, 7 joints; `ur10`: Universal Robots UR10, 6 joints; targets are poses of the flange."""
    limits: LimitsName = "published"
    """Joint limits: as published; or `one_turn`, half a turn to either side of the middle if a joint turns further."""
    dataset: DatasetName = "on_the_fly"
    """Training examples: joint angles uniform in the limits, new ones in every step; as many of them as `num_samples`,
    `generated` once; or from a `file`."""
    file: str | None = None
    """With dataset file: absolute path of an npz file with q (samples, joints) in radians and pose (samples, 7), each
    x y z in metres and a quaternion qw qx qy qz; split by sample, 80, 10 and 10 percent."""
    num_samples: int = Field(default=100_000, ge=2)
    """Training examples of dataset generated."""
    data_seed: int = Field(default=0, ge=0, lt=2**31)
    """Which draw of training examples, with dataset generated; validation and test poses are the same for all."""
    num_validation: int = Field(default=512, ge=2)
    """Validation poses; of a file, at most."""
    num_test: int = Field(default=512, ge=2)
    """Test poses; of a file, at most."""

    objective: ObjectiveName = "meanflow"
    """`meanflow`: average velocity by the MeanFlow identity along the conditional velocity; `improved`: the same as a
    regression on that velocity, with the model's own along it; `flow_matching`: r = t always, many sampling steps."""
    equal_share: float = Field(default=0.75, ge=0.0, le=1.0)
    """Share of a batch with r = t."""
    time_distribution: Annotated[TimesName, Branching()] = "logit_normal"
    """What two times are drawn from, of which t is the later and r the earlier: the sigmoid of a Gaussian, or U(0, 1).
    """
    time_mean: Annotated[float, Field(ge=-10, le=10), NUMERIC] = -0.4
    """Mean of that Gaussian."""
    time_std: Annotated[float, Field(gt=0, le=10), NUMERIC] = 1.0
    """Standard deviation of that Gaussian."""
    weight_power: Annotated[float, Field(ge=0, le=4), NUMERIC] = 1.0
    """Power p of an example's adaptive weight, 1 / (|residual|^2 + weight_offset)^p; 0: all weigh the same."""
    weight_offset: Annotated[float, Field(gt=0), NUMERIC] = 1e-3
    """Offset c of that weight."""
    latent_scale: Annotated[float, Field(gt=0, le=10), NUMERIC] = 1.0
    """What joint angles, scaled to [-1, 1] by their limits, are multiplied by; the noise has standard deviation 1."""
    ema_decay: Annotated[float, Field(ge=0, lt=1), NUMERIC] = 0.999
    """Decay of the exponential moving average of the parameters that is validated and kept; less in the first steps."""

    pose_share: float = Field(default=0.25, ge=0.0, le=1.0)
    """Share of a batch from whose poses solutions are sampled in one step, noise to data, so that forward kinematics
    tells how far they are off; their mean distance is added to the loss. 0: none, the loss is MeanFlow's alone."""
    pose_weight: Annotated[float, Field(ge=0), NUMERIC] = 1.0
    """Weight of that distance, in metres; a radian of rotation, or beyond a joint's limit, counts as 0.3 m."""

    pose_start: Annotated[float, Field(ge=0, lt=1), NUMERIC] = 0.0
    """Share of the steps after which that distance counts: from the first one on, the solutions of a pose become much
    alike before the rest of the loss says how they differ."""

    joint_angles: JointAnglesName = "relative"
    """`absolute`: all joints scaled by their limits; `relative`: the first and the last one measured from the target's
    azimuth about the base's axis and its roll about the flange's, on which the other joints do not depend."""
    prediction: PredictionName = "sample"
    """What the network puts out: the velocity u; or a `sample` x, u being (z - x) / t, so that one step ends at x."""
    width: int = Field(default=512, ge=1)
    """Units of a hidden layer."""
    blocks: int = Field(default=4, ge=0)
    """Residual blocks, each of two layers."""
    activation: ActivationName = "silu"
    """Activation in the blocks; smooth, as the loss has a derivative of the network in it."""
    pose_frequencies: int = Field(default=0, ge=0, le=8)
    """The network sees sines and cosines of the target position too, of so many frequencies, each twice the one before.
    """
    precision: PrecisionName = "float32"
    """Of the network's matrix products; parameters and their updates are always float32."""

    sampling_steps: NumSteps = 1
    """Steps in which validation poses are solved, and with them the model is selected."""
    test_steps: Annotated[tuple[NumSteps, ...], Field(strict=False, min_length=1)] = (1, 2, 5)
    """Numbers of steps in which test poses are solved."""

    @model_validator(mode="after")
    def _check_file(self) -> Self:
        if (self.file is None) == (self.dataset == "file"):
            rule = "is needed with dataset file" if self.dataset == "file" else "belongs to dataset file"
            allowed = "a value" if self.dataset == "file" else "null, or dataset: file"
            raise ConfigError("file", self.file, rule, allowed)
        if self.file is not None and not (Path(self.file).is_absolute() and self.file.endswith(".npz")):
            why = "is none, as workers need it in their own folders"
            raise ConfigError("file", self.file, why, "an absolute path of an .npz file")
        return self

    @model_validator(mode="after")
    def _check_steps(self) -> Self:
        if self.warmup_steps >= self.steps:
            why = f"the learning rate would still rise when training ends, after {self.steps} steps"
            raise ConfigError("warmup_steps", self.warmup_steps, why, f"0..{self.steps - 1}")
        if len(set(self.test_steps)) < len(self.test_steps):
            raise ConfigError("test_steps", list(self.test_steps), "names a number twice", "each once")
        return self

    @property
    def num_equal(self) -> int:
        """Examples of a batch with r = t: the share is of a whole batch, so that no random number decides."""
        return self.batch_size if self.objective == "flow_matching" else round(self.equal_share * self.batch_size)

    @property
    def num_posed(self) -> int:
        """Examples of a batch whose poses are solved in one step; none if a step is none, with flow matching."""
        return 0 if self.objective == "flow_matching" else round(self.pose_share * self.batch_size)

    def check_task(self, task: Any) -> None:
        """Raise ConfigError if the task's poses are another robot's, or would be among those that are trained on."""
        if task.robot != self.robot:
            raise ConfigError("scored_on", self.scored_on, f"has poses of {task.robot}", f"those of {self.robot}")

    def num_steps(self) -> int:
        """Return the optimiser steps of the training."""
        return self.steps

    def check_data(self) -> None:
        """Raise ConfigError where the file is missing, or does not hold joint angles of the robot and their poses."""
        self.data_warnings()

    def data_warnings(self) -> tuple[str, ...]:
        """Return what a user must know of the file; raises ConfigError as `check_data` does."""
        if self.file is None:
            return ()
        from trainables.meanflow_ik.files import file_warnings  # reads NumPy arrays

        return file_warnings(Path(self.file), self.robot, self.limits)

    def for_training(self) -> Self:
        """Return the config that traced training gets: what data there are is told apart by their shapes."""
        unread = {"steps", "report_every", "num_samples", "data_seed", "num_validation", "num_test"}
        return super().for_training().model_copy(update=self._defaults(unread | {"sampling_steps", "test_steps"}))

    def for_evaluation(self) -> Self:
        """Return the config that evaluation gets: whether r follows t is all that it needs of the objective."""
        unread = {"steps", "report_every", "num_samples", "data_seed", "num_validation", "num_test", "batch_size"}
        unread |= {"schedule", "warmup_steps", "clip_norm", "equal_share", "pose_share"}
        same = {"objective": "meanflow"} if self.objective == "improved" else {}
        return super().for_training().model_copy(update={**self._defaults(unread), **same})

    @classmethod
    def _defaults(cls, names: set[str]) -> dict[str, Any]:
        return {name: cls.model_fields[name].default for name in names}

    def yardstick(self, metric: str) -> dict[str, Any]:
        """Return what a metric is measured by: limits by what they are, a dataset by whether it holds poses out."""
        found = super().yardstick(metric)
        found["limits"] = joint_limits(self.robot, self.limits)
        if not metric.startswith("train_") and self.dataset != "file":
            found["dataset"] = None
        if metric.startswith("test_") and not metric.startswith(("test_nearest", "test_polished", "test_random")):
            found["test_steps"] = None  # a metric of one number of steps, which it has in its name
        return found

    def selected_by(self) -> tuple[str, Literal["min", "max"]]:
        """Return the objective: the median position error on the validation poses."""
        return "val_position_error_mm", "min"

    def final_metrics(self) -> Mapping[str, str]:
        """Return the metrics of the test poses: name to one sentence."""
        return final_metric_names(self.task().test_steps)

    def unused_fields(self) -> dict[str, str]:
        """Return the fields that have no effect here, and why: a search over one would repeat the same trial."""
        unused = {}
        if self.objective == "flow_matching":
            unused["equal_share"] = "objective flow_matching has r = t always"
            posed = ("pose_share", "pose_weight", "pose_start")
            unused |= dict.fromkeys(posed, "objective flow_matching has no single step to data")
        elif self.num_posed == 0:
            unused |= dict.fromkeys(
                ("pose_weight", "pose_start"), "with pose_share 0 no solutions are sampled in training"
            )
        if self.time_distribution == "uniform":
            unused |= dict.fromkeys(("time_mean", "time_std"), "times are uniform")
        if self.weight_power == 0:
            unused["weight_offset"] = "with weight_power 0 all examples weigh the same"
        if self.dataset != "generated":
            unused |= dict.fromkeys(("num_samples", "data_seed"), f"dataset {self.dataset} is no draw of so many")
        if joint_limits(self.robot, "published") == joint_limits(self.robot, "one_turn"):
            unused["limits"] = f"no joint of {self.robot} turns more than once"
        return unused
