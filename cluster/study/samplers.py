"""Optuna's samplers and pruners by the spec's names, made so that a resumed search samples as an undisturbed one."""

import hashlib
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, FloatDistribution
from optuna.samplers import BaseSampler
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from search_spaces.grid import Grid
from search_spaces.spec import Spec
from search_spaces.steps import Steps

KNOW_CONSTRAINTS = ("tpe", "gp", "nsga2")
"""Samplers that heed a trial's constraints; the others warn of them."""


def _seed_of(seed: int, number: int, parameter: str = "") -> int:
    return int.from_bytes(hashlib.sha256(f"{seed}/{number}/{parameter}".encode()).digest()[:4], "big")


def _on_step(value: Any, distribution: BaseDistribution) -> Any:
    """Return a value of a stepped range with the digits that it has in the spec's list of values."""
    if not isinstance(distribution, FloatDistribution) or distribution.step is None:
        return value
    steps = Steps(distribution.low, distribution.high, distribution.step)
    return steps[steps.place(value)]


class NumberedSampler(BaseSampler):
    """A sampler whose randomness depends on (seed, trial number) alone.

    Optuna's samplers carry a random generator, which a resumed search would start anew and so ask the same
    configurations again. Here a fresh inner sampler is made for each trial; what it needs to know it reads from the
    study. The trials of a repeated configuration follow each other; all but the first copy the first one's values.
    """

    def __init__(self, make: Callable[[int], BaseSampler], seed: int, repeats: int = 1) -> None:
        self._make = make
        self._seed = seed
        self._repeats = repeats
        self._current: tuple[int, BaseSampler] | None = None

    def _inner(self, trial: FrozenTrial) -> BaseSampler:
        if self._current is None or self._current[0] != trial.number:
            self._current = (trial.number, self._fresh(_seed_of(self._seed, trial.number)))
        return self._current[1]

    def _fresh(self, seed: int) -> BaseSampler:
        with warnings.catch_warnings():
            # multivariate TPE with groups is Optuna's own answer to conditional spaces, marked experimental
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            return self._make(seed)

    def _leader(self, study: Study, trial: FrozenTrial) -> FrozenTrial | None:
        offset = trial.number % self._repeats
        if not offset:
            return None
        # By its number: with Hyperband, the study that a sampler sees has the trials of one bracket only.
        storage = study._storage
        return storage.get_trial(
            storage.get_trial_id_from_study_id_trial_number(study._study_id, trial.number - offset)
        )

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """Return the space sampled jointly; empty for a repetition."""
        if trial.number % self._repeats:
            return {}
        return self._inner(trial).infer_relative_search_space(study, trial)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Return jointly sampled values."""
        if trial.number % self._repeats:
            return {}
        values = self._inner(trial).sample_relative(study, trial, search_space)
        return {name: _on_step(value, search_space[name]) for name, value in values.items()}

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """Return one value: the first trial's for a repetition."""
        leader = self._leader(study, trial)
        if leader is not None:
            return leader.params[param_name]
        # Its own seed for each parameter: a search killed between two of them goes on with the same values.
        inner = self._fresh(_seed_of(self._seed, trial.number, param_name))
        return _on_step(inner.sample_independent(study, trial, param_name, param_distribution), param_distribution)

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        """Prepare the inner sampler."""
        if trial.number % self._repeats == 0:
            self._inner(trial).before_trial(study, trial)

    def after_trial(self, study: Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None) -> None:
        """Let the inner sampler note a finished trial (its constraints, its generation)."""
        self._inner(trial).after_trial(study, trial, state, values)


class GridSampler(BaseSampler):
    """The points of a grid, one per trial number (and repetition); Optuna's own keeps no order across a resume."""

    def __init__(self, grid: Grid, seed: int, repeats: int) -> None:
        self._grid = grid
        self._shuffle = Shuffle(grid.size, seed)
        self._repeats = repeats
        self._current: tuple[int, Mapping[str, Any]] = (-1, {})

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """Return nothing: every value follows from the number."""
        return {}

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Return nothing: every value follows from the number."""
        return {}

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """Return the point's value."""
        place = trial.number // self._repeats
        if self._current[0] != place:
            self._current = (place, self._grid[self._shuffle[place]])
        return self._current[1][param_name]


