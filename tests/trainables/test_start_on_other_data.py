import numpy as np
import pytest

from trainables._shared.datasets import DatasetStore
from trainables._shared.discovery import load_method
from trainables._shared.program import Program
from trainables._shared.training import Training

SHORT = {"steps": 4, "report_every": 2, "batch_size": 8}


def oscillations(*, size, period=1.0):
    rng = np.random.default_rng(0)
    t = np.linspace(0, 2, 60) * period
    phase = rng.uniform(0, 6, size=(20, 1))
    angle = 5 * t / period + phase
    return t, size * rng.uniform(0.5, 1.5, size=(20, 1, 1)) * np.stack([np.sin(angle), np.cos(angle)], axis=-1)


def haloes(*, size):
    rng = np.random.default_rng(0)
    sim = np.repeat(np.arange(10), 4)
    params, ratios = rng.uniform(0.5, 1.5, (10, 3))[sim], rng.uniform(0.8, 1.0, (10, 2))[sim]
    mass, profile = 10 ** rng.uniform(13, 15, 40), size * 10 ** rng.normal(size=(40, 4))
    return {"params": size * params, "mass": mass, "pk_ratio": ratios, "profile": profile, "sim": sim}


def latent_ode(size):
    t, y = oscillations(size=size, period=size)
    fields = {"dataset": "file", "file_components": 2, "hidden": 4, "latent": 2, "width": 4, "depth": 1}
    return fields, {"t": np.broadcast_to(t, y.shape[:2]), "y": y}


def jacobian_ode(size):
    t, x = oscillations(size=size)
    fields = {"system": "file", "dimension": 2, "hidden": (4,), "sequence_length": 20, "horizon": 5}
    return fields | {"test_horizons": (1, 5), "learning_rate_min": 0.0}, {"t": t, "x": x}


def halo_emulator(size):
    fields = {"num_parameters": 3, "num_ratios": 2, "num_bins": 4, "gp_haloes": 0, "width": 8, "members": 2}
    return {"dataset": "file", **fields}, haloes(size=size)


def training_on(source, size, folder, **changed):
    method = load_method(source.__name__)
    fields, arrays = source(size)
    path = folder / f"{size}.npz"
    np.savez(path, **arrays)
    config = method.config_type(file=str(path), **(fields | SHORT | changed))
    return Training(Program(method, config), config, method.data(config, DatasetStore()))


@pytest.mark.slow
@pytest.mark.parametrize("source", [latent_ode, jacobian_ode, halo_emulator])
def test_a_start_on_data_of_another_scale_keeps_what_the_model_normalises_by(source, tmp_path):
    trained = training_on(source, 1, tmp_path)
    while not trained.advance().ending:
        pass
    trained.save(tmp_path / "model.npz", {"trainable": source.__name__})
    started = training_on(source, 5, tmp_path, init_from=str(tmp_path / "model.npz"))
    started.phases = [phase._replace(learning_rate=1e-30) for phase in started.phases]
    started.begin()
    expected = started.program.evaluation.run("validate", started.state.params, started.scoring, started._validation)
    found = started.advance().metrics
    assert found["skipped_steps"] == 0
    # A run of a barely trained field may leave the finite numbers.
    held = {name: float(value) for name, value in expected.items() if np.isfinite(value) and value != 0}
    assert len(held) > 3
    assert {name: found[name] for name in held} == pytest.approx(held, rel=1e-4)
