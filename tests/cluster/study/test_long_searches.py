"""What a decision costs does not grow with the trials before it, and is what it was when it did."""

import dataclasses
from itertools import pairwise

import numpy as np
import optuna
import pytest
from optuna.pruners import HyperbandPruner, SuccessiveHalvingPruner
from optuna.samplers._tpe import sampler as tpe
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState

from cluster.state import records
from cluster.state.outcomes import Outcome
from cluster.state.storage import open_storage
from cluster.study.budget_change import progress_of
from cluster.study.fitted import FittedOn
from cluster.study.halving import Halving
from cluster.study.samplers import build_pruner
from cluster.study.second_try import begun_problems, has_begun
from search_spaces.samplers import SAMPLERS
from tests.methods.ripple.config import Config
from tests.searching import WIDE, make_spec, result

MOST = 20


def objective(config):
    return {"val_error": (np.log10(config["learning_rate"]) + 1.5) ** 2 + (config["shift"] - 0.5) ** 2}


@pytest.fixture
def fits_on(monkeypatch):
    """Let TPE be fitted on so many trials."""

    def bound(most):
        monkeypatch.setitem(SAMPLERS, "tpe", dataclasses.replace(SAMPLERS["tpe"], fits_on=most))

    return bound


@pytest.fixture
def fitted(monkeypatch):
    """Note the trials of each fit of TPE, and those among them that it takes for good."""
    fits, split = [], tpe._split_trials

    def noting(study, trials, num_good):
        good, others = split(study, trials, num_good)
        fits.append((trials, good))
        return good, others

    monkeypatch.setattr(tpe, "_split_trials", noting)
    return fits


# -- what TPE is fitted on


def tpe_search(make_search, trials=60, **parts):
    return make_search(sampler={"name": "tpe"}, budget={"trials": trials}, **parts)


