"""The faults: each strikes a search once, and says what it did."""

import os
import resource
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass

import psutil

from benchmarks.faults.disks import fill_inodes, fill_space
from benchmarks.faults.misbehave import MB, give_order
from benchmarks.faults.scene import PATIENCE_S, MissedError, Scene

INTERRUPTED = 130
KILLED = -signal.SIGKILL
STRIKE_PATIENCE_S = 20.0
OUT_OF_ROOM_MB = 120
"""Left to the search's memory group above what it has, when the kernel is to strike."""


@dataclass(frozen=True)
class Fault:
    """A kind of fault."""

    kind: str
    inject: Callable[[Scene], str]
    """Strikes, returns when the fault is over, and says what it did."""
    code: int | None = None
    """Exit code with which it ends the foreground process; None where the search must survive it."""


def _kill(scene: Scene, find: Callable[[], psutil.Process | None], who: str) -> str:
    process = scene.await_(find)
    process.kill()
    return f"SIGKILL of the {who}, process {process.pid}"


def kill_worker(scene: Scene) -> str:
    return _kill(scene, scene.worker, "worker")


def kill_driver(scene: Scene) -> str:
    return _kill(scene, scene.driver, "wave driver")


def kill_raylet(scene: Scene) -> str:
    return _kill(scene, lambda: scene.named("raylet"), "raylet")


def kill_gcs(scene: Scene) -> str:
    return _kill(scene, lambda: scene.named("gcs_server"), "GCS")


def kill_supervisor(scene: Scene) -> str:
    return _kill(scene, scene.supervisor, "supervisor")


def kill_both(scene: Scene) -> str:
    """Kill driver and supervisor within a millisecond, in either order."""
    pair = [scene.await_(scene.driver), scene.await_(scene.supervisor)]
    scene.rng.shuffle(pair)
    for process in pair:
        process.kill()
    return f"SIGKILL of driver and supervisor, processes {pair[0].pid} and {pair[1].pid}"


def hang_worker(scene: Scene) -> str:
    process = scene.await_(scene.worker)
    process.suspend()
    return f"SIGSTOP of the worker, process {process.pid}"


# -- memory


def _order(scene: Scene, **order: float | str) -> None:
    """Give an order to misbehave and wait until a worker has taken it."""
    name = f"{scene.name}-{time.monotonic_ns()}"
    taken = give_order(scene.place.orders, name, order)
    scene.await_(lambda: taken.exists() or None)


def memory_hog(scene: Scene) -> str:
    """Have a worker take more than its `memory_gb_per_trial`, little by little."""
    _order(scene, what="memory", mb=1600, chunk_mb=40, pause_s=0.05, hold_s=60)
    return "a worker takes 1.6 GB"


def kernel_oom(scene: Scene) -> str:
    """Have a worker take, at once, more than the search's memory group has; without one, limit a worker's memory."""
    group = scene.place.group
    if group is None:
        return _limit_data(scene)
    kills = group.kills()
    _order(scene, what="memory", mb=2000, chunk_mb=50, pause_s=0.01, hold_s=1)
    group.limit(group.used_bytes() + OUT_OF_ROOM_MB * MB)
    started = time.monotonic()
    try:
        while group.kills() == kills and time.monotonic() - started < STRIKE_PATIENCE_S:
            time.sleep(0.02)
        struck = group.kills() - kills
    finally:
        group.limit(None)
    who = f"the kernel ended {struck} processes" if struck else "swell was faster than the kernel"
    return f"a worker takes more than the memory group's limit; {who}"


def _limit_data(scene: Scene) -> str:
    """Refuse a worker new memory for a moment: where there is no group of ours, the kernel does so by RLIMIT_DATA."""
    process = scene.await_(scene.worker)
    held_s = scene.rng.uniform(2, 6)
    before = resource.prlimit(process.pid, resource.RLIMIT_DATA)
    resource.prlimit(process.pid, resource.RLIMIT_DATA, (process.memory_info().rss, before[1]))
    scene.hold(held_s)
    try:
        resource.prlimit(process.pid, resource.RLIMIT_DATA, before)
    except ProcessLookupError:
        return f"worker {process.pid} may have no more memory, which ended it"
    return f"worker {process.pid} may have no more memory for {held_s:.1f} s"


# -- disks


def _full(scene: Scene, which: str) -> str:
    """Fill a disk, whole or to below what the guard wants free, and free it after a while."""
    leave_mb = scene.rng.choice([0, 0, 30])
    held_s = scene.rng.uniform(2, 8)
    scene.await_(scene.driver)
    with fill_space(scene.place.folder / which, leave_mb) as keep_full:
        scene.hold(held_s, keep_full)
    return f"{which}: {leave_mb} MB free for {held_s:.1f} s"


def full_scratch(scene: Scene) -> str:
    return _full(scene, "s")


def full_searches(scene: Scene) -> str:
    return _full(scene, "searches")


