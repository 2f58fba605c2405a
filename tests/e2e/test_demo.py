"""qctl demo: its proof holds, and a tampered ledger does not pass."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest

from processes import QCTL, environment, qctl, screen


def figures(text: str) -> dict[str, str]:
    return dict(re.findall(r"^(\S.*?)  +(.*)$", text, re.MULTILINE))


def test_the_demo_delivers_everything_and_proves_it():
    done = qctl("demo", "--messages", "300", "--fail-rate", "0.2", timeout=90)
    assert done.returncode == 0, done.stderr
    shown = figures(done.stdout)
    assert shown["changes captured"].startswith("330 ")
    assert shown["delivered"].startswith("330 ")
    assert shown["lost"] == "0"
    assert int(shown["attempts failed"].split()[0]) > 20
    assert "agrees" in shown["ledger"]


def test_a_tampered_ledger_makes_it_exit_1(tmp_path):
    """The endpoint's process writes its ledger with every fifth 200 left out, so the two sides cannot agree."""
    (tmp_path / "sitecustomize.py").write_text(
        "import sys\n"
        "if 'qctl.demo.receiver' in ' '.join(sys.orig_argv):\n"
        "    import json\n"
        "    real, seen = json.dumps, []\n"
        "    def dumps(value, **k):\n"
        "        seen.append(value)\n"
        "        return real({**value, 'answer': '500'} if len(seen) % 5 == 0 else value, **k)\n"
        "    json.dumps = dumps\n"
    )
    done = qctl("demo", "--messages", "50", "--fail-rate", "0", timeout=90, PYTHONPATH=str(tmp_path))
    assert done.returncode == 1
    assert "do not agree" in done.stderr
    assert "and not in the ledger" in done.stderr
    assert "Traceback" not in done.stderr


def test_keep_leaves_both_running_and_every_printed_command_works():
    done = qctl("demo", "--messages", "20", "--fail-rate", "0.5", "--keep", timeout=90)
    assert done.returncode == 0, done.stderr
    uri = re.search(r"QCTL_DSN='([^']+)'", done.stderr)[1]
    printed = re.findall(r"^  (.*)$", done.stderr, re.MULTILINE)
    stop = re.search(r"stop both: (.*)$", done.stderr, re.MULTILINE)[1]
    env = environment(PATH=f"{QCTL.parent}{os.pathsep}{os.environ['PATH']}")
    try:
        assert len(printed) == 4
        typed = subprocess.run(
            ["sh", "-ec", "\n".join(printed)], env=env, capture_output=True, text=True, timeout=60, check=False
        )
        assert typed.returncode == 0, typed.stderr
        assert "replayed" in typed.stdout
        with psycopg.connect(uri) as conn:
            answers = "select attempt_no, status_code from qctl.attempt where msg_id = 1 and delivery_no = 2"
            assert conn.execute(answers).fetchall() == [(1, 200)]
    finally:
        subprocess.run(["bash", "-c", stop], check=True, capture_output=True)
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(uri)


def test_a_terminal_shows_no_bar_that_stands_still(server):
    shown = screen("", "demo", "--messages", "50", "--dsn", server.uri(), columns=90, rows=40, seconds=60)
    first, last, said = shown.index("━"), shown.rindex("━"), "captured 55 changes"
    assert shown.index(said) < first
    rest = shown[last:]
    assert rest.index("\x1b[1A\x1b[2K") < rest.index("changes captured")


def test_a_throw_away_database_on_a_given_server(server):
    done = qctl("demo", "--messages", "30", "--dsn", server.uri(), timeout=90)
    assert done.returncode == 0, done.stderr
    with psycopg.connect(server.uri()) as admin:
        assert admin.execute("select count(*) from pg_database where datname like 'qctl_demo%'").fetchone() == (0,)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can run the demo as somebody else, too")
def test_it_runs_as_no_root(tmp_path):
    """Same executable, another user; what it makes lies in that user's temporary folder."""
    for folder in [Path(sys.executable).resolve(), *Path(sys.executable).resolve().parents]:
        if not folder.stat().st_mode & 0o001:
            pytest.skip(f"another user may not reach {folder}")
    subprocess.run(["useradd", "-m", "qctl-tester"], check=False, capture_output=True)
    command = f"env -i PATH={shlex.quote(os.environ['PATH'])} {shlex.quote(str(QCTL))} demo -n 20"
    as_tester = ["su", "qctl-tester", "-s", "/bin/sh", "-c", command]
    done = subprocess.run(as_tester, env=environment(), capture_output=True, text=True, timeout=90, check=False)
    assert done.returncode == 0, done.stderr
    assert figures(done.stdout)["lost"] == "0"
