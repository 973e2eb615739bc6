"""The compiled training program of one structural configuration, shared by every trial that has it."""

import math
from collections import OrderedDict
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int, PyTree

from trainables._shared import returned
from trainables._shared.choice import choices, is_choice
from trainables._shared.compiled import Busy, Compiled
from trainables._shared.config import Branches, MethodConfig, branches_of, host_fields, numeric, structural_key
from trainables._shared.contract import Hyper, Loss, Method
from trainables._shared.recovery import MAX_BAD_STEPS, Recovery, go_back, reduce_momentum

EXPLOSION = 1e6
"""A loss this many times the first one counts as a bad step: weights of 1e8 can keep a loss finite for ever."""

Made = TypeVar("Made")
Call = tuple[Any, ...]
"""The name of a traced function, and arguments of the shapes that it will be called with."""

FAILURES = ("", "diverged", "solver_failed")


class TrainState(NamedTuple):
    """All that changes while a trial trains; arrays only, so that lanes can be stacked and checkpoints are plain."""

    params: PyTree[Array]
    moments: PyTree[Array]
    step: Int[Array, ""]
    bad_steps: Int[Array, ""]
    """By how many the bad steps outnumber the good ones that followed them."""
    skipped: Int[Array, ""]
    """Bad steps so far."""
    failure: Int[Array, ""]
    """Index into FAILURES; a failed lane stands still."""
    first_loss: Float[Array, ""]
    recovery: Recovery


class Span(NamedTuple):
    """Where a chunk of steps lies in its phase; traced, so that no length compiles anything new."""

    num_steps: Int[Array, ""]
    phase_start: Int[Array, ""]
    phase_steps: Int[Array, ""]


def _select(condition: Array, new: PyTree[Array], old: PyTree[Array]) -> PyTree[Array]:
    return jax.tree.map(lambda a, b: jnp.where(condition, a, b), new, old)


def _rate(config: MethodConfig, span: Span, peak: Float[Array, ""], step: Int[Array, ""]) -> Float[Array, ""]:
    """Return a step's learning rate: linear warm-up to the peak, then the config's schedule to the end of the phase."""
    done = jnp.asarray(step - span.phase_start, jnp.float32)
    warmup = config.warmup_steps
    share = jnp.clip((done - warmup) / jnp.maximum(span.phase_steps - warmup, 1), 0.0, 1.0)
    shape = {"constant": 1.0, "cosine": 0.5 * (1 + jnp.cos(jnp.pi * share)), "linear": 1 - share}[config.schedule]
    if warmup:
        shape = shape * jnp.minimum(1.0, (done + 1) / warmup)
    return peak * shape


def traced_numbers(config: MethodConfig, branches: Branches | None = None) -> dict[str, Any]:
    """Return what enters a config's program as arguments: its numeric fields, and its choices among branches."""
    numbers = {
        name: jnp.asarray(value, jnp.uint32 if name == "seed" else jnp.float32)
        for name, value in numeric(config).items()
    }
    return {**numbers, **choices(config, branches or {})}


def _untold(config: MethodConfig, branches: Branches) -> MethodConfig:
    """Return a config without its traced values, and without what only the host reads.

    A method that reads one there, instead of in `hyper`, would get this configuration's in every trial of the program.
    """
    numbers = {name: math.nan for name in numeric(config) if name != "seed"}
    chosen = {name: values[0] for name, values in branches.items()}
    return config.model_copy(update={**numbers, **chosen, **host_fields(config)})


TRAINING = ("init", "chunk")
"""The functions that are Program's own; the others are its Evaluation's."""


