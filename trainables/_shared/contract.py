"""What a training method gives: pure functions over a frozen config. It never knows where it runs."""

import abc
from collections.abc import Mapping, Sequence
from typing import Any, Generic, NamedTuple, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray, PyTree

from trainables._shared.config import MethodConfig
from trainables._shared.datasets import DatasetStore

ConfigT = TypeVar("ConfigT", bound=MethodConfig)
Hyper = Mapping[str, Any]
"""The config's numeric fields as traced scalars, by name, and its branching ones as a `Choice`; `learning_rate` is the
peak of the phase in training."""


class Phase(NamedTuple):
    """One stage of training: its optimiser steps, and its peak learning rate, which the program sees in `hyper`."""

    steps: int
    learning_rate: float


class UnknownTestSetError(ValueError):
    """A method has no test set of a name, or a file does not hold one; the message says what there is."""


class Loss(NamedTuple):
    """A batch's loss, its parts by name, and whether every ODE solve in it succeeded."""

    value: Float[Array, ""]
    components: dict[str, Float[Array, ""]]
    solved: Bool[Array, ""]
    model: Any = None
    """The model with its untrained leaves as this step leaves them, where it has any; the trained ones are not read."""


class TrialData(NamedTuple):
    """Host arrays of one trial: pytrees that enter the compiled program as arguments."""

    phases: Sequence[PyTree[np.ndarray]]
    """One pytree of training arrays per phase."""
    validation: PyTree[np.ndarray]
    tests: Mapping[str, PyTree[np.ndarray]]


class TestResult(NamedTuple):
    """Metrics on one named test set, and its per-example table (column name to values of equal length)."""

    metrics: dict[str, float]
    table: dict[str, list[float]]


TestResult.__test__ = False  # pyright: ignore[reportAttributeAccessIssue]  # not a test case, whatever pytest thinks


class Method(abc.ABC, Generic[ConfigT]):
    """A training method: stateless, one instance a process.

    No Python branch on a numeric or branching field (they are traced, in `hyper`), no host callback in the loss,
    randomness only from the keys given. `init`, `batch`, `loss`, `rate_factor`, `validate` and `predict` are traced
    under jit and vmap. All that changes while a trial trains is in the model: what is not trained by gradients (a
    schedule's state, an average) are leaves of it that `trained` leaves out.
    """

    config_type: type[ConfigT]

    @abc.abstractmethod
    def smoke(self) -> ConfigT:
        """Return a config that trains in seconds and whose loss falls, for the conformance checks."""

    @abc.abstractmethod
    def phases(self, config: ConfigT) -> Sequence[Phase]:
        """Return the phases of training, at least one."""

    @abc.abstractmethod
    def data(self, config: ConfigT, store: DatasetStore) -> TrialData:
        """Return the data of a config, memory-mapped from the store where it can be, whatever its `scored_on` is."""

    def task_data(self, config: ConfigT, task: ConfigT, store: DatasetStore) -> TrialData:
        """Return the data that a config is scored on, those of another config, `task`: its training data are not used.

        By default the task's own. They must hold nothing that the config trains on.
        """
        return self.data(task, store)

    def trial_data(self, config: ConfigT, store: DatasetStore) -> TrialData:
        """Return what a trial trains on, and the validation and test data of the task that it is scored on."""
        own = self.data(config, store)
        if not config.scored_on:
            return own
        scored = self.task_data(config, config.task(), store)
        return own._replace(validation=scored.validation, tests=scored.tests)

    @abc.abstractmethod
    def init(self, config: ConfigT, hyper: Hyper, key: PRNGKeyArray) -> eqx.Module:
        """Return the initial model."""

    @abc.abstractmethod
    def batch(self, config: ConfigT, data: PyTree[Array], key: PRNGKeyArray) -> PyTree[Array]:
        """Return the batch of one step, drawn from one phase's training arrays."""

    @abc.abstractmethod
    def loss(
        self,
        config: ConfigT,
        hyper: Hyper,
        model: Any,
        batch: PyTree[Array],
        key: PRNGKeyArray,
        step: Int[Array, ""],
    ) -> Loss:
        """Return the loss of one batch, after `step` optimiser steps; finite or not, it never raises."""

    def trained(self, model: Any) -> PyTree[bool]:
        """Return which of the model's leaves the optimiser moves; the loss may change the others (`Loss.model`)."""
        return jax.tree.map(lambda leaf: jnp.issubdtype(getattr(leaf, "dtype", bool), jnp.inexact), model)

    def start_from(self, saved: Any, fresh: Any) -> Any:
        """Return the model that a training begins with if it starts from a saved one (`init_from`): all of that.

        A method whose model has among its untrained leaves what belongs to one training (a schedule's state) takes that
        from `fresh`, the model as `init` makes it, of the same shapes. Called once, on the host.
        """
        return saved

    def rate_factor(self, config: ConfigT, hyper: Hyper, model: Any) -> Float[Array, ""] | float:
        """Return what the step's learning rate is multiplied by; the method's own schedule, where it has one."""
        return 1.0

    @abc.abstractmethod
    def validate(self, config: ConfigT, hyper: Hyper, model: Any, data: PyTree[Array]) -> dict[str, Float[Array, ""]]:
        """Return the metrics of a report, named as in the config's `reported_metrics` (less the training losses).

        The config is that of the task that the data come from, whose numbers are in `hyper`: trained statistics of a
        model may be of other data, and its errors must not be in units of them.
        """

    def selection(self, config: ConfigT) -> tuple[str, str]:
        """Return the reported metric that picks the best model, and its mode, `min` or `max`.

        By default what the config's `selected_by` says, which `swell check` knows without importing JAX; raises
        NotImplementedError if that says nothing.
        """
        chosen = config.selected_by()
        if chosen is None:
            raise NotImplementedError(f"{type(self).__name__} needs `selection`, or its config `selected_by`")
        return chosen

    def predict(self, config: ConfigT, hyper: Hyper, model: Any, tests: Mapping[str, PyTree[Array]]) -> PyTree[Array]:
        """Return what `score` needs of a model on the test sets; traced, and compiled once per program.

        All sets come at once, so that what they share is compiled once.
        """
        return {}

    def score(
        self, config: ConfigT, tests: Mapping[str, PyTree[np.ndarray]], prediction: PyTree[np.ndarray]
    ) -> dict[str, TestResult]:
        """Return the results by test set, in NumPy on the host; runs once, for the best model."""
        return {}

    def test_set(self, config: ConfigT, store: DatasetStore, name: str) -> PyTree[np.ndarray]:
        """Return a test set, by its name or from a file, as `data` has it in `tests`: for models that are trained.

        By default those that the config itself names. Raises UnknownTestSetError, which says what there is.
        """
        own = self.trial_data(config, store).tests
        if name not in own:
            raise UnknownTestSetError(
                f"there is no test set {name!r} for this model; there are: {', '.join(own) or 'none'}"
            )
        return own[name]
