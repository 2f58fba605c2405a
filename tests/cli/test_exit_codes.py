"""What commands refuse: the exit code, and an error without a traceback."""

import subprocess

import pytest
from psycopg.conninfo import make_conninfo

from helpers import URL, create, one
from processes import QCTL, environment, failing, qctl


def test_bad_words(conn, dsn):
    create(conn)
    assert "not a duration" in failing(2, "purge", "--older-than", "7 dogs", dsn=dsn)
    assert "not a message id" in failing(2, "show", "1;drop", dsn=dsn)
    assert "not a message id" in failing(2, "show", "9" * 30, dsn=dsn)
    assert "header" in failing(2, "send", "1", "-H", "nocolon", dsn=dsn)
    assert "no queue was named" in failing(2, "worker", dsn=dsn)
    assert "exclude each other" in failing(2, "worker", "--all", "--once", "--drain", dsn=dsn)
    assert "nothing to change" in failing(2, "set", dsn=dsn)
    assert "out of range" in failing(2, "set", "--concurrency", "0", dsn=dsn)
    assert "No such command" in failing(2, "staus", dsn=dsn)
    assert "table 'public.nosuch' not found" in failing(6, "attach", "public.nosuch", dsn=dsn)
    assert "not attached" in failing(6, "detach", "public.nosuch", dsn=dsn)
    assert "no queue knows 5" in failing(6, "show", "5", dsn=dsn)


@pytest.mark.parametrize(
    "arguments",
    [
        ("secret", "rotate", "--given", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"),
        ("secret", "set", "token", "planted"),
        ("secret", "set", "token"),
        ("secret", "set", "token", "env:NOT_THERE"),
        ("secret", "set", "token", "@/not/there"),
        ("secret", "set", "a b", "-"),
        ("secret", "rotate", "--overlap", "soon"),
        ("set", "-H", "Authorization: Bearer planted"),
        ("create", "second", "--url", URL, "-H", "X-Api-Key: planted"),
        ("set", "--concurrency", "many"),
        ("set", "--rate", "fast"),
        ("set", "--breaker", "-1"),
        ("set", "--breaker-share", "120%"),
        ("set", "--on-dead", "cry"),
        ("set", "--allow-network", "everywhere"),
        ("set", "--allow-network", "10.0.0.1/8"),
        ("set", "--allow-network", "10.0.0.0/8", "--allow-private"),
        ("send", "-", "--dedup-key", "k"),
        ("send", "{}", "--dedup-key", ""),
        ("send", "{}", "--dedup-key", "k", "--dedup-window", "0s"),
        ("events", "--to", "orders", "--off"),
        ("events", "--throttle", "1h"),
    ],
)
def test_what_is_wrong_is_refused(conn, dsn, arguments):
    create(conn)
    done = qctl(*arguments, dsn=dsn, stdin="x")
    assert done.returncode == 2, done.stderr
    assert done.stderr.startswith("Error: ")
    assert "planted" not in done.stderr.replace("'X-Api-Key: secret:NAME'", "")
    assert "Traceback" not in done.stderr
    assert (
        one(conn, "select count(*) from qctl.signing_secret")
        == one(conn, "select count(*) from qctl.header_secret")
        == 0
    )


def test_a_role_without_rights(conn, dsn):
    name = f"outsider_{one(conn, 'select current_database()')}"
    conn.execute(f"create role {name} login")
    try:
        theirs = make_conninfo(dsn, user=name)
        talk = failing(4, "status", dsn=theirs)
        assert "permission denied for schema qctl" in talk
        assert "Try:" in talk
    finally:
        conn.execute(f"drop role {name}")


def test_odd_surroundings(conn, dsn):
    create(conn)
    script = f"""
        {QCTL} queues >/dev/full; echo $?
        {QCTL} queues >&-; echo $?
        {QCTL} status -h | head -n 1 >/dev/null; echo ${{PIPESTATUS[0]}}
        {QCTL} describe $'\\xff'; echo $?
    """
    done = subprocess.run(
        ["bash", "-c", script], env=environment(QCTL_DSN=dsn), capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["1", "0", "0", "2"]
    assert "Traceback" not in done.stderr
    assert "bug" not in done.stderr
    assert "cannot connect" in failing(3, "queues", "--dsn", "postgresql:///x?connect_timeout=abc&host=/nonexistent")


def test_a_bug_is_reported_without_a_traceback(dsn, conn, tmp_path):
    """A module that breaks stands for the bug; the real executable's boundary meets it."""
    (tmp_path / "sitecustomize.py").write_text(
        "import qctl.operations.queues\nqctl.operations.queues.listed = lambda c: 1 / 0\n"
    )
    talk = failing(1, "queues", dsn=dsn, PYTHONPATH=str(tmp_path))
    assert "this is a bug in qctl: ZeroDivisionError" in talk
    assert "QCTL_DEBUG=1" in talk
    assert "Traceback" in qctl("queues", dsn=dsn, PYTHONPATH=str(tmp_path), QCTL_DEBUG="1").stderr
