"""A printed command acts on the database of which it speaks, when it is typed in a shell as printed."""

import os
import re
import subprocess

import pytest
from psycopg.conninfo import conninfo_to_dict

from helpers import create, one, send
from processes import QCTL, data, environment, failing, ok, qctl


def typed(command: str, **extra: str) -> subprocess.CompletedProcess[str]:
    """The command in a shell where another database is configured."""
    env = environment(PATH=f"{QCTL.parent}{os.pathsep}{os.environ['PATH']}", QCTL_DSN="host=/nowhere", **extra)
    return subprocess.run(command, shell=True, env=env, capture_output=True, text=True, check=False, timeout=60)


def test_hints_findings_and_errors_carry_dsn(conn, dsn):
    create(conn)
    conn.execute("create table t (id int)")
    conn.execute("select qctl.attach('public.t', 'orders')")
    conn.execute("alter table t disable trigger user")
    send(conn)
    for command in (["verify"], ["doctor"], ["status"], ["check"]):
        done = qctl(*command, "--dsn", dsn, "-o", "json")
        assert "qctl --dsn " in done.stdout, command
    (finding,) = data("verify", "--dsn", dsn, code=8)
    assert typed(finding["fix"]).returncode == 0
    assert data("verify", "--dsn", dsn) == []
    hint = re.search(r"qctl --dsn .* --discard", failing(7, "drop", "orders", "--dsn", dsn))
    assert hint
    assert typed(f"{hint[0]} --yes").returncode == 0
    assert one(conn, "select count(*) from qctl.queue") == 0


def test_a_profile_is_carried_and_what_a_variable_names_is_not(conn, dsn, tmp_path):
    config = tmp_path / "config.toml"
    config.write_text(f'[profiles."st aging"]\ndsn = "{dsn}"\n')
    config.chmod(0o600)
    done = ok("create", "orders", "--url", "http://127.0.0.1:9/x", "--profile", "st aging", QCTL_CONFIG=str(config))
    (nexts,) = re.findall(r"Next: (.*) -q orders", done.stderr)
    assert nexts.startswith("qctl --profile 'st aging' ")
    assert "--profile" not in ok("queues", dsn=dsn).stderr


@pytest.mark.parametrize(
    "secret",
    ["postgresql://{user}:s3cret@/{dbname}?host={host}", "postgresql://{user}@/{dbname}?host={host}&password=s3cret",
     "host={host} user={user} dbname={dbname} password=s3cret",
     "host={host} user={user} dbname={dbname} sslpassword=s3cret",
     "host={host} user={user} dbname={dbname} password='s3cret \\' x'"],
)  # fmt: skip
def test_no_secret_is_carried_and_once_it_is_said_where_it_goes(conn, dsn, secret):
    create(conn)
    parts = conninfo_to_dict(dsn)
    parts["host"] = str(parts["host"]).replace("/", "%2F") if secret.startswith("postgresql") else parts["host"]
    named = secret.format(**parts)
    told = failing(6, "describe", "nothing", "--dsn", named)
    done = ok("set", "-q", "orders", "--timeout", "9s", "--dsn", named)
    assert "s3cret" not in told + done.stderr + done.stdout
    assert done.stderr.count("PGPASSWORD or ~/.pgpass") == 1
    printed = re.search(r"qctl --dsn '.*' describe orders", done.stderr)
    assert printed, done.stderr
    assert '"timeout_ms": 9000' in typed(f"{printed[0]} -o json").stdout
