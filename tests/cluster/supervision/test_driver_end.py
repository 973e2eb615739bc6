import pytest

from cluster.supervision.driver_end import explain_end

TRACEBACK = """2026-11-29 01:54:00 INFO cluster.driver.session: starting
Traceback (most recent call last):
  File "/opt/swell/cluster/driver/main.py", line 60, in main
    start()
ModuleNotFoundError: No module named 'ray'
"""
RAYLET = "[2026-11-29 01:55:17,487 E 1 1] plasma.cc:20: File too large\n"


@pytest.fixture
def files(tmp_path):
    logs = tmp_path / "session_2026" / "logs"
    logs.mkdir(parents=True)
    log = tmp_path / "driver-00001.log"
    log.touch()
    return log, logs


def test_a_driver_that_died_is_told_with_the_end_of_its_traceback(files, tmp_path):
    log, _ = files
    log.write_text(TRACEBACK)
    said = "ended with status 1; its last words: ModuleNotFoundError: No module named 'ray'"
    assert explain_end(1, "", log, tmp_path) == said


def test_a_driver_without_words_is_told_with_those_of_rays_servers(files, tmp_path):
    log, logs = files
    (logs / "raylet.err").write_text(RAYLET)
    assert explain_end(-25, "", log, tmp_path) == f"was ended by SIGXFSZ; raylet's last words: {RAYLET.strip()}"
    assert explain_end(-9, "Ray's raylet has died", log, tmp_path) == (
        f"Ray's raylet has died; raylet's last words: {RAYLET.strip()}"
    )


def test_a_driver_of_which_nothing_is_known_is_told_all_the_same(files, tmp_path):
    assert explain_end(3, "", files[0], tmp_path / "nowhere") == "ended with status 3"
    (files[0]).write_text("x" * 10**6)
    assert len(explain_end(3, "", files[0], tmp_path)) < 400