class Evaluation(Compiled):
    """The traced functions that apply a model, of one structural configuration, and their compiled forms."""

    def __init__(self, method: Method[Any], config: MethodConfig, branches: Branches) -> None:
        super().__init__(f"{type(method).__qualname__} {_evaluation_key(config, branches)}")
        self._method = method
        self._config = _untold(config.for_evaluation(), branches)
        self._task = _untold(config.task().for_evaluation(), branches)
        self._branches = branches
        shapes = eqx.filter_eval_shape(lambda: method.init(self._config, self.dummy_hyper(), jax.random.key(0)))
        self.shapes, self._static = eqx.partition(shapes, _is_shape, is_leaf=is_choice)
        # A choice is no parameter, whatever arrays are in it.
        trained = method.trained(shapes)
        self.trained = jax.tree.map(lambda x, y: None if is_choice(x) else y, shapes, trained, is_leaf=is_choice)

    def dummy_hyper(self) -> Hyper:
        """Return traced values for their shapes alone."""
        return traced_numbers(self._config, self._branches)

    def model(self, params: PyTree[Array], hyper: Hyper | None = None) -> Any:
        """Return the model that has these parameters, and a trial's choices among branches if there are any."""
        model = eqx.combine(params, self._static, is_leaf=is_choice)
        if not self._branches:
            return model
        assert hyper is not None
        return jax.tree.map(lambda node: hyper[node.field] if is_choice(node) else node, model, is_leaf=is_choice)

    def validate(self, params: PyTree[Array], hyper: Hyper, data: PyTree[Array]) -> dict[str, Float[Array, ""]]:
        """Return the report's metrics of these parameters; `hyper` are the task's numbers (`Program.scoring`)."""
        values = self._method.validate(self._task, hyper, self.model(params, hyper), data)
        return returned.traced_metrics("validate()", values)

    def predict(self, params: PyTree[Array], hyper: Hyper, tests: Mapping[str, PyTree[Array]]) -> PyTree[Array]:
        """Return what the method's `score` needs on the test sets; `hyper` are the task's numbers."""
        return self._method.predict(self._task, hyper, self.model(params, hyper), tests)


def _evaluation_key(config: MethodConfig, branches: Branches) -> str:
    """Return what tells evaluations apart: the model's config, and that of the task if it is another."""
    own = structural_key(config.for_evaluation(), branches)
    return f"{own} on {structural_key(config.task().for_evaluation(), branches)}" if config.scored_on else own


def _is_shape(leaf: object) -> bool:
    return isinstance(leaf, jax.ShapeDtypeStruct)


