"""The supervisor of a further node of a job: joins the driver of the first node, and guards its own node."""

import logging
import os
import secrets
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from cluster.installation import own_folder
from cluster.jobs.place import Place, address_for_others
from cluster.machine.capacity import Capacity, check_fits
from cluster.machine.disks import read_disks
from cluster.machine.files import read_object
from cluster.machine.guard import Action, judge
from cluster.machine.liveness import Liveness, touched_at
from cluster.machine.processes import end_carrying
from cluster.machine.resources import gpu_count, pool_id
from cluster.machine.scratch import Scratch, node_cache, scratch_root
from cluster.state.guarding import folders_in_use, note_guard_event
from cluster.state.paths import SearchPaths
from cluster.state.records import load_spec
from cluster.supervision.watcher import FURTHER, RayServers, Watcher
from cluster.wire.heartbeats import wait_for_workers
from cluster.wire.links import GONE, Link
from cluster.wire.meeting import Meeting
from cluster.worker.environment import OBJECT_STORE_BYTES, TOKEN, driver_environment

log = logging.getLogger(__name__)

POLL_S = 0.2
LEADER_PATIENCE_S = 180.0
"""This supervisor gives up once the first node's has shown no sign of life for so long."""
MOST_JOINS = 3
"""How often this node joins the same driver: its Ray may fail by chance once, but not each time."""


class LeaderLostError(RuntimeError):
    """The supervisor of the job's first node has not been seen alive for too long."""


class Leader:
    """The supervisor of the job's first node, watched by the file that it touches while it lives."""

    def __init__(self, paths: SearchPaths, clock: Callable[[], float] = time.monotonic) -> None:
        self._heartbeat = paths.supervisor_heartbeat
        self._liveness = Liveness(0, clock=clock)

    def check(self) -> None:
        """Raise LeaderLostError if it has shown no sign of life for LEADER_PATIENCE_S."""
        self._liveness.see(touched_at(self._heartbeat))
        if self._liveness.silent_s > LEADER_PATIENCE_S:
            raise LeaderLostError(f"the first node's supervisor gave no sign of life for {LEADER_PATIENCE_S:g} s")


class NodeSupervisor:
    """Joins its node to one driver after another until the first node says that the job is over."""

    def __init__(self, paths: SearchPaths, place: Place) -> None:
        self._paths = paths
        self._place = place
        self._spec = load_spec(paths)
        self._leader = Leader(paths)
        self._served: Counter[int] = Counter()
        """How often each driver was joined."""

    def run(self) -> None:
        """Join each driver of this job in turn; raises LeaderLostError if the first node is gone."""
        self._cpus = check_fits(self._spec.resources)
        scratch_root()
        node_cache()
        while True:
            said = read_object(self._paths.session) or {}
            if said.get("incarnation") == self._place.incarnation:
                if said.get("over"):
                    return
                meeting = Meeting(**said)
                if self._served[meeting.driver] < MOST_JOINS and self._has_space():
                    self._served[meeting.driver] += 1
                    self._serve(meeting)
                    continue
            self._leader.check()
            time.sleep(POLL_S)

    def _has_space(self) -> bool:
        verdict = judge(self._spec.guard, read_disks(folders_in_use(self._paths, scratch_root())))
        if verdict.action is not Action.GO_ON:
            log.warning("waiting for disk space: %s", verdict.reason)
            time.sleep(1.0)
        return verdict.action is Action.GO_ON

    def _serve(self, meeting: Meeting) -> None:
        """Run a part of one driver's Ray until the driver ends this part, or is gone."""
        token = secrets.token_hex(16)
        scratch = Scratch.create(
            {"search": str(self._paths.root), "cpus": self._cpus, "pool": pool_id(), "token": token}
        )
        log.info("driver %d: joining %s, scratch %s", meeting.driver, meeting.ray, scratch.path)
        watcher = None
        try:
            host, port = meeting.link
            link = Link.connect((host, port), bytes.fromhex(meeting.key))
            try:
                ray = self._start_ray(meeting, scratch, token)
                watcher = Watcher(
                    self._spec,
                    self._paths,
                    scratch,
                    RayServers(ray.pid, FURTHER),
                    lambda order: link.send(do="order", order=asdict(order)),
                    has_driver=False,
                )
                self._watch(link, ray, watcher, scratch)
            finally:
                link.close()
        except GONE as error:
            log.warning("driver %d cannot be reached: %s", meeting.driver, error)
        finally:
            end_carrying(TOKEN, token)
            peak = watcher.peak_scratch_bytes if watcher else 0
            freed = scratch.delete()
            log.info("driver %d: %.1f MB of scratch freed", meeting.driver, freed / 1e6)
            facts = {"node": self._place.node, "driver": meeting.driver, "peak_bytes": max(peak, freed)}
            note_guard_event(self._paths, "cleaned", freed_bytes=freed, **facts)

    def _start_ray(self, meeting: Meeting, scratch: Scratch, token: str) -> "subprocess.Popen[bytes]":
        resources = self._spec.resources
        self._capacity = Capacity.here(resources, self._cpus)
        options = {
            "address": meeting.ray,
            "node-ip-address": address_for_others(),
            "num-cpus": self._capacity.most * resources.cpus_per_trial,
            "num-gpus": gpu_count() if resources.gpus_per_trial else 0,
            "object-store-memory": OBJECT_STORE_BYTES,
            "temp-dir": scratch.ray,
            "include-log-monitor": "false",
        }
        command = [sys.executable, "-P", "-m", "cluster.driver.ray_node", str(os.getpid()), str(self._capacity.slots)]
        command += [f"--{name}={value}" for name, value in options.items()]
        environment = driver_environment(self._spec, self._paths, scratch, token, self._cpus)
        with self._paths.node_ray_log(self._place.rank).open("ab") as output:
            return subprocess.Popen(
                command,
                env=environment | {"RAY_AUTH_TOKEN": meeting.ray_token},
                cwd=own_folder(),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def _watch(self, link: Link, ray: "subprocess.Popen[bytes]", watcher: Watcher, scratch: Scratch) -> None:
        link.send(do="hello", node=self._place.node, most=self._capacity.most, memory_gb=self._capacity.memory_gb)
        while True:
            is_alive = link.is_alive  # asked before the last messages are taken
            for message in link.take():
                if message["do"] == "end":
                    return
                if message["do"] == "clean":
                    link.send(**self._clean(scratch))
            why = watcher.look() or ("it has ended" if ray.poll() is not None else "")
            if why:
                log.error("ending this node's part of Ray: %s", why)
                return
            if not is_alive:
                log.warning("the driver is gone")
                return
            time.sleep(POLL_S)

    def _clean(self, scratch: Scratch) -> dict[str, Any]:
        wait_for_workers(scratch.heartbeats)
        freed = scratch.empty()
        self._capacity.measure()  # no trial runs: measure what they may use
        return {"do": "cleaned", "freed_bytes": freed, "memory_gb": self._capacity.memory_gb}
