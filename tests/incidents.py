"""What an operator types when something is wrong, and whether that fixes it."""

import json
import os
import subprocess

import psycopg

from processes import QCTL, environment, qctl, wait_until


def health(dsn: str) -> str:
    done = qctl("status", "-o", "json", dsn=dsn)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)[0]["health"]


def sick(dsn: str, cause: str) -> str | None:
    """Holds the three against one another; the command that doctor gives for it, None where there is nothing to type."""
    wait_until(lambda: health(dsn) == cause, 30, f"health {cause}")
    done = qctl("check", dsn=dsn)
    assert done.returncode == 8, done.stdout
    assert f"orders {cause}:" in done.stdout
    assert done.stdout.count("\n") == 1
    found = json.loads(qctl("check", "-o", "json", dsn=dsn).stdout)
    fixes = [problem["fix"] for problem in found["problems"] if problem["cause"] == cause]
    doctor = qctl("doctor", "-o", "json", dsn=dsn)
    assert doctor.returncode == 8
    broken = [row["fix"] for row in json.loads(doctor.stdout) if row["severity"] == "broken"]
    assert set(fixes) & set(broken), (fixes, broken)
    return fixes[0]


def fix(dsn: str, command: str | None) -> None:
    """Types what doctor says: into psql or into the shell."""
    if command is None:
        return
    if not command.startswith("qctl "):
        with psycopg.connect(dsn, autocommit=True) as connection:
            connection.execute(command)
        return
    env = environment(QCTL_DSN=dsn, PATH=f"{QCTL.parent}{os.pathsep}{os.environ['PATH']}")
    done = subprocess.run(command, shell=True, env=env, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr


def well(dsn: str, within_s: float = 70) -> None:
    wait_until(lambda: health(dsn) == "ok", within_s, "health ok")
    done = qctl("check", dsn=dsn)
    assert (done.returncode, done.stdout[:2]) == (0, "OK"), done.stdout
