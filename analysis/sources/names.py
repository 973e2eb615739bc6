"""What the name of a column says of it: the rules by which a table's columns are guessed, in one place.

A name is read as its words: `val_accelError.max (%)` has the words val, accel, error, max.
"""

import re
from typing import Literal

Mode = Literal["min", "max"]


def _words_of(text: str) -> frozenset[str]:
    return frozenset(text.split())


SMALL_IS_GOOD = _words_of(
    "loss error err errors mse rmse mae mape nmse nll perplexity ppl regret cost fid wer cer brier "
    "divergence kl distance residual deviation chi2 bce crossentropy entropy"
)
LARGE_IS_GOOD = _words_of(
    "acc accuracy auc auroc auprc f1 fscore score reward rewards return returns r2 iou miou bleu rouge "
    "recall psnr ssim likelihood elbo evidence sharpe top1 top5 mcc kappa dice"
)
METRIC_WORDS = SMALL_IS_GOOD | LARGE_IS_GOOD
OBJECTIVE_NAMES = frozenset({"value", "values_0", "objective", "objective_value", "target", "final_metric"})
"""What an objective is called whose name says nothing else, for instance by Optuna's own export."""
COUNTED = frozenset({"skipped_steps", "recoveries", "num_parameters", "num_params", "n_params", "parameter_count"})
"""What is counted in every training, and nothing that was chosen."""
PARTS = {
    "val": 0, "valid": 0, "validation": 0, "dev": 0, "eval": 0, "evaluation": 0, "cv": 0,
    "test": 2, "holdout": 2, "train": 3, "training": 3,
}  # fmt: skip
"""Words for a part of the data, with the place of its metrics among guessed objectives; 1 is a metric of no part."""
SETTINGS = _words_of(
    "size split fraction frac ratio steps step epochs epoch batch batches set sets dataset datasets data "
    "examples samples weight weights coef coefficient scale lambda alpha beta tolerance tol threshold "
    "type fn function name kind smoothing every interval freq frequency seed fold"
)
"""Last words of a name that say that it is a setting, though it also speaks of a metric: `loss_weight`, `val_split`."""
SUMMARIES = _words_of("min max mean median avg average best final last std stddev sem sum pct percent s ms mb gb")
"""Last words that do not say what was measured, but how it was summed up, or its unit."""
SEEDS = ("seed", "random_seed", "rng_seed", "random_state", "randomseed", "manual_seed", "seeds")
STEPS = (
    "steps_trained", "_step", "global_step", "trainer_global_step", "training_iteration", "step", "iteration", "epoch",
)  # fmt: skip
"""What is called so is how far a trial came."""
SECONDS = ("wall_time_s", "runtime", "_runtime", "duration", "time_total_s", "wall_time", "walltime", "elapsed")
"""What is called so is how long a trial ran, in seconds."""
TRIALS = ("trial", "number", "trial_number", "trial_id", "run_number", "run_id", "run", "index", "id")
OUTCOMES = ("outcome", "state", "status")
CREATED = ("created", "datetime_start", "start_time", "started", "_timestamp", "timestamp", "date")
DESCRIPTIONS = _words_of(
    "id ids uuid name names run runs user username author host hostname node notes note tags tag sweep group job type "
    "commit github git url uri created updated modified at start end started ended heartbeat description message "
    "traceback error wandb done trial pid ip logdir version code settings wave attempts cuda gpu"
)
"""A name of these words alone describes the run, and is nothing that was chosen: `Run ID`, `Job Type`, `created_at`."""
DESCRIPTIVE_ENDS = _words_of(
    "id uuid timestamp time date datetime duration runtime walltime elapsed memory hostname url uri traceback logdir"
)
"""So does a name with one of these as its last word: `end_time`, `peak_memory_mb`."""
PREFIXES = ("params_", "params.", "params/", "param_", "config.", "config/", "hparams/", "hparams.", "hyperparameters.")
"""Tools that export tables mark their parameters so; then nothing else is one."""


def words(name: str) -> list[str]:
    """Return the words of a name, in small letters."""
    apart = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name)
    return [word.lower() for word in re.split(r"[^A-Za-z0-9]+", apart) if word]


def key(name: str) -> str:
    """Return a name for comparison: in small letters, with `_` for whatever separates its words."""
    return re.sub(r"[^a-z0-9]+", "_", name.lower()) if name.strip("_ ") else name


def _measured(name: str) -> str:
    """Return the word for what was measured: the last that is no unit, summary or number."""
    left = words(name)
    while left and (left[-1] in SUMMARIES or left[-1].isdecimal()):
        left.pop()
    return left[-1] if left else ""


def is_metric(name: str) -> bool:
    """Return whether a column of numbers with this name was measured."""
    own = words(name)
    if (
        own[:1] in (["metrics"], ["best"], ["final"])
        or key(name) in COUNTED
        or key(name) in OBJECTIVE_NAMES
        or _measured(name) in METRIC_WORDS
    ):
        return True
    return len(own) > 1 and any(word in PARTS for word in own[:-1]) and _measured(name) not in SETTINGS


def mode_of(name: str) -> Mode | None:
    """Return whether small or large is good of a metric with this name; None if the name does not say."""
    said = _measured(name)
    if said in LARGE_IS_GOOD:
        return "max"
    return "min" if said in SMALL_IS_GOOD else None


def objective_place(name: str) -> int | None:
    """Return how likely a metric is the objective, 0 the most; None if it is a spread, a rank, or no metric."""
    own = words(name)
    if not own or {"std", "stddev", "sem", "rank", "split"} & {own[0], own[-1]} or own[0].startswith("split"):
        return None
    if key(name) in OBJECTIVE_NAMES:
        return 0
    if _measured(name) not in METRIC_WORDS:
        return None
    return min((PARTS[word] for word in own if word in PARTS), default=1)


def is_description(name: str) -> bool:
    """Return whether a column with this name describes the run, and is nothing that was chosen."""
    own = words(name)
    if not own or name.startswith("_") or own[0] in ("system", "wandb"):
        return True
    return all(word in DESCRIPTIONS for word in own) or _measured(name) in DESCRIPTIVE_ENDS
