"""Builds Optuna's samplers and pruners from the spec, so that a resumed search samples like an undisturbed one."""

import hashlib
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import optuna
from optuna.distributions import BaseDistribution, FloatDistribution
from optuna.samplers import BaseSampler
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from cluster.study.fitted import FittedOn, StudyOf
from cluster.study.halving import Halving
from search_spaces.grid import Grid
from search_spaces.spec import Spec
from search_spaces.steps import Steps


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
    configurations again. Here each trial gets a fresh inner sampler, which reads what it needs to know from the
    study. The trials of a repeated configuration follow each other; all but the first copy the first one's values.
    """

    def __init__(self, make: Callable[[int], BaseSampler], seed: int, repeats: int = 1, fits_on: int = 0) -> None:
        """Make each trial's sampler with `make`; it is fitted on at most `fits_on` trials, 0 for no bound."""
        self._make = make
        self._seed = seed
        self._repeats = repeats
        self._fitted_on = FittedOn(fits_on, lambda number: _seed_of(seed, number, "fitted on")) if fits_on else None
        self._current: tuple[int, BaseSampler] | None = None

    def _inner(self, trial: FrozenTrial) -> BaseSampler:
        if self._current is None or self._current[0] != trial.number:
            self._current = (trial.number, self._fresh(_seed_of(self._seed, trial.number)))
        return self._current[1]

    def _fresh(self, seed: int) -> BaseSampler:
        with warnings.catch_warnings():
            # multivariate TPE with groups is Optuna's way for conditional spaces; Optuna warns that it is experimental
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            return self._make(seed)

    def _seen(self, study: Study) -> Study:
        """Return a study as the inner samplers see it."""
        return study if self._fitted_on is None else cast(Study, StudyOf(study, self._fitted_on))

    def _leader(self, study: Study, trial: FrozenTrial) -> FrozenTrial | None:
        offset = trial.number % self._repeats
        if not offset:
            return None
        # Found by its number: with Hyperband, a sampler sees only the trials of one bracket.
        storage = study._storage
        return storage.get_trial(
            storage.get_trial_id_from_study_id_trial_number(study._study_id, trial.number - offset)
        )

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """Return the space that is sampled jointly; empty for a repetition."""
        if trial.number % self._repeats:
            return {}
        return self._inner(trial).infer_relative_search_space(self._seen(study), trial)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Return values for the parameters of the joint space."""
        if trial.number % self._repeats:
            return {}
        values = self._inner(trial).sample_relative(self._seen(study), trial, search_space)
        return {name: _on_step(value, search_space[name]) for name, value in values.items()}

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """Return a value for one parameter; a repetition copies that of the configuration's first trial."""
        leader = self._leader(study, trial)
        if leader is not None:
            return leader.params[param_name]
        # Each parameter has its own seed: a search that is killed between two of them goes on with the same values.
        inner = self._fresh(_seed_of(self._seed, trial.number, param_name))
        value = inner.sample_independent(self._seen(study), trial, param_name, param_distribution)
        return _on_step(value, param_distribution)

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        """Prepare the inner sampler."""
        if trial.number % self._repeats == 0:
            self._inner(trial).before_trial(study, trial)

    def after_trial(self, study: Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None) -> None:
        """Let the inner sampler note a finished trial (its constraints, its generation)."""
        self._inner(trial).after_trial(study, trial, state, values)


class GridSampler(BaseSampler):
    """Gives each trial number (and its repetitions) a point of a grid; Optuna's own keeps no order across a resume."""

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
        """Return the value that the trial's grid point has for a parameter."""
        place = trial.number // self._repeats
        if self._current[0] != place:
            self._current = (place, self._grid[self._shuffle[place]])
        return self._current[1][param_name]


class Shuffle:
    """A permutation of 0 ... size - 1 fixed by a seed, computed index by index so that a large one takes no memory."""

    LISTED = 100_000
    """Up to this size the order is sorted by hashes; above, a Feistel network over hashes gives it."""

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
        while index >= self._size:  # it permutes a power of four: go on until in range
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
    """Return the spec's sampler."""
    seed, facts, repeats = spec.sampler.seed, spec.sampler.facts, len(spec.seeds)
    if facts.is_grid:
        assert grid is not None
        return GridSampler(grid, seed, repeats)
    make: Callable[..., BaseSampler] = getattr(optuna.samplers, facts.optuna_class)

    def of_trial(own_seed: int) -> BaseSampler:
        if not facts.one_sequence:
            return make(seed=own_seed, **facts.options)
        # One sequence for the whole search; the study tells how far it got. What it leaves to independent sampling
        # (conditional parameters, the first trial) must still differ from trial to trial.
        independent = optuna.samplers.RandomSampler(seed=own_seed)
        return make(seed=seed, independent_sampler=independent, **facts.options)

    return NumberedSampler(of_trial, seed, repeats, facts.fits_on)


@dataclass(frozen=True)
class _Named:
    study_name: str


_ALWAYS_CALLED = _Named("swell")  # what all studies were called once: brackets of searches from then stay what they are


class _Hyperband(optuna.pruners.HyperbandPruner):
    """Hyperband whose brackets depend on a trial's number alone; Optuna's depend on the study's name too.

    The name is that of the search's directory, so the same search under another name would decide otherwise.
    """

    def _get_bracket_id(self, study: Study, trial: FrozenTrial) -> int:
        return super()._get_bracket_id(cast(Study, _ALWAYS_CALLED), trial)

    def _try_initialization(self, study: Study) -> None:
        super()._try_initialization(study)
        for bracket, pruner in enumerate(self._pruners):
            self._pruners[bracket] = Halving(
                pruner._min_resource, self._reduction_factor, rate=bracket, is_rival=self._is_in(bracket)
            )

    def _is_in(self, bracket: int) -> Callable[[FrozenTrial], bool]:
        return lambda trial: self._get_bracket_id(cast(Study, _ALWAYS_CALLED), trial) == bracket

    def prune(self, study: Study, trial: FrozenTrial) -> bool:
        """Return whether a trial should stop, by its rivals in its bracket."""
        if not self._pruners:
            self._try_initialization(study)
        return bool(self._pruners) and self._pruners[self._get_bracket_id(study, trial)].prune(study, trial)


def build_pruner(spec: Spec, max_steps: Callable[[], int | None]) -> optuna.pruners.BasePruner:
    """Return the pruner for the spec's early stopping, for at most `max_steps()` steps: only Hyperband asks.

    Optuna keeps its rungs in the study, so that they survive crashes and resumes.
    """
    stopping = spec.early_stopping
    if stopping.name == "asha":
        return Halving(stopping.grace_steps, stopping.reduction)
    if stopping.name == "hyperband":
        return _Hyperband(
            min_resource=stopping.grace_steps, max_resource=max_steps() or "auto", reduction_factor=stopping.reduction
        )
    return optuna.pruners.NopPruner()