class Program(Compiled):
    """The traced functions of one structural configuration and their compiled forms.

    `searched` are the values that a search gives each field: of those that choose among branches, they share the
    program. `evaluation` may be that of another program, if it is the same.
    """

    def __init__(
        self,
        method: Method[Any],
        config: MethodConfig,
        searched: Mapping[str, Collection[Any]] | None = None,
        evaluation: Evaluation | None = None,
    ) -> None:
        self.branches = branches_of(config, searched or {})
        self.method = method
        self.evaluation = evaluation or Evaluation(method, config, self.branches)
        config = config.for_training()
        super().__init__(f"{type(method).__qualname__} {structural_key(config, self.branches)}", donated=("chunk",))
        self.config = _untold(config, self.branches)
        chain = [optax.clip_by_global_norm(config.clip_norm)] if config.clip_norm else []
        self._adam = optax.chain(*chain, optax.scale_by_adam())
        self._trained = self.evaluation.trained

    def hyper(self, config: MethodConfig) -> dict[str, Any]:
        """Return a trial's traced values."""
        return traced_numbers(config, self.branches)

    def scoring(self, config: MethodConfig) -> dict[str, Any]:
        """Return the traced values that `validate` and `predict` get: those of the task that a trial is scored on."""
        return traced_numbers(config.task(), self.branches)

    def model(self, params: PyTree[Array], hyper: Hyper | None = None) -> Any:
        """Return the model that has these parameters, and a trial's choices among branches if there are any."""
        return self.evaluation.model(params, hyper)

    @property
    def compilations(self) -> int:
        """How many functions were compiled, those that evaluate included."""
        return super().compilations + self.evaluation.compilations

    @property
    def compile_s(self) -> float:
        """How long that took, less the time that other processes were waited for."""
        return super().compile_s + self.evaluation.compile_s

    def run(self, name: str, *args: Any) -> Any:
        """Call a traced function by name, compiled for arguments of these shapes."""
        return super().run(name, *args) if name in TRAINING else self.evaluation.run(name, *args)

    def prepare(self, needed: Sequence[Call], later: Sequence[Call]) -> None:
        """Compile the calls that are needed, and while other processes do so, those that will be."""
        waiting = list(needed)
        while waiting:
            waiting = [call for call in waiting if not self._try(call)]
            if waiting and not any(self._try(call) for call in later if not self._owner(call).has(*call)):
                self._try(waiting[0], wait=True)

    def _try(self, call: Call, *, wait: bool = False) -> bool:
        try:
            self._owner(call).compile(*call, wait=wait)
        except Busy:
            return False
        return True

    def _owner(self, call: Call) -> Compiled:
        return self if call[0] in TRAINING else self.evaluation

    # -- traced functions: these are what vmap turns into lanes ---------------------------------------------------

    def init(self, hyper: Hyper) -> TrainState:
        """Return the state before the first step."""
        model = self.method.init(self.config, hyper, jax.random.fold_in(jax.random.key(hyper["seed"]), 0))
        params = eqx.filter(model, eqx.is_array, is_leaf=is_choice)
        moments = self._adam.init(eqx.filter(params, self._trained))
        zero = jnp.zeros((), jnp.int32)
        return TrainState(params, moments, zero, zero, zero, zero, jnp.full((), jnp.inf), self.no_recovery(params))

    def no_recovery(self, params: PyTree[Array]) -> Recovery:
        """Return the recovery of a training that knows of no step before these parameters."""
        return Recovery(eqx.filter(params, self._trained), jnp.zeros((), jnp.int32))

    def chunk(
        self, state: TrainState, hyper: Hyper, span: Span, data: PyTree[Array]
    ) -> tuple[TrainState, dict[str, Float[Array, ""]]]:
        """Return the state `num_steps` later and the mean of loss and components over the steps that counted."""
        # Shapes of the loss alone: to trace its gradient here too would double the time of tracing.
        loss = jax.eval_shape(lambda: self._objective(state, hyper, data)(eqx.filter(state.params, self._trained))[1])
        zeros = {"loss": jnp.zeros(()), **{name: jnp.zeros(()) for name in loss.components}}

        def body(_: Int[Array, ""], carry: tuple[TrainState, dict[str, Array], Array]) -> Any:
            state, sums, count = carry
            new, terms, ok = self._step(state, hyper, span, data)
            sums = {name: sums[name] + jnp.where(ok, terms[name], 0.0) for name in sums}
            return new, sums, count + ok

        # A fori_loop with a traced length is a while loop: a scan would compile anew for each length of chunk.
        state, sums, count = jax.lax.fori_loop(0, span.num_steps, body, (state, zeros, jnp.zeros((), jnp.int32)))
        return state, {
            name: jnp.where(count > 0, total / jnp.maximum(count, 1), jnp.nan) for name, total in sums.items()
        }

    def _objective(
        self, state: TrainState, hyper: Hyper, data: PyTree[Array]
    ) -> Callable[[PyTree[Array]], tuple[Float[Array, ""], Loss]]:
        """Return the loss of this step's batch as a function of the trained parameters."""
        batch_key, loss_key = jax.random.split(
            jax.random.fold_in(jax.random.fold_in(jax.random.key(hyper["seed"]), 1), state.step)
        )
        batch = self.method.batch(self.config, data, batch_key)
        fixed = eqx.filter(state.params, self._trained, inverse=True)

        def objective(trained: PyTree[Array]) -> tuple[Float[Array, ""], Loss]:
            model = self.model(eqx.combine(trained, fixed), hyper)
            loss = returned.loss(self.method.loss(self.config, hyper, model, batch, loss_key, state.step))
            after = fixed if loss.model is None else self._untrained(loss.model)
            return loss.value, loss._replace(model=after)

        return objective

    def _untrained(self, model: Any) -> PyTree[Array]:
        params = eqx.filter(model, eqx.is_array, is_leaf=is_choice)
        return eqx.filter(params, self._trained, inverse=True)

    def _step(
        self, state: TrainState, hyper: Hyper, span: Span, data: PyTree[Array]
    ) -> tuple[TrainState, dict[str, Array], Array]:
        trained, fixed = eqx.partition(state.params, self._trained)
        (_, loss), gradient = jax.value_and_grad(self._objective(state, hyper, data), has_aux=True)(trained)
        first = jnp.where(jnp.isfinite(state.first_loss), state.first_loss, loss.value)
        sane = jnp.isfinite(loss.value) & jnp.isfinite(optax.tree.norm(gradient))
        sane &= loss.value <= EXPLOSION * jnp.maximum(first, 1e-6)
        ok = sane & loss.solved & (state.failure == 0)

        updates, moments = self._adam.update(gradient, state.moments, trained)
        factor = self.method.rate_factor(self.config, hyper, self.model(state.params, hyper))
        rate = _rate(self.config, span, hyper["learning_rate"], state.step) * factor
        moved = jax.tree.map(lambda p, u: p - rate * (u + hyper["weight_decay"] * p), trained, updates)

        # Not just `~ok`: a failed lane stands still.
        bad = (state.failure == 0) & ~ok
        bad_steps = jnp.where(ok, jnp.maximum(state.bad_steps - 1, 0), state.bad_steps + bad)
        failure = jnp.where(bad_steps >= MAX_BAD_STEPS, jnp.where(loss.solved, 1, 2), 0)
        back = _select(bad, go_back(trained, state.recovery.good), trained)
        new = TrainState(
            params=eqx.combine(_select(ok, moved, back), _select(ok, loss.model, fixed)),
            moments=_select(ok, moments, _select(bad, reduce_momentum(state.moments), state.moments)),
            step=state.step + (state.failure == 0),
            bad_steps=bad_steps,
            skipped=state.skipped + bad,
            failure=jnp.where(state.failure > 0, state.failure, failure),
            first_loss=jnp.where(jnp.isfinite(first), first, state.first_loss),
            recovery=Recovery(
                _select(ok & (state.bad_steps == 0), trained, state.recovery.good),
                state.recovery.recoveries + (ok & (state.bad_steps == 1)),
            ),
        )
        return new, {"loss": loss.value, **loss.components}, ok


