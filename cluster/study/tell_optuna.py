"""What the study tells Optuna of a trial, so that samplers and pruners learn what is true of its configuration."""

import math
import warnings
from collections.abc import Mapping

from optuna.exceptions import ExperimentalWarning
from optuna.study import Study
from optuna.trial import Trial, TrialState

from cluster.state.outcomes import Outcome, Told
from cluster.state.records import violations
from search_spaces.spec import Spec


def name_metrics(study: Study, spec: Spec) -> None:
    """Note the objectives' metrics in the study, for tools that show it (optuna-dashboard), unless it has them."""
    if study.metric_names is not None:
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        study.set_metric_names([objective.metric for objective in spec.objectives])


def score(spec: Spec, metrics: Mapping[str, float]) -> float:
    """Return the objective; if it is not a number, the worst value, since Optuna takes no NaN for an early stop."""
    objective = spec.objectives[0]
    value = metrics.get(objective.metric, math.nan)
    return value if not math.isnan(value) else (math.inf if objective.mode == "min" else -math.inf)


def last_step(study: Study, trial: Trial) -> int:
    """Return the last step that a trial has reported; 0 if it has reported none."""
    return max(study._storage.get_trial(trial._trial_id).intermediate_values, default=0)


def finish(study: Study, spec: Spec, trial: Trial, outcome: Outcome, metrics: Mapping[str, float]) -> None:
    """Tell Optuna how a trial ended, with the metrics that it ended with."""
    if outcome.is_own:
        _set_constraints(spec, trial, metrics)
    told = outcome.told
    if spec.is_multi_objective and told in (Told.PRUNED, Told.WORST):
        told = Told.FAILED
    if told is Told.VALUE:
        study.tell(trial, values=[metrics[objective.metric] for objective in spec.objectives])
    elif told is Told.FAILED:
        study.tell(trial, state=TrialState.FAIL)
    else:
        assert told is not Told.NOTHING, f"a trial that is {outcome.value} has not ended"
        if told is Told.WORST:
            trial.report(score(spec, {}), last_step(study, trial) + 1)
        study.tell(trial, state=TrialState.PRUNED)


def _set_constraints(spec: Spec, trial: Trial, metrics: Mapping[str, float]) -> None:
    if spec.sampler.facts.knows_constraints and not trial.constraints:  # a driver killed here may have
        for index, amount in enumerate(violations(spec, metrics)):
            trial.set_constraint(str(index), amount)
