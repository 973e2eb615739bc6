"""What is printed where nothing was repeated: a spec that can be run."""

import numpy as np
import yaml

import analysis
from analysis.mattered.comparable import comparable
from analysis.mattered.repeats import SEEDS, spec_lines, without_repeats
from analysis.mattered.seeds import verdicts
from analysis.search import Factor
from cluster.state.outcomes import Outcome
from tests.planted import crossed_search, planted_search
from tests.searching import make_spec, result


def test_six_seeds_are_the_fewest_that_support_a_difference_in_one_setting():
    assert SEEDS == 6


def test_without_repeats_there_is_no_verdict_but_a_spec_that_would_tell():
    search = crossed_search(np.arange(6.0).reshape(3, 2, 1))
    text = without_repeats(search, search.factor("head"), comparable(search))
    assert verdicts(search, "head") == []
    assert "cannot be told: no configuration was repeated" in text
    assert text.endswith(
        "space:\n  head: [a, b]\n  setting: [0]\nsampler: {name: grid}\nrepeats: {seeds: [0, 1, 2, 3, 4, 5]}"
    )


def test_the_printed_spec_is_one_that_swell_takes(make_search):
    space = {
        "learning_rate": {"low": 1e-6, "high": 1.0, "log": True},
        "size": {"choices": [1, 2, 3]},
        "shift": {"choices": {"near": 0.5, "far": 2.0}, "when": {"size": [2, 3]}},
    }
    made = make_search(name="once", space=space, sampler={"name": "random", "seed": 1}, early_stopping={"name": "asha"})
    study = made.open()
    for value in (3.0, 1.0, 2.0, 4.0, 5.0, 0.5, 0.7, 6.0):
        study.tell(study.ask().number, Outcome.COMPLETED, result(val_error=value))
    search = analysis.load("once")
    among = comparable(search)
    for factor in search.factors:
        lines = spec_lines(search, factor, among)
        assert lines is not None
        parts = yaml.safe_load(lines)
        again = make_spec(**parts)
        assert again.is_grid
        assert again.seeds == (0, 1, 2, 3, 4, 5)
        labels = again.space[factor.column]
        assert len(labels.choices) == 2
        assert "without early_stopping" in without_repeats(search, factor, among)


def test_a_factor_with_one_level_that_has_results_gets_no_spec():
    rows = [{"trial": 0, "configuration": 0, "outcome": "completed", "head": "a", "error": 1.0}]
    search = planted_search(rows, [Factor("head", levels=("a", "b"))])
    assert spec_lines(search, search.factor("head"), comparable(search)) is None
    assert "no configuration was repeated" in without_repeats(search, search.factor("head"), comparable(search))
