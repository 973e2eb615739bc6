"""What is known of open files, of when a process began and of file systems that others see."""

import os
import time
from pathlib import Path

import pytest

from cluster.machine.open_files import began_before, shared_file_system
from tests.cleaning import BEFORE_ALL, dead


def test_a_process_began_before_what_it_wrote_and_not_before_what_is_older():
    assert began_before(os.getpid(), time.time())
    assert not began_before(os.getpid(), BEFORE_ALL)
    assert not began_before(dead()["pid"], time.time())


MOUNTS = """\
22 1 8:1 / / rw - ext4 /dev/sda1 rw
23 22 0:30 / /tmp rw - tmpfs tmpfs rw
24 22 0:31 /export /tmp/shared\\040space rw shared:5 - nfs4 server:/export rw
25 22 0:32 / /home rw - lustre server:/fs rw
"""


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/tmp/ray/session", ""),
        ("/tmp/shared space/ray", "nfs4"),
        ("/tmp/shared", ""),
        ("/home/me/ray", "lustre"),
        ("/homes/me", ""),
    ],
)
def test_a_file_system_that_other_machines_see_is_known(path, kind):
    assert shared_file_system(Path(path), MOUNTS) == kind
