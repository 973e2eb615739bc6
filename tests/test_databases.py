"""The PostgreSQL server that the tests use is a real one, and closed to everybody else."""

import os
import subprocess

import pytest

from tests.databases import running_postgres

pytestmark = pytest.mark.slow


def test_the_database_is_there_with_the_password_alone(postgres, postgres_url):
    assert postgres.sql("select 40 + 2") == "42\n"
    assert "scram" in postgres.sql("show password_encryption")
    refused = subprocess.run(
        ["psql", "-c", "select 1", postgres_url.replace(postgres.password, "guess")],
        capture_output=True, text=True, timeout=600, check=False,
    )  # fmt: skip
    assert "password authentication failed" in refused.stderr


def test_what_was_committed_survives_a_restart_and_nothing_survives_the_end():
    with running_postgres() as server:
        folder = server._folder
        server.sql("create table kept (n int); insert into kept values (7)")
        server.restart()
        assert server.sql("select n from kept") == "7\n"
        pid = server._server.pid
        assert folder.stat().st_mode & 0o777 == 0o700
    assert not folder.exists()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