class Shuffle:
    """An order of 0 ... size - 1 fixed by a seed, so that a part of a grid covers it; no list, if that is large."""

    LISTED = 100_000
    """The largest size that is sorted by hashes; a larger one is walked through by a Feistel network over them."""

    def __init__(self, size: int, seed: int) -> None:
        self._size = size
        self._seed = seed
        self._half = max(1, ((size - 1).bit_length() + 1) // 2)
        self._listed = sorted(range(size), key=lambda i: self._hash(f"{i}")) if size <= self.LISTED else None

    def __getitem__(self, index: int) -> int:
        if not 0 <= index < self._size:
            raise IndexError(index)
        if self._listed is not None:
            return self._listed[index]
        index = self._permuted(index)
        while index >= self._size:  # the network knows powers of four only; walking on stays a permutation
            index = self._permuted(index)
        return index

    def _permuted(self, index: int) -> int:
        mask = (1 << self._half) - 1
        left, right = index >> self._half, index & mask
        for turn in range(4):
            mixed = int.from_bytes(self._hash(f"{turn}:{right}"), "big")
            left, right = right, left ^ (mixed & mask)
        return left << self._half | right

    def _hash(self, text: str) -> bytes:
        return hashlib.sha256(f"{self._seed}:{text}".encode()).digest()


def build_sampler(spec: Spec, grid: Grid | None) -> BaseSampler:
    """Return the spec's sampler; every option is set here, since Optuna's defaults change between versions."""
    samplers = optuna.samplers
    seed, name = spec.sampler.seed, spec.sampler.name
    repeats = len(spec.seeds)
    if name == "grid":
        assert grid is not None
        return GridSampler(grid, seed, repeats)

    def qmc(own_seed: int) -> BaseSampler:
        # One scrambled sequence for the whole search: its place in it is in the study. What it leaves to independent
        # sampling (conditional parameters, the first trial) must still differ from trial to trial.
        return samplers.QMCSampler(
            qmc_type="sobol", scramble=True, seed=seed, independent_sampler=samplers.RandomSampler(seed=own_seed),
            warn_independent_sampling=False, warn_asynchronous_seeding=False,
        )  # fmt: skip

    makers: dict[str, Callable[[int], BaseSampler]] = {
        "random": lambda s: samplers.RandomSampler(seed=s),
        "tpe": lambda s: samplers.TPESampler(
            n_startup_trials=10, n_ei_candidates=24, seed=s, multivariate=True, group=True,
            constant_liar=True,
        ),
        "gp": lambda s: samplers.GPSampler(
            seed=s, n_startup_trials=10, deterministic_objective=False,
            warn_independent_sampling=False,
        ),
        "cmaes": lambda s: samplers.CmaEsSampler(seed=s, n_startup_trials=1, warn_independent_sampling=False),
        "nsga2": lambda s: samplers.NSGAIISampler(population_size=50, seed=s),
        "qmc": qmc,
    }  # fmt: skip
    return NumberedSampler(makers[name], seed, repeats)


def build_pruner(spec: Spec, max_steps: int | None) -> optuna.pruners.BasePruner:
    """Return the spec's early stopping, for trainings of at most `max_steps`.

    Optuna keeps its rungs in the study, so that they survive everything.
    """
    stopping = spec.early_stopping
    if stopping.name == "asha":
        return optuna.pruners.SuccessiveHalvingPruner(
            min_resource=stopping.grace_steps, reduction_factor=stopping.reduction, min_early_stopping_rate=0
        )
    if stopping.name == "hyperband":
        return optuna.pruners.HyperbandPruner(
            min_resource=stopping.grace_steps, max_resource=max_steps or "auto", reduction_factor=stopping.reduction
        )
    return optuna.pruners.NopPruner()
