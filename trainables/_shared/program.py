"""The compiled training program of one structural configuration, shared by every trial that has it."""

import math
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int, PyTree

from trainables._shared import returned
from trainables._shared.config import MethodConfig, numeric, structural_key
from trainables._shared.contract import Hyper, Loss, Method
from trainables._shared.recovery import MAX_BAD_STEPS, Recovery, go_back, reduce_momentum

EXPLOSION = 1e6
"""A loss this many times the first one counts as a bad step: weights of 1e8 can keep a loss finite for ever."""

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


class Program:
    """The traced functions of one structural configuration and their compiled forms.

    `compilations` and `compile_s` count what this program had to compile; the persistent cache may have shortened it.
    """

    def __init__(self, method: Method[Any], config: MethodConfig) -> None:
        self.method = method
        # Without its numeric values: a method that reads one here, instead of its traced number, would get this
        # configuration's in every trial of the program.
        self.config = config.model_copy(update={name: math.nan for name in numeric(config) if name != "seed"})
        self.compilations = 0
        self.compile_s = 0.0
        self._compiled: dict[Any, Callable[..., Any]] = {}
        chain = [optax.clip_by_global_norm(config.clip_norm)] if config.clip_norm else []
        self._adam = optax.chain(*chain, optax.scale_by_adam())
        shapes = eqx.filter_eval_shape(lambda: method.init(config, self._dummy_hyper(), jax.random.key(0)))
        self._static = eqx.partition(shapes, lambda leaf: isinstance(leaf, jax.ShapeDtypeStruct))[1]
        self._trained = method.trained(shapes)

    def _dummy_hyper(self) -> Hyper:
        return {name: jnp.asarray(value) for name, value in numeric(self.config).items()}

    def model(self, params: PyTree[Array]) -> Any:
        """Return the model that has these parameters."""
        return eqx.combine(params, self._static)

    # -- traced functions: these are what vmap turns into lanes ---------------------------------------------------

    def init(self, hyper: Hyper) -> TrainState:
        """Return the state before the first step."""
        model = self.method.init(self.config, hyper, jax.random.fold_in(jax.random.key(hyper["seed"]), 0))
        params = eqx.filter(model, eqx.is_array)
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
            model = self.model(eqx.combine(trained, fixed))
            loss = returned.loss(self.method.loss(self.config, hyper, model, batch, loss_key, state.step))
            after = fixed if loss.model is None else self._untrained(loss.model)
            return loss.value, loss._replace(model=after)

        return objective

    def _untrained(self, model: Any) -> PyTree[Array]:
        return eqx.filter(eqx.filter(model, self._trained, inverse=True), eqx.is_array)

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
        factor = self.method.rate_factor(self.config, hyper, self.model(state.params))
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

    def validate(self, params: PyTree[Array], hyper: Hyper, data: PyTree[Array]) -> dict[str, Float[Array, ""]]:
        """Return the report's metrics of these parameters."""
        values = self.method.validate(self.config, hyper, self.model(params), data)
        return returned.traced_metrics("validate()", values)

    def predict(self, params: PyTree[Array], hyper: Hyper, tests: Mapping[str, PyTree[Array]]) -> PyTree[Array]:
        """Return what the method's `score` needs on the test sets."""
        return self.method.predict(self.config, hyper, self.model(params), tests)

    # -- compiled forms -------------------------------------------------------------------------------------------

    def run(self, name: str, *args: Any) -> Any:
        """Call a traced function by name, compiled ahead of its first call with arguments of these shapes."""
        avals = jax.tree.map(lambda x: (jnp.shape(x), jnp.result_type(x)), args)
        leaves, structure = jax.tree.flatten(avals, is_leaf=lambda x: isinstance(x, tuple) and len(x) == 2)
        key = (name, structure, tuple(leaves))
        if key not in self._compiled:
            start = time.perf_counter()
            # The state is donated: a step then needs no second copy of parameters and moments.
            jitted = jax.jit(getattr(self, name), donate_argnums=(0,) if name == "chunk" else ())
            self._compiled[key] = jitted.lower(*args).compile()
            self.compilations += 1
            self.compile_s += time.perf_counter() - start
        return self._compiled[key](*args)


class ProgramCache:
    """The programs of one process, least recently used ones dropped; a worker keeps one across its trials."""

    def __init__(self, size: int = 8) -> None:
        self._size = size
        self._programs: OrderedDict[tuple[str, str, str], Program] = OrderedDict()

    def get(self, method: Method[Any], config: MethodConfig, settings: Mapping[str, Any] | None = None) -> Program:
        """Return the program of a configuration, made at its first use; of other JAX settings it is another program."""
        key = (type(method).__qualname__, structural_key(config), repr(sorted((settings or {}).items())))
        if key not in self._programs:
            self._programs[key] = Program(method, config)
            if len(self._programs) > self._size:
                self._programs.popitem(last=False)
        self._programs.move_to_end(key)
        return self._programs[key]
