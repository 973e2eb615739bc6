"""Whether a search's metrics exist, and whether its early stopping can ever decide."""

from collections.abc import Iterator, Mapping, Sequence

from search_spaces.errors import KeyPath, Problem, as_text_choices, nearest
from search_spaces.spec import Spec
from trainables._shared.config import MethodConfig


def metric_problems(spec: Spec, config_type: type[MethodConfig], configs: Sequence[MethodConfig]) -> list[Problem]:
    """Return the metrics of objective and constraints that some configuration does not report."""
    reported = config_type.reported_metrics
    problems = []
    final: list[Mapping[str, str]] | None = None
    for path, metric, is_objective in _asked(spec):
        if metric in reported:
            continue
        # Hundreds of names for each configuration: made only when asked for.
        final = [config.final_metrics() for config in configs] if final is None else final
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
        path: KeyPath = ("objective", index, "metric") if spec.is_multi_objective else ("objective", "metric")
        yield path, objective.metric, True
    for index, constraint in enumerate(spec.constraints):
        yield ("constraints", index, "metric"), constraint.metric, False


def stopping_problems(spec: Spec, configs: Sequence[MethodConfig]) -> tuple[list[Problem], list[str]]:
    """Return what keeps early stopping from deciding, as problems, and what delays it, as warnings."""
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
    warnings = []
    if too_short:
        warnings.append(
            f"early_stopping.grace_steps: {too_short} of {len(configs)} configurations train for no more than "
            f"{stopping.grace_steps} steps, and are never stopped early"
        )
    slowest = max(config.report_every for config in configs)
    if slowest > stopping.grace_steps:
        warnings.append(
            f"report_every: {slowest} is more than early_stopping.grace_steps: {stopping.grace_steps}: "
            "the first decision waits for the first report"
        )
    return [], warnings
