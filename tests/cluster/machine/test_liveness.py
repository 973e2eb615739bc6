"""Whether another process lives, told by changes that are seen here."""

import os
import time

from cluster.machine.liveness import Liveness, touched_at, was_touched_within


class Clock:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


def test_silence_is_counted_from_the_last_change():
    clock = Clock()
    liveness = Liveness(0, clock=clock)
    clock.now += 7.0
    assert (liveness.see(0), liveness.silent_s) == (False, 7.0)
    assert (liveness.see(1), liveness.silent_s) == (True, 0.0)
    clock.now += 3.0
    assert (liveness.see(1), liveness.silent_s) == (False, 3.0)
    assert liveness.see(0)  # back to an earlier value is a change too
    clock.now += 2.0
    liveness.note_alive()
    assert liveness.silent_s == 0.0


def test_time_in_which_the_watching_process_did_not_run_is_not_silence():
    clock = Clock()
    liveness = Liveness(0, most_gap_s=5.0, clock=clock)
    for clock.now in (104.0, 108.0):
        liveness.see(0)
    clock.now = 1e6
    liveness.see(0)
    assert liveness.silent_s == 4.0 + 4.0 + 5.0


def test_a_files_touch_is_seen_and_a_missing_file_is_no_error(tmp_path):
    file = tmp_path / "heartbeat"
    assert touched_at(file) == 0
    assert not was_touched_within(file, 60.0)
    file.touch()
    os.utime(file, ns=(0, 12_345))
    assert touched_at(file) == 12_345
    for age in (-30.0, 30.0):  # of a file server whose clock goes ahead, or behind
        os.utime(file, (0, time.time() - age))
        assert was_touched_within(file, 60.0)
        assert not was_touched_within(file, 20.0)
