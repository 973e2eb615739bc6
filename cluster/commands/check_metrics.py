"""Checks that a search's metrics exist, that the method wants them so, and that early stopping can ever decide."""

from collections.abc import Collection, Iterator, Mapping, Sequence

from search_spaces.errors import KeyPath, Problem, as_text_choices, nearest
from search_spaces.spec import Spec
from trainables._shared.config import MethodConfig


def metric_problems(spec: Spec, config_type: type[MethodConfig], configs: Sequence[MethodConfig]) -> list[Problem]:
    """Return a problem per metric of the objectives and constraints that some configuration does not report."""
    reported = config_type.reported_metrics
    problems = []
    final: list[Mapping[str, str]] | None = None
    for path, metric, is_objective in _asked(spec):
        if metric in reported:
            continue
        # A configuration may have hundreds of names: made only if needed.
        final = [config.task().final_metrics() for config in configs] if final is None else final
        everywhere = set.intersection(*(set(names) for names in final)) if final else set()
        somewhere = set().union(*final)
        if metric in everywhere and not (is_objective and spec.early_stopping.name != "none"):
            continue
        problems.append(_metric_problem(path, metric, reported, somewhere, metric in everywhere))
    return problems


def _metric_problem(
    path: KeyPath, metric: str, reported: Mapping[str, str], final: set[str], is_final: bool
) -> Problem:
    listed = ", ".join(as_text_choices(reported))
    if is_final:
        rule = "is measured once, after training; early stopping needs a metric of every report"
        return Problem(path, rule, metric, allowed=f"{listed}; or early_stopping: {{name: none}}")
    if metric in final:
        return Problem(path, "is measured by some configurations only: their test sets differ", metric, allowed=listed)
    more = f", or one of {len(final)} metrics measured after training" if final else ""
    return Problem(path, "no such metric", metric, allowed=listed + more, near=nearest(metric, [*reported, *final]))


def _asked(spec: Spec) -> Iterator[tuple[KeyPath, str, bool]]:
    for index, objective in enumerate(spec.objectives):
        yield (*_objective_path(spec, index), "metric"), objective.metric, True
    for index, constraint in enumerate(spec.constraints):
        yield ("constraints", index, "metric"), constraint.metric, False


def _objective_path(spec: Spec, index: int) -> KeyPath:
    return ("objective", index) if spec.is_multi_objective else ("objective",)


def mode_problems(
    spec: Spec, config_type: type[MethodConfig], selections: Collection[tuple[str, str]]
) -> tuple[list[Problem], list[str]]:
    """Return objectives that contradict the method, as problems, and odd bounds, as warnings.

    `selections` are the metrics, each with its mode, that select a trial's best model in any configuration. The search
    judges a trial by that model: by its smallest error, if the method selects the smallest.
    """
    problems = []
    for index, objective in enumerate(spec.objectives):
        other = "min" if objective.mode == "max" else "max"
        if (objective.metric, other) in selections:
            rule = (
                f"{spec.trainable} keeps of each trial the model with the {_EXTREMES[other]} {objective.metric}, and a "
                f"search for the {_EXTREMES[objective.mode]} would compare those"
            )
        elif config_type.metric_modes.get(objective.metric) == other:
            rule = f"{spec.trainable} says of {objective.metric} that {_GOOD[other]} is good"
        else:
            continue
        problems.append(Problem((*_objective_path(spec, index), "mode"), rule, objective.mode, allowed=other))
    return problems, [*_bound_warnings(spec, {**config_type.metric_modes, **dict(selections)})]


_EXTREMES = {"min": "smallest", "max": "largest"}
_GOOD = {"min": "small", "max": "large"}


def _bound_warnings(spec: Spec, modes: Mapping[str, str]) -> Iterator[str]:
    """Yield the constraints that exclude good values of a metric and allow bad ones."""
    for index, constraint in enumerate(spec.constraints):
        mode = modes.get(constraint.metric)
        only = "min" if constraint.max is None else "max" if constraint.min is None else None
        if mode is not None and only == mode:
            yield (
                f"constraints[{index}]: {only} is the only bound on {constraint.metric}, of which {_GOOD[mode]} is "
                "good: it shuts out the better trials"
            )


def stopping_problems(spec: Spec, configs: Sequence[MethodConfig]) -> tuple[list[Problem], list[str]]:
    """Return what prevents early stopping from ever deciding, as problems, and what delays it, as warnings."""
    stopping = spec.early_stopping
    if stopping.name == "none" or not configs:
        return [], []
    path: KeyPath = ("early_stopping", "grace_steps")
    steps = [number for config in configs if (number := config.num_steps()) is not None]
    too_short = sum(number <= stopping.grace_steps for number in steps)
    if steps and too_short == len(configs):
        rule = f"training has at most {max(steps)} steps, so no trial would ever be stopped early"
        return [
            Problem(path, rule, stopping.grace_steps, allowed=f"less than {max(steps)}, or early_stopping: none")
        ], []
    warnings = [
        f"constraints[{index}]: {constraint.metric} is measured once, after training: trials that are stopped early "
        "count as breaking it"
        for index, constraint in enumerate(spec.constraints)
        if constraint.metric not in configs[0].reported_metrics
    ]
    if too_short:
        warnings.append(
            f"early_stopping.grace_steps: {too_short} of {len(configs)} configurations train for no more than "
            f"{stopping.grace_steps} steps, and are never stopped early"
        )
    rising = max((config.warmup_steps for config in configs if config.phase_steps()), default=0)
    if rising >= stopping.grace_steps:
        warnings.append(
            f"early_stopping.grace_steps: {stopping.grace_steps} is no more than a warm-up of {rising} steps: trials "
            "are judged before their learning rate is what they try; give more, or a shorter warm-up"
        )
    slowest = max(config.report_every for config in configs)
    if slowest > stopping.grace_steps:
        warnings.append(
            f"report_every: {slowest} is more than early_stopping.grace_steps: {stopping.grace_steps}: "
            "the first decision waits for the first report"
        )
    return [], warnings