def full_cache(scene: Scene) -> str:
    return _full(scene, "cache")


def _no_inodes(scene: Scene, which: str) -> str:
    held_s = scene.rng.uniform(2, 8)
    scene.await_(scene.driver)
    with fill_inodes(scene.place.folder / which) as keep_full:
        scene.hold(held_s, keep_full)
    return f"{which}: no inode free for {held_s:.1f} s"


def no_scratch_inodes(scene: Scene) -> str:
    return _no_inodes(scene, "s")


def no_searches_inodes(scene: Scene) -> str:
    return _no_inodes(scene, "searches")


def scratch_hog(scene: Scene) -> str:
    """Have a worker write to its TMPDIR more than `max_scratch_gb`, a little or much."""
    size_mb = scene.rng.choice([180, 280])
    _order(scene, what="files", mb=size_mb, chunk_mb=10, pause_s=0.03)
    return f"a worker writes {size_mb} MB to its TMPDIR"


# -- files and clocks


def torn_journal(scene: Scene) -> str:
    """Kill driver and supervisor and leave half a line in the journal, and in the last history."""
    what = kill_both(scene)
    scene.foreground.process.wait()
    for process in scene.place.ours():  # nobody else writes to it any more
        process.kill()
    histories = sorted(scene.paths.histories.glob("wave-*.jsonl"))
    halves = [(scene.paths.journal, '{"op_code": 5, "work'), *((file, '{"trial": 1, "ste') for file in histories[-1:])]
    for file, half in halves:
        with file.open("a") as opened:
            opened.write(half)
    return f"{what}; half a line in journal and history"


def clock_jump(scene: Scene) -> str:
    """Set the wall clock of the search's Python processes hours or days off, while they run."""
    offset_s = scene.rng.choice([7200, -7200, 86400, -86400, -10 * 365 * 86400])
    scene.await_(scene.driver)
    scene.place.clock.write_text(str(offset_s))
    return f"wall clock {offset_s / 3600:+g} h"


def other_clock(scene: Scene) -> str:
    """Kill driver and supervisor; whoever goes on has another monotonic clock, as after a reboot."""
    what = kill_both(scene)
    offset_s = scene.rng.randrange(10**4, 10**7)
    scene.prefix = ["unshare", "--time", "--monotonic", str(offset_s), "--boottime", str(offset_s)]
    return f"{what}; monotonic clock {offset_s:+d} s"


# -- requests to stop


def ctrl_c(scene: Scene) -> str:
    """Send what a terminal sends at Ctrl-C: SIGINT to the whole process group."""
    scene.await_(scene.supervisor)
    os.killpg(scene.foreground.process.pid, signal.SIGINT)
    return "Ctrl-C"


def ctrl_c_twice(scene: Scene) -> str:
    pause_s = scene.rng.uniform(0.05, 1.5)
    ctrl_c(scene)
    time.sleep(pause_s)
    if scene.foreground.poll() is None:
        os.killpg(scene.foreground.process.pid, signal.SIGINT)
    return f"Ctrl-C twice, {pause_s:.1f} s apart"


def stop(scene: Scene) -> str:
    """Stop the search from outside, by `swell stop`."""
    scene.await_(scene.driver)
    # A worker that hangs meanwhile ends with its trial's time limit, and the search not before.
    done = scene.place.swell("stop", scene.name, prefix=scene.prefix, timeout_s=PATIENCE_S)
    if done.poll() != 0 and scene.foreground.poll() == 0:
        raise MissedError
    return f"swell stop: exit code {done.poll()}"


FAULTS = {
    fault.kind: fault
    for fault in (
        Fault("kill_worker", kill_worker),
        Fault("kill_driver", kill_driver),
        Fault("kill_raylet", kill_raylet),
        Fault("kill_gcs", kill_gcs),
        Fault("kill_supervisor", kill_supervisor, KILLED),
        Fault("kill_both", kill_both, KILLED),
        Fault("hang_worker", hang_worker),
        Fault("memory_hog", memory_hog),
        Fault("kernel_oom", kernel_oom),
        Fault("full_scratch", full_scratch),
        Fault("full_searches", full_searches),
        Fault("full_cache", full_cache),
        Fault("no_scratch_inodes", no_scratch_inodes),
        Fault("no_searches_inodes", no_searches_inodes),
        Fault("scratch_hog", scratch_hog),
        Fault("torn_journal", torn_journal, KILLED),
        Fault("clock_jump", clock_jump),
        Fault("other_clock", other_clock, KILLED),
        Fault("ctrl_c", ctrl_c, INTERRUPTED),
        Fault("ctrl_c_twice", ctrl_c_twice, INTERRUPTED),
        Fault("stop", stop, INTERRUPTED),
    )
}
"""Every kind of fault, by its name."""
KILLS = ("kill_worker", "kill_driver", "kill_supervisor", "kill_both", "kill_raylet")
"""What a search is killed by when it is only killed and resumed."""
