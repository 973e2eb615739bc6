import math

import pytest

from analysis.sources.directory import load_search
from analysis.tables.configurations import by_configuration
from cluster.state.outcomes import Outcome
from tests.searching import result


@pytest.fixture
def seeded(make_search):
    """Return a function that makes a search of two seeds: a value or an outcome for each seed of each configuration."""

    def make(*sets, **parts):
        search = make_search(repeats={"seeds": [1, 2]}, budget={"trials": 2 * len(sets)}, **parts)
        study = search.open()
        while assigned := study.ask():
            end = sets[assigned.number // 2][assigned.config["seed"] - 1]
            if isinstance(end, Outcome):
                study.tell(assigned.number, end, result(2.0), retry=False)
            elif end is not None:
                end = end if isinstance(end, dict) else {"val_error": end}
                study.tell(assigned.number, Outcome.COMPLETED, result(2.0, **end))
        study.close()
        return load_search(search.paths)

    return make


def test_configurations_are_ranked_by_the_mean_over_complete_sets(seeded):
    search = seeded((3.0, 5.0), (0.1, Outcome.CRASHED), (2.0, 4.5), (0.2, None))
    frame = by_configuration(search)
    assert list(frame["configuration"]) == [2, 0, 1, 3]
    assert list(frame["rank"].dropna()) == [1, 2]
    assert list(frame["seeds_completed"]) == [2, 2, 1, 1]
    assert list(frame["val_error_mean"]) == [3.25, 4.0, 0.1, 0.2]
    assert list(frame["val_error_std"][:2]) == pytest.approx([2.5 / math.sqrt(2), math.sqrt(2)])
    assert frame["val_error_std"][2:].isna().all()
    assert list(frame["wall_time_s_sum"]) == [4.0, 4.0, 4.0, 2.0]
    shift = search.trials.set_index("configuration")["shift"]
    assert list(frame["shift"]) == [shift[number].iloc[0] for number in (2, 0, 1, 3)]


def test_without_a_complete_set_nothing_has_a_rank(seeded):
    frame = by_configuration(seeded((3.0, None), (Outcome.DIVERGED, 1.0), (None, None)))
    assert frame["rank"].isna().all()
    assert list(frame["seeds_completed"]) == [1, 1, 0]


def test_means_that_break_a_constraint_come_after_those_that_keep_it(seeded):
    sets = [({"val_error": value, "loop": 2.0 * loop}, {"val_error": value, "loop": 0.0}) for value, loop in
            ((1.0, 5.0), (2.0, 0.5), (3.0, 0.5))]  # fmt: skip
    frame = by_configuration(seeded(*sets, constraints=[{"metric": "loop", "max": 1.0}]))
    assert list(frame["configuration"]) == [1, 2, 0]
    assert list(frame["loop_mean"]) == [0.5, 0.5, 5.0]


def test_without_repeats_a_configuration_is_a_trial(make_search):
    search = make_search(budget={"trials": 2})
    values = iter((2.0, 1.0))
    search.run(lambda config: {"val_error": next(values)})
    frame = by_configuration(load_search(search.paths))
    assert list(frame["configuration"]) == [1, 0]
    assert list(frame["val_error_mean"]) == [1.0, 2.0]