def test_tpe_is_fitted_on_no_more_trials_than_its_bound_and_on_the_best_and_latest(make_search, fits_on, fitted):
    fits_on(MOST)
    search = tpe_search(make_search)
    study = search.open()
    left_running = study.ask()
    search.run(objective, study)
    ended = [trial for trial in study._study.get_trials(deepcopy=False) if trial.state is TrialState.COMPLETE]
    for trials, good in fitted[MOST:]:
        num_before = max(trial.number for trial in trials)
        before = [trial for trial in ended if trial.number <= num_before]
        assert len(trials) == MOST + 1
        assert [trial.number for trial in trials if trial.state is TrialState.RUNNING] == [left_running.number]
        best = sorted(before, key=lambda trial: trial.value)[: MOST // 10]
        assert {trial.number for trial in good} == {trial.number for trial in best}
        latest = {trial.number for trial in before[-(MOST // 3) :]}
        assert latest <= {trial.number for trial in trials}


def test_up_to_its_bound_tpe_suggests_what_it_does_without_one(make_search, fits_on):
    configs = {}
    for most in (0, 40, 20):
        fits_on(most)
        configs[most] = tpe_search(make_search, trials=45).run(objective)
    differing = {most: next((n for n in configs[0] if configs[0][n] != configs[most][n]), None) for most in configs}
    assert differing[0] is None
    assert differing[40] in range(41, 46)
    assert differing[20] in range(21, 26)


def test_beyond_its_bound_a_search_that_is_taken_up_again_and_again_asks_the_same(make_search, fits_on):
    fits_on(MOST)
    straight = tpe_search(make_search, trials=45).run(objective)
    search, configs = tpe_search(make_search, trials=45), {}
    while len(configs) < 45:
        configs |= search.run(objective, most=4)
    assert configs == straight


def test_a_search_with_two_objectives_is_fitted_on_its_front(make_search, fits_on, fitted):
    fits_on(MOST)
    several = [{"metric": "val_error"}, {"metric": "val_cost", "mode": "max"}]
    search = make_search(sampler={"name": "tpe"}, budget={"trials": 60}, objective=several)
    study = search.open()
    search.run(lambda config: {**objective(config), "val_cost": -abs(config["shift"] + 1.0)}, study)
    ended = study._study.get_trials(deepcopy=False)
    seen = 0
    for trials, good in fitted[MOST:]:
        before = ended[: max(trial.number for trial in trials) + 1]
        front = {one.number for one in before if not any(_dominates(other.values, one.values) for other in before)}
        assert len(trials) == MOST
        if len(front) <= MOST // 3:
            seen += 1
            assert {trial.number for trial in good} <= front
    assert seen > 5


def _dominates(one, other):
    is_no_worse = one[0] <= other[0] and one[1] >= other[1]
    return is_no_worse and (one[0], one[1]) != (other[0], other[1])


def test_trials_are_ranked_as_tpe_ranks_them():
    """Completed, then stopped, the furthest first, then infeasible ones; the choice is the same however it grew."""
    study = optuna.create_study(direction="maximize")
    rng = np.random.default_rng(0)
    growing = FittedOn(30, lambda number: number * 7919 % 101)
    for number in range(100):
        trial = study.ask()
        trial.suggest_float("x", 0.0, 1.0)
        if number % 3 == 0:
            trial.report(float(rng.normal()) if number % 2 else float("nan"), int(rng.integers(1, 5)))
        if number % 5 == 0:
            trial.set_constraint("0", float(rng.normal()))
        state = {0: TrialState.PRUNED, 1: TrialState.COMPLETE, 2: TrialState.COMPLETE}[number % 3]
        if number % 31 == 0:
            state = TrialState.FAIL
        study.tell(trial, float(rng.normal()) if state is TrialState.COMPLETE else None, state)
        growing.choose(study, study.get_trials(deepcopy=False))
    trials = study.get_trials(deepcopy=False)
    learnt_from = [trial for trial in trials if trial.state is not TrialState.FAIL]
    at_once = FittedOn(30, lambda number: number * 7919 % 101)
    assert at_once.choose(study, trials) == growing.choose(study, trials)
    for num_good in range(len(learnt_from)):
        good, _ = tpe._split_trials(study, learnt_from, num_good)
        assert {trial.number for trial in good} == {number for _, number in growing._by_rank[:num_good]}


# -- rungs


def halved(pruner, direction, trials=60):
    """Run trials in lots of four, side by side, and return what the pruner said at each step of each."""
    study = optuna.create_study(direction=direction, pruner=pruner)
    rng, said = np.random.default_rng(1), []
    for _ in range(trials // 4):
        running = [study.ask() for _ in range(4)]
        for step in range(1, 10):
            for trial in list(running):
                value = float(rng.integers(0, 40)) if rng.random() > 0.02 else float("nan")
                trial.report(value, step)
                stops = trial.should_prune()
                said.append((trial.number, step, stops))
                if stops or step == 9:
                    study.tell(trial, None if stops else 1.0, TrialState.PRUNED if stops else TrialState.COMPLETE)
                    running.remove(trial)
    return said


@pytest.mark.parametrize("direction", ["minimize", "maximize"])
def test_halving_decides_as_optunas_pruner_does(direction):
    said = halved(Halving(1, 2), direction)
    assert said == halved(SuccessiveHalvingPruner(1, 2), direction)
    assert {stops for *_, stops in said} == {True, False}


class _NamedSwell(HyperbandPruner):
    def _get_bracket_id(self, study, trial):
        class Named:
            study_name = "swell"

        return super()._get_bracket_id(Named, trial)


def test_hyperband_decides_as_optunas_pruner_does():
    stopping = {"name": "hyperband", "grace_steps": 1, "reduction": 2}
    ours = build_pruner(make_spec(early_stopping=stopping), lambda: 8)
    said = halved(ours, "minimize")
    assert said == halved(_NamedSwell(1, 8, 2), "minimize")
    assert {stops for *_, stops in said} == {True, False}
    assert all(isinstance(one, Halving) for one in ours._pruners)


class _Counted(list):
    """A list that counts how many of its members are looked at."""

    looked_at = 0

    def __getitem__(self, place):
        found = super().__getitem__(place)
        _Counted.looked_at += len(found) if isinstance(place, slice) else 1
        return found

    def __iter__(self):
        _Counted.looked_at += len(self)
        return super().__iter__()


def test_a_decision_looks_at_no_trial_that_had_ended_before(make_search, monkeypatch):
    search = make_search(early_stopping={"name": "asha", "grace_steps": 1, "reduction": 2}, budget={"trials": 40})
    study = search.open()
    get_trials = study._study.get_trials
    monkeypatch.setattr(study._study, "get_trials", lambda **options: _Counted(get_trials(**options)))
    looked_at = []
    while assignment := study.ask():
        goes_on = study.report(assignment.number, 1, objective(assignment.config))
        study.tell(assignment.number, Outcome.COMPLETED if goes_on else Outcome.PRUNED, result(val_error=1.0))
        looked_at.append(_Counted.looked_at)
    assert all(later - before <= 8 for before, later in pairwise(looked_at))


# -- lists of trials


def test_the_journal_lists_what_optunas_does_while_two_write(make_search):
    search = make_search()
    first, second = search.open(job=1), search.open(job=2)
    plain = JournalStorage(JournalFileBackend(str(search.paths.journal)))
    wanted = [None, (TrialState.RUNNING,), (TrialState.WAITING,), (TrialState.PRUNED, TrialState.RUNNING), ()]
    wanted += [(TrialState.COMPLETE,), tuple(TrialState)]
    asked = []
    for turn in range(5):
        asked += [(study, study.ask()) for study in (first, second, first)]
        study, assignment = asked.pop(turn % 2)
        outcome = Outcome.COMPLETED if turn % 2 else Outcome.CRASHED
        study.tell(assignment.number, outcome, result(val_error=float(turn)))
        for states in wanted:
            listed = first._storage.get_all_trials(0, deepcopy=False, states=states)
            assert listed == plain.get_all_trials(0, deepcopy=False, states=states)
            listed.clear()  # what is returned is the caller's
    first.close()
    second.close()


def test_the_journal_looks_up_no_trial_again_that_has_ended(make_search):
    search = make_search(space=WIDE)
    search.run(objective)
    storage = open_storage(search.paths)
    assert storage is not None
    journal = storage.optuna
    journal.get_all_trials(0, deepcopy=False)

    class Fails(dict):
        def __getitem__(self, trial_id):
            raise AssertionError(f"trial {trial_id} was looked up")

    replayed = journal._replay_result
    replayed._trials = Fails(replayed._trials)
    assert len(journal.get_all_trials(0, deepcopy=False)) == 15
    assert journal.get_all_trials(0, deepcopy=False, states=(TrialState.WAITING,)) == []


# -- going on with a search


def test_a_search_is_looked_through_before_it_goes_on_without_optunas_replay(make_search, monkeypatch):
    search = make_search()
    study = search.open()
    search.run(objective, study, most=5)
    study.save_active()
    study.ask()

    def is_opened(*_, **__):
        raise AssertionError("Optuna's storage was opened")

    monkeypatch.setattr(records, "open_storage", is_opened)
    assert has_begun(search.paths)
    assert list(begun_problems(search.paths, Config)) == []
    progress = progress_of(search.paths, search.spec)
    assert (progress.num_trials, progress.num_open) == (6, 1)
    assert progress.hours > 0
