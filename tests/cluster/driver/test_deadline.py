from cluster.driver.deadline import Deadline
from cluster.machine.allocation import allocation_left_s


class Left:
    def __init__(self, seconds):
        self.seconds = seconds

    def __call__(self):
        return self.seconds


def test_without_an_end_there_is_always_time():
    deadline = Deadline(lambda: None)
    deadline.note(1e6, None)
    assert deadline.may_start()
    assert not deadline.must_stop()


def test_before_anything_is_known_a_trial_may_start_while_there_is_time():
    left = Left(100.0)
    deadline = Deadline(left)
    assert deadline.may_start()
    assert not deadline.must_stop()
    left.seconds = 1.9  # the margin: a fiftieth of all the time there was
    assert deadline.must_stop()
    assert not deadline.may_start()


def test_a_trial_must_reach_its_first_report_and_the_others_theirs():
    left = Left(1000.0)
    deadline = Deadline(left)
    deadline.note(30.0, None)
    deadline.note(34.0, 30.0)
    deadline.note(35.0, 34.0)  # the longest counts
    assert deadline.reserve_s == 1.5 * 4.0 + 5.0
    left.seconds = 30.0 + 11.0 + 0.1
    assert deadline.may_start()
    left.seconds -= 0.2
    assert not deadline.may_start()
    assert not deadline.must_stop()
    left.seconds = 11.0
    assert deadline.must_stop()


def test_the_end_of_a_queues_job_is_read_as_seconds_from_now():
    assert allocation_left_s({"SWELL_JOB_END_TIME": "5000"}, now=lambda: 4000.0) == 1000.0
    assert allocation_left_s({}) is None
    assert allocation_left_s({"SWELL_JOB_END_TIME": "N/A"}) is None