class ProgramCache:
    """The programs of one process, least recently used ones dropped; a worker keeps one across its trials."""

    def __init__(self, size: int = 16) -> None:
        self._size = size
        self._programs: OrderedDict[tuple[str, ...], Program] = OrderedDict()
        self._evaluations: OrderedDict[tuple[str, ...], Evaluation] = OrderedDict()

    def get(
        self,
        method: Method[Any],
        config: MethodConfig,
        settings: Mapping[str, Any] | None = None,
        searched: Mapping[str, Collection[Any]] | None = None,
    ) -> Program:
        """Return the program of a configuration, made at its first use; of other JAX settings it is another program."""
        branches = branches_of(config, searched or {})
        names = (type(method).__qualname__, repr(sorted((settings or {}).items())))
        evaluated = _evaluation_key(config, branches)
        evaluation = self._kept(self._evaluations, (*names, evaluated), lambda: Evaluation(method, config, branches))
        return self._kept(
            self._programs,
            # One that trains alike, and is scored on another task, has an evaluation of its own.
            (*names, structural_key(config.for_training(), branches), evaluated),
            lambda: Program(method, config, searched, evaluation),
        )

    def _kept(self, kept: OrderedDict[tuple[str, ...], Made], key: tuple[str, ...], make: Callable[[], Made]) -> Made:
        if key not in kept:
            kept[key] = make()
            if len(kept) > self._size:
                kept.popitem(last=False)
        kept.move_to_end(key)
        return kept[key]
