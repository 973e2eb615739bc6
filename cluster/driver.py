"""The wave driver: one process that starts Ray, runs one wave of trials on it, and ends.

Run as `python -P -m cluster.driver SEARCH WAVE SCRATCH SUPERVISOR`, the last a process id, with its thread caps in
the environment already.
"""

import contextlib
import ctypes
import json
import logging
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

from filelock import FileLock

from cluster.board import Board
from cluster.paths import SearchPaths
from cluster.processes import end_carrying, own_folder
from cluster.records import load_spec
from cluster.resources import gpu_count, slots
from cluster.scratch import Scratch
from cluster.study import SearchStudy
from cluster.supervisor import TOKEN
from cluster.wave import Wave
from search_spaces.spec import Spec
from trainables._shared.discovery import load_config_type

log = logging.getLogger(__name__)

OBJECT_STORE_BYTES = 100 * 2**20
"""Trials exchange numbers, not arrays: Ray's smallest object store is enough, its default is 30 % of the memory."""

PR_SET_PDEATHSIG = 1
"""Of Linux's prctl: the signal that a process gets when its parent dies."""
PREDECESSOR_PATIENCE_S = 120.0
"""How long the driver of a supervisor that died may take to save its trials and end."""


def wave_size(spec: Spec, num_slots: int) -> int:
    """Return how many trials a wave has: by default many per slot, so that its tail idles little."""
    return spec.waves.trials if isinstance(spec.waves.trials, int) else max(100, 16 * num_slots)


def follow_supervisor(supervisor: int) -> None:
    """Have this process stopped like by Ctrl-C when its supervisor dies, so that nobody trains on unsupervised.

    Until it can drain, that ends it by an exception: what it has started is cleaned up all the same.
    """
    for signum in (signal.SIGTERM, signal.SIGUSR2):
        signal.signal(signum, lambda signum, _: sys.exit(128 + signum))
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != supervisor:  # it died before it could be followed
        sys.exit(f"the supervisor, process {supervisor}, has died")


def clean_up_orphan(supervisor: int, scratch: Scratch) -> None:
    """Do at the end what the supervisor does otherwise, if it has died: end Ray's processes, delete the scratch."""
    if os.getppid() != supervisor:
        end_carrying(TOKEN, os.environ[TOKEN])
        scratch.delete()


def start_ray(spec: Spec, scratch: Scratch, num_slots: int) -> None:
    """Start a Ray of our own on this node, below our scratch, reachable from this machine alone."""
    import ray

    # Ray puts the working directory before all else that its workers import from, and the user's would shadow ours.
    with contextlib.chdir(own_folder()):
        ray.init(
            address="local",
            num_cpus=num_slots * spec.resources.cpus_per_trial,
            num_gpus=gpu_count() if spec.resources.gpus_per_trial else 0,
            object_store_memory=OBJECT_STORE_BYTES,
            include_dashboard=False,
            log_to_driver=False,
            logging_level=logging.WARNING,
            _temp_dir=str(scratch.ray),
            _node_ip_address="127.0.0.1",
        )


def run_trials(wave: Wave, spec: Spec, scratch: Scratch, num_slots: int, tick: Callable[[], None]) -> None:
    """Run the wave's trials with Ray Tune until no more may be started and none runs."""
    from ray import tune

    from cluster.actor import TrialActor
    from cluster.tune_bridge import WaveCallback, WaveScheduler, WaveSearcher

    resources = {"cpu": spec.resources.cpus_per_trial, "gpu": spec.resources.gpus_per_trial}
    tuner = tune.Tuner(
        tune.with_resources(TrialActor, {name: amount for name, amount in resources.items() if amount}),
        tune_config=tune.TuneConfig(
            search_alg=WaveSearcher(wave),
            scheduler=WaveScheduler(wave),
            num_samples=-1,
            max_concurrent_trials=num_slots,
            reuse_actors=True,
        ),
        run_config=tune.RunConfig(
            name="wave",
            storage_path=str(scratch.tune),
            verbose=0,
            failure_config=tune.FailureConfig(max_failures=spec.retries),
            checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
            callbacks=[WaveCallback(wave, tick)],
        ),
    )
    # Tune ends by reading its own result files, which it was told not to write, and lists every trial as a failure.
    logging.getLogger("ray.tune.analysis.experiment_analysis").setLevel(logging.ERROR)
    tuner.fit()


def main(argv: list[str]) -> int:
    """Run one wave; the exit status says only whether it ran, the study says what came of it."""
    search, number, scratch_path, supervisor = argv
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    follow_supervisor(int(supervisor))
    paths, scratch = SearchPaths(Path(search)), Scratch(Path(scratch_path))
    spec = load_spec(paths)
    lock = FileLock(paths.driver_lock)
    lock.acquire(timeout=PREDECESSOR_PATIENCE_S)  # until this process ends
    paths.drain.unlink(missing_ok=True)
    started = time.monotonic()
    study = SearchStudy(paths, spec, load_config_type(spec.trainable))
    if study.repaired_bytes:
        log.warning("cut a torn last line of %d bytes off the journal", study.repaired_bytes)
    num_slots = slots(spec.resources)
    wave = Wave(study, paths, int(number), wave_size(spec, num_slots))
    board = Board(study, paths, wave, num_slots)
    reason = study.finished()
    if reason:
        board.write(finished=reason)
        return 0
    board.write(doing="starting Ray")
    start_ray(spec, scratch, num_slots)
    ray_start_s = time.monotonic() - started
    for signum in (signal.SIGTERM, signal.SIGUSR2):  # after ray.init, which sets handlers of its own
        signal.signal(signum, lambda signum, _: wave.drain(f"stopped by {signal.Signals(signum).name}"))

    def tick() -> None:
        wave.watch_budget()
        board.tick()

    try:
        run_trials(wave, spec, scratch, num_slots, tick)
    finally:
        wave.close()
        study.save_active()
        study.add_wave({"ray_start_s": round(ray_start_s, 2), **_figures(wave, num_slots)})
    finished = study.finished()
    board.write(finished=finished, stopped="" if finished else wave.draining)
    log.info("wave %d: %s", wave.number, json.dumps(study.waves[-1]))
    return 0


def _figures(wave: Wave, num_slots: int) -> dict[str, float]:
    return {
        "wave": wave.number,
        "trials": wave.num_ended,
        "trials_s": round(wave.trials_s, 2),
        "slots": num_slots,
        "utilisation": round(wave.slot_seconds / max(wave.trials_s * num_slots, 1e-9), 3),
    }


if __name__ == "__main__":
    try:
        status = main(sys.argv[1:])
    finally:
        sys.stdout.flush()
        clean_up_orphan(int(sys.argv[4]), Scratch(Path(sys.argv[3])))
    # Ray's own shutdown at exit takes 1.4 s; the supervisor ends what is left of this process's group and scratch.
    os._exit(status)
