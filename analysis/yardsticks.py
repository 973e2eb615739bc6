"""What the trials of a search were measured by, as far as its method says: whether searches can be compared."""

from typing import Any

from analysis.search import Search
from cluster.state.records import method_folders
from trainables._shared.config import MethodConfig
from trainables._shared.discovery import found_in, load_config_type


def yardsticks(search: Search, *trials: int) -> frozenset[str] | None:
    """Return what a search's objectives were measured by, a text for each way that occurs among trials.

    By default among those that have completed. None if it cannot be told: the search is from elsewhere, or its method
    cannot be imported here.
    """
    trials = trials or tuple(map(int, search.completed["trial"]))
    if search.spec is None or search.read_config is None or not trials:
        return None
    folders = method_folders(search.paths) if search.paths is not None else []
    try:
        with found_in(*folders):
            config_type = load_config_type(search.spec.trainable)
        configs = [config_type.recorded(search.read_config(number)) for number in trials]
        metrics = [one.metric for one in search.spec.objectives]
        different = {_counting(config_type, config): config for config in configs}
        return frozenset(
            f"{metric}: {config_type.of_values(config).measured_by(metric)}"
            for config in different.values()
            for metric in metrics
        )
    # A user's module may raise anything, and may refuse what an earlier version of it took.
    except (Exception, SystemExit):
        return None


def _counting(config_type: type[MethodConfig], config: dict[str, Any]) -> str:
    """Return what tells configurations apart that may be measured otherwise."""
    return repr([config.get(name) for name in (*config_type.yardstick_fields, "scored_on")])


def differ(first: frozenset[str] | None, other: frozenset[str] | None) -> bool:
    """Return whether two searches or trials are known to be measured by different yardsticks.

    Those of different objectives are, too.
    """
    return first is not None and other is not None and first != other
